package engine_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stele-log/stele/internal/engine"
	"github.com/stele-log/stele/internal/test/dbtest"
	"github.com/stele-log/stele/storage"
)

// A slow store creates a log when it is told to.
type slow struct {
	storage.Store
	asked, answer chan bool
}

func (s slow) CreateLog(ctx context.Context, name, origin string) (storage.Log, error) {
	s.asked <- true
	<-s.answer
	return s.Store.CreateLog(ctx, name, origin)
}

func TestCreatingALogHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	s := slow{dbtest.SQLite(t)(), make(chan bool), make(chan bool, 1)}
	h := start(t, s, t.TempDir())
	created := make(chan error, 2)
	create := func(ctx context.Context, name string) {
		_, err := h.Create(ctx, engine.NewLog{Name: name, Origin: origin(name)})
		created <- err
	}
	go create(t.Context(), "one")
	<-s.asked
	s.answer <- true
	if err := <-created; err != nil {
		t.Fatal(err)
	}

	go create(t.Context(), "two")
	<-s.asked
	appendTo(t, h.get(t, "one"), 0, 1)
	if n := len(h.Logs()); n != 1 {
		t.Errorf("%d logs, want the one that is there", n)
	}
	impatient, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	go create(impatient, "three")
	if err := <-created; !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("another log is created meanwhile: %v", err)
	}
	s.answer <- true
	if err := <-created; err != nil {
		t.Fatal(err)
	}
	appendTo(t, h.get(t, "two"), 0, 1)
}

func TestNoMoreLogsAreCreatedThanThereMayBe(t *testing.T) {
	t.Parallel()
	store, dir := dbtest.SQLite(t)(), t.TempDir()
	h, err := engine.Open(t.Context(), engine.Config{Store: store, Dir: dir, Interval: interval, Cache: 1 << 20,
		Logger: slog.New(slog.DiscardHandler), Now: time.Now, MaxLogs: 3})
	if err != nil {
		t.Fatal(err)
	}
	r := run(t, h)
	var refused atomic.Int32
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			name := fmt.Sprint("log-", i)
			_, err := r.Create(t.Context(), engine.NewLog{Name: name, Origin: origin(name)})
			if errors.Is(err, engine.ErrTooMany) {
				refused.Add(1)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := len(r.Logs()); n != 3 || refused.Load() != 7 {
		t.Errorf("%d logs and %d refusals, want 3 and 7", n, refused.Load())
	}
}
