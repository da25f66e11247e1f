package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stele-log/stele/pkg/client"
)

// countedEvents yields n events with the ids "0", "1" and so on.
func countedEvents(n int) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for i := range n {
			if !yield(fmt.Appendf(nil, `{"id":"%d","type":"t"}`, i)) {
				return
			}
		}
	}
}

// wantStreamed fails the test unless the stream yields a result for each of n
// events, in order, and the server has stored each once.
func wantStreamed(t *testing.T, s *server, results iter.Seq2[client.Result, error], n int) {
	t.Helper()
	i := 0
	for r, err := range results {
		if err != nil {
			t.Fatalf("after %d results: %v", i, err)
		}
		if r.ID != fmt.Sprint(i) || r.Err != nil || r.Index != uint64(i) {
			t.Fatalf("result %d is %+v", i, r)
		}
		i++
	}
	if i != n || len(s.stored) != n {
		t.Errorf("%d results, %d events stored, want %d", i, len(s.stored), n)
	}
}

func TestStreamAnswersEachEventBeforeTheNextIsSent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &server{}
		answered := make(chan struct{})
		events := func(yield func([]byte) bool) {
			for i := range 20 {
				if !yield(fmt.Appendf(nil, `{"id":"%d","type":"t"}`, i)) {
					return
				}
				<-answered
			}
		}
		n := 0
		for r, err := range newClient(t, s, client.Config{}).Stream(t.Context(), events) {
			if err != nil || r.Index != uint64(n) {
				t.Fatalf("result %d: %+v, %v", n, r, err)
			}
			n++
			answered <- struct{}{}
		}
		if n != 20 || len(s.accepts) != 1 {
			t.Errorf("%d results in %d requests, want 20 in one", n, len(s.accepts))
		}
	})
}

func TestStreamSendsAgainWhatWasNotAnswered(t *testing.T) {
	t.Parallel()
	for name, failLine := range map[string]func(w io.Writer) bool{
		"the connection breaks":       func(io.Writer) bool { drop(); return true },
		"the answer ends early":       func(io.Writer) bool { return true },
		"the answer ends in a line":   func(w io.Writer) bool { io.WriteString(w, `{"index":1`); return true },
		"the server is stopping":      func(w io.Writer) bool { io.WriteString(w, `{"end":{"status":503}}`+"\n"); return true },
		"the server was idle":         func(w io.Writer) bool { io.WriteString(w, `{"end":{"status":408}}`+"\n"); return true },
		"another event is answered":   func(w io.Writer) bool { io.WriteString(w, `{"index":0,"id":"evil"}`+"\n"); return true },
		"one event is not taken yet":  func(w io.Writer) bool { io.WriteString(w, `{"problem":{"status":503}}`+"\n"); return true },
		"not one of ours answers":     func(w io.Writer) bool { io.WriteString(w, "<html>\n"); return true },
		"heartbeats before the break": func(w io.Writer) bool { io.WriteString(w, `{"heartbeat":"now"}`+"\n"); drop(); return true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &server{}
				fails := 0
				s.failLine = func(w io.Writer, line int) bool {
					if line%400 == 399 && fails < 5 {
						fails++
						return failLine(w)
					}
					return false
				}
				wantStreamed(t, s, newClient(t, s, client.Config{}).Stream(t.Context(), countedEvents(5000)), 5000)
				if len(s.accepts) != 6 {
					t.Errorf("%d requests, want 6", len(s.accepts))
				}
			})
		})
	}
}

func TestStreamYieldsRefusedEventsInTheirPlace(t *testing.T) {
	t.Parallel()
	s := &server{}
	events := [][]byte{
		[]byte(`no event`), []byte(`{"id":"a","type":"t"}`), []byte(`{"id":"b","type":"refuse.me"}`),
		[]byte(`{}`), []byte(`{"type":"t","data":"` + strings.Repeat("x", 70_000) + `"}`),
		[]byte("{\"id\":\"c\",\n\"type\":\"t\"}"), []byte(`[]`),
	}
	var got []string
	for r, err := range newClient(t, s, client.Config{}).Stream(t.Context(), slices.Values(events)) {
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case r.Err == nil:
			got = append(got, r.ID)
		case errors.Is(r.Err, client.ErrRefused):
			got = append(got, "refused "+r.ID)
		}
	}
	if want := []string{"refused ", "a", "refused b", "refused ", "refused ", "c", "refused "}; !slices.Equal(got, want) {
		t.Errorf("results are %q, want %q", got, want)
	}
}

