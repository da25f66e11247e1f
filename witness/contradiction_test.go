package witness_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stele-log/stele/internal/test/witnesstest"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/witness"
)

func TestWitnessOfAnotherHistoryIsAContradiction(t *testing.T) {
	t.Parallel()
	fork := newBranch("fork", 3, 64)
	cases := []struct {
		name         string
		known, asked uint64 // sizes
		of           branch // that the witness has cosigned
		act          witnesstest.Act
		says         string
	}{
		{"larger, of the same history", 20, 10, newBranch("honest", 3, 64), nil, "a larger tree"},
		{"larger, of another", 20, 10, fork, nil, "a larger tree"},
		{"a fork at the same size", 20, 20, fork, nil, "not a part of ours"},
		{"a fork at a smaller size", 20, 30, fork, nil, "not a part of ours"},
		{"a fork at the same size, told by 409 without a size", 20, 20, fork, oldConflict, "not a part of ours"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newGatherRig(t)
			all := r.w
			if c.known > 0 {
				forked := &gatherRig{TB: t, log: r.log, history: c.of, w: r.w, pool: r.pool, policy: r.policy}
				forked.only(1)
				forked.mustGather(forked.gatherer(), c.known)
			}
			if c.act != nil {
				all[1].Do(c.act)
			}
			heard := make(chan *witness.ContradictionError, 9)
			g, err := witness.NewGatherer(witness.GathererConfig{Pool: r.pool, Policy: witnesstest.Policy(t, 3, all),
				Log: r.log.vkeys, Nodes: r.history, Contradicted: func(e *witness.ContradictionError) { heard <- e }})
			if err != nil {
				t.Fatal(err)
			}
			_, err = g.Gather(t.Context(), r.sign(c.asked))
			var contradiction *witness.ContradictionError
			if !errors.As(err, &contradiction) || !strings.Contains(err.Error(), c.says) ||
				!strings.Contains(err.Error(), "w2 ("+all[1].URL+")") {
				t.Fatalf("got %v, want a contradiction by w2 that says %q", err, c.says)
			}
			if larger := c.says == "a larger tree"; contradiction.Larger() != larger {
				t.Errorf("larger: %t, want %t", contradiction.Larger(), larger)
			}
			signed, err := witnesstest.Policy(t, 1, all[1:2], r.log.vkeys...).Check(contradiction.Note)
			if err != nil || signed.Head != contradiction.Seen || signed.Head != c.of.head(c.known) {
				t.Errorf("the proof is %v, %v, want what w2 has cosigned:\n%s", signed.Head, err, contradiction.Note)
			}
			if e := <-heard; e != contradiction {
				t.Errorf("heard of %v", e)
			}
		})
	}
}

// oldConflict answers as witnesses did before 422 was said of another root at
// the same size.
func oldConflict(w http.ResponseWriter, req *http.Request, honest http.Handler) {
	got := httptest.NewRecorder()
	honest.ServeHTTP(got, req)
	if got.Code == http.StatusUnprocessableEntity {
		http.Error(w, "root mismatch", http.StatusConflict)
		return
	}
	w.Header().Set("Content-Type", got.Header().Get("Content-Type"))
	w.WriteHeader(got.Code)
	_, _ = w.Write(got.Body.Bytes())
}

// TestUnprovenClaimIsAFailure has a witness contradict the log in its answers, which
// are not signed, and show nothing or nothing that counts.
func TestUnprovenClaimIsAFailure(t *testing.T) {
	t.Parallel()
	answers := map[string]http.HandlerFunc{
		"a larger tree": conflict("9223372036854775807\n"),
		"not a part of ours": func(w http.ResponseWriter, req *http.Request) { // once it is asked from the size that it gave
			if body, _ := io.ReadAll(req.Body); bytes.HasPrefix(body, []byte("old 0\n")) {
				conflict("3\n")(w, req)
				return
			}
			http.Error(w, "no", http.StatusUnprocessableEntity)
		},
	}
	fork := newBranch("fork", 3, 64)
	shown := map[string]func(r *gatherRig) []byte{
		"nothing":                    func(*gatherRig) []byte { return nil },
		"garbage":                    func(*gatherRig) []byte { return []byte("\n\n\n") },
		"one of our history":         func(r *gatherRig) []byte { return cosignedNote(r, r.sign(2)) },
		"one that it has not signed": func(r *gatherRig) []byte { return r.sign(30) },
		"one that the log has not": func(r *gatherRig) []byte {
			return cosignedNote(r, newSigningLog(r, logOrigin).checkpoint(r, fork.head(30), ""))
		},
		"one of another log's origin": func(r *gatherRig) []byte {
			return cosignedNote(r, newSigningLog(r, "other").checkpoint(r, fork.head(30), ""))
		},
	}
	for says, answer := range answers {
		for name, show := range shown {
			t.Run(says+", shows "+name, func(t *testing.T) {
				t.Parallel()
				r := newGatherRig(t)
				note := show(r)
				r.w[0].Do(func(w http.ResponseWriter, req *http.Request, _ http.Handler) {
					switch {
					case req.Method == http.MethodPost:
						answer(w, req)
					case note == nil:
						http.NotFound(w, req)
					default:
						_, _ = w.Write(note)
					}
				})
				claims := make(chan *witness.ClaimError, 9)
				g, err := witness.NewGatherer(witness.GathererConfig{Pool: r.pool, Policy: r.policy, Log: r.log.vkeys, Nodes: r.history,
					Contradicted: func(e *witness.ContradictionError) { t.Error(e) },
					Claimed:      func(e *witness.ClaimError) { claims <- e }})
				if err != nil {
					t.Fatal(err)
				}
				r.mustGather(g, 10)
				if e := <-claims; !strings.Contains(e.Error(), says) || !strings.Contains(e.Error(), "w1 ("+r.w[0].URL+")") ||
					e.Larger() != (says == "a larger tree") {
					t.Errorf("claimed is %v, want one of w1 that says %q", e, says)
				}
				if stats := g.Stats()[0]; stats.Size > 10 {
					t.Errorf("the claim counts as its size, %d", stats.Size)
				}

				r.only(0) // for those who need this witness
				alone := r.gatherer()
				_, err = alone.Gather(t.Context(), r.sign(11))
				if !errors.As(err, new(*witness.GatherError)) || !strings.Contains(err.Error(), "without proof") || alone.Stats()[0].Claim == nil {
					t.Fatalf("asked alone: %v, and its claim is %v", err, alone.Stats()[0].Claim)
				}
				r.w[0].Honest()
				time.Sleep(5 * time.Millisecond)
				r.mustGather(alone, 12)
				if claim := alone.Stats()[0].Claim; claim != nil {
					t.Errorf("afterwards it still claims %v", claim)
				}
			})
		}
	}
}

