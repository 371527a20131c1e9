// Command web is the front of the example application: one page with a greeting
// and a counter that it keeps in the store. It shows what an application owes
// the platform it runs on: probes that tell the truth, one log line per request
// on stdout, configuration from the environment, and an end without a lost
// request. Standard library only.
//
//	web            serve
//	web self-test  check the assets; the image's build runs it
//	web health     exit 0 if the server answers; for Docker's HEALTHCHECK
//	web ctl VERB   ready, unready, hang, unhang or crash the running server
//
// Environment: PORT (8080), ADMIN (127.0.0.1:8090, for ctl), GREETING, STORE_URL
// (the counter is kept in memory without it), STORE_TOKEN, ASSETS (/srv), MOTD
// (/etc/hello/motd.txt), DRAIN (500ms: how long it goes on serving after
// SIGTERM), LOG_BYTES (pads each log line, to test with a chatty application).
package main
