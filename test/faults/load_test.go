//go:build faults

package faults

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/boxyard/boxyard/test/harness"
)

// TestManyClients: 500 clients list and watch for 20 s. Priority and fairness may tell them to wait; nothing crashes,
// the administrator is served all the time, and the parts are Ready afterwards.
func TestManyClients(t *testing.T) {
	const clients = 500
	y := start(t, harness.Options{})
	ctx := t.Context()
	y.must(y.Kubectl(ctx, "create", "serviceaccount", "crowd"))
	y.must(y.Kubectl(ctx, "create", "clusterrolebinding", "crowd", "--clusterrole=view", "--serviceaccount=default:crowd"))
	token := y.must(y.Kubectl(ctx, "create", "token", "crowd"))
	admin := y.api()
	y.create(admin, "default", 200, 20)
	before, pid := y.memory(), y.pid()

	crowd, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	var mu sync.Mutex
	answers := map[string]int{}
	count := func(what string) {
		mu.Lock()
		defer mu.Unlock()
		answers[what]++
	}
	var all sync.WaitGroup
	for n := range clients {
		api := admin.WithToken(y.Instance, token)
		all.Go(func() {
			defer api.Close()
			for crowd.Err() == nil {
				what := ask(crowd, api, n%2 == 0)
				if crowd.Err() == nil {
					count(what)
				}
			}
		})
	}
	var slowest time.Duration
	for crowd.Err() == nil {
		began := time.Now()
		if status, _, err := admin.Do(ctx, http.MethodGet, "/api/v1/namespaces/default/configmaps/object-0", nil); err != nil || status != 200 {
			t.Errorf("the administrator got %d, %v", status, err)
		}
		slowest = max(slowest, time.Since(began))
		y.wait(200 * time.Millisecond)
	}
	peak := y.memory()
	all.Wait()
	t.Logf("answers to %d clients: %v; the administrator waited %v at most; memory of the cluster process: %d MiB before, %d MiB under load", clients, answers, slowest.Round(time.Millisecond), before, peak)
	if answers["list 200"] < 100 || answers["watch 200"] < 100 {
		t.Errorf("hardly anybody was served: %v", answers)
	}
	for what := range maps.Keys(answers) {
		if !strings.HasSuffix(what, " 200") && !strings.HasSuffix(what, " 429") {
			t.Errorf("%d times: %s", answers[what], what)
		}
	}
	y.isReady(15*time.Second, "after the crowd has gone")
	if now := y.pid(); now != pid {
		t.Errorf("the cluster process was restarted: pid %d, then %d", pid, now)
	}
}

// ask sends one request and says how it ended. A watch is read for a second.
func ask(ctx context.Context, api *harness.API, watch bool) string {
	if !watch {
		status, _, err := api.Do(ctx, http.MethodGet, "/api/v1/configmaps", nil)
		if err != nil {
			return "list " + err.Error()
		}
		return fmt.Sprintf("list %d", status)
	}
	response, err := api.Open(ctx, http.MethodGet, "/api/v1/configmaps?watch=true&timeoutSeconds=1", nil)
	if err != nil {
		return "watch " + err.Error()
	}
	defer func() { _ = response.Body.Close() }()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return "watch " + err.Error()
	}
	return fmt.Sprintf("watch %d", response.StatusCode)
}

// TestTenThousandObjects in a namespace: they are listed, a watch tells of each, and the namespace is deleted.
func TestTenThousandObjects(t *testing.T) {
	const objects = 10_000
	y := start(t, harness.Options{})
	ctx := t.Context()
	api := y.api()
	y.must(y.Kubectl(ctx, "create", "namespace", "many"))
	before := y.memory()

	added := y.watch(api, "/api/v1/namespaces/many/configmaps?watch=true", objects)
	began := time.Now()
	y.create(api, "many", objects, 20)
	t.Logf("created in %v", time.Since(began).Round(time.Millisecond))
	select {
	case err := <-added:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("the watch has not told of each after a minute")
	}
	full := y.memory()

	began = time.Now()
	if got := strings.Count(y.must(y.Kubectl(ctx, "get", "configmaps", "--namespace=many", "-o", "name")), "configmap/object-"); got != objects {
		t.Errorf("kubectl lists %d", got)
	}
	t.Logf("listed by kubectl in %v", time.Since(began).Round(time.Millisecond))
	status, body, err := api.Do(ctx, http.MethodGet, "/api/v1/namespaces/many/configmaps", nil)
	var list struct {
		Items []json.RawMessage `json:"items"`
	}
	if err == nil {
		err = json.Unmarshal(body, &list)
	}
	if err != nil || status != 200 || len(list.Items) != objects+1 { // and kube-root-ca.crt
		t.Errorf("one list has %d: status %d, %v", len(list.Items), status, err)
	}

	began = time.Now()
	y.must(y.Kubectl(ctx, "delete", "namespace", "many", "--timeout=180s"))
	t.Logf("deleted in %v", time.Since(began).Round(time.Millisecond))
	y.isReady(15*time.Second, "without them")
	t.Logf("memory of the cluster process: %d MiB before, %d MiB with %d ConfigMaps, %d MiB after", before, full, objects, y.memory())
}

// create makes ConfigMaps over so many connections.
func (y yard) create(api *harness.API, namespace string, objects, connections int) {
	y.t.Helper()
	numbers := make(chan int)
	var all sync.WaitGroup
	for range connections {
		all.Go(func() {
			for n := range numbers {
				body := fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"object-%d"},"data":{"key":%q}}`, n, strings.Repeat("x", 500))
				if status, answer, err := api.Do(y.t.Context(), http.MethodPost, "/api/v1/namespaces/"+namespace+"/configmaps", []byte(body)); err != nil || status != 201 {
					y.t.Errorf("create object-%d: status %d, %v: %.200s", n, status, err, answer)
				}
			}
		})
	}
	for n := range objects {
		numbers <- n
	}
	close(numbers)
	all.Wait()
}

// watch sends nil, or what went wrong, once it was told of so many objects.
func (y yard) watch(api *harness.API, path string, objects int) <-chan error {
	y.t.Helper()
	response, err := api.Open(y.t.Context(), http.MethodGet, path, nil)
	if err != nil {
		y.t.Fatal(err)
	}
	y.t.Cleanup(func() { _ = response.Body.Close() })
	told := make(chan error, 1)
	go func() {
		lines := bufio.NewScanner(response.Body)
		lines.Buffer(nil, 1<<20)
		for seen := 0; seen < objects; {
			if !lines.Scan() {
				told <- fmt.Errorf("the watch ended after %d objects: %w", seen, lines.Err())
				return
			}
			if strings.Contains(lines.Text(), `"type":"ADDED"`) && strings.Contains(lines.Text(), `"name":"object-`) {
				seen++
			}
		}
		told <- nil
	}()
	return told
}

func (y yard) pid() int {
	y.t.Helper()
	status, err := y.Status(y.t.Context())
	if err != nil {
		y.t.Fatal(err)
	}
	return status.PIDOf("cluster")
}

// memory is the resident memory of the cluster process in MiB.
func (y yard) memory() int {
	y.t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", y.pid()))
	if err != nil {
		y.t.Fatal(err)
	}
	var kib int
	for line := range strings.Lines(string(data)) {
		if value, found := strings.CutPrefix(line, "VmRSS:"); found {
			if _, err := fmt.Sscanf(strings.TrimSpace(value), "%d kB", &kib); err != nil {
				y.t.Fatal(err)
			}
		}
	}
	return kib >> 10
}
