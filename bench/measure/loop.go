package measure

import (
	"context"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// A Loop is work that goroutines do over and over.
type Loop struct {
	Workers int

	// Work does some of it and returns how much. Workers are numbered from 0.
	Work func(ctx context.Context, worker int) (done int, err error)

	// Finish, if not nil, does what is left to do. The clock runs until it
	// returns.
	Finish func(ctx context.Context) error
}

// warmUp is the share of a turn for which a loop runs before the clock does.
const warmUp = 8

// Rate returns how much is done in a second. The clock stops when all that was
// begun is finished.
func (l Loop) Rate(ctx context.Context, d time.Duration) (float64, error) {
	if _, err := l.run(ctx, d/warmUp, nil); err != nil {
		return 0, err
	}
	start := time.Now()
	done, err := l.run(ctx, d, nil)
	return float64(done) / time.Since(start).Seconds(), err
}

// Latency returns the quantile q of the times that Work takes, in microseconds.
func (l Loop) Latency(ctx context.Context, d time.Duration, q float64) (float64, error) {
	if _, err := l.run(ctx, d/warmUp, nil); err != nil {
		return 0, err
	}
	times := make([][]int64, l.Workers)
	_, err := l.run(ctx, d, times)
	if err != nil {
		return 0, err
	}
	return quantileMicros(times, q), nil
}

// run works for d and finishes. It appends how long each piece took to times,
// in nanoseconds by worker, if they are not nil.
func (l Loop) run(ctx context.Context, d time.Duration, times [][]int64) (done int64, err error) {
	var total atomic.Int64
	g, working := errgroup.WithContext(ctx)
	end := time.Now().Add(d)
	for w := range l.Workers {
		g.Go(func() error {
			for now := time.Now(); now.Before(end) && working.Err() == nil; {
				n, err := l.Work(working, w)
				if err != nil {
					return err
				}
				total.Add(int64(n))
				then := now
				now = time.Now()
				if times != nil {
					times[w] = append(times[w], now.Sub(then).Nanoseconds())
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return 0, err
	}
	if l.Finish != nil {
		err = l.Finish(ctx)
	}
	return total.Load(), err
}

// Paced works at a rate that does not depend on how fast the work is done, and
// returns the quantile q of the times from when each piece was due to when it
// was done, in microseconds. So what waits because all workers are busy counts
// as late.
func (l Loop) Paced(ctx context.Context, d time.Duration, perSecond, q float64) (float64, error) {
	var next atomic.Int64
	times := make([][]int64, l.Workers)
	g, working := errgroup.WithContext(ctx)
	start := time.Now()
	from := start.Add(d / warmUp)
	for w := range l.Workers {
		g.Go(func() error {
			for working.Err() == nil {
				due := start.Add(time.Duration(float64(next.Add(1)) / perSecond * float64(time.Second)))
				if due.After(from.Add(d)) {
					return nil
				}
				time.Sleep(time.Until(due))
				if _, err := l.Work(working, w); err != nil {
					return err
				}
				if due.After(from) {
					times[w] = append(times[w], time.Since(due).Nanoseconds())
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return 0, err
	}
	return quantileMicros(times, q), nil
}

func quantileMicros(times [][]int64, q float64) float64 {
	var all []int64
	for _, t := range times {
		all = append(all, t...)
	}
	if len(all) == 0 {
		return 0
	}
	return float64(Quantile(all, q)) / 1000
}

// Fill has workers do total pieces of work, up to n at a time.
func Fill(ctx context.Context, workers int, total uint64, n int, work func(ctx context.Context, worker, n int) error) error {
	var taken atomic.Uint64
	g, working := errgroup.WithContext(ctx)
	for w := range workers {
		g.Go(func() error {
			for working.Err() == nil {
				end := taken.Add(uint64(n))
				start := end - uint64(n)
				if start >= total {
					return nil
				}
				if err := work(working, w, int(min(end, total)-start)); err != nil {
					return err
				}
			}
			return working.Err()
		})
	}
	return g.Wait()
}
