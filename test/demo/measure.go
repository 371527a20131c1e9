package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/boxyard/boxyard/test/harness"
	"github.com/boxyard/boxyard/test/load"
)

// timing is one line of the last table.
type timing struct {
	what        string
	value, goal string
}

func (d *demo) timing(what string, took, goal time.Duration) {
	if d.err != nil {
		return
	}
	line := timing{what: what, value: fmt.Sprintf("%.2f s", took.Seconds())}
	if goal > 0 {
		line.goal = fmt.Sprintf("%.1f s", goal.Seconds())
	}
	d.times = append(d.times, line)
	d.note("%s: %s", what, line.value)
}

// startLoad sends requests to both addresses, half of them over kept connections and half over
// new ones, until the returned function is called. That one keeps the raw results and fails
// the demo if a single request failed.
func (d *demo) startLoad(web service) (stop func(file string)) {
	if d.err != nil {
		return func(string) {}
	}
	var plans []load.Plan
	for name, url := range map[string]string{"ClusterIP": web.clusterIP, "NodePort": web.nodePort} {
		for _, mode := range []load.Mode{load.KeepAlive, load.New} {
			plans = append(plans, load.Plan{
				Name: name + " " + string(mode), URL: url, Mode: mode, Rate: max(d.rate/2, 1),
				Duration: 5 * time.Minute, Expect: "Hello from Kubernetes",
			})
		}
	}
	ctx, cancel := context.WithCancel(d.ctx)
	results, errs := make([][]load.Result, len(plans)), make([]error, len(plans))
	var running sync.WaitGroup
	for i, plan := range plans {
		running.Go(func() { results[i], errs[i] = load.Run(ctx, plan) })
	}
	begun := time.Now()
	d.note("load: %d requests/s in all", len(plans)*max(d.rate/2, 1))
	d.pause(2 * time.Second) // some requests before anything changes
	return func(file string) {
		d.pause(2 * time.Second) // and some after it
		cancel()
		running.Wait()
		d.judgeLoad(filepath.Join(d.results, file), time.Since(begun), results, errs)
	}
}

func (d *demo) judgeLoad(file string, took time.Duration, results [][]load.Result, errs []error) {
	var all []load.Result
	for i := range results {
		if errs[i] != nil {
			d.fail("%w", errs[i])
			return
		}
		if len(results[i]) > 0 {
			d.note("%-20s %v", results[i][0].Series, load.Summarize(results[i]))
		}
		all = append(all, results[i]...)
	}
	if err := load.WriteFile(file, all); err != nil {
		d.fail("%w", err)
		return
	}
	sum := load.Summarize(all)
	d.note("%d requests in %v, raw results in %s", sum.Sent, seconds(took), file)
	if sum.Failed > 0 {
		d.fail("%d of %d requests failed during the update:\n%v", sum.Failed, sum.Sent, sum)
	}
	if wanted := int(took.Seconds() * float64(d.rate)); sum.Sent < wanted {
		d.fail("only %d requests were sent in %v", sum.Sent, seconds(took))
	}
}

func (d *demo) pause(length time.Duration) {
	select {
	case <-d.ctx.Done():
	case <-time.After(length):
	}
}

// coldStart takes the times that need an empty data directory, in a confined instance beside
// the running one.
func (d *demo) coldStart() {
	if d.err != nil {
		return
	}
	d.title("Times of a first and of a cold start, in a second, confined instance")
	in, err := harness.Start(harness.Options{Binary: d.binary, NoPayload: true})
	if err != nil {
		d.fail("%w", err)
		return
	}
	defer func() {
		if err := in.Close(); err != nil {
			d.fail("close the confined instance: %w", err)
		}
	}()
	d.confinedUp(in, "first `boxyard up` ever, extraction included", 5*time.Second)
	d.confined(in, "down")
	if d.err == nil {
		if err := in.WipeData(); err != nil {
			d.fail("%w", err)
		}
	}
	d.confinedUp(in, "cold `boxyard up` on an empty data directory", 3500*time.Millisecond)
	d.idle(in)
}

// confinedUp runs `up` and holds it to its word: node Ready, DNS answering.
func (d *demo) confinedUp(in *harness.Instance, what string, goal time.Duration) {
	if d.err != nil {
		return
	}
	took := d.confined(in, in.UpArgs()...)
	node := d.confinedOutput(in, "kubectl", "get", "nodes", "--no-headers")
	d.expect("the node after `up`", node, " Ready ")
	if d.err != nil {
		return
	}
	if _, err := in.Lookup(d.ctx, "kubernetes.default.svc.cluster.local"); err != nil {
		d.fail("DNS does not answer after `up`: %w", err)
	}
	d.timing(what, took, goal)
}

func (d *demo) confined(in *harness.Instance, args ...string) time.Duration {
	if d.err != nil {
		return 0
	}
	d.command(append([]string{"boxyard"}, args...))
	result, err := in.Exec(d.ctx, harness.Command{Name: in.Binary, Args: args})
	d.show(result.Output())
	if err != nil {
		d.fail("%w", err)
	} else if result.Code != 0 {
		d.fail("boxyard %s: exit code %d", strings.Join(args, " "), result.Code)
	}
	return result.Took
}

func (d *demo) confinedOutput(in *harness.Instance, args ...string) string {
	if d.err != nil {
		return ""
	}
	out, err := in.Boxyard(d.ctx, args...)
	if err != nil {
		d.fail("%w", err)
	}
	return out
}

func (d *demo) idle(in *harness.Instance) {
	if d.err != nil {
		return
	}
	d.note("measuring what it uses when idle; this takes 80 s")
	d.pause(60 * time.Second) // the work that follows a start
	usage, err := in.Usage(d.ctx, 20*time.Second)
	if err != nil {
		d.fail("%w", err)
		return
	}
	d.times = append(d.times,
		timing{"idle: anonymous memory of all processes", fmt.Sprintf("%d MB", usage.AnonBytes/1e6), "450 MB"},
		timing{"idle: CPU of all processes, of one core", fmt.Sprintf("%.1f %%", usage.CPU*100), "4 %"})
}

// farewell prints the table of times and what to try next.
func (d *demo) farewell(only string) {
	if d.err != nil {
		return
	}
	d.title("Times measured")
	for _, t := range d.times {
		goal := ""
		if t.goal != "" {
			goal = "(goal: " + t.goal + ")"
		}
		fmt.Fprintf(d.out, "  %-48s %10s  %s\n", t.what, t.value, goal)
	}
	fmt.Fprintf(d.out, "\nEverything works. It is still running; what to type next:\n\n")
	lines := []string{`export PATH="/var/lib/boxyard/bin:$PATH"      # docker, kubectl, helm`, "docker images"}
	if only != "docker" {
		lines = append(lines,
			"kubectl -n hello get pods",
			"curl $(boxyard url svc/web -n hello | head -1)",
			"kubectl -n hello scale deployment/web --replicas=10",
			"kubectl delete namespace hello")
	}
	lines = append(lines, "docker run --rm -it boxyard/base", "boxyard status", "boxyard down")
	for _, line := range lines {
		fmt.Fprintf(d.out, "  %s\n", line)
	}
}
