// Command load sends a bounded number of requests to one URL, writes one CSV
// line for each to stdout and the sum to stderr. It exits with 1 if one failed.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/boxyard/boxyard/test/load"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	flags.SetOutput(stderr)
	var plan load.Plan
	flags.StringVar(&plan.URL, "url", "", "where to send requests")
	flags.StringVar(&plan.Name, "name", "", "name of the series in the CSV")
	flags.IntVar(&plan.Rate, "rate", 100, "requests per second")
	flags.DurationVar(&plan.Duration, "duration", 10*time.Second, "how long to send")
	flags.StringVar((*string)(&plan.Mode), "mode", string(load.KeepAlive), "keepalive or new connections")
	flags.BoolVar(&plan.LookupEach, "lookup", false, "resolve the name for each request")
	flags.StringVar(&plan.DNS, "dns", "", "name server, host:port")
	flags.StringVar(&plan.Expect, "expect", "", "text that each answer must contain")
	flags.DurationVar(&plan.Timeout, "timeout", 5*time.Second, "of one request")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	results, err := load.Run(ctx, plan)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 2
	}
	if err := load.WriteCSV(stdout, results); err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	sum := load.Summarize(results)
	fmt.Fprintln(stderr, sum)
	if sum.Failed > 0 || sum.Sent == 0 {
		return 1
	}
	return 0
}
