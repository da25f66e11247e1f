package api_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stele-log/stele/api"
	"github.com/stele-log/stele/internal/engine"
	"github.com/stele-log/stele/internal/test/dbtest"
	"github.com/stele-log/stele/pkg/proof"
	"github.com/stele-log/stele/storage"
)

func TestABrokenLogDoesNotKeepOthersFromWorking(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, open func() storage.Store) {
		store := open()
		r := newRig(t, settings{store: store})
		if _, err := r.engine.Create(t.Context(), engine.NewLog{Name: "doors", Origin: "logs.example.com/doors"}); err != nil {
			t.Fatal(err)
		}
		r.stop()
		if err := os.WriteFile(keyOf(r.dir, "doors"), []byte("not a key"), 0o600); err != nil {
			t.Fatal(err)
		}

		r = newRig(t, settings{store: store, dir: r.dir})
		for _, path := range []string{"", "/events/0", "/events/0/receipt", "/checkpoint", "/checkpoints",
			"/tile/0/000", "/proofs/inclusion?index=0", "/proofs/consistency?from=0"} {
			if got := r.do("GET", "/logs/doors"+path, ""); got.status != 503 {
				t.Errorf("GET %s: status %d, want 503: %s", path, got.status, got.body)
			}
		}
		if got := r.post("/logs/doors/events", `{"type":"a"}`); got.status != 503 {
			t.Errorf("status %d, want 503: %s", got.status, got.body)
		}
		// What is wrong the operator finds out; others, that something is.
		for path, status := range map[string]int{"/logs": 200, "/readyz": 200, "/readyz?log=doors": 503,
			"/readyz?log=default": 200, "/logs/doors/events/0": 503} {
			got := r.do("GET", path, "")
			if said := strings.Contains(string(got.body), "cannot be opened"); got.status != status || said != (path != "/readyz?log=default") ||
				strings.Contains(string(got.body), r.dir) || strings.Contains(string(got.body), ".key") {
				t.Errorf("%s: status %d, want %d: %s", path, got.status, status, got.body)
			}
		}
		if status, body := r.ready(); status != 200 || !strings.Contains(body, keyOf(r.dir, "doors")) {
			t.Errorf("the operator is not told what is wrong: %d: %s", status, body)
		}
		if got := r.get("/metrics"); !strings.Contains(string(got), `stele_log_broken{log="doors"} 1`) {
			t.Error("the metrics do not say that the log is broken")
		}
		r.appended(r.post("/logs/default/events?wait=published", `{"type":"a"}`), 201)
	})
}

func keyOf(dir, name string) string { return filepath.Join(dir, "logs", name, "ed25519.key") }

func TestAServerThatCanWriteToNoLogIsNotReady(t *testing.T) {
	t.Parallel()
	store := dbtest.SQLite(t)()
	r := newRig(t, settings{store: store})
	standby := newRig(t, settings{store: store, dir: r.dir})
	if got := standby.do("GET", "/readyz", ""); got.status != 503 || !strings.Contains(string(got.body), "not writing to the log") {
		t.Errorf("while another server writes: status %d: %s", got.status, got.body)
	}
	standby.stop()
	r.stop()
	if err := os.WriteFile(keyOf(r.dir, "default"), []byte("not a key"), 0o600); err != nil {
		t.Fatal(err)
	}
	r = newRig(t, settings{store: store, dir: r.dir})
	if got := r.do("GET", "/readyz", ""); got.status != 503 || !strings.Contains(string(got.body), `"default":`) {
		t.Errorf("without a key: status %d: %s", got.status, got.body)
	}
}

func TestReadyzSaysThatTheDatabaseIsGone(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, open func() storage.Store) {
		store := open()
		r := newRig(t, settings{store: store})
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
		if got := r.do("GET", "/readyz", ""); got.status != 503 {
			t.Errorf("readyz: status %d, want 503", got.status)
		}
		if got := r.do("GET", "/healthz", ""); got.status != 200 {
			t.Errorf("healthz: status %d, want 200", got.status)
		}
		if got := r.do("GET", "/logs/default/checkpoint", ""); got.status != 200 {
			t.Errorf("checkpoint: status %d, want 200", got.status)
		}
		if got := r.post("/logs/default/events", `{"type":"a"}`); got.status != 503 {
			t.Errorf("events: status %d, want 503", got.status)
		}
	})
}

// TestReadsWhileTheDatabaseIsAway are asked for again, not given up as if the server were
// at fault.
func TestReadsWhileTheDatabaseIsAway(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, open func() storage.Store) {
		store := open()
		r := newRig(t, settings{store: store})
		for i := range 3 {
			r.appended(r.post("/logs/default/events?wait=published", fmt.Sprintf(`{"type":"a","id":"%d"}`, i)), 201)
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"", "/events/0", "/checkpoints", "/tile/entries/000.p/2"} {
			got := r.do("GET", "/logs/default"+path, "")
			if got.status != 503 || got.header.Get("Retry-After") == "" {
				t.Errorf("GET %s: status %d, Retry-After %q; want 503, with it: %s", path, got.status,
					got.header.Get("Retry-After"), got.body)
			}
		}
	})
}

