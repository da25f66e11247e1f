package auditor_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stele-log/stele/api"
	"github.com/stele-log/stele/internal/durable"
	"github.com/stele-log/stele/internal/engine"
	"github.com/stele-log/stele/internal/watch/auditor"
	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/client"
	"github.com/stele-log/stele/pkg/contradiction"
	"github.com/stele-log/stele/pkg/policy"
	"github.com/stele-log/stele/storage/sqlite"
)

const origin = "logs.example.com/default"

func clock() time.Time { return time.Date(2026, 11, 21, 9, 42, 0, 0, time.UTC) }

// A history is a server with one log. Its key and clock are always the same, so
// that two histories of the same events are one, to the byte.
type history struct {
	testing.TB
	handler http.Handler
	client  *client.Client
	vkey    string
	size    int
}

func newHistory(t testing.TB, origin string) *history {
	t.Helper()
	dir := t.TempDir()
	h := &history{TB: t, vkey: putKey(t, dir, origin)}
	path := filepath.Join(dir, "stele.db")
	if _, _, err := sqlite.Migrate(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	store, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	logger := slog.New(slog.DiscardHandler)
	hosted, err := engine.Open(t.Context(), engine.Config{
		Store: store, Dir: dir, Interval: time.Hour, Cache: 64 << 20, Logger: logger, Now: clock,
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := hosted.Create(t.Context(), engine.NewLog{Name: "default", Origin: origin}); err != nil {
		t.Fatal(err)
	}
	h.handler, _ = api.New(api.Config{Engine: hosted, Store: store, Logger: logger, OriginPrefix: "logs.example.com", Version: "test"})
	server := httptest.NewServer(h.handler)
	ctx, cancel := context.WithCancel(context.Background())
	hosted.Start(ctx)
	t.Cleanup(func() {
		server.Close()
		cancel()
		hosted.Wait()
	})
	if h.client, err = client.New(client.Config{URL: server.URL}); err != nil {
		t.Fatal(err)
	}
	return h
}

// putKey puts the key of a log where the server would make one, and returns its
// verifier key. It is derived from the origin: no log outside a test should have it.
func putKey(t testing.TB, dir, origin string) string {
	t.Helper()
	skey, vkey, err := checkpoint.GenerateKey(strings.NewReader(strings.Repeat(origin+" is known to all. ", 10)), origin)
	if err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(dir, "logs", "default")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "ed25519.key"), []byte(skey+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return vkey
}

// grow appends events up to that size, whose content is the tag and the index,
// and waits for the checkpoint.
func (h *history) grow(tag string, size int) *history {
	h.Helper()
	for h.size < size {
		events := make([]client.Event, min(1000, size-h.size))
		for i := range events {
			events[i] = client.Event{ID: fmt.Sprint(h.size + i), Source: "test", Type: "t", Time: clock(), Data: fmt.Sprint(tag, h.size+i)}
		}
		if _, err := h.client.Append(h.Context(), events...); err != nil {
			h.Fatal(err)
		}
		h.size += len(events)
	}
	if size == 0 {
		return h
	}
	if _, err := h.client.Receipt(h.Context(), uint64(h.size-1), true); err != nil {
		h.Fatal(err)
	}
	return h
}

// checkpoint returns the newest one.
func (h *history) checkpoint() []byte {
	h.Helper()
	return h.get("/checkpoint")
}

func (h *history) get(path string) []byte {
	h.Helper()
	w := httptest.NewRecorder()
	h.handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/logs/default"+path, nil))
	if w.Code != http.StatusOK {
		h.Fatalf("GET %s: %d", path, w.Code)
	}
	return w.Body.Bytes()
}

// A front is a URL behind which what is served can change.
type front struct {
	url     string
	handler atomic.Pointer[http.Handler]
}

func newFront(t testing.TB, handler http.Handler) *front {
	t.Helper()
	f := &front{}
	f.serve(handler)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		(*f.handler.Load()).ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	f.url = server.URL + "/logs/default"
	return f
}

func (f *front) serve(handler http.Handler) { f.handler.Store(&handler) }

// instead serves something else below one path, and the rest as handler does.
func instead(handler http.Handler, path string, other http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(strings.TrimPrefix(r.URL.Path, "/logs/default"), path) {
			other(w, r)
			return
		}
		handler.ServeHTTP(w, r)
	})
}

func fixed(body []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) }
}

