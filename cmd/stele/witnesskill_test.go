package main_test

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/stele-log/stele/internal/test/pgtest"
	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/cosignature"
	"github.com/stele-log/stele/pkg/proof"
	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/witness"
)

// A history is a tree that a log may have, as the hashes of its entries.
type history []tree.Hash

// newHistory returns a history of n entries, of which the first 10 are the same
// whatever its name.
func newHistory(name string, n int) history {
	h := make(history, n)
	for i := range h {
		h[i] = tree.LeafHash(fmt.Appendf(nil, "%d %s", i, name[:min(len(name), max(0, i-9))]))
	}
	return h
}

// ReadNodes returns the nodes of a tile at level 0: histories are short.
func (h history) ReadNodes(_ context.Context, t tile.Tile) (*tree.Nodes, error) {
	return tree.NewNodes(h[t.Start():][:t.Width]), nil
}

func (h history) head(size uint64) tree.Head {
	var f tree.Frontier
	f.Append(h[:size])
	return f.Head()
}

func (h history) proof(t *testing.T, from, to uint64) []tree.Hash {
	t.Helper()
	hashes, err := proof.Consistency(t.Context(), h, from, to)
	if err != nil {
		t.Error(err)
	}
	return hashes
}

// A forker is a log that sends two histories to one witness.
type forker struct {
	sign      func(tree.Head) []byte
	url       atomic.Pointer[string]
	histories []history

	mu       sync.Mutex
	cosigned []string // every checkpoint that came back with cosignatures
}

// send sends one request after the other for a history, each from the size that
// the witness has said it knows, until all of it is cosigned or ctx ends.
func (f *forker) send(ctx context.Context, t *testing.T, h history) {
	known := uint64(0)
	for ctx.Err() == nil {
		to := min(known+rand.Uint64N(3), uint64(len(h)))
		r := witness.AddCheckpoint{Old: known, Proof: h.proof(t, known, to), Note: f.sign(h.head(to))}
		status, body, err := addCheckpoint(*f.url.Load(), r)
		switch {
		case err != nil:
			time.Sleep(5 * time.Millisecond) // killed, and not back yet
		case status == 200:
			f.mu.Lock()
			f.cosigned = append(f.cosigned, string(r.Note)+body)
			f.mu.Unlock()
			if known = to; known == uint64(len(h)) {
				return
			}
		case status == 409:
			n, err := strconv.ParseUint(strings.TrimSpace(body), 10, 64)
			if err != nil {
				t.Errorf("409 with the body %q", body)
			}
			known = min(n, uint64(len(h)))
		case status == 422: // the other history has won
		default:
			t.Errorf("status %d: %s", status, body)
			return
		}
	}
}

func (f *forker) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.cosigned)
}

// check proves each pair of cosigned heads consistent.
func (f *forker) check(t *testing.T, vkeys []string) {
	t.Helper()
	var keys []note.Verifier
	for _, vkey := range vkeys {
		key, err := cosignature.NewVerifier(vkey)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	var heads []tree.Head
	for _, msg := range f.cosigned {
		n, err := note.Open([]byte(msg), note.VerifierList(keys...))
		if err != nil || len(n.Sigs) != len(keys) {
			t.Fatalf("open cosigned checkpoint: %v\n%s", err, msg)
		}
		c, err := checkpoint.Parse(n.Text)
		if err != nil {
			t.Fatal(err)
		}
		heads = append(heads, c.Head)
	}
	slices.SortFunc(heads, func(a, b tree.Head) int { return cmp.Compare(a.Size, b.Size) })
	heads = slices.Compact(heads)
	for i, from := range heads {
		for _, to := range heads[i+1:] {
			if !slices.ContainsFunc(f.histories, func(h history) bool {
				return proof.VerifyConsistency(from, to, h.proof(t, from.Size, to.Size)) == nil
			}) {
				t.Fatalf("the witness has signed two histories: %s and %s", from, to)
			}
		}
	}
	if last := heads[len(heads)-1]; last.Size != uint64(len(f.histories[0])) {
		t.Errorf("the largest tree signed is %s", last)
	}
}

func TestKilledWitnessSignsOneHistory(t *testing.T) {
	t.Parallel()
	for kind, flags := range map[string]func(t *testing.T) []string{
		"sqlite":   func(*testing.T) []string { return nil },
		"postgres": func(t *testing.T) []string { return []string{"--database", pgtest.Empty(t)} },
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			const size = 200
			args := append([]string{"--data", filepath.Join(t.TempDir(), "w")}, flags(t)...)
			sign, vkey := logSigner(t, "log.example/forked")
			run(t, 0, append([]string{"witness", "add-log", vkey}, args...)...)
			w := serveWitness(t, args...)
			f := &forker{sign: sign, histories: []history{newHistory("a", size), newHistory("b", size)}}
			f.url.Store(&w.url)
			// Who sends the history that has lost would go on for ever.
			ctx, won := context.WithTimeout(t.Context(), patience)
			defer won()
			var senders sync.WaitGroup
			for i := range 32 {
				senders.Go(func() {
					f.send(ctx, t, f.histories[i%2])
					won()
				})
			}
			for range 3 {
				before := f.count()
				waitFor(t, "15 more cosignatures", func() bool { return f.count() >= before+15 })
				w.end(syscall.SIGKILL)
				w = serveWitness(t, args...)
				f.url.Store(&w.url)
			}
			senders.Wait()
			f.check(t, w.vkeys)
		})
	}
}
