package client_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
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
	accepts  []string // of each request
	index    map[string]uint64

	// noStreams has it answer each request once it has ended.
	noStreams bool

	// failLine, if not nil, is called before a line of a stream is answered, with
	// how many were. If it returns true the stream ends there.
	failLine func(w io.Writer, line int) bool

	// fail, if not nil, answers a request instead, and says whether it did.
	// Stored tells it whether the server has stored what came.
	fail func(w http.ResponseWriter, r *http.Request, n int) bool

	// failAfter is the same, once the events are stored.
	failAfter func(w http.ResponseWriter, r *http.Request, n int) bool
}

// count returns how many events are stored, once no request is being answered.
func (s *server) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.stored)
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accepts = append(s.accepts, r.Header.Get("Accept"))
	s.requests = append(s.requests, r)
	n := len(s.requests)
	if s.fail != nil && s.fail(w, r, n) {
		return
	}
	if r.Header.Get("Accept") == "application/x-ndjson" && !s.noStreams {
		s.stream(w, r)
		return
	}
	s.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	s.mu.Lock()
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
	lines := strings.Split(strings.TrimSuffix(string(body), "\n"), "\n")
	s.batches = append(s.batches, len(lines))
	var results []map[string]any
	for i, item := range event.ParseLines(body, event.Sender{Name: "tester"}) {
		results = append(results, s.appendLine(i, lines[i], item, wait))
	}
	return map[string]any{"results": results, "checkpoint": "checkpoint"}
}

// stream answers each line as it comes.
func (s *server) stream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.WriteHeader(http.StatusOK)
	s.mu.Unlock()
	defer s.mu.Lock()
	lines := bufio.NewScanner(r.Body)
	lines.Buffer(nil, 1<<20)
	for n := 0; lines.Scan(); n++ {
		if s.failLine != nil && s.failLine(w, n) {
			return
		}
		item := event.ParseLines(lines.Bytes(), event.Sender{Name: "tester"})[0]
		s.mu.Lock()
		result := s.appendLine(n, lines.Text(), item, false)
		s.mu.Unlock()
		_ = json.NewEncoder(w).Encode(result)
	}
}

func (s *server) appendLine(i int, text string, item event.Item, wait bool) map[string]any {
	if s.index == nil {
		s.index = map[string]uint64{}
	}
	if item.Err != nil || item.Event.Type == "refuse.me" {
		return map[string]any{"problem": map[string]any{
			"status": 409, "title": "Conflict", "detail": fmt.Sprintf("line %d: not this one", i+1)}}
	}
	index, duplicate := s.index[item.Event.ID]
	if !duplicate {
		index = uint64(len(s.stored))
		s.index[item.Event.ID] = index
		s.stored = append(s.stored, text)
	}
	result := map[string]any{"index": index, "id": item.Event.ID, "source": item.Event.Source,
		"leaf_hash": tree.LeafHash([]byte(text)), "duplicate": duplicate}
	if wait {
		result["proof"] = fmt.Sprintf("proof %d, ", index)
	}
	return result
}

// RoundTrip serves without a network, so that tests can run in a bubble of
// testing/synctest. The response is there once its header is.
func (s *server) RoundTrip(r *http.Request) (*http.Response, error) {
	from, to := io.Pipe()
	w := &pipeWriter{to: to, header: http.Header{}, begun: make(chan struct{})}
	ended := make(chan error, 1)
	stop := context.AfterFunc(r.Context(), func() {
		r.Body.Close()
		from.CloseWithError(r.Context().Err())
	})
	go func() {
		defer stop()
		err := serveRecovered(s, w, r)
		r.Body.Close()
		w.WriteHeader(http.StatusOK)
		to.CloseWithError(err)
		ended <- err
	}()
	select {
	case <-w.begun:
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	if w.status == 0 {
		return nil, <-ended
	}
	return &http.Response{StatusCode: w.status, Header: w.header, Body: from, Request: r}, nil
}

// serveRecovered has a handler answer, whose connection may break.
func serveRecovered(h http.Handler, w *pipeWriter, r *http.Request) (err error) {
	defer func() {
		if v := recover(); v == http.ErrAbortHandler {
			err = io.ErrUnexpectedEOF
			w.begin.Do(func() { close(w.begun) }) // without a status
		} else if v != nil {
			panic(v)
		}
	}()
	h.ServeHTTP(w, r)
	return nil
}

// A pipeWriter is a response that is read while it is written.
type pipeWriter struct {
	to     *io.PipeWriter
	header http.Header
	status int
	begin  sync.Once
	begun  chan struct{}
}

func (w *pipeWriter) Header() http.Header { return w.header }

func (w *pipeWriter) WriteHeader(status int) {
	w.begin.Do(func() {
		w.status = status
		close(w.begun)
	})
}

func (w *pipeWriter) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.to.Write(b)
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