// cosignedNote returns a note with the first witness's cosignatures.
func cosignedNote(r *gatherRig, msg []byte) []byte {
	text, _, _ := strings.Cut(string(msg), "\n\n")
	return append(bytes.Clone(msg), cosigned(r, r.w[0], text+"\n")...)
}

func TestContradictionAfterTheQuorumIsHeardOf(t *testing.T) {
	t.Parallel()
	r := newGatherRig(t)
	all := r.w
	ahead := &gatherRig{TB: t, log: r.log, history: r.history, w: r.w, pool: r.pool, policy: r.policy}
	ahead.only(2)
	ahead.mustGather(ahead.gatherer(), 40)
	released := make(chan struct{})
	release := sync.OnceFunc(func() { close(released) })
	t.Cleanup(release) // the witness's server ends only then, also if the test fails
	all[2].Do(func(w http.ResponseWriter, req *http.Request, honest http.Handler) {
		<-released
		honest.ServeHTTP(w, req)
	})
	heard := make(chan *witness.ContradictionError, 1)
	g, err := witness.NewGatherer(witness.GathererConfig{Pool: r.pool, Policy: r.policy, Log: r.log.vkeys,
		Nodes: r.history, Contradicted: func(e *witness.ContradictionError) { heard <- e }})
	if err != nil {
		t.Fatal(err)
	}
	r.mustGather(g, 5)
	release()
	if e := <-heard; e.Seen.Size != 40 || !e.Larger() {
		t.Errorf("heard of %v", e)
	}
}

func TestProbeFindsWhatTheServerForgot(t *testing.T) {
	t.Parallel()
	r := newGatherRig(t)
	r.policy = witnesstest.Policy(t, 3, r.w)
	r.mustGather(r.gatherer(), 20)
	r.w[0].Kill()
	r.w[1].Say(http.StatusNotFound, "text/plain", "there is no such thing here")
	forked := &gatherRig{TB: t, log: r.log, history: newBranch("fork", 3, 64), w: r.w, pool: r.pool, policy: r.policy}
	forged := func(head tree.Head) string { // by who has no key of the log
		return string(signText(t, fmt.Sprintf("%s\n%d\n%s\n", logOrigin, head.Size, head.Root), r.w[2].Signers[0]))
	}
	for _, c := range []struct {
		name string
		rig  *gatherRig
		size uint64
		says string
		act  func()
	}{
		{"same", r, 20, "", nil},
		{"grown", r, 30, "", nil},
		{"rolled back", r, 19, "larger tree", nil},
		{"rolled back to nothing", r, 0, "larger tree", nil},
		{"forked", forked, 30, "not a part of ours", nil},
		{"not signed by the log", r, 19, "", func() { r.w[2].Say(200, "text/plain", forged(r.history.head(20))) }},
		{"not signed by the witness", r, 19, "", func() { r.w[2].Say(200, "text/plain", string(r.sign(20))) }},
		{"garbage", r, 19, "", func() { r.w[2].Say(200, "text/plain", "\n\n\n") }},
	} {
		if c.act != nil {
			c.act()
		}
		err := c.rig.gatherer().Probe(t.Context(), c.rig.history.head(c.size))
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.says)
		}
	}
}

// TestProbeWaitsForAQuorumOnly: a log that starts is not written to before the probe
// is over.
func TestProbeWaitsForAQuorumOnly(t *testing.T) {
	t.Parallel()
	const timeout = 30 * time.Second
	r := newGatherRig(t)
	r.policy = witnesstest.Policy(t, 3, r.w)
	r.mustGather(r.gatherer(), 20)
	r.w[0].Hang()
	r.policy = witnesstest.Policy(t, 2, r.w)
	r.pool = witness.NewPool(witness.PoolConfig{Timeout: timeout})
	t.Cleanup(r.pool.Close)
	start := time.Now()
	if err := r.gatherer().Probe(t.Context(), r.history.head(30)); err != nil {
		t.Error(err)
	}
	if elapsed := time.Since(start); elapsed >= timeout {
		t.Errorf("the probe took %v, as long as the wait for the witness that hangs", elapsed)
	}
}
