package witness_test

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/cosignature"
	"github.com/stele-log/stele/pkg/proof"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/witness"
	"github.com/stele-log/stele/witness/witnessdb"
)

// A collector keeps each cosigned checkpoint that a witness has let out.
type collector struct {
	mu    sync.Mutex
	notes []string
}

func (c *collector) add(msg string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.notes = append(c.notes, msg)
}

func (c *collector) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.notes)
}

// checkConsistent opens every cosigned checkpoint and proves each pair of their
// heads consistent, by one of the branches. It returns the largest head.
func (c *collector) checkConsistent(t *testing.T, keys []note.Verifier, branches ...branch) tree.Head {
	t.Helper()
	type seen struct {
		tree.Head
		at time.Time
	}
	var heads []seen
	for _, msg := range c.notes {
		n, err := note.Open([]byte(msg), note.VerifierList(keys...))
		if err != nil || len(n.Sigs) != len(keys) {
			t.Fatalf("open cosigned checkpoint: %v\n%s", err, msg)
		}
		parsed, err := checkpoint.Parse(n.Text)
		if err != nil {
			t.Fatal(err)
		}
		at, err := cosignature.Timestamp(n.Sigs[0])
		if err != nil {
			t.Fatal(err)
		}
		heads = append(heads, seen{parsed.Head, at})
	}
	if len(heads) == 0 {
		t.Fatal("nothing was cosigned")
	}
	slices.SortFunc(heads, func(a, b seen) int { return cmp.Compare(a.Size, b.Size) })
	for i, from := range heads {
		for _, to := range heads[i+1:] {
			if !slices.ContainsFunc(branches, func(b branch) bool {
				return proof.VerifyConsistency(from.Head, to.Head, b.proof(t, from.Size, to.Size)) == nil
			}) {
				t.Fatalf("the witness has signed two histories: %s and %s", from.Head, to.Head)
			}
			if from.Size < to.Size && from.at.After(to.at) {
				t.Errorf("size %d is signed for a later time than size %d", from.Size, to.Size)
			}
		}
	}
	return heads[len(heads)-1].Head
}

// race sends one growing request after the other for a branch, from the size
// that the witness says it knows, until it knows the whole branch, or stop. Failures to reach the
// witness are left to the next try.
func (l signingLog) race(t *testing.T, url func() string, b branch, c *collector, stop <-chan struct{}) {
	known := uint64(0)
	for {
		select {
		case <-stop:
			return
		default:
		}
		to := min(known+rand.Uint64N(3), uint64(len(b)))
		body := l.request(t, b, known, to)
		got, err := tryPost(url(), body)
		switch {
		case err != nil:
			time.Sleep(5 * time.Millisecond)
		case got.status == 200:
			_, msg, _ := strings.Cut(body, "\n\n")
			c.add(msg + got.body)
			known = to
		case got.status == 409:
			n, err := strconv.ParseUint(strings.TrimSpace(got.body), 10, 64)
			if err != nil {
				t.Errorf("409 with the body %q", got.body)
				return
			}
			known = min(n, uint64(len(b)))
		case got.status == 422 || got.status == 503 || got.status == 500:
			// The other branch has won, or the witness is busy, or stopped in the
			// middle: whatever it recorded, a 409 will tell.
			time.Sleep(5 * time.Millisecond)
		default:
			t.Errorf("status %d: %s", got.status, got.body)
			return
		}
		if known == uint64(len(b)) {
			return
		}
	}
}

func TestOfRacingBranchesOnlyOneIsSigned(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, open func() *witnessdb.DB) {
		keys, l := newWitnessKeys(t), newSigningLog(t, logOrigin)
		keys.now.Store(1_800_000_000)
		branches := []branch{newBranch("a", 10, 60), newBranch("b", 10, 60)}
		db := open()
		addKeys(t, db, l)
		// Two servers of one witness share the database.
		servers := []*httptest.Server{keys.start(t, db), keys.start(t, open())}
		var mu sync.Mutex
		url := func() string {
			mu.Lock()
			defer mu.Unlock()
			return servers[rand.IntN(len(servers))].URL
		}
		var c collector
		stop := make(chan struct{})
		var running sync.WaitGroup
		ended := make(chan struct{}) // once the witness knows the whole of a branch
		end := sync.OnceFunc(func() { close(ended) })
		for i := range 32 {
			running.Go(func() {
				l.race(t, url, branches[i%2], &c, stop)
				end()
			})
		}
		// In the middle, what is under way on one server is cut off, and the
		// database closed below it.
		for c.count() < 8 {
			time.Sleep(time.Millisecond)
		}
		servers[0].CloseClientConnections()
		_ = db.Close()
		restarted := keys.start(t, open())
		mu.Lock()
		servers[0] = restarted
		mu.Unlock()
		<-ended
		close(stop)
		running.Wait()
		largest := c.checkConsistent(t, keys.verifiers, branches...)
		if largest.Size != 60 {
			t.Errorf("the largest tree signed is %s", largest)
		}
	})
}

func TestOfTwoServersThatCheckedAtOnceOneSigns(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, open func() *witnessdb.DB) {
		db, keys := open(), newWitnessKeys(t)
		for i := range 10 {
			r := newStatusRig(t, fmt.Sprintf("log.example/%d", i))
			addKeys(t, db, r.log)
			mustCosign(t, keys.start(t, db).URL, r.log.request(t, r.honest, 0, 3))
			// Both have checked their branch against size 3 when the first records.
			var both sync.WaitGroup
			both.Add(2)
			bodies := []string{r.log.request(t, r.honest, 3, 8), r.log.request(t, r.fork, 3, 9)}
			answers := make([]response, 2)
			var sending sync.WaitGroup
			for n, body := range bodies {
				server := keys.start(t, meeting{db, &both})
				sending.Go(func() { answers[n], _ = tryPost(server.URL, body) })
			}
			sending.Wait()
			winner := slices.IndexFunc(answers, func(a response) bool { return a.status == 200 })
			if winner < 0 {
				t.Fatalf("nobody has won: %d and %d", answers[0].status, answers[1].status)
			}
			want := []string{"8\n", "9\n"}[winner]
			if loser := answers[1-winner]; loser.status != 409 || loser.body != want {
				t.Errorf("the loser gets %d %.60q, want 409 %q", loser.status, loser.body, want)
			}
		}
	})
}

// meeting is a store whose Advance waits for that of another server.
type meeting struct {
	witness.Store
	both *sync.WaitGroup
}

func (m meeting) Advance(ctx context.Context, origin string, from tree.Head, to witness.Signed) error {
	m.both.Done()
	m.both.Wait()
	return m.Store.Advance(ctx, origin, from, to)
}
