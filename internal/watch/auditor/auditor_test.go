package auditor_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stele-log/stele/internal/watch/auditor"
	"github.com/stele-log/stele/pkg/contradiction"
	"github.com/stele-log/stele/pkg/policy"
)

func TestFollowsALogThatGrows(t *testing.T) {
	t.Parallel()
	h := newHistory(t, origin)
	f := newFront(t, h.handler)
	r := newRig(t, []string{h.vkey}, f.url)
	before := 0
	for _, size := range []int{1, 2, 255, 256, 300, 900, 1024, 1025} {
		h.grow("a", size)
		a := r.new() // what was before, it has from the disk
		if err := a.Once(t.Context()); err != nil {
			t.Fatalf("size %d: %v", size, err)
		}
		if got := metric(t, a, "stele_audit_entries_hashed_total"); got != float64(size-before) {
			t.Errorf("size %d: %v entries hashed, want the %d new ones", size, got, size-before)
		}
		if got := metric(t, a, "stele_audit_verified_size"); got != float64(size) {
			t.Errorf("size %d: the verified size is %v", size, got)
		}
		if lag := metric(t, a, "stele_audit_lag_entries"); lag != 0 {
			t.Errorf("size %d: the lag is %v", size, lag)
		}
		before = size
	}
	if r.kinds() != "" {
		t.Errorf("reports of a log that is well: %s", r.kinds())
	}
}

func TestDuplicateNotesAreOneHead(t *testing.T) {
	t.Parallel()
	h := newHistory(t, origin).grow("a", 300)
	f, g := newFront(t, h.handler), newFront(t, h.handler)
	r := newRig(t, []string{h.vkey}, f.url, g.url, f.url)
	for range 3 {
		r.mustOnce()
	}
	if r.kinds() != "" {
		t.Errorf("reports: %s", r.kinds())
	}
}

func TestLogsAreToldApart(t *testing.T) {
	t.Parallel()
	h, other := newHistory(t, origin).grow("a", 300), newHistory(t, "logs.example.com/other").grow("b", 40)
	f, g := newFront(t, h.handler), newFront(t, other.handler)
	r := newRig(t, []string{h.vkey, other.vkey}, f.url, g.url)
	a := r.new()
	if err := a.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := metric(t, a, "stele_audit_verified_size"); got != 340 {
		t.Errorf("the verified sizes are %v together", got)
	}
	f.serve(other.handler)
	if err := a.Once(t.Context()); !errors.Is(err, auditor.ErrUnfinished) || !strings.Contains(r.kinds(), "malformed") {
		t.Errorf("a URL that shows another log: %v, reports: %s", err, r.kinds())
	}
}

// TestWhatIsNotSignedIsNoContradiction serves what anybody could have made up.
func TestWhatIsNotSignedIsNoContradiction(t *testing.T) {
	t.Parallel()
	h := newHistory(t, origin).grow("a", 300)
	other := newHistory(t, "logs.example.com/other").grow("a", 40)
	note := h.checkpoint()
	tests := []struct {
		name, kinds string
		checkpoint  http.HandlerFunc
	}{
		{"a changed root", "signature", fixed(bytes.Replace(note, []byte("\n300\n"), []byte("\n301\n"), 1))},
		{"no note", "malformed", fixed([]byte("hello"))},
		{"a log that nobody knows", "malformed", fixed(other.checkpoint())},
		{"not found", "unreachable", http.NotFound},
	}
	for _, tt := range tests {
		f := newFront(t, h.handler)
		r := newRig(t, []string{h.vkey}, f.url)
		r.mustOnce()
		f.serve(instead(h.handler, "/checkpoint", tt.checkpoint))
		// Once tries it twice.
		want := tt.kinds + " " + tt.kinds
		if err := r.once(); !errors.Is(err, auditor.ErrUnfinished) || r.kinds() != want || len(r.contradictions()) > 0 {
			t.Errorf("%s: %v, reports: %s, contradictions: %v", tt.name, err, r.kinds(), r.contradictions())
		}
	}
}

// TestQuorumThatIsNotMetIsNotSettled has a log whose key alone has signed, and a policy
// that asks for a witness.
func TestQuorumThatIsNotMetIsNotSettled(t *testing.T) {
	t.Parallel()
	h := newHistory(t, origin).grow("a", 600)
	_, witness := smallWitness(t, h.checkpoint())
	r := newRig(t, []string{h.vkey}, newFront(t, h.handler).url)
	p, err := policy.Parse([]byte("log " + h.vkey + "\nwitness w " + witness + "\nquorum w\n"))
	if err != nil {
		t.Fatal(err)
	}
	r.cfg.Policy = p
	for range 2 {
		if err := r.once(); !errors.Is(err, auditor.ErrUnfinished) || !strings.Contains(r.kinds(), "policy") {
			t.Errorf("the audit returns %v, reports: %+v", err, r.reports)
		}
	}
}

