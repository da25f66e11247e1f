package sequencer_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stele-log/stele/internal/headmac"
	"github.com/stele-log/stele/internal/test/dbtest"
	"github.com/stele-log/stele/pkg/event"
	"github.com/stele-log/stele/storage"
)

// BenchmarkAppend appends events of 300 bytes, checked before, in batches; an
// operation is one event. How durable a commit is depends on the cluster that
// STELE_TEST_POSTGRES names.
func BenchmarkAppend(b *testing.B) {
	for _, db := range []struct {
		name string
		open func(testing.TB) func() storage.Store
	}{{"sqlite", dbtest.SQLite}, {"postgres", dbtest.Postgres}} {
		for _, size := range []int{1, 64, 256, 4096} {
			b.Run(fmt.Sprintf("%s/batch=%d", db.name, size), func(b *testing.B) {
				l, err := db.open(b)().CreateLog(b.Context(), "bench", "example.com/bench")
				if err != nil {
					b.Fatal(err)
				}
				r := start(b, headmac.Open(l, headmac.Key{}))
				batches := make([][]event.Event, (b.N+size-1)/size)
				for i := range batches {
					batches[i] = typical(b, i*size, size)
				}
				b.ReportAllocs()
				b.ResetTimer()
				// Two writers: one batch is built while the other commits.
				var wg sync.WaitGroup
				for w := range 2 {
					wg.Go(func() {
						for i := w; i < len(batches); i += 2 {
							if _, err := r.Append(b.Context(), batches[i]); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
			})
		}
	}
}

// BenchmarkDuplicates has one writer send 10,000 duplicates of random entries among
// 300,000 in one request, while another sends one new event after the other. ms-wait is
// the longest that the other has waited for an answer; ms-idle is the same without
// duplicates.
func BenchmarkDuplicates(b *testing.B) {
	const size, duplicates = 300_000, 10_000
	for _, db := range []struct {
		name string
		open func(testing.TB) func() storage.Store
	}{{"sqlite", dbtest.SQLite}, {"postgres", dbtest.Postgres}} {
		b.Run(db.name, func(b *testing.B) {
			l, err := db.open(b)().CreateLog(b.Context(), "bench", "example.com/bench")
			if err != nil {
				b.Fatal(err)
			}
			r := start(b, headmac.Open(l, headmac.Key{}))
			events := typical(b, 0, size)
			for batch := range slices.Chunk(events, 4096) {
				if _, err := r.Append(b.Context(), batch); err != nil {
					b.Fatal(err)
				}
			}
			next := size
			idle := longestWait(b, r, &next, func() { time.Sleep(time.Second) })
			var longest time.Duration
			for b.Loop() {
				again := make([]event.Event, duplicates)
				for i := range again {
					again[i] = events[rand.N(size)]
				}
				longest = max(longest, longestWait(b, r, &next, func() {
					if _, err := r.Append(b.Context(), again); err != nil {
						b.Error(err)
					}
				}))
			}
			b.ReportMetric(float64(idle.Microseconds())/1000, "ms-idle")
			b.ReportMetric(float64(longest.Microseconds())/1000, "ms-wait")
		})
	}
}

// longestWait returns the longest time that a writer of single events waits while f
// runs.
func longestWait(b *testing.B, r *running, next *int, f func()) (longest time.Duration) {
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	for {
		e := typical(b, *next, 1)
		*next++
		begun := time.Now()
		if _, err := r.Append(b.Context(), e); err != nil {
			b.Fatal(err)
		}
		longest = max(longest, time.Since(begun))
		select {
		case <-done:
			return longest
		default:
		}
	}
}

// typical returns n events of about 300 bytes, with ids from start on.
func typical(b *testing.B, start, n int) []event.Event {
	b.Helper()
	events := make([]event.Event, n)
	for i := range events {
		id := start + i
		e, err := event.Parse(fmt.Appendf(nil, `{"specversion":"1.0","id":"0192f3a4-7b1c-7d2e-9f00-%012x","source":"/billing/api/%d",`+
			`"type":"com.example.invoice.paid","subject":"invoice/%d","time":"2026-11-21T09:42:%02d.%03dZ",`+
			`"datacontenttype":"application/json","data":{"actor":"user:%d","amount":%d.95,"currency":"EUR","ip":"10.3.7.%d","ok":true}}`,
			id, id%7, 800000+id*7919%100000, id/1000%60, id%1000, id*31%5000, id*17%900, id%256), event.Sender{Name: "w"})
		if err != nil {
			b.Fatal(err)
		}
		events[i] = e
	}
	return events
}
