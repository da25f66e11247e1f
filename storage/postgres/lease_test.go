package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stele-log/stele/internal/test/pgproxy"
	"github.com/stele-log/stele/internal/test/pgtest"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
	"github.com/stele-log/stele/storage/storagetest"
)

const (
	holder  = "https://one.example"
	another = "https://two.example"

	// leaseTime is how long a lease lasts that is not renewed, and some more.
	leaseTime = 7 * time.Second
)

// reopen opens the log through another store.
func reopen(t *testing.T, url string) storage.Log {
	t.Helper()
	l, err := open(t, url).OpenLog(t.Context(), "default")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// commit commits n entries on top of f in an epoch.
func commit(t *testing.T, l storage.Log, epoch uint64, f *tree.Frontier, n int) error {
	t.Helper()
	return l.Commit(t.Context(), storagetest.Batch(t, epoch, f, storagetest.Entries(f.Size(), n)))
}

// takeOver takes the lease of a log once it can be had, and returns after how long.
func takeOver(t *testing.T, l storage.Log) (storage.Lease, time.Duration) {
	t.Helper()
	for start := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		lease, err := l.Lead(t.Context(), another)
		if err == nil {
			t.Cleanup(lease.Release)
			return lease, time.Since(start)
		}
		if !errors.Is(err, storage.ErrLeased) {
			t.Fatal(err)
		}
	}
}

// isLost reports whether a lease has ended.
func isLost(l storage.Lease) bool {
	select {
	case <-l.Lost():
		return true
	default:
		return false
	}
}

// TestLeaseIsRenewed waits for longer than a lease lasts. Whoever asks for it is told who
// has it.
func TestLeaseIsRenewed(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes 7 s")
	}
	url := pgtest.URL(t)
	lease := lead(t, create(t, url))
	other := reopen(t, url)
	time.Sleep(leaseTime)
	if isLost(lease) {
		t.Error("an idle lease is lost")
	}
	_, err := other.Lead(t.Context(), another)
	if leased, ok := errors.AsType[*storage.LeasedError](err); !ok || leased.Holder != holder {
		t.Errorf("lead a log that is led: error %v, want %q with the holder", err, storage.ErrLeased)
	}
}

