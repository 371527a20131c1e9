// Package controlapi is how commands talk to the daemon: JSON over HTTP on the
// unix socket paths.Layout.ControlSocket. It holds the types, the server's
// handler and the client. Errors are fault.Error values on both sides.
//
//	GET  /v1/status               Status
//	GET  /v1/events               Event per line, past ones first, then live
//	GET  /v1/version              map of upstream names to versions
//	POST /v1/down                 DownRequest; answers when everything has stopped
//	POST /v1/restart?component=X  answers when X has been told to restart
//
// It must not import the daemon, the supervisor or a component.
package controlapi
