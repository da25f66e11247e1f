package client_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stele-log/stele/pkg/client"
	"github.com/stele-log/stele/pkg/event"
)

func TestAppendSendsBytesAsTheyAre(t *testing.T) {
	t.Parallel()
	s := &server{}
	c := newClient(t, s, client.Config{})
	for _, sent := range []string{
		`{"id":"1","type":"a"}`,
		`{ "id" : "2", "type":"a", "data": {"n": 1.50, "s": "\u00e9"}, "source":"//x" }`,
		"{\"id\":\"3\",\t\"type\":\"a\"}\r",
	} {
		results, err := c.AppendJSON(t.Context(), []byte(sent))
		if err != nil {
			t.Fatal(err)
		}
		if got := s.stored[results[0].Index]; got != sent {
			t.Errorf("sent %s, want %s", got, sent)
		}
	}
}

func TestAppendGivesAnIDToEventsWithout(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, given, want string }{
		{"missing", `{ "type": "a", "data": [1, "}"] } `, `{"type":"a","data":[1,"}"],"id":"ID"}`},
		{"null", `{"type":"a","id":null,"data":{}}`, `{"type":"a","data":{},"id":"ID"}`},
		{"several lines", "{\n \"type\":\"a\"\n}", `{"type":"a","id":"ID"}`},
		{"several lines, with id", "{\n \"id\":\"ID\",\n \"type\":\"a\"\n}", `{"id":"ID","type":"a"}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := &server{}
			results, err := newClient(t, s, client.Config{}).AppendJSON(t.Context(), []byte(test.given))
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.ReplaceAll(s.stored[0], results[0].ID, "ID"); got != test.want {
				t.Errorf("sent %s, want %s", got, test.want)
			}
		})
	}
}

func TestAppendWritesEvents(t *testing.T) {
	t.Parallel()
	s := &server{}
	c := newClient(t, s, client.Config{})
	at := time.Date(2026, 11, 21, 9, 42, 0, 5000, time.UTC)
	before := time.Now()
	results, err := c.Append(t.Context(),
		client.Event{ID: "1", Source: "//shop", Type: "order.placed", Subject: "o/1", Time: at,
			Data: map[string]string{"note": "<&>"}, Extensions: map[string]any{"b": true, "a": 7}},
		client.Event{Type: "order.paid"})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"specversion":"1.0","id":"1","source":"//shop","type":"order.placed","subject":"o/1",` +
		`"time":"2026-11-21T09:42:00.000005Z","a":7,"b":true,"data":{"note":"<&>"}}`
	if s.stored[0] != want {
		t.Errorf("sent\n%s, want\n%s", s.stored[0], want)
	}
	second, err := event.Parse([]byte(s.stored[1]), event.Sender{Name: "tester"})
	if err != nil {
		t.Fatal(err)
	}
	if second.ID != results[1].ID || second.Time.Before(before) {
		t.Errorf("second event has id %s and time %v", second.ID, second.Time)
	}
}

func TestAppendRetriesAndStoresOnce(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		fail func(w http.ResponseWriter)
	}{
		{"no answer", func(http.ResponseWriter) { drop() }},
		{"429", func(w http.ResponseWriter) { w.WriteHeader(429) }},
		{"502", func(w http.ResponseWriter) { w.WriteHeader(502) }},
		{"503", func(w http.ResponseWriter) { w.WriteHeader(503) }},
		{"504", func(w http.ResponseWriter) { w.WriteHeader(504) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &server{failAfter: func(w http.ResponseWriter, _ *http.Request, n int) bool {
					if n < 4 {
						test.fail(w)
					}
					return n < 4
				}}
				told := 0
				c := newClient(t, s, client.Config{Retrying: func(error, time.Duration) { told++ }})
				results, err := c.AppendJSON(t.Context(), []byte(`{"type":"a"}`), []byte(`{"type":"b"}`))
				if err != nil {
					t.Fatal(err)
				}
				if len(s.stored) != 2 || results[1].Index != 1 || told != 3 {
					t.Errorf("stored %d events, the second at %d, after %d failures", len(s.stored), results[1].Index, told)
				}
			})
		})
	}
}

func TestAppendWaitsAsLongAsTheServerSays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &server{fail: func(w http.ResponseWriter, _ *http.Request, n int) bool {
			switch n {
			case 1:
				w.Header().Set("Retry-After", "20")
			case 2:
				w.Header().Set("Retry-After", time.Now().Add(10*time.Second).UTC().Format(http.TimeFormat))
			default:
				return false
			}
			w.WriteHeader(503)
			return true
		}}
		start := time.Now()
		if _, err := newClient(t, s, client.Config{}).AppendJSON(t.Context(), []byte(`{"type":"a"}`)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took < 29*time.Second || took > 32*time.Second {
			t.Errorf("took %v, want 30 s and a little", took)
		}
	})
}

func TestAppendGivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &server{fail: func(w http.ResponseWriter, _ *http.Request, _ int) bool { w.WriteHeader(503); return true }}
		start := time.Now()
		results, err := newClient(t, s, client.Config{RetryFor: 5 * time.Second}).AppendJSON(t.Context(), []byte(`{"type":"a"}`))
		p, ok := errors.AsType[*client.Problem](err)
		if !ok || p.Status != 503 || results[0].Err == nil || results[0].ID == "" || errors.Is(err, client.ErrRefused) {
			t.Errorf("error %v, results %+v", err, results)
		}
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("gave up after %v, want 5 s", took)
		}
	})
}