// A rig is an auditor in the making, and what it has reported.
type rig struct {
	testing.TB
	cfg auditor.Config
	dir string

	mu      sync.Mutex
	reports []auditor.Report
}

func newRig(t testing.TB, vkeys []string, urls ...string) *rig {
	t.Helper()
	p, err := policy.ForLog(vkeys...)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{TB: t, dir: t.TempDir()}
	transport := &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	r.cfg = auditor.Config{
		URLs: urls, Policy: p, Dir: r.dir, Interval: 10 * time.Millisecond,
		HTTP:   &http.Client{Transport: transport, Timeout: time.Minute},
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)), Now: time.Now,
		Report: func(report auditor.Report) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.reports = append(r.reports, report)
		},
	}
	return r
}

func (r *rig) new() *auditor.Auditor {
	r.Helper()
	a, err := auditor.New(r.Context(), r.cfg)
	if err != nil {
		r.Fatal(err)
	}
	return a
}

// once runs the auditor once, as a process of its own would, and forgets the
// reports of before.
func (r *rig) once() error {
	r.Helper()
	r.mu.Lock()
	r.reports = nil
	r.mu.Unlock()
	return r.new().Once(r.Context())
}

// mustOnce runs the auditor once, and must find all well.
func (r *rig) mustOnce() {
	r.Helper()
	if err := r.once(); err != nil {
		r.Fatalf("the audit returns %v: %+v", err, r.reports)
	}
}

// kinds returns the kinds of the reports, separated by spaces.
func (r *rig) kinds() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var kinds []string
	for _, report := range r.reports {
		kinds = append(kinds, report.Kind)
	}
	return strings.Join(kinds, " ")
}

// files returns the paths of what is kept in a folder.
func (r *rig) files(folder string) []string {
	r.Helper()
	paths, err := filepath.Glob(filepath.Join(r.dir, "*", folder, "*"))
	if err != nil {
		r.Fatal(err)
	}
	return slices.DeleteFunc(paths, func(path string) bool { return strings.HasSuffix(path, durable.TempSuffix) })
}

// contradiction returns what was proven, verified from the files alone.
func (r *rig) contradictions() []contradiction.Result {
	r.Helper()
	var results []contradiction.Result
	for _, path := range r.files("contradictions") {
		text, err := os.ReadFile(path)
		if err != nil {
			r.Fatal(err)
		}
		e, err := contradiction.Parse(text)
		if err != nil {
			r.Fatal(err)
		}
		result, err := e.Verify(r.cfg.Policy)
		if err != nil {
			r.Fatalf("%s: %v", path, err)
		}
		results = append(results, result)
	}
	return results
}

// wantContradiction wants one contradiction file, of that kind and those sizes.
func (r *rig) wantContradiction(kind contradiction.Kind, first, second uint64) {
	r.Helper()
	got := r.contradictions()
	if len(got) != 1 || got[0].Kind != kind || got[0].First.Size != first || got[0].Second.Size != second {
		r.Fatalf("contradiction is %v, want %s of %d and %d", got, kind, first, second)
	}
}

// metric returns the value of the metric of the log that the rig follows.
func metric(t testing.TB, a *auditor.Auditor, name string) float64 {
	t.Helper()
	families, err := a.Metrics().Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return sum
}

// A hook takes what a webhook is sent.
type hook struct {
	url  string
	mu   sync.Mutex
	got  []string
	fail atomic.Int32 // requests to fail yet
}

func newHook(t testing.TB) *hook {
	h := &hook{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if h.fail.Add(-1) >= 0 {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.got = append(h.got, string(body))
	}))
	t.Cleanup(server.Close)
	h.url = server.URL
	return h
}
