package postgres_test

import (
	"context"
	"errors"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/stele-log/stele/internal/test/pgproxy"
	"github.com/stele-log/stele/internal/test/pgtest"
	"github.com/stele-log/stele/storage"
	"github.com/stele-log/stele/storage/postgres"
	"github.com/stele-log/stele/storage/storagetest"
)

// TestHostThatHangsIsGivenUp: neither opening nor closing waits for a database whose host
// accepts connections and does nothing else, and a statement waits for a bounded time.
func TestHostThatHangsIsGivenUp(t *testing.T) {
	t.Parallel()
	proxy := pgproxy.Start(t, pgtest.URL(t))
	s := open(t, proxy.URL())
	l, err := s.CreateLog(t.Context(), "default", "log.example")
	if err != nil {
		t.Fatal(err)
	}
	lead(t, l)
	proxy.Stall()
	within := func(what string, limit time.Duration, f func() error) {
		start := time.Now()
		if err := f(); what != "close" && !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("%s: error %v, want %q", what, err, storage.ErrUnavailable)
		}
		if took := time.Since(start); took > limit {
			t.Errorf("%s took %v, want less than %v", what, took, limit)
		}
	}
	within("ping", 8*time.Second, func() error { return s.Ping(t.Context()) })
	within("open", 4*time.Second, func() error {
		_, err := postgres.Open(t.Context(), proxy.URL())
		return err
	})
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { _, _ = l.Head(context.WithoutCancel(t.Context())) }) // hangs meanwhile
	time.Sleep(100 * time.Millisecond)
	within("close", 3*time.Second, s.Close)
}

// TestReadersDoNotTakeTheWritersConnections has more readers than there are connections
// for them, each in the middle of its reading.
func TestReadersDoNotTakeTheWritersConnections(t *testing.T) {
	t.Parallel()
	u, err := url.Parse(pgtest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	query.Set("pool_max_conns", "16")
	u.RawQuery = query.Encode()
	l := create(t, u.String())
	storagetest.Grow(t, l, 300)
	reading, done := make(chan struct{}), make(chan struct{})
	var readers sync.WaitGroup
	for range 8 {
		readers.Go(func() {
			first := true
			err := l.EachChunk(t.Context(), 0, 300, func(storage.Chunk) error {
				if first {
					first = false
					select {
					case reading <- struct{}{}:
						<-done
					case <-done:
					}
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	for range 4 {
		<-reading
	}
	for _, lane := range []storage.Lane{storage.Sequencing, storage.Publishing} {
		ctx, cancel := context.WithTimeout(storage.InLane(t.Context(), lane), 10*time.Second)
		if _, err := l.Head(ctx); err != nil {
			t.Errorf("read in lane %d beside the readers: %v", lane, err)
		}
		cancel()
	}
	close(done)
	readers.Wait()
}