func TestAppendDoesNotRetry(t *testing.T) {
	t.Parallel()
	for _, status := range []int{301, 307, 400, 401, 403, 404, 413, 415, 500} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			s := &server{fail: func(w http.ResponseWriter, _ *http.Request, _ int) bool {
				w.Header().Set("Content-Type", "application/problem+json")
				w.Header().Set("Location", "http://elsewhere.example/")
				w.WriteHeader(status)
				fmt.Fprintf(w, `{"status":%d,"title":"No","detail":"not so"}`, status)
				return true
			}}
			_, err := newClient(t, s, client.Config{}).AppendJSON(t.Context(), []byte(`{"type":"a"}`))
			p, ok := errors.AsType[*client.Problem](err)
			if !ok || p.Status != status || len(s.requests) != 1 {
				t.Errorf("error %v after %d requests", err, len(s.requests))
			}
		})
	}
}

func TestAppendSplitsIntoBatchesInOrder(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("x", 60_000)
	for _, test := range []struct {
		name     string
		events   int
		data     string
		receipts bool
		want     string
	}{
		{"none", 0, "", false, "[]"},
		{"by count", 2500, "", false, "[1000 1000 500]"},
		{"by bytes", 300, large, false, "[139 139 22]"},
		{"with receipts", 250, "", true, "[100 100 50]"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := &server{}
			c := newClient(t, s, client.Config{})
			if test.receipts {
				c = c.WithReceipts()
			}
			events := make([]client.Event, test.events)
			for i := range events {
				events[i] = client.Event{Type: "a", Subject: fmt.Sprint(i), Data: test.data}
			}
			results, err := c.Append(t.Context(), events...)
			if err != nil {
				t.Fatal(err)
			}
			for i, r := range results {
				if r.Index != uint64(i) || !strings.Contains(s.stored[i], fmt.Sprintf(`"subject":"%d"`, i)) {
					t.Fatalf("event %d is at %d, and entry %d is %.200s", i, r.Index, i, s.stored[i])
				}
				if test.receipts && string(r.Receipt) != fmt.Sprintf("proof %d, checkpoint", i) {
					t.Fatalf("event %d has receipt %q", i, r.Receipt)
				}
			}
			if got := fmt.Sprint(s.batches); got != test.want {
				t.Errorf("batches %s, want %s", got, test.want)
			}
		})
	}
}

func TestRefusedEventsDoNotSpoilOthers(t *testing.T) {
	t.Parallel()
	s := &server{}
	c := newClient(t, s, client.Config{})
	results, err := c.AppendJSON(t.Context(),
		[]byte(`{"type":"a"}`),
		[]byte(`{"type":`),
		[]byte(`{"type":"refuse.me"}`),
		[]byte(``),
		[]byte(`{"type":"b","data":"`+strings.Repeat("x", event.MaxEntry)+`"}`),
		[]byte(`{"type":"b"}`))
	if !errors.Is(err, client.ErrRefused) || !strings.Contains(err.Error(), "4 of 6 events refused") {
		t.Errorf("error %v", err)
	}
	if len(s.stored) != 2 || results[0].Err != nil || results[5].Err != nil || results[5].Index != 1 {
		t.Errorf("stored %q, results %+v", s.stored, results)
	}
	for i, want := range map[int]struct {
		status int
		detail string
	}{
		1: {400, "not JSON: the text ends too early"},
		2: {409, "not this one"},
		3: {400, "empty"},
		4: {413, "too large"},
	} {
		p, ok := errors.AsType[*client.Problem](results[i].Err)
		if !ok || !errors.Is(results[i].Err, client.ErrRefused) || p.Status != want.status ||
			!strings.Contains(p.Detail, want.detail) || strings.Contains(p.Detail, "line ") {
			t.Errorf("event %d: %v, want %d %s", i, results[i].Err, want.status, want.detail)
		}
	}
	_, err = c.Append(t.Context(), client.Event{Type: "a", Data: make(chan int)})
	if !errors.Is(err, client.ErrRefused) {
		t.Errorf("data that is no JSON: error %v", err)
	}
}

func TestAppendStopsAtTheFirstFailure(t *testing.T) {
	t.Parallel()
	s := &server{fail: func(w http.ResponseWriter, _ *http.Request, n int) bool {
		if n == 2 {
			w.WriteHeader(403)
		}
		return n == 2
	}}
	events := make([]client.Event, 2500)
	for i := range events {
		events[i].Type = "a"
	}
	events[0].Type = "refuse.me"
	results, err := newClient(t, s, client.Config{}).Append(t.Context(), events...)
	if err == nil || errors.Is(err, client.ErrRefused) || len(s.requests) != 2 {
		t.Errorf("error %v after %d requests", err, len(s.requests))
	}
	for i, r := range results {
		if i > 0 && (r.Err == nil) != (i < 1000) || r.ID == "" {
			t.Fatalf("event %d: %+v", i, r)
		}
	}
}

func TestAppendRefusesAnswersThatDoNotFit(t *testing.T) {
	t.Parallel()
	for _, body := range []string{`<html>`, `{}`, `{"results":[{}]}`, `{"results":[{"index":1},{"index":2}]}`} {
		s := &server{fail: func(w http.ResponseWriter, _ *http.Request, _ int) bool {
			_, _ = w.Write([]byte(body))
			return true
		}}
		results, err := newClient(t, s, client.Config{}).AppendJSON(t.Context(), []byte(`{"type":"a"}`))
		if err == nil || results[0].Err == nil {
			t.Errorf("answer %s: error %v", body, err)
		}
	}
}
