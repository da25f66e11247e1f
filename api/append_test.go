package api_test

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stele-log/stele/internal/test/dbtest"
	"github.com/stele-log/stele/pkg/policy"
	"github.com/stele-log/stele/pkg/proof"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
)

func TestReceiptsVerify(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, open func() storage.Store) {
		r := newRig(t, settings{store: open()})
		p, err := policy.ForLog(r.vkeys()...)
		if err != nil {
			t.Fatal(err)
		}
		// Those in the replies, and those to be had later, one by one.
		var receipts [][]byte
		for i := range 5 {
			a := r.appended(r.post("/logs/default/events?wait=published", fmt.Sprintf(`{"type":"a","id":"%d"}`, i)), 201)
			receipts = append(receipts, []byte(a.Receipt))
		}
		lines := strings.Repeat(`{"type":"a"}`+"\n", 300)
		for _, a := range r.results(r.post("/logs/default/events?wait=published", lines)) {
			receipts = append(receipts, []byte(a.Receipt))
		}
		for i := range 305 {
			receipts = append(receipts, r.get(fmt.Sprintf("/logs/default/events/%d/receipt", i)))
		}
		for i, text := range receipts {
			receipt, err := proof.ParseReceipt(text)
			if err != nil {
				t.Fatal(err)
			}
			if want := uint64(i % 305); receipt.Index != want {
				t.Errorf("receipt %d is for entry %d, want %d", i, receipt.Index, want)
			}
			entry := r.get(fmt.Sprintf("/logs/default/events/%d", receipt.Index))
			if _, err := receipt.Verify(entry, p); err != nil {
				t.Error(err)
			}
			if _, err := receipt.Verify(append(entry, ' '), p); err == nil {
				t.Errorf("receipt %d verifies another entry", i)
			}
		}
	})
}

func TestABatchStaysTogether(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, open func() storage.Store) {
		r := newRig(t, settings{store: open()})
		var wg sync.WaitGroup
		for writer := range 8 {
			wg.Go(func() {
				for batch := range 5 {
					var lines strings.Builder
					for i := range 50 {
						fmt.Fprintf(&lines, `{"type":"a","source":"/%d/%d","id":"%d"}`+"\n", writer, batch, i)
					}
					results := r.results(r.post("/logs/default/events", lines.String()))
					for i, a := range results {
						if *a.Index != *results[0].Index+uint64(i) {
							t.Errorf("event %d of a batch that begins at %d is at %d", i, *results[0].Index, *a.Index)
						}
					}
				}
			})
		}
		wg.Wait()
		if head := r.checkWhole(); head.Size != 8*5*50 {
			t.Errorf("%v, want %d entries", head, 8*5*50)
		}
	})
}

// TestEventsKeepNothingOfTheBody has many bodies read while events of others wait
// to be stored.
func TestEventsKeepNothingOfTheBody(t *testing.T) {
	t.Parallel()
	r := newRig(t, settings{})
	var wg sync.WaitGroup
	for writer := range 64 {
		wg.Go(func() {
			for n := range 5 {
				event := fmt.Sprintf(`{"type":"a","id":"%d-%d","data":"%s"`, writer, n, strings.Repeat(string(rune('a'+writer%26)), 500))
				a := r.appended(r.post("/logs/default/events", event+"}"), 201)
				if got := r.get(fmt.Sprintf("/logs/default/events/%d", *a.Index)); !strings.HasPrefix(string(got), event+",") {
					t.Errorf("sent %s}, stored is %s", event, got)
				}
			}
		})
	}
	wg.Wait()
}

func TestConcurrentWritersOfOneIDGetOneIndex(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, open func() storage.Store) {
		r := newRig(t, settings{store: open()})
		var mu sync.Mutex
		statuses := map[int]int{}
		indexes := map[string]bool{}
		var wg sync.WaitGroup
		for i := range 24 {
			wg.Go(func() {
				// Every third has other content.
				got := r.post("/logs/default/events", fmt.Sprintf(`{"id":"1","source":"/s","type":"a","n":%v}`, i%3 == 0))
				var a appended
				r.decode(got.body, &a)
				mu.Lock()
				defer mu.Unlock()
				statuses[got.status]++
				indexes[fmt.Sprint(*a.Index)] = true
			})
		}
		wg.Wait()
		if statuses[201] != 1 || statuses[200]+statuses[409] != 23 || !indexes["0"] || len(indexes) != 1 {
			t.Errorf("statuses %v, indexes %v; want one 201 and one index", statuses, indexes)
		}
		if statuses[409] != 8 && statuses[409] != 16 {
			t.Errorf("%d conflicts, want 8 or 16", statuses[409])
		}
		if head := r.checkWhole(); head.Size != 1 {
			t.Errorf("%v, want one entry", head)
		}
	})
}

