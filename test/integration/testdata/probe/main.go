// Command probe stands in pods whose connections a test watches: it answers on each of its addresses with its name, and
// connects where the test asks it to. The test asks from the node, which no NetworkPolicy keeps out.
//
//	probe CONTROL tcp:PORT udp:PORT ...
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

func main() {
	for _, listener := range os.Args[2:] {
		network, port, _ := strings.Cut(listener, ":")
		if err := serve(network, ":"+port); err != nil {
			log.Fatal(err)
		}
	}
	http.HandleFunc("/dial", dial)
	http.HandleFunc("/lookup", lookup)
	var watched series
	http.HandleFunc("/series/start", watched.start)
	http.HandleFunc("/series/end", watched.end)
	log.Fatal(http.ListenAndServe(":"+os.Args[1], nil))
}

func serve(network, address string) error {
	name, _ := os.Hostname()
	if network == "udp" {
		conn, err := net.ListenPacket(network, address)
		if err != nil {
			return err
		}
		go func() {
			buffer := make([]byte, 1500)
			for {
				_, from, err := conn.ReadFrom(buffer)
				if err != nil {
					log.Fatal(err)
				}
				_, _ = conn.WriteTo([]byte(name), from)
			}
		}()
		return nil
	}
	listener, err := net.Listen(network, address)
	if err != nil {
		return err
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				log.Fatal(err)
			}
			_, _ = io.WriteString(conn, name)
			_ = conn.Close()
		}
	}()
	return nil
}

// dial answers with who answered, or with 504.
func dial(w http.ResponseWriter, r *http.Request) {
	name, err := connect(r.URL.Query().Get("network"), r.URL.Query().Get("address"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusGatewayTimeout)
		return
	}
	_, _ = io.WriteString(w, name)
}

// series connects again and again, until it is asked how that went.
type series struct {
	stop chan struct{}
	done chan string
}

func (s *series) start(w http.ResponseWriter, r *http.Request) {
	network, address := r.URL.Query().Get("network"), r.URL.Query().Get("address")
	stop, done := make(chan struct{}), make(chan string, 1)
	s.stop, s.done = stop, done
	go func() {
		tried, succeeded := 0, 0
		for ; ; tried++ {
			select {
			case <-stop:
				done <- fmt.Sprintf("%d of %d", succeeded, tried)
				return
			default:
			}
			if _, err := connect(network, address); err == nil {
				succeeded++
				time.Sleep(10 * time.Millisecond)
			}
		}
	}()
}

func (s *series) end(w http.ResponseWriter, r *http.Request) {
	close(s.stop)
	_, _ = io.WriteString(w, <-s.done)
}

func connect(network, address string) (string, error) {
	const limit = 400 * time.Millisecond
	conn, err := net.DialTimeout(network, address, limit)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(limit))
	if network == "udp" {
		if _, err := conn.Write([]byte("?")); err != nil {
			return "", err
		}
	}
	buffer := make([]byte, 300)
	n, err := conn.Read(buffer)
	return string(buffer[:n]), err
}

func lookup(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupHost(ctx, r.URL.Query().Get("name"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusGatewayTimeout)
		return
	}
	_, _ = fmt.Fprintln(w, addresses)
}