// copyDatabase copies a SQLite file that nobody has open, over another.
func copyDatabase(t *testing.T, from, to string) {
	t.Helper()
	for _, suffix := range []string{"", "-wal", "-shm"} {
		os.Remove(to + suffix)
		content, err := os.ReadFile(from + suffix)
		if err == nil {
			err = os.WriteFile(to+suffix, content, 0o600)
		}
		if err != nil && (suffix == "" || !errors.Is(err, fs.ErrNotExist)) {
			t.Fatal(err)
		}
	}
}

// TestADatabaseThatWasRolledBackIsNeitherSignedNorWritten stops a server, puts an
// older copy of its database back, and starts it again: what it has signed it
// remembers elsewhere.
func TestADatabaseThatWasRolledBackIsNeitherSignedNorWritten(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "stele.db")
	store := openSQLite(t, path)
	r := newRig(t, settings{store: store})
	for i := range 3 {
		r.appended(r.post("/logs/default/events?wait=published", fmt.Sprintf(`{"type":"a","id":"%d"}`, i)), 201)
	}
	r.stop()
	store.Close()
	older := t.TempDir()
	copyDatabase(t, path, filepath.Join(older, "stele.db"))

	store = openSQLite(t, path)
	r = newRig(t, settings{store: store, dir: r.dir})
	for i := range 5 {
		r.appended(r.post("/logs/default/events?wait=published", fmt.Sprintf(`{"type":"b","id":"%d"}`, i+3)), 201)
	}
	r.stop()
	store.Close()
	copyDatabase(t, filepath.Join(older, "stele.db"), path)

	r = newRig(t, settings{store: openSQLite(t, path), dir: r.dir})
	for _, body := range []string{`{"type":"c","id":"3"}`, `{"type":"a","id":"0"}`, `{"type":"c"}` + "\n" + `{"type":"c"}` + "\n"} {
		for _, path := range []string{"/logs/default/events", "/logs/default/events?wait=published"} {
			got := r.post(path, body)
			if got.status != 503 || !strings.Contains(string(got.body), "nothing was stored") ||
				!strings.Contains(string(got.body), "rolled back") || got.header.Get("Retry-After") != "" {
				t.Errorf("POST %s of %s: status %d, want 503, for good and with the reason: %s", path, body, got.status, got.body)
			}
		}
	}
	stream := r.do("POST", "/logs/default/events", `{"type":"c"}`+"\n",
		"Content-Type", "application/x-ndjson", "Accept", "application/x-ndjson")
	if !strings.Contains(string(stream.body), `{"end":`) || !strings.Contains(string(stream.body), "rolled back") {
		t.Errorf("a stream does not end with the reason: %s", stream.body)
	}
	if size := r.sizes()["default"]; size != 3 {
		t.Errorf("the log has %d entries, want the 3 that were there", size)
	}
	for _, path := range []string{"/logs/default", "/logs", "/readyz"} {
		if got := r.do("GET", path, ""); !strings.Contains(string(got.body), "rolled back") {
			t.Errorf("%s does not say why nothing is signed: %s", path, got.body)
		}
	}
	if got := string(r.get("/metrics")); !strings.Contains(got, `stele_log_signing_refused{log="default"} 1`) ||
		!strings.Contains(got, `stele_log_leading{log="default"} 0`) {
		t.Error("the metrics do not say that nothing is signed or written")
	}
	// What was published before is served as ever.
	if _, err := proof.ParseReceipt(r.get("/logs/default/events/2/receipt")); err != nil {
		t.Error(err)
	}
	for _, path := range []string{"/logs/default/events/2", "/logs/default/checkpoint", "/logs/default/tile/0/000.p/3"} {
		r.get(path)
	}
}

// A patient store says how long it is asked to try.
type patient struct {
	storage.Store
	time chan time.Duration
}

func (p patient) Ping(ctx context.Context) error {
	deadline, _ := ctx.Deadline()
	p.time <- time.Until(deadline)
	return p.Store.Ping(ctx)
}

func TestReadingHasADeadline(t *testing.T) {
	t.Parallel()
	p := patient{dbtest.SQLite(t)(), make(chan time.Duration, 1)}
	r := newRig(t, settings{store: p})
	r.get("/readyz")
	if d := <-p.time; d < api.MaxWait || d > 2*api.MaxWait {
		t.Errorf("a request may take %v, want more than the longest wait for a receipt, and not much more", d)
	}
}
