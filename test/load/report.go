package load

import (
	"encoding/csv"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Summary is what a person wants to know of a run.
type Summary struct {
	Sent, Failed int
	P50, P99     time.Duration
	Max          time.Duration
	Errors       map[string]int // error text -> count
}

// Summarize adds up any number of results.
func Summarize(results []Result) Summary {
	s := Summary{Sent: len(results), Errors: make(map[string]int)}
	latencies := make([]time.Duration, 0, len(results))
	for _, r := range results {
		latencies = append(latencies, r.Latency)
		if r.Err != "" {
			s.Failed++
			s.Errors[r.Err]++
		}
	}
	if len(latencies) == 0 {
		return s
	}
	slices.Sort(latencies)
	s.P50 = latencies[len(latencies)/2]
	s.P99 = latencies[len(latencies)*99/100]
	s.Max = latencies[len(latencies)-1]
	return s
}

// String is one line, and one more for each kind of error, the most frequent first, ten at most.
func (s Summary) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d requests, %d failed, latency median %v, 99%% %v, max %v",
		s.Sent, s.Failed, round(s.P50), round(s.P99), round(s.Max))
	kinds := slices.SortedFunc(maps.Keys(s.Errors), func(a, b string) int { return s.Errors[b] - s.Errors[a] })
	for i, kind := range kinds {
		if i == 10 {
			fmt.Fprintf(&b, "\n  and %d more kinds of error", len(kinds)-i)
			break
		}
		fmt.Fprintf(&b, "\n  %d x %s", s.Errors[kind], kind)
	}
	return b.String()
}

func round(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }

// WriteCSV writes one line per request: due_unix_ns,series,latency_us,status,error.
func WriteCSV(w io.Writer, results []Result) error {
	out := csv.NewWriter(w)
	if err := out.Write([]string{"due_unix_ns", "series", "latency_us", "status", "error"}); err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	for _, r := range results {
		err := out.Write([]string{
			strconv.FormatInt(r.Due.UnixNano(), 10), r.Series,
			strconv.FormatInt(r.Latency.Microseconds(), 10), strconv.Itoa(r.Status), r.Err,
		})
		if err != nil {
			return fmt.Errorf("write results: %w", err)
		}
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	return nil
}

// WriteFile is WriteCSV into a new file.
func WriteFile(path string, results []Result) error {
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	if err := WriteCSV(file, results); err != nil {
		_ = file.Close()
		return err
	}
	if err := file.Close(); err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	return nil
}

// ReadCSV reads what WriteCSV wrote, to sum up a run that happened inside a container.
func ReadCSV(r io.Reader) ([]Result, error) {
	in := csv.NewReader(r)
	in.FieldsPerRecord = 5
	lines, err := in.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("read results: %w", err)
	}
	if len(lines) == 0 {
		return nil, fmt.Errorf("read results: %w", io.ErrUnexpectedEOF)
	}
	results := make([]Result, 0, len(lines)-1)
	for _, line := range lines[1:] {
		due, err1 := strconv.ParseInt(line[0], 10, 64)
		latency, err2 := strconv.ParseInt(line[2], 10, 64)
		status, err3 := strconv.Atoi(line[3])
		if err1 != nil || err2 != nil || err3 != nil {
			return nil, fmt.Errorf("read results: bad line %q", line)
		}
		results = append(results, Result{
			Series: line[1], Due: time.Unix(0, due), Latency: time.Duration(latency) * time.Microsecond,
			Status: status, Err: line[4],
		})
	}
	return results, nil
}
