package main_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stele-log/stele/internal/test/tlstest"
	"github.com/stele-log/stele/pkg/client"
	"github.com/stele-log/stele/pkg/event"
)

// counted yields events with the ids prefix-0, prefix-1 and so on until the
// context ends, with a pause before each.
func counted(ctx context.Context, prefix string, pause time.Duration) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for i := 0; ctx.Err() == nil; i++ {
			time.Sleep(pause)
			if !yield(fmt.Appendf(nil, `{"id":"%s-%d","source":"stream","type":"t"}`, prefix, i)) {
				return
			}
		}
	}
}

// TestServerEndsWithManyStreamsOpen ends a server with 100 streams, half of them
// idle, and looks for what was acknowledged last on each.
func TestServerEndsWithManyStreamsOpen(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := serve(t, d.flags...)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var mu sync.Mutex
		count, last := uint64(0), map[int]client.Result{} // by stream
		var streams, busy sync.WaitGroup
		for w := range 100 {
			c, err := client.New(client.Config{URL: s.url, RetryFor: -1})
			if err != nil {
				t.Fatal(err)
			}
			events := counted(ctx, fmt.Sprint(w), 5*time.Millisecond)
			if w%2 == 0 {
				events = func(yield func([]byte) bool) {
					if yield(fmt.Appendf(nil, `{"id":"%d","source":"stream","type":"t"}`, w)) {
						<-ctx.Done()
					}
				}
			}
			busy.Add(1)
			streams.Go(func() {
				first := sync.OnceFunc(busy.Done)
				defer first()
				for r, err := range c.Stream(ctx, events) {
					first()
					if err != nil {
						return
					}
					mu.Lock()
					last[w] = r
					count++
					mu.Unlock()
				}
			})
		}
		busy.Wait()
		start := time.Now()
		if err := s.stop(); err != nil {
			t.Errorf("the server ended with %v", err)
		}
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("the server took %v to end", took)
		}
		cancel()
		streams.Wait()

		restarted := serve(t, d.flags...)
		c := newClient(t, restarted)
		for _, want := range last {
			entry, err := c.Entry(t.Context(), want.Index)
			if err != nil {
				t.Fatalf("event %s was acknowledged: %v", want.ID, err)
			}
			if e, err := event.Decode(entry); err != nil || e.ID != want.ID {
				t.Fatalf("entry %d is event %q, %v; acknowledged was %q", want.Index, e.ID, err, want.ID)
			}
		}
		if size := wholeSize(t, restarted); len(last) != 100 || size < count {
			t.Errorf("%d streams had answers, %d in all; the log has %d entries", len(last), count, size)
		}
	})
}

// TestKilledServerIsStreamedToAgain kills a server in the middle of a stream, and
// starts it again.
func TestKilledServerIsStreamedToAgain(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := serve(t, d.flags...)
		address := strings.TrimPrefix(s.url, "http://")
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		enough, stop := context.WithCancel(ctx)
		defer stop()
		n := 0
		for r, err := range newClient(t, s).Stream(ctx, counted(enough, "again", 0)) {
			if err != nil {
				t.Fatalf("after %d results: %v", n, err)
			}
			if r.ID != fmt.Sprintf("again-%d", n) || r.Index != uint64(n) {
				t.Fatalf("result %d is %+v", n, r)
			}
			switch n++; n {
			case 1000, 3000:
				s.end(syscall.SIGKILL)
				s = serve(t, append([]string{"--listen", address}, d.flags...)...)
			case 5000:
				stop()
			}
		}
		head := wholeSize(t, s)
		if head < uint64(n) {
			t.Errorf("the log has %d entries, %d were acknowledged", head, n)
		}
	})
}

// wholeSize returns how many entries a log had, which must be whole.
func wholeSize(t *testing.T, s *served) uint64 {
	t.Helper()
	c := newClient(t, s)
	results, err := c.WithReceipts().Append(t.Context(), client.Event{Type: "last"})
	if err != nil {
		t.Fatal(err)
	}
	run(t, 0, "check", c.Prefix(), "--key", vkey(t, c))
	return results[0].Index
}

// TestCurlOverTLSAndHTTP2 appends, waits and streams as an operator would try it.
func TestCurlOverTLSAndHTTP2(t *testing.T) {
	t.Parallel()
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("curl is not installed")
	}
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	tlstest.WriteCertificate(t, cert, key)
	s := serve(t, "--tls-cert", cert, "--tls-key", key)
	do := func(stdin string, args ...string) string {
		t.Helper()
		cmd := exec.Command(curl, append([]string{"--silent", "--show-error", "--fail-with-body", "--cacert", cert, "--http2"}, args...)...)
		cmd.Stdin = strings.NewReader(stdin)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("curl %q: %v\n%s", args, err, out)
		}
		return string(out)
	}
	events := s.url + "/logs/default/events"
	if got := do("", "--write-out", "%{http_version}", "--output", os.DevNull, s.url+"/healthz"); got != "2" {
		t.Errorf("spoken is HTTP/%s", got)
	}
	if got := do("", "--json", `{"type":"one"}`, events); !strings.Contains(got, `"index":0`) {
		t.Errorf("appended: %s", got)
	}
	if got := do("", "--json", `{"type":"two"}`, events+"?wait=published"); !strings.Contains(got, "c2sp.org/tlog-proof@v1") {
		t.Errorf("waited: %s", got)
	}
	lines := strings.Repeat(`{"type":"line"}`+"\n", 1000)
	for _, version := range []string{"--http2", "--http1.1"} {
		got := do(lines, version, "--no-buffer", "--header", "Content-Type: application/x-ndjson", "--header", "Accept: application/x-ndjson",
			"--request", "POST", "--upload-file", "-", events)
		if n := strings.Count(got, `{"status":201,"index":`); n != 1000 {
			t.Errorf("%s: %d lines are answered as stored: %.300s", version, n, got)
		}
	}
}