func TestWrongTilesDoNotMatterWhereEntriesAreRight(t *testing.T) {
	t.Parallel()
	h := newHistory(t, origin).grow("a", 300)
	f := newFront(t, h.handler)
	r := newRig(t, []string{h.vkey}, f.url)
	r.mustOnce()
	h.grow("a", 600)
	f.serve(instead(h.handler, "/tile/0/", http.NotFound))
	r.mustOnce()
	if r.kinds() != "damaged" {
		t.Errorf("reports: %s", r.kinds())
	}
}

func TestAWrongEntryIsFound(t *testing.T) {
	t.Parallel()
	h := newHistory(t, origin).grow("a", 300)
	changed := func(w http.ResponseWriter, r *http.Request) {
		path := strings.TrimPrefix(r.URL.Path, "/logs/default")
		_, _ = w.Write(bytes.Replace(h.get(path), []byte(`"a500"`), []byte(`"b500"`), 1))
	}
	f := newFront(t, h.handler)
	r := newRig(t, []string{h.vkey}, f.url)
	r.mustOnce()
	h.grow("a", 700)
	f.serve(instead(h.handler, "/tile/entries/", changed))
	if err := r.once(); !errors.Is(err, auditor.ErrContradiction) {
		t.Fatalf("the audit returns %v: %s", err, r.kinds())
	}
	got := r.contradictions()
	if len(got) != 1 || got[0].Kind != contradiction.Entry || got[0].Index != 500 || got[0].First.Size != 700 {
		t.Fatalf("contradiction is %v, want entry 500", got)
	}

	// Where another URL has the right entry, the head is verified all the same.
	g := newFront(t, h.handler)
	two := newRig(t, []string{h.vkey}, f.url, g.url)
	a := two.new()
	_ = a.Once(t.Context()) // which URL is read first is not said
	if size := metric(t, a, "stele_audit_verified_size"); size != 700 {
		t.Errorf("the verified size is %v", size)
	}
}

// A bundle that cannot be compared with the tiles does not hide a later one that
// can.
func TestAWrongTileDoesNotHideAWrongEntry(t *testing.T) {
	t.Parallel()
	h := newHistory(t, origin).grow("a", 300)
	f := newFront(t, h.handler)
	r := newRig(t, []string{h.vkey}, f.url)
	r.mustOnce()
	h.grow("a", 1000)
	changed := func(w http.ResponseWriter, r *http.Request) {
		body := h.get(strings.TrimPrefix(r.URL.Path, "/logs/default"))
		body = bytes.Replace(body, []byte(`"a600"`), []byte(`"b600"`), 1)
		_, _ = w.Write(bytes.Replace(body, []byte(`"a900"`), []byte(`"b900"`), 1))
	}
	f.serve(instead(instead(h.handler, "/tile/entries/", changed), "/tile/0/002", fixed(h.get("/tile/0/000"))))
	if err := r.once(); !errors.Is(err, auditor.ErrContradiction) {
		t.Fatalf("the audit returns %v: %s", err, r.kinds())
	}
	got := r.contradictions()
	if len(got) != 1 || got[0].Kind != contradiction.Entry || got[0].Index != 900 {
		t.Errorf("contradictions: %+v", got)
	}
}

func TestStateThatIsDamagedIsNotForgotten(t *testing.T) {
	t.Parallel()
	h := newHistory(t, origin).grow("a", 300)
	f := newFront(t, h.handler)
	for _, file := range []string{"*/verified", "*/views/*", "*/heads/*"} {
		r := newRig(t, []string{h.vkey}, f.url)
		r.mustOnce()
		h.grow("a", h.size+10)
		r.mustOnce()
		paths, err := filepath.Glob(filepath.Join(r.dir, file))
		if err != nil || len(paths) != 1 {
			t.Fatalf("%s: %v, %v", file, paths, err)
		}
		text, err := os.ReadFile(paths[0])
		if err != nil {
			t.Fatal(err)
		}
		for _, changed := range [][]byte{text[:len(text)-9], bytes.Replace(text, []byte(origin), []byte("another"), 1), {}} {
			if err := os.WriteFile(paths[0], changed, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := auditor.New(t.Context(), r.cfg); err == nil || !strings.Contains(err.Error(), "state: ") {
				t.Errorf("%s: error is %v", file, err)
			}
		}
	}
}

func TestRunFollowsUntilItIsStopped(t *testing.T) {
	t.Parallel()
	h := newHistory(t, origin).grow("a", 10)
	f := newFront(t, h.handler)
	r := newRig(t, []string{h.vkey}, f.url)
	a := r.new()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	for _, size := range []int{10, 300, 600} {
		h.grow("a", size)
		waitFor(t, "the log to be followed", func() bool { return metric(t, a, "stele_audit_verified_size") == float64(size) })
	}
	stop()
	if err := <-ended; err != nil || r.kinds() != "" {
		t.Errorf("%v, reports: %s", err, r.kinds())
	}
}

func waitFor(t testing.TB, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
