package auditor_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stele-log/stele/internal/test/faultfs"
	"github.com/stele-log/stele/internal/watch/auditor"
	"github.com/stele-log/stele/pkg/contradiction"
	"github.com/stele-log/stele/pkg/cosignature"
	"github.com/stele-log/stele/pkg/policy"
)

// rewritten is a history with h's key that parts from it at an index: every
// hash, tile and signature is computed again.
func rewritten(t testing.TB, at, size int) *history {
	return newHistory(t, origin).grow("a", at).grow("b", size)
}

func TestAnotherHistoryIsCaught(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name          string
		at, size      int
		tiles         string // path below which the forged log serves nothing
		kind          contradiction.Kind
		first, second uint64
	}{
		{"a fork at the same size", 299, 300, "", contradiction.Fork, 300, 300},
		{"a fork from the first entry on", 0, 300, "", contradiction.Fork, 300, 300},
		{"an entry rewritten, and the log grown", 7, 500, "", contradiction.Inconsistent, 300, 500},
		{"the last entry rewritten", 299, 301, "", contradiction.Inconsistent, 300, 301},
		{"rewritten, and no tiles served", 7, 1100, "/tile/0/", contradiction.Inconsistent, 300, 1100},
		{"rewritten, and no entries served", 7, 500, "/tile/entries/", contradiction.Inconsistent, 300, 500},
		{"an older head was rewritten too", 7, 256, "", contradiction.Inconsistent, 100, 256},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := newHistory(t, origin).grow("a", 100)
			f := newFront(t, h.handler)
			r := newRig(t, []string{h.vkey}, f.url)
			r.mustOnce()
			h.grow("a", 300)
			r.mustOnce()
			forged := rewritten(t, tt.at, tt.size)
			f.serve(forged.handler)
			if tt.tiles != "" {
				f.serve(instead(forged.handler, tt.tiles, http.NotFound))
			}
			if err := r.once(); !errors.Is(err, auditor.ErrContradiction) {
				t.Fatalf("the audit returns %v, reports: %+v", err, r.reports)
			}
			r.wantContradiction(tt.kind, tt.first, tt.second)

			// The same again is no other contradiction. What was found stays found.
			if err := r.once(); !errors.Is(err, auditor.ErrContradiction) || len(r.contradictions()) != 1 {
				t.Errorf("the next run returns %v, contradictions: %v", err, r.contradictions())
			}
		})
	}
}

// TestRewrittenEntriesWithOldTiles serves the forged entries with the tiles of
// before, which prove nothing about the forged head.
func TestRewrittenEntriesWithOldTiles(t *testing.T) {
	t.Parallel()
	h := newHistory(t, origin).grow("a", 300)
	f := newFront(t, h.handler)
	r := newRig(t, []string{h.vkey}, f.url)
	r.mustOnce()
	h.grow("a", 500)
	forged := rewritten(t, 7, 500)
	f.serve(instead(instead(forged.handler, "/tile/0/", h.handler.ServeHTTP), "/tile/1/", h.handler.ServeHTTP))
	if err := r.once(); !errors.Is(err, auditor.ErrContradiction) {
		t.Fatalf("the audit returns %v, reports: %+v", err, r.reports)
	}
	r.wantContradiction(contradiction.Inconsistent, 300, 500)
}

func TestRollbackToABackup(t *testing.T) {
	t.Parallel()
	h := newHistory(t, origin)
	f := newFront(t, h.handler)
	r := newRig(t, []string{h.vkey}, f.url)
	for _, size := range []int{300, 450, 600} {
		h.grow("a", size)
		r.mustOnce()
	}
	backup := newHistory(t, origin).grow("a", 300)
	f.serve(backup.handler)
	r.mustOnce()
	if r.kinds() != "rollback" || len(r.reports[0].Notes) != 2 ||
		r.reports[0].Notes[0] != string(h.checkpoint()) || r.reports[0].Notes[1] != string(backup.checkpoint()) {
		t.Fatalf("reports: %+v", r.reports)
	}
	r.mustOnce()
	if r.kinds() != "" {
		t.Errorf("the same view again: %s", r.kinds())
	}

	// It goes on from there with other entries. Nobody has the larger tree any
	// more, but the auditor has heads of it.
	backup.grow("b", 400)
	if err := r.once(); !errors.Is(err, auditor.ErrUnfinished) || len(r.contradictions()) > 0 {
		t.Fatalf("below the next known head: %v, contradictions: %v", err, r.contradictions())
	}
	backup.grow("b", 500)
	if err := r.once(); !errors.Is(err, auditor.ErrContradiction) {
		t.Fatalf("the audit returns %v, reports: %+v", err, r.reports)
	}
	r.wantContradiction(contradiction.Inconsistent, 450, 500)

	// The head that could not be verified is refuted once the tree is larger again.
	r.cfg.Continue = true
	backup.grow("b", 700)
	if err := r.once(); !errors.Is(err, auditor.ErrContradiction) {
		t.Fatal(err)
	}
	if got := r.contradictions(); len(got) != 2 || got[1].First.Size != 600 || got[1].Second.Size != 700 {
		t.Errorf("contradictions: %v", got)
	}
}

