package client_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stele-log/stele/pkg/client"
	"github.com/stele-log/stele/pkg/event"
	"github.com/stele-log/stele/pkg/tree"
)

// A server is what the tests append to: it deduplicates by id and says what was
// sent. Its answers can be made to fail.
type server struct {
	mu       sync.Mutex
	requests []*http.Request
	batches  []int    // events in each request
	stored   []string // events as sent, in order
	index    map[string]uint64

	// fail, if not nil, answers a request instead, and says whether it did.
	// Stored tells it whether the server has stored what came.
	fail func(w http.ResponseWriter, r *http.Request, n int) bool

	// failAfter is the same, once the events are stored.
	failAfter func(w http.ResponseWriter, r *http.Request, n int) bool
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, r)
	n := len(s.requests)
	if s.fail != nil && s.fail(w, r, n) {
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil || r.URL.Path != "/logs/default/events" || r.Header.Get("Content-Type") != "application/x-ndjson" {
		http.Error(w, "unexpected request", http.StatusBadRequest)
		return
	}
	answer := s.append(body, r.URL.Query().Get("wait") == "published")
	if s.failAfter != nil && s.failAfter(w, r, n) {
		return
	}
	_ = json.NewEncoder(w).Encode(answer)
}

func (s *server) append(body []byte, wait bool) any {
	if s.index == nil {
		s.index = map[string]uint64{}
	}
	lines := strings.Split(strings.TrimSuffix(string(body), "\n"), "\n")
	s.batches = append(s.batches, len(lines))
	var results []map[string]any
	for i, item := range event.ParseLines(body, event.Sender{Name: "tester"}) {
		if item.Err != nil || item.Event.Type == "refuse.me" {
			results = append(results, map[string]any{"problem": map[string]any{
				"status": 409, "title": "Conflict", "detail": fmt.Sprintf("line %d: not this one", i+1)}})
			continue
		}
		index, duplicate := s.index[item.Event.ID]
		if !duplicate {
			index = uint64(len(s.stored))
			s.index[item.Event.ID] = index
			s.stored = append(s.stored, lines[i])
		}
		result := map[string]any{"index": index, "id": item.Event.ID, "source": item.Event.Source,
			"leaf_hash": tree.LeafHash([]byte(lines[i])), "duplicate": duplicate}
		if wait {
			result["receipt"] = fmt.Sprintf("receipt %d", index)
		}
		results = append(results, result)
	}
	return map[string]any{"results": results}
}

// RoundTrip serves without a network, so that tests can run in a bubble of
// testing/synctest.
func (s *server) RoundTrip(r *http.Request) (resp *http.Response, err error) {
	defer r.Body.Close()
	defer func() {
		if v := recover(); v == http.ErrAbortHandler {
			err = io.ErrUnexpectedEOF
		} else if v != nil {
			panic(v)
		}
	}()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Result(), nil
}

// newClient returns a client of the server, with some of its configuration.
func newClient(t *testing.T, s *server, cfg client.Config) *client.Client {
	t.Helper()
	cfg.URL = "http://log.example"
	cfg.HTTP = &http.Client{Transport: s}
	c, err := client.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// drop answers nothing: the connection breaks.
func drop() { panic(http.ErrAbortHandler) }