// A blockade keeps a SQLite file from being written until it is lifted.
type blockade struct {
	conn *sql.Conn
	t    testing.TB
}

func block(t testing.TB, path string) blockade {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b := blockade{conn, t}
	b.exec("BEGIN IMMEDIATE")
	return b
}

func (b blockade) lift() { b.exec("ROLLBACK") }

func (b blockade) exec(statement string) {
	b.t.Helper()
	if _, err := b.conn.ExecContext(b.t.Context(), statement); err != nil {
		b.t.Fatal(err)
	}
}

// fillQueue sends events to a blocked server until one waits: the one before it
// is being committed. The function that it returns waits for the
// replies, and returns how many were stored.
func (r *rig) fillQueue() (wait func() int) {
	r.Helper()
	replies := make(chan reply, 1000)
	var wg sync.WaitGroup
	for i, seen := 0, 0; seen < 5; i++ {
		if seen++; r.queued() == 0 {
			seen = 0
			wg.Go(func() { replies <- r.post("/logs/default/events", fmt.Sprintf(`{"type":"a","id":"%d"}`, i)) })
		}
		time.Sleep(20 * time.Millisecond)
	}
	return func() (stored int) {
		wg.Wait()
		close(replies)
		for got := range replies {
			// Where the queue is small, two that came at once were one too many.
			if got.status != 503 {
				r.appended(got, 201)
				stored++
			}
		}
		return stored
	}
}

func (r *rig) queued() int { return r.defaultLog().Sequencer.QueuedBytes() }

func TestAFullQueuePushesBack(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "stele.db")
	r := newRig(t, settings{store: openSQLite(t, path), maxQueue: 1})
	b := block(t, path)
	wait := r.fillQueue()
	got := r.post("/logs/default/events", `{"type":"a","id":"refused"}`)
	if got.status != 503 || got.header.Get("Retry-After") != "1" {
		t.Errorf("status %d, Retry-After %q, want 503 and 1: %s", got.status, got.header.Get("Retry-After"), got.body)
	}
	if size := r.sizes()["default"]; size != 0 {
		t.Errorf("%d entries while nothing can be committed", size)
	}
	b.lift()
	stored := wait()
	r.appended(r.post("/logs/default/events", `{"type":"a","id":"refused"}`), 201)
	if head := r.checkWhole(); head.Size != uint64(stored)+1 || stored < 2 {
		t.Errorf("%v, want %d entries", head, stored+1)
	}
}

func TestAClientThatLeavesDoesNoHarm(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "stele.db")
	r := newRig(t, settings{store: openSQLite(t, path)})
	b := block(t, path)
	wait := r.fillQueue()

	const event = `{"type":"a","id":"left"}`
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan error)
	before := r.queued()
	go func() {
		req, err := http.NewRequestWithContext(ctx, "POST", r.log+"/events", strings.NewReader(event))
		if err == nil {
			req.Header.Set("Content-Type", "application/json")
			_, err = r.client.Do(req)
		}
		left <- err
	}()
	r.waitUntil("the event is queued", func() bool { return r.queued() > before })
	leave()
	if err := <-left; err == nil {
		t.Error("the client got a reply")
	}
	b.lift()
	stored := wait()
	// Whether or not it was stored, it can be sent again.
	a := r.appended(r.post("/logs/default/events", event), 0)
	if entry := r.get(fmt.Sprintf("/logs/default/events/%d", *a.Index)); tree.LeafHash(entry).String() != a.LeafHash {
		t.Error("the entry is not the one that was promised")
	}
	if head := r.checkWhole(); head.Size != uint64(stored)+1 {
		t.Errorf("%v, want %d entries", head, stored+1)
	}
}

func TestRepliesComeAfterTheCommit(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "stele.db")
	r := newRig(t, settings{store: openSQLite(t, path)})
	b := block(t, path)
	done := make(chan reply)
	// The second is a duplicate of one that is not durable yet.
	for range 2 {
		go func() { done <- r.post("/logs/default/events", `{"type":"a","id":"1"}`) }()
	}
	for range 100 {
		select {
		case got := <-done:
			t.Fatalf("answered before the commit: %s", got.body)
		default:
			r.get("/healthz")
		}
	}
	b.lift()
	statuses := []int{(<-done).status, (<-done).status}
	slices.Sort(statuses)
	if !slices.Equal(statuses, []int{200, 201}) {
		t.Errorf("statuses %v, want 200 and 201", statuses)
	}
}
