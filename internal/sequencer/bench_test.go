package sequencer_test

import (
	"fmt"
	"sync"
	"testing"

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
				r := start(b, l)
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
