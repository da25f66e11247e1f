package main_test

import (
	"testing"
	"time"

	"github.com/stele-log/stele/internal/test/pgproxy"
	"github.com/stele-log/stele/internal/test/pgtest"
	"github.com/stele-log/stele/pkg/client"
)

// TestServerStopsThoughTheDatabaseHangs: within 10 seconds, while a request waits to be
// answered.
func TestServerStopsThoughTheDatabaseHangs(t *testing.T) {
	t.Parallel()
	proxy := pgproxy.Start(t, pgtest.URL(t))
	s := serve(t, "--database", proxy.URL())
	c := newClient(t, s)
	if _, err := c.Append(t.Context(), client.Event{Type: "a", Source: "test"}); err != nil {
		t.Fatal(err)
	}
	proxy.Stall()
	once, err := client.New(client.Config{URL: s.url, RetryFor: -1})
	if err != nil {
		t.Fatal(err)
	}
	answered := make(chan error, 1)
	go func() {
		_, err := once.Append(t.Context(), client.Event{Type: "a", Source: "test"})
		answered <- err
	}()
	time.Sleep(200 * time.Millisecond)
	began := time.Now()
	_ = s.stop() // the request was cut off, which is an error
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %v to stop", took)
	}
	if err := <-answered; err == nil {
		t.Error("an event was acknowledged that cannot be stored")
	}
}
