package api_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stele-log/stele/api"
	"github.com/stele-log/stele/internal/access"
	"github.com/stele-log/stele/internal/engine"
	"github.com/stele-log/stele/internal/follow"
	"github.com/stele-log/stele/internal/follow/leafindex"
	"github.com/stele-log/stele/internal/server"
	"github.com/stele-log/stele/internal/test/dbtest"
	"github.com/stele-log/stele/internal/test/memsystem"
	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/storage"
	"github.com/stele-log/stele/storage/sqlite"
)

// origin is that of the rigs' log "default".
const origin = "logs.example.com/default"

// openSQLite opens a database whose file the test knows.
func openSQLite(t testing.TB, path string) storage.Store {
	t.Helper()
	if _, _, err := sqlite.Migrate(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	s, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// settings are what the rigs of tests differ in.
type settings struct {
	store    storage.Store // by default a new one in SQLite
	dir      string        // of keys and records, by default a new one
	maxQueue int
	maxLogs  int
	seen     *sightings // takes down each exchange, if not nil
}

// A rig is a server with a log named "default". Its clock stands still, its key
// is always the same, and only who waits gets a checkpoint, so that the log is
// the same to the byte, too. Each reply is held against openapi.yaml.
type rig struct {
	testing.TB
	url     string // of the server
	log     string // url of the log "default"
	client  *http.Client
	handler http.Handler
	admin   http.Handler
	engine  *engine.Engine
	dir     string
	stop    func() error // stops the server, and waits; the error is that requests were cut off
}

func newRig(t testing.TB, s settings) *rig {
	t.Helper()
	if s.store == nil {
		s.store = dbtest.SQLite(t)()
	}
	if s.dir == "" {
		s.dir = t.TempDir()
		putKey(t, s.dir, "default", origin)
	}
	logger := slog.New(slog.NewTextHandler(t.Output(), nil))
	leaves := leafindex.New()
	h, err := engine.Open(t.Context(), engine.Config{
		Store: s.store, Dir: s.dir, Interval: time.Hour, Cache: 1 << 20, MaxQueue: s.maxQueue, MaxLogs: s.maxLogs, Logger: logger,
		Now:       func() time.Time { return time.Date(2026, 11, 21, 9, 42, 0, 0, time.UTC) },
		Followers: []follow.Follower{leaves},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Log("default"); err != nil {
		if _, err := h.Create(t.Context(), engine.NewLog{Name: "default", Origin: origin}); err != nil {
			t.Fatal(err)
		}
	}
	stop, stopping := context.WithCancel(context.Background())
	system := memsystem.New(time.Date(2026, 11, 21, 9, 42, 0, 0, time.UTC))
	control, err := access.Open(t.Context(), access.Config{Logger: logger, Now: system.Clock, Read: system.Read, Append: system.Append,
		Signed: func() (uint64, error) { return 0, nil }})
	if err != nil {
		t.Fatal(err)
	}
	handler, admin := api.New(api.Config{
		Access: control, TrustLocal: true, Engine: h, Leaves: leaves, Store: s.store, Logger: logger, Stopping: stop, OriginPrefix: "logs.example.com", Version: "test",
	})
	listener, err := server.Listen(server.ListenConfig{Address: "127.0.0.1:0", Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	serving, stopServing := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- listener.Run(serving, handler, stopping) }()
	url := listener.URL()
	transport := &http.Transport{DisableCompression: true}
	r := &rig{TB: t, url: url, log: url + "/logs/default", handler: handler, admin: admin, engine: h, dir: s.dir,
		client: &http.Client{Transport: checked{t, transport, s.seen}}}
	ctx, cancel := context.WithCancel(context.Background())
	h.Start(ctx)
	r.stop = sync.OnceValue(func() error {
		transport.CloseIdleConnections()
		stopServing()
		err := <-served
		cancel()
		h.Wait()
		return err
	})
	t.Cleanup(func() { _ = r.stop() })
	return r
}

// putKey puts the key of a log where the server would make one. It is made of
// the log's name: no log outside a test should have it.
func putKey(t testing.TB, dir, name, origin string) {
	t.Helper()
	seed := strings.NewReader(strings.Repeat(name+" is known to all. ", 10))
	skey, _, err := checkpoint.GenerateKey(seed, origin)
	if err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(dir, "logs", name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "ed25519.key"), []byte(skey+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (r *rig) defaultLog() *engine.Log {
	r.Helper()
	l, err := r.engine.Log("default")
	if err != nil {
		r.Fatal(err)
	}
	return l
}

func (r *rig) waitUntil(what string, done func() bool) {
	r.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.Fatalf("not in time: %s", what)
		}
	}
}

// A reply is an answer with its whole body.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// do sends a request to the server. Headers are given as name, value, ...
func (r *rig) do(method, path, body string, headers ...string) reply {
	r.Helper()
	req, err := http.NewRequestWithContext(r.Context(), method, r.url+path, strings.NewReader(body))
	if err != nil {
		r.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	resp, err := r.client.Do(req)
	if err != nil {
		r.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		r.Fatalf("%s %s: %v", method, path, err)
	}
	return reply{resp.StatusCode, resp.Header, got}
}

// get sends a GET that must be answered with 200, and returns the body.
func (r *rig) get(path string) []byte {
	r.Helper()
	got := r.do("GET", path, "")
	if got.status != http.StatusOK {
		r.Fatalf("GET %s: %d: %s", path, got.status, got.body)
	}
	return got.body
}

// ready returns the status and the body of /readyz as the operator gets them.
func (r *rig) ready() (int, string) {
	r.Helper()
	w := httptest.NewRecorder()
	r.admin.ServeHTTP(w, httptest.NewRequestWithContext(r.Context(), "GET", "/readyz", nil))
	return w.Code, w.Body.String()
}

// post sends JSON, or lines of it.
func (r *rig) post(path, body string) reply {
	r.Helper()
	contentType := "application/json"
	if strings.Contains(body, "\n") {
		contentType = "application/x-ndjson"
	}
	return r.do("POST", path, body, "Content-Type", contentType)
}

// An appended is what a reply says of one event.
type appended struct {
	Status    int
	Index     *uint64
	ID        string
	LeafHash  string `json:"leaf_hash"`
	Duplicate bool
	Receipt   string
	Proof     string // a receipt without the checkpoint, which a batch's reply has once
	Pending   string
	Problem   json.RawMessage
}

// appended decodes the reply to a single event, which must have that status, or
// one that says that it is in the log if status is 0.
func (r *rig) appended(got reply, status int) (a appended) {
	r.Helper()
	if got.status != status && (status != 0 || got.status > 201) {
		r.Fatalf("status %d, want %d: %s", got.status, status, got.body)
	}
	r.decode(got.body, &a)
	return a
}

// results decodes the reply to a batch, whose proofs become receipts.
func (r *rig) results(got reply) []appended {
	r.Helper()
	if got.status != http.StatusOK {
		r.Fatalf("status %d, want 200: %s", got.status, got.body)
	}
	var b struct {
		Checkpoint string
		Results    []appended
	}
	r.decode(got.body, &b)
	for i, a := range b.Results {
		if a.Proof != "" {
			b.Results[i].Receipt = a.Proof + b.Checkpoint
		}
	}
	return b.Results
}

func (r *rig) decode(body []byte, v any) {
	r.Helper()
	if err := json.Unmarshal(body, v); err != nil {
		r.Fatalf("%v in %s", err, body)
	}
}

// vkeys returns the log's keys, as the server says them.
func (r *rig) vkeys() []string {
	r.Helper()
	var info struct{ VKeys []string }
	r.decode(r.get("/logs/default"), &info)
	return info.VKeys
}

// sizes returns how many entries each log has.
func (r *rig) sizes() map[string]uint64 {
	r.Helper()
	sizes := map[string]uint64{}
	for _, l := range r.engine.Logs() {
		head, err := l.Stored.Head(r.Context())
		if err != nil {
			r.Fatal(err)
		}
		sizes[l.Name] = head.Size
	}
	return sizes
}
