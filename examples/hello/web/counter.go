package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"
)

func newCounter(url, token string) counter {
	if url == "" {
		return &memoryCounter{}
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = nil // the store is a neighbour, whatever HTTP_PROXY says
	transport.MaxIdleConnsPerHost = 32
	return &storeCounter{
		url:    url + "/keys/visits/increment",
		token:  token,
		client: &http.Client{Transport: transport, Timeout: 2 * time.Second},
	}
}

// memoryCounter forgets when the process ends.
type memoryCounter struct{ count atomic.Int64 }

func (c *memoryCounter) next(context.Context) (int64, error) { return c.count.Add(1), nil }

// storeCounter counts in the store.
type storeCounter struct {
	url, token string
	client     *http.Client
}

func (c *storeCounter) next(ctx context.Context) (int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, nil)
	if err != nil {
		return 0, err
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("store: %s", resp.Status)
	}
	var answer struct {
		Value int64 `json:"value"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return 0, fmt.Errorf("store: %w", err)
	}
	return answer.Value, nil
}
