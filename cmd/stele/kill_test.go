package main_test

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"testing"

	"github.com/stele-log/stele/pkg/client"
	"github.com/stele-log/stele/pkg/event"
	"github.com/stele-log/stele/pkg/tree"
)

// TestKilledServerHasEveryAcknowledgedEvent kills the server in mid-load, again
// and again.
func TestKilledServerHasEveryAcknowledgedEvent(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		acknowledged := map[string]client.Result{}
		for round := range 3 {
			s := serve(t, d.flags...)
			load(t, s, round, 2000, acknowledged)
			s.end(syscall.SIGKILL)
		}
		s := serve(t, d.flags...)
		c := newClient(t, s)
		for id, want := range acknowledged {
			entry, err := c.Entry(t.Context(), want.Index)
			if err != nil {
				t.Fatalf("event %s was acknowledged: %v", id, err)
			}
			e, err := event.Decode(entry)
			if err != nil || e.ID != id || tree.LeafHash(entry) != want.LeafHash {
				t.Fatalf("entry %d is event %q with leaf hash %s, %v; acknowledged was %q with %s",
					want.Index, e.ID, tree.LeafHash(entry), err, id, want.LeafHash)
			}
		}
		run(t, 0, "check", c.Prefix(), "--key", vkey(t, c))
	})
}

// load sends events from several writers until n are acknowledged, and leaves
// requests under way.
func load(t *testing.T, s *served, round, n int, acknowledged map[string]client.Result) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	enough := make(chan struct{})
	var mu sync.Mutex
	var got int
	for w := range 8 {
		// These are not waited for: the server dies under them.
		c, err := client.New(client.Config{URL: s.url, RetryFor: -1})
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for i := 0; ctx.Err() == nil; i++ {
				events := make([]client.Event, 1+i%7)
				for j := range events {
					events[j] = client.Event{ID: fmt.Sprintf("%d-%d-%d-%d", round, w, i, j), Source: "load", Type: "t"}
				}
				results, err := c.Append(ctx, events...)
				if err != nil {
					return
				}
				mu.Lock()
				before := got
				for _, r := range results {
					acknowledged[r.ID] = r
				}
				got += len(results)
				if before < n && got >= n {
					close(enough)
				}
				if before >= n {
					mu.Unlock()
					continue
				}
				mu.Unlock()
			}
		}()
	}
	<-enough
}

func newClient(t *testing.T, s *served) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{URL: s.url})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func vkey(t *testing.T, c *client.Client) string {
	t.Helper()
	info, err := c.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return info.VKey
}