// TestLeaseOutlivesItsSessions ends all sessions of a holder, as a restart of the
// database does.
func TestLeaseOutlivesItsSessions(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	l := create(t, url)
	lease := lead(t, l)
	var f tree.Frontier
	if err := commit(t, l, lease.Epoch(), &f, 300); err != nil {
		t.Fatal(err)
	}
	_, err := pgtest.Connect(t, url).Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE datname = current_database() AND pid <> pg_backend_pid()`)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Second) // renewed by now
	if isLost(lease) {
		t.Error("the lease is lost")
	}
	if err := commit(t, l, lease.Epoch(), &f, 300); err != nil {
		t.Error(err)
	}
	storagetest.Check(t, l)
}

// TestLeaseOfASilentHolderExpires cuts a holder off, as a network does, or a debugger.
// Another takes over within a few seconds; and the first one, once it is back, hears that
// its lease is lost, and can do no harm before that.
func TestLeaseOfASilentHolderExpires(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	proxy := pgproxy.Start(t, url)
	l := create(t, proxy.URL())
	lost := lead(t, l)
	var f tree.Frontier
	if err := commit(t, l, lost.Epoch(), &f, 300); err != nil {
		t.Fatal(err)
	}
	other := reopen(t, url)
	proxy.Stall()
	next, after := takeOver(t, other)
	if after > leaseTime {
		t.Errorf("it took %v to take over", after)
	}
	proxy.Resume()
	late := f.Clone()
	if err := commit(t, l, lost.Epoch(), late, 1); !errors.Is(err, storage.ErrFenced) {
		t.Errorf("commit under the lost lease: error %v, want %q", err, storage.ErrFenced)
	}
	select {
	case <-lost.Lost():
	case <-time.After(leaseTime):
		t.Error("the first holder does not hear that its lease is lost")
	}
	if err := commit(t, other, next.Epoch(), &f, 1); err != nil {
		t.Error(err)
	}
	storagetest.Check(t, other)
}

// TestStallThatNobodyUsedContinuesTheEpoch: a database that hangs for longer than a lease
// lasts ends no lease by that.
func TestStallThatNobodyUsedContinuesTheEpoch(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes 15 s")
	}
	proxy := pgproxy.Start(t, pgtest.URL(t))
	l := create(t, proxy.URL())
	lease := lead(t, l)
	var f tree.Frontier
	if err := commit(t, l, lease.Epoch(), &f, 300); err != nil {
		t.Fatal(err)
	}
	proxy.Stall()
	committed := make(chan error, 1)
	batch := storagetest.Batch(t, lease.Epoch(), &f, storagetest.Entries(300, 300))
	go func() { committed <- l.Commit(t.Context(), batch) }()
	time.Sleep(leaseTime)
	proxy.Resume()
	if err := <-committed; err != nil {
		t.Errorf("the commit that was under way: %v", err)
	}
	time.Sleep(6 * time.Second) // the connections are replaced by now
	if isLost(lease) {
		t.Error("the lease is lost")
	}
	if err := commit(t, l, lease.Epoch(), &f, 1); err != nil {
		t.Error(err)
	}
	storagetest.Check(t, l)
}

// TestConnectionsThatDiedInSilenceAreReplaced has all connections of a store go silent
// under readers, as after a failover, while new ones work. What hangs is cut off long
// before its time, and there is a connection for all that follows.
func TestConnectionsThatDiedInSilenceAreReplaced(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes 20 s")
	}
	proxy := pgproxy.Start(t, pgtest.URL(t))
	l := create(t, proxy.URL())
	lease := lead(t, l)
	var f tree.Frontier
	if err := commit(t, l, lease.Epoch(), &f, 300); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var readers sync.WaitGroup
	for range 8 {
		readers.Go(func() {
			for ctx.Err() == nil {
				start := time.Now()
				_, err := l.Head(ctx)
				if err != nil && ctx.Err() == nil && !errors.Is(err, storage.ErrUnavailable) {
					t.Errorf("error %v, want %q", err, storage.ErrUnavailable)
				}
				if took := time.Since(start); took > 20*time.Second {
					t.Errorf("reading the head took %v", took)
				}
			}
		})
	}
	time.Sleep(2 * time.Second) // the lease is renewed, on a connection that goes silent as well
	proxy.Abandon()
	time.Sleep(15 * time.Second)
	if err := commit(t, l, lease.Epoch(), &f, 1); err != nil || isLost(lease) {
		t.Errorf("commit: error %v; the lease is lost: %v", err, isLost(lease))
	}
	time.AfterFunc(5*time.Second, stop) // who hangs still is found out by then
	readers.Wait()
}

// TestLeadWaitsForCommitsUnderWay stalls a commit between its check of the epoch and its
// end: the next epoch may not begin until then.
func TestLeadWaitsForCommitsUnderWay(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	l := create(t, url)
	lease := lead(t, l)
	stalled := pgtest.Connect(t, url)
	_, err := stalled.Exec(t.Context(), `
		BEGIN;
		INSERT INTO stele.chunks (log_id, start, count, data) SELECT log_id, 0, 1, 'data' FROM stele.logs;
		INSERT INTO stele.heads (log_id, size, base, root, epoch, mac) SELECT log_id, 1, 0, sha256('root'), 1, sha256('mac') FROM stele.logs`)
	if err != nil {
		t.Fatal(err)
	}
	lease.Release()
	led := make(chan error, 1)
	go func() {
		next, err := l.Lead(t.Context(), holder)
		if err == nil {
			next.Release()
		}
		led <- err
	}()
	select {
	case err := <-led:
		t.Fatalf("a new epoch has begun, error %v, while a commit of the old one was under way", err)
	case <-time.After(200 * time.Millisecond):
	}
	if _, err := stalled.Exec(t.Context(), "COMMIT"); err != nil {
		t.Fatal(err)
	}
	if err := <-led; err != nil {
		t.Fatal(err)
	}
	if head, err := l.Head(t.Context()); err != nil || head.Size != 1 {
		t.Errorf("head %v, error %v; want the commit's", head, err)
	}
}

// TestRenewalWaitsForNoRow: a server that takes a lease over holds its row for as long as
// a commit of the old epoch hangs. The leases of other logs are renewed meanwhile.
func TestRenewalWaitsForNoRow(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes 7 s")
	}
	url := pgtest.URL(t)
	s := open(t, url)
	for _, name := range []string{"one", "two"} {
		l, err := s.CreateLog(t.Context(), name, "log.example/"+name)
		if err != nil {
			t.Fatal(err)
		}
		lead(t, l)
	}
	_, err := pgtest.Connect(t, url).Exec(t.Context(), `
		BEGIN;
		UPDATE stele.leases SET holder = 'another' WHERE log_id = (SELECT log_id FROM stele.logs WHERE name = 'one')`)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(leaseTime)
	other, err := open(t, url).OpenLog(t.Context(), "two")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Lead(t.Context(), another); !errors.Is(err, storage.ErrLeased) {
		t.Errorf("lead the other log: error %v, want %q", err, storage.ErrLeased)
	}
}

// TestCommitsInsistOnTheirIsolation: with a snapshot from before they waited, neither a
// commit nor the beginning of an epoch would see what it is to be compared with.
func TestCommitsInsistOnTheirIsolation(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	create(t, url)
	for _, statement := range []string{
		"INSERT INTO stele.epochs (log_id, epoch, holder) SELECT log_id, 1, 'h' FROM stele.logs",
		"INSERT INTO stele.heads (log_id, size, base, root, epoch, mac) SELECT log_id, 1, 0, sha256('root'), 1, sha256('mac') FROM stele.logs",
	} {
		for _, level := range []pgx.TxIsoLevel{pgx.RepeatableRead, pgx.Serializable} {
			tx, err := pgtest.Connect(t, url).BeginTx(t.Context(), pgx.TxOptions{IsoLevel: level})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tx.Exec(t.Context(), statement); !hasCode(err, refused) {
				t.Errorf("%s in %s: error %v, want SQLSTATE %s", statement, level, err, refused)
			}
			if err := tx.Rollback(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestStoreTakesFewConnections: leases take none, however many logs there are.
func TestStoreTakesFewConnections(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	s := open(t, url)
	for i := range 40 {
		name := fmt.Sprintf("log-%d", i)
		l, err := s.CreateLog(t.Context(), name, "log.example/"+name)
		if err != nil {
			t.Fatal(err)
		}
		lead(t, l)
	}
	var n int
	err := pgtest.Connect(t, url).QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity
		WHERE datname = current_database() AND pid <> pg_backend_pid()`).Scan(&n)
	if err != nil || n > 4 {
		t.Errorf("40 leases of a store have %d connections, error %v; want few", n, err)
	}
}

// TestReleaseIsNotUndoneByARenewal releases leases at all moments between two renewals.
// Whoever waits has the lease at once.
func TestReleaseIsNotUndoneByARenewal(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes 3 s")
	}
	url := pgtest.URL(t)
	s := open(t, url)
	var all sync.WaitGroup
	for i := range 300 {
		name := fmt.Sprintf("log-%d", i)
		l, err := s.CreateLog(t.Context(), name, "log.example/"+name)
		if err != nil {
			t.Fatal(err)
		}
		lease := lead(t, l)
		all.Go(func() {
			time.Sleep(time.Duration(1000+i*3) * time.Millisecond)
			lease.Release()
		})
	}
	all.Wait()
	var held int
	err := pgtest.Connect(t, url).QueryRow(t.Context(),
		"SELECT count(*) FROM stele.leases WHERE expires_at > clock_timestamp()").Scan(&held)
	if err != nil || held != 0 {
		t.Errorf("%d leases of 300 are alive that were released, error %v", held, err)
	}
}
