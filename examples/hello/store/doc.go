// Command store is the back of the example application: a small HTTP key-value
// store of integers, kept in one file. An answer means that the value is on
// disk. Standard library only.
//
//	GET  /keys/NAME            {"value":3}
//	PUT  /keys/NAME            body: a number
//	POST /keys/NAME/increment  {"value":4}
//	GET  /healthz
//
// `store` serves, `store health` asks a running one, `store self-test` writes
// and reads in a temporary directory. Environment: PORT (8081), DATA (/data),
// STORE_TOKEN (asked for as a bearer token where set).
package main
