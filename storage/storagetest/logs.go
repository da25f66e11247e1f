package storagetest

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
)

// testCreateLog: a store begins without logs. A log begins with the head of the empty
// tree, so the first commit has a base like any other; its name and its origin are each
// its own, and it is opened as what it was created as. Logs are listed by the bytes of
// their names: "Two" comes before "one", whatever a database's collation is.
func testCreateLog(t *testing.T, create Create) {
	s := newStore(t, create)
	if err := s.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	if infos, err := s.Logs(t.Context()); err != nil || len(infos) != 0 {
		t.Fatalf("a new store has logs %v, error %v", infos, err)
	}
	_, err := s.OpenLog(t.Context(), "one")
	wantError(t, "open a log that is not there", err, storage.ErrNotFound)

	created := newLog(t, s, "one")
	newLog(t, s, "Two")
	if head, err := created.Head(t.Context()); err != nil || head.Head != tree.Empty() {
		t.Fatalf("a new log has head %v, error %v", head, err)
	}
	_, err = s.CreateLog(t.Context(), "one", "log.example/another")
	wantError(t, "create a log of a name that is taken", err, storage.ErrExists)
	_, err = s.CreateLog(t.Context(), "another", "log.example/one")
	wantError(t, "create a log of an origin that is taken", err, storage.ErrExists)

	opened, err := s.OpenLog(t.Context(), "one")
	if err != nil {
		t.Fatal(err)
	}
	info := opened.Info()
	if info != created.Info() || info.Name != "one" || info.Origin != "log.example/one" {
		t.Errorf("opened as %v, created as %v", info, created.Info())
	}
	if age := time.Since(info.Created); age < -time.Minute || age > time.Minute || info.Created.Location() != time.UTC {
		t.Errorf("created at %v, want now, in UTC", info.Created)
	}
	infos, err := s.Logs(t.Context())
	if err != nil || len(infos) != 2 || infos[0].Name != "Two" || infos[1] != info {
		t.Errorf("logs %v, error %v; want Two and one, by name", infos, err)
	}
}

// testCreateLogRace: of those that create the same log at once, one succeeds and the
// others get ErrExists, so none goes on with half a log. The log can be written to.
func testCreateLogRace(t *testing.T, create Create) {
	s := newStore(t, create)
	won := race(8, func(int) error {
		_, err := s.CreateLog(t.Context(), "default", "log.example/default")
		return err
	})
	wantOneWinner(t, won, storage.ErrExists)
	l, err := s.OpenLog(t.Context(), "default")
	if err != nil {
		t.Fatal(err)
	}
	Grow(t, l, 3)
}

// testSeparateLogs: logs of one store share no indexes, heads or checkpoints. A
// checkpoint must be of a size that the same log has committed.
func testSeparateLogs(t *testing.T, create Create) {
	s := newStore(t, create)
	one, two := newLog(t, s, "one"), newLog(t, s, "two")
	Grow(t, one, 300)
	head := Grow(t, two, 5, 600)
	if got := Check(t, one); len(got) != 300 {
		t.Errorf("the first log has %d entries, want 300", len(got))
	}
	if got := Check(t, two); len(got) != 605 {
		t.Errorf("the second log has %d entries, want 605", len(got))
	}
	addCheckpoint(t, two, 0, head.Size)
	_, err := one.LastCheckpoint(t.Context())
	wantError(t, "read the other log's checkpoint", err, storage.ErrNotFound)
	wantError(t, "sign a size of the other log",
		one.AddCheckpoint(t.Context(), storage.Checkpoint{Size: head.Size, Note: []byte("n"), Published: time.Now()}),
		storage.ErrNotFound)
}

// race runs f n times at once and returns what each returned.
func race(n int, f func(i int) error) []error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			errs[i] = f(i)
		})
	}
	close(start)
	wg.Wait()
	return errs
}

// wantOneWinner fails the test unless one of the errors is nil and all others
// are the sentinel want. It returns the winner.
func wantOneWinner(t *testing.T, errs []error, want error) int {
	t.Helper()
	winner, winners := 0, 0
	for i, err := range errs {
		if err == nil {
			winner = i
			winners++
		} else if !errors.Is(err, want) {
			t.Errorf("a loser has error %v, want %q", err, want)
		}
	}
	if winners != 1 {
		t.Fatalf("%d of %d have won, want 1", winners, len(errs))
	}
	return winner
}

// testConnections: a connection counts as in use while rows are read from it, and there
// are never more than the store says there may be.
func testConnections(t *testing.T, create Create) {
	s := newStore(t, create)
	l := newLog(t, s, "one")
	Grow(t, l, 10)
	read := false
	err := l.EachChunk(t.Context(), 0, 10, func(storage.Chunk) error {
		read = true
		if c := s.Connections(); c.InUse < 1 || c.InUse+c.Idle > c.Max {
			t.Errorf("while one is read from there are %+v", c)
		}
		return nil
	})
	if err != nil || !read {
		t.Errorf("chunks: %t, %v", read, err)
	}
}