func TestAStaleCheckpointIsReplayed(t *testing.T) {
	t.Parallel()
	h := newHistory(t, origin).grow("a", 300)
	f := newFront(t, h.handler)
	r := newRig(t, []string{h.vkey}, f.url)
	stale := h.checkpoint()
	r.mustOnce()
	h.grow("a", 600)
	r.mustOnce()
	f.serve(instead(h.handler, "/checkpoint", fixed(stale)))
	r.mustOnce()
	if r.kinds() != "rollback" || len(r.contradictions()) > 0 {
		t.Errorf("reports: %s, contradictions: %v", r.kinds(), r.contradictions())
	}
	f.serve(h.handler)
	r.mustOnce()
	if r.kinds() != "" {
		t.Errorf("all is well again: %s", r.kinds())
	}
}

// A smallWitness serves the monitoring endpoint of a witness that has cosigned
// one checkpoint.
func smallWitness(t testing.TB, note []byte) (url, vkey string) {
	t.Helper()
	_, vkey, err := cosignature.GenerateKey(strings.NewReader(strings.Repeat("a witness known to all", 9)), cosignature.Ed25519, "w.example")
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	// printf logs.example.com/default | sha256sum
	mux.HandleFunc("GET /monitor/26e7194e3c5c09c14bc8c96f62b447c24d455acb3b8bc4e4ef593e4aaedcb391/checkpoint", fixed(note))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL + "/monitor", vkey
}

// TestAuditorsWhoShareAWitness has two servers with one key and two histories.
// Each auditor sees one of them; the witness has cosigned the first.
func TestAuditorsWhoShareAWitness(t *testing.T) {
	t.Parallel()
	for _, size := range []int{400, 600, 800} {
		t.Run(fmt.Sprintf("witness at 600, other at %d", size), func(t *testing.T) {
			t.Parallel()
			one, two := newHistory(t, origin).grow("a", 600), rewritten(t, 200, size)
			url, witness := smallWitness(t, one.checkpoint())
			p, err := policy.Parse([]byte("log " + one.vkey + "\nwitness w " + witness + " " + url + "\nquorum none\n"))
			if err != nil {
				t.Fatal(err)
			}
			first := newRig(t, []string{one.vkey}, newFront(t, one.handler).url)
			second := newRig(t, []string{one.vkey}, newFront(t, two.handler).url)
			first.cfg.Policy, second.cfg.Policy = p, p
			first.mustOnce()
			err = second.once()
			switch {
			case size < 600:
				// Nothing can be said until the tree is as large as the other.
				if !errors.Is(err, auditor.ErrUnfinished) || !strings.Contains(second.kinds(), "unproven") {
					t.Fatalf("the audit returns %v, reports: %+v", err, second.reports)
				}
				two.grow("b", 900)
				if err := second.once(); !errors.Is(err, auditor.ErrContradiction) {
					t.Fatalf("the audit returns %v, reports: %+v", err, second.reports)
				}
				second.wantContradiction(contradiction.Inconsistent, 600, 900)
			case !errors.Is(err, auditor.ErrContradiction):
				t.Fatalf("the audit returns %v, reports: %+v", err, second.reports)
			case size == 600:
				second.wantContradiction(contradiction.Fork, 600, 600)
			default:
				second.wantContradiction(contradiction.Inconsistent, 600, 800)
			}
		})
	}
}

func TestTwoURLsOfALogShowTwoHistories(t *testing.T) {
	t.Parallel()
	one, two := newHistory(t, origin).grow("a", 600), rewritten(t, 200, 450)
	f, g := newFront(t, one.handler), newFront(t, two.handler)
	r := newRig(t, []string{one.vkey}, f.url, g.url)
	if err := r.once(); !errors.Is(err, auditor.ErrContradiction) {
		t.Fatalf("the audit returns %v, reports: %+v", err, r.reports)
	}
	r.wantContradiction(contradiction.Inconsistent, 450, 600)
}

func TestAContradictionEndsTheRunOrNot(t *testing.T) {
	t.Parallel()
	h := newHistory(t, origin).grow("a", 300)
	other := newHistory(t, "logs.example.com/other").grow("a", 10)
	for _, goOn := range []bool{false, true} {
		f, g, w := newFront(t, h.handler), newFront(t, other.handler), newHook(t)
		w.fail.Store(1)
		r := newRig(t, []string{h.vkey, other.vkey}, f.url, g.url)
		r.cfg.Continue, r.cfg.Webhook = goOn, w.url
		a := r.new()
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- a.Run(ctx) }()
		waitFor(t, "the log to be followed", func() bool { return metric(t, a, "stele_audit_verified_size") >= 310 })
		f.serve(rewritten(t, 7, 300).handler)
		waitFor(t, "the webhook", func() bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			return len(w.got) == 1 && strings.Contains(w.got[0], `"kind":"fork"`)
		})
		if goOn {
			size := metric(t, a, "stele_audit_verified_size")
			other.grow("a", 50)
			waitFor(t, "the other log", func() bool { return metric(t, a, "stele_audit_verified_size") == size+40 })
			stop()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		} else if err := <-ended; !errors.Is(err, auditor.ErrContradiction) {
			t.Errorf("the run ended with %v", err)
		}
		stop()
		r.wantContradiction(contradiction.Fork, 300, 300)
		if got := metric(t, a, "stele_audit_contradictions_total"); got != 1 {
			t.Errorf("%v contradictions are counted", got)
		}
	}
}

