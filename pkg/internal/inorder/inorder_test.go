package inorder_test

import (
	"context"
	"errors"
	"iter"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stele-log/stele/pkg/internal/inorder"
)

var errBroken = errors.New("broken")

// count yields the numbers below n.
func count(n int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := range n {
			if !yield(i) {
				return
			}
		}
	}
}

// slow takes a second or less.
func slow(_ context.Context, i int) (int, error) {
	time.Sleep(time.Duration(rand.Int64N(int64(time.Second))))
	return i, nil
}

func TestResultsComeInOrder(t *testing.T) {
	t.Parallel()
	for _, jobs := range []int{0, 1, 7, 8, 9, 100} {
		synctest.Test(t, func(t *testing.T) {
			start, next := time.Now(), 0
			for got, err := range inorder.Map(t.Context(), 8, count(jobs), slow) {
				if got != next || err != nil {
					t.Fatalf("result %d is %d, error %v", next, got, err)
				}
				next++
			}
			if next != jobs {
				t.Errorf("%d results of %d", next, jobs)
			}
			if took := time.Since(start); jobs == 100 && took > 30*time.Second {
				t.Errorf("100 jobs of half a second took %v: they do not run at once", took)
			}
		})
	}
}

// A slow consumer finds no more than 4 results under way or done, the one in its
// hands among them.
func TestWorkAheadIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var begun atomic.Int64
		taken, most := int64(0), int64(0)
		for range inorder.Map(t.Context(), 4, count(50), func(_ context.Context, i int) (int, error) {
			begun.Add(1)
			return i, nil
		}) {
			time.Sleep(time.Second)
			most = max(most, begun.Load()-taken)
			taken++
		}
		if most != 4 {
			t.Errorf("up to %d results are held at once, want 4", most)
		}
	})
}

// The bubbles fail if goroutines are left at their end.
func TestTheEndOfTheLoopEndsTheWork(t *testing.T) {
	t.Parallel()
	waits := func(ctx context.Context, i int) (int, error) {
		if i < 20 {
			return i, nil
		}
		<-ctx.Done()
		return i, ctx.Err()
	}
	synctest.Test(t, func(t *testing.T) {
		for i := range inorder.Map(t.Context(), 8, count(100), waits) {
			if i == 15 {
				break
			}
		}
	})
	synctest.Test(t, func(t *testing.T) {
		defer func() { _ = recover() }()
		for range inorder.Map(t.Context(), 8, count(100), waits) {
			panic("in the loop")
		}
	})
}

func TestAnErrorComesAfterTheResultsBeforeIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		next := 0
		for got, err := range inorder.Map(t.Context(), 8, count(100), func(ctx context.Context, i int) (int, error) {
			if i == 30 {
				return 30, errBroken // at once, while those before it are under way
			}
			return slow(ctx, i)
		}) {
			if got != next || (err != nil) != (next == 30) || next > 30 {
				t.Fatalf("result %d is %d, error %v", next, got, err)
			}
			next++
		}
		if next != 31 {
			t.Errorf("%d results, want 30 and the error", next)
		}
	})
}

func TestACancelledContextEndsTheLoop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10500*time.Millisecond)
		defer cancel()
		next := 0
		var failed error
		for _, err := range inorder.Map(ctx, 1, count(100), func(_ context.Context, i int) (int, error) {
			time.Sleep(time.Second) // and takes no notice
			return i, nil
		}) {
			if failed = err; err == nil {
				next++
			}
		}
		if next != 10 || !errors.Is(failed, context.DeadlineExceeded) {
			t.Errorf("%d results, error %v", next, failed)
		}
	})
}
