package container

import (
	"context"
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/moby/moby/client"
)

// web is the first of listed, as an inspection has it.
const web = `{"Id":"a1","Name":"/web","State":{"Status":"running"},"Config":{},"HostConfig":{"NetworkMode":"a"},"NetworkSettings":{
 "Ports":{"8000/tcp":[{"HostIp":"0.0.0.0","HostPort":"32000"},{"HostIp":"::","HostPort":"32000"}],"53/udp":null,"9000/tcp":null},
 "Networks":{"b":{"NetworkID":"n-b","IPAddress":"10.45.0.3"},"a":{"NetworkID":"n-a","IPAddress":"10.44.0.2","GlobalIPv6Address":"fd42::2"},"c":{"NetworkID":"n-c"}}}}`

// inspected answers with what it has; the others are gone.
type inspected struct {
	fakeDocker
	containers map[string]string
}

func (f inspected) ContainerInspect(_ context.Context, id string, _ client.ContainerInspectOptions) (client.ContainerInspectResult, error) {
	var r client.ContainerInspectResult
	text, ok := f.containers[id]
	if !ok {
		return r, errdefs.ErrNotFound
	}
	return r, json.Unmarshal([]byte(text), &r.Container)
}

func TestTrackerSaysWhatAListSays(t *testing.T) {
	docker := inspected{fakeDocker{t}, map[string]string{
		"a1": web,
		"b1": `{"Id":"b1","Name":"/shop-api-1","State":{"Status":"running"},"Config":{"Labels":{"com.docker.compose.project":"shop","com.docker.compose.service":"api","com.docker.compose.container-number":"1"}}}`,
	}}
	var tracked Tracker
	if err := tracked.Load(t.Context(), docker); err != nil {
		t.Fatal(err)
	}
	ignore := cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{})
	if d := cmp.Diff(list(t), tracked.All(), cmpopts.EquateEmpty(), ignore); d != "" {
		t.Errorf("after Load (-list +tracked):\n%s", d)
	}
	if err := tracked.Update(t.Context(), docker, []string{"a1", "b1", "d1", "never-there"}); err != nil {
		t.Fatal(err)
	}
	want := slices.DeleteFunc(list(t), func(c Container) bool { return c.ID == "d1" })
	for i := range want {
		if want[i].ID == "b1" {
			want[i].State = "running"
		}
	}
	byID := func(a, b Container) int { return strings.Compare(a.ID, b.ID) }
	got := tracked.All()
	slices.SortFunc(want, byID)
	slices.SortFunc(got, byID)
	if d := cmp.Diff(want, got, cmpopts.EquateEmpty(), ignore); d != "" {
		t.Errorf("after Update (-want +got):\n%s", d)
	}
}