const forgedSize = 450 // the size of the head in the story that is forged

// keptForged returns the number of files with the forged head. After a power
// failure honest heads may be pending again.
func keptForged(r *rig) int {
	kept := len(r.files("contradictions"))
	for _, path := range r.files("pending") {
		if strings.HasPrefix(filepath.Base(path), fmt.Sprintf("%019d-", forgedSize)) {
			kept++
		}
	}
	return kept
}

// A pendingFS is a file system with faults that remembers the step by which the
// last head became pending.
type pendingFS struct {
	*faultfs.FS
	step int
}

func (p *pendingFS) Rename(from, to string) error {
	err := p.FS.Rename(from, to)
	if filepath.Base(filepath.Dir(to)) == "pending" {
		p.step = p.Steps()
	}
	return err
}

// TestACrashAtAnyStepLosesNothing runs the same story with a crash at each step
// of writing, in three ways, and goes on after it with what was kept. The forged
// history of the end is shown to the run that crashes, and not to the next.
func TestACrashAtAnyStepLosesNothing(t *testing.T) {
	t.Parallel()
	s := story{forged: rewritten(t, 350, forgedSize).handler}
	for _, size := range []int{300, 400, 600} {
		h := newHistory(t, origin).grow("a", size)
		s.honest, s.vkey = append(s.honest, h.handler), h.vkey
	}
	for _, way := range []string{"failed", "failed but done", "power lost"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			at := 1
			for s.crashAt(t, at, way) {
				at++
			}
			if at < 40 {
				t.Errorf("the story has %d steps only", at)
			}
		})
	}
}

type story struct {
	honest []http.Handler
	forged http.Handler
	vkey   string
}

// crashAt reports whether the story had so many steps.
func (s story) crashAt(t *testing.T, at int, way string) bool {
	t.Helper()
	f := newFront(t, s.forged)
	r := newRig(t, []string{s.vkey}, f.url)
	fsys := &pendingFS{FS: faultfs.New(t, at, way != "failed")}
	r.cfg.FileSystem = fsys
	fail := func(err error) {
		t.Helper()
		t.Fatalf("crash at step %d (%s): the audit returns %v, reports: %+v", at, way, err, r.reports)
	}
	crashed := func() bool { return fsys.Steps() >= at }
	restart := func() {
		t.Helper()
		if way == "power lost" {
			if err := fsys.CutPower(); err != nil {
				t.Fatal(err)
			}
		}
		r.cfg.FileSystem = nil
	}
	for _, handler := range s.honest {
		f.serve(handler)
		err := r.once()
		if crashed() {
			restart()
			err = r.once()
		}
		if err != nil {
			fail(err)
		}
	}
	before := crashed()
	fsys.step = 0 // until the forged head becomes pending
	f.serve(s.forged)
	err := r.once()
	if crashed() && !before {
		restart()
		kept := keptForged(r)
		durable := fsys.step // the step after which the forged head must not be lost
		if way == "power lost" {
			durable++ // the folder is synced
		}
		if kept == 0 && fsys.step > 0 && (at > durable || at == durable && way != "failed") {
			t.Fatalf("crash at step %d (%s): the forged head was kept, and is lost", at, way)
		}
		f.serve(s.honest[len(s.honest)-1])
		if err = r.once(); errors.Is(err, auditor.ErrContradiction) != (kept > 0) {
			fail(err)
		}
		f.serve(s.forged)
		err = r.once()
	}
	if !errors.Is(err, auditor.ErrContradiction) || len(r.contradictions()) == 0 || len(r.files("pending")) > 0 {
		fail(err)
	}
	return crashed()
}

// TestAHeadThatWasShownOnceIsNotForgotten shows a forged head once, without the
// tiles and entries to verify it.
func TestAHeadThatWasShownOnceIsNotForgotten(t *testing.T) {
	t.Parallel()
	h := newHistory(t, origin).grow("a", 600)
	f := newFront(t, h.handler)
	r := newRig(t, []string{h.vkey}, f.url)
	r.mustOnce()
	forged := rewritten(t, 350, 450)
	f.serve(instead(instead(forged.handler, "/tile/", http.NotFound), "/checkpoint", fixed(forged.checkpoint())))
	if err := r.once(); !errors.Is(err, auditor.ErrUnfinished) || len(r.files("pending")) != 1 {
		t.Fatalf("the audit returns %v, reports: %+v", err, r.reports)
	}
	f.serve(h.handler)
	if err := r.once(); !errors.Is(err, auditor.ErrContradiction) {
		t.Fatalf("the audit returns %v, reports: %+v", err, r.reports)
	}
	r.wantContradiction(contradiction.Inconsistent, 450, 600)
}