// TestStreamYieldsRefusedEventsAtOnce gives something that is no event while
// nothing else is on its way.
func TestStreamYieldsRefusedEventsAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		answered := make(chan struct{})
		events := func(yield func([]byte) bool) {
			for _, e := range []string{`no event`, `{"type":"t"}`, `no event`, `{}`} {
				if !yield([]byte(e)) {
					return
				}
				<-answered
			}
		}
		start := time.Now()
		for _, err := range newClient(t, &server{}, client.Config{}).Stream(t.Context(), events) {
			if err != nil {
				t.Fatal(err)
			}
			answered <- struct{}{}
		}
		if took := time.Since(start); took > 0 {
			t.Errorf("results were waited for %v", took)
		}
	})
}

func TestStreamGoesInBatchesWhereRequestsAndAnswersDoNotCross(t *testing.T) {
	t.Parallel()
	for name, stall := range map[string]bool{"an answer in one piece": false, "no answer before the end": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &server{noStreams: true}
				events := countedEvents(2500)
				if stall {
					// The stream stays open: the request has no end.
					end := make(chan struct{})
					time.AfterFunc(time.Minute, func() { close(end) })
					events = func(yield func([]byte) bool) {
						for e := range countedEvents(2500) {
							if !yield(e) {
								return
							}
						}
						<-end
					}
				}
				wantStreamed(t, s, newClient(t, s, client.Config{}).Stream(t.Context(), events), 2500)
				if last := s.accepts[len(s.accepts)-1]; stall && last != "" {
					t.Errorf("the last request accepts %q, want a batch", last)
				}
			})
		})
	}
}

func TestStreamEndsWithWhatKeepsEventsOut(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		fail func(w http.ResponseWriter, r *http.Request, n int) bool
		want string
	}{
		"the token is wrong":    {func(w http.ResponseWriter, _ *http.Request, _ int) bool { w.WriteHeader(401); return true }, "401"},
		"the server stays away": {func(http.ResponseWriter, *http.Request, int) bool { drop(); return true }, "unexpected EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &server{fail: tt.fail}
				var results int
				var failed error
				for _, err := range newClient(t, s, client.Config{}).Stream(t.Context(), countedEvents(10)) {
					if failed = err; err == nil {
						results++
					}
				}
				if results > 0 || failed == nil || !strings.Contains(failed.Error(), tt.want) {
					t.Errorf("%d results, error %v, want %s", results, failed, tt.want)
				}
			})
		})
	}
}

// TestStreamEndsWithItsContextWhileNothingComes has neither events nor an answer.
func TestStreamEndsWithItsContextWhileNothingComes(t *testing.T) {
	t.Parallel()
	stalling := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer stalling.CloseClientConnections()
	c, err := client.New(client.Config{URL: stalling.URL})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	quiet := func(yield func([]byte) bool) {
		if yield([]byte(`{"type":"t"}`)) {
			<-t.Context().Done()
		}
	}
	start := time.Now()
	for _, err := range c.Stream(ctx, quiet) {
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want the context's", err)
		}
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("the stream ended after %v", took)
	}
}

// TestStreamHasALimitedNumberOfEventsOnTheWay asks for events of which the
// server answers none.
func TestStreamHasALimitedNumberOfEventsOnTheWay(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ size, atMost int }{
		"small events": {10, 8193},
		"large events": {60_000, 4<<20/60_000 + 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				s := &server{failLine: func(io.Writer, int) bool { <-ctx.Done(); return true }}
				var taken atomic.Int64
				events := func(yield func([]byte) bool) {
					for yield(fmt.Appendf(nil, `{"type":"t","data":"%s"}`, strings.Repeat("x", tt.size))) {
						taken.Add(1)
					}
				}
				time.AfterFunc(time.Second, cancel)
				for _, err := range newClient(t, s, client.Config{}).Stream(ctx, events) {
					if !errors.Is(err, context.Canceled) {
						t.Errorf("error %v, want the context's", err)
					}
				}
				if n := int(taken.Load()); n > tt.atMost || n < tt.atMost/2 {
					t.Errorf("%d events were taken, want about %d", n, tt.atMost)
				}
			})
		})
	}
}

func TestStreamEndsWhenItsResultsAreNotWanted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &server{}
		ended := false
		events := func(yield func([]byte) bool) {
			for yield([]byte(`{"type":"t"}`)) {
			}
			ended = true
		}
		for range newClient(t, s, client.Config{}).Stream(t.Context(), events) {
			break
		}
		synctest.Wait()
		if !ended {
			t.Error("events are still asked for")
		}
	})
}
