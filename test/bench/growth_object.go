package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	grownNamespace = "grown"
	configMaps     = "/api/v1/namespaces/" + grownNamespace + "/configmaps"
	objectsPerPage = 500
)

func objectGrowth() growth {
	return growth{
		name: "ConfigMaps", sizes: []int{100, 1000, 20000}, limit: 15 * time.Minute, reach: reachObjects,
		curves: []curve{
			memoryCurve("objects-memory", "ConfigMaps, each with 200 bytes of data"),
			{
				Name: "objects-list", What: "One GET of all ConfigMaps as JSON, over a connection that is there, until the last byte has come",
				Unit: inSeconds, samples: 5, sample: listObjects,
			},
			{
				Name: "objects-list-paged", What: "The same in pages of 500, one after the other",
				Unit: inSeconds, samples: 5, sample: pageObjects,
			},
			{
				Name: "objects-watch", What: "From the request that changes one ConfigMap to its event in a watch of all",
				Unit: inSeconds, samples: 20, sample: watchObject,
			},
		},
	}
}

func grownObject(i int, text string) map[string]any {
	return map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{"name": fmt.Sprint("grown-", i)},
		"data":     map[string]string{"text": text},
	}
}

func reachObjects(ctx context.Context, s *subject, have, size int) error {
	k, err := kubeOf(ctx, s)
	if err != nil {
		return err
	}
	defer k.api.Close()
	if have == 0 {
		namespace := map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": grownNamespace}}
		if _, err := k.do(ctx, http.MethodPost, "/api/v1/namespaces", namespace); err != nil {
			return err
		}
	}
	text := strings.Repeat("text", 50)
	return several(ctx, 16, have, size, func(ctx context.Context, i int) error {
		_, err := k.do(ctx, http.MethodPost, configMaps, grownObject(i, text))
		return err
	})
}

// objectList is as much of a list as is looked at.
type objectList struct {
	Metadata struct {
		Continue        string `json:"continue"`
		ResourceVersion string `json:"resourceVersion"`
	} `json:"metadata"`
	Items []struct{} `json:"items"`
}

func listObjects(ctx context.Context, s *subject, size int) (float64, error) {
	k, err := connected(ctx, s)
	if err != nil {
		return 0, err
	}
	defer k.api.Close()
	begun := time.Now()
	answer, err := k.do(ctx, http.MethodGet, configMaps, nil)
	took := time.Since(begun).Seconds()
	if err != nil {
		return 0, err
	}
	var list objectList
	if err := json.Unmarshal(answer, &list); err != nil {
		return 0, err
	}
	return took, wantObjects(len(list.Items), size)
}

// wantObjects: a namespace has a ConfigMap of its own, with the authority's certificate.
func wantObjects(got, size int) error {
	if got < size || got > size+1 {
		return fmt.Errorf("the list has %d of %d ConfigMaps", got, size)
	}
	return nil
}

func pageObjects(ctx context.Context, s *subject, size int) (float64, error) {
	k, err := connected(ctx, s)
	if err != nil {
		return 0, err
	}
	defer k.api.Close()
	query := url.Values{"limit": {strconv.Itoa(objectsPerPage)}}
	got := 0
	var took time.Duration // without the reading of what has come
	for range size/objectsPerPage + 2 {
		begun := time.Now()
		answer, err := k.do(ctx, http.MethodGet, configMaps+"?"+query.Encode(), nil)
		took += time.Since(begun)
		if err != nil {
			return 0, err
		}
		var list objectList
		if err := json.Unmarshal(answer, &list); err != nil {
			return 0, err
		}
		got += len(list.Items)
		if list.Metadata.Continue == "" {
			break
		}
		query.Set("continue", list.Metadata.Continue)
	}
	return took.Seconds(), wantObjects(got, size)
}

func watchObject(ctx context.Context, s *subject, size int) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute) // its end ends the watch
	defer cancel()
	k, err := connected(ctx, s)
	if err != nil {
		return 0, err
	}
	defer k.api.Close()
	first, err := k.do(ctx, http.MethodGet, configMaps+"?limit=1", nil)
	if err != nil {
		return 0, err
	}
	var at objectList
	if err := json.Unmarshal(first, &at); err != nil {
		return 0, err
	}
	query := url.Values{"watch": {"1"}, "resourceVersion": {at.Metadata.ResourceVersion}}
	events, err := k.api.Open(ctx, http.MethodGet, configMaps+"?"+query.Encode(), nil)
	if err != nil {
		return 0, err
	}
	defer func() { _ = events.Body.Close() }()
	// Its length stays, so that the size of the objects does.
	text := fmt.Sprintf("%0200d", time.Now().UnixNano())
	changed := make(chan error, 1)
	begun := time.Now()
	go func() {
		_, err := k.do(ctx, http.MethodPut, fmt.Sprintf("%s/grown-%d", configMaps, size/2), grownObject(size/2, text))
		if err != nil {
			cancel()
		}
		changed <- err
	}()
	if err := readUntilText(events.Body, text); err != nil {
		cancel()
		return 0, fmt.Errorf("%w (the change: %w)", err, <-changed)
	}
	took := time.Since(begun).Seconds()
	return took, <-changed
}

func readUntilText(events io.Reader, text string) error {
	for decoder := json.NewDecoder(events); ; {
		var event struct {
			Object struct {
				Data map[string]string `json:"data"`
			} `json:"object"`
		}
		if err := decoder.Decode(&event); err != nil {
			return fmt.Errorf("watch ConfigMaps: %w", err)
		}
		if event.Object.Data["text"] == text {
			return nil
		}
	}
}
