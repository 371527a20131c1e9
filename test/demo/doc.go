// Command demo is `make demo`: it walks the whole way from a Dockerfile to a
// rolling update on the machine that it runs on, printing each command before
// it runs it and checking what comes out. It stops at the first thing that is
// not as it should be. What it leaves running is for the user to try.
//
// It uses Boxyard as a user does, by its command line. Only the times of a
// first and a cold start are taken in a confined instance, because the machine's
// own data is not ours to remove.
package main
