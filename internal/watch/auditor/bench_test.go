package auditor_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stele-log/stele/pkg/client"
)

// BenchmarkCatchUp follows a log over HTTP from the first entry on, with entries
// of 300 bytes. Server and auditor share the machine's cores.
func BenchmarkCatchUp(b *testing.B) {
	const size = 1 << 18
	h := newHistory(b, origin)
	h.growLarge(size)
	f := newFront(b, h.handler)
	for b.Loop() {
		r := newRig(b, []string{h.vkey}, f.url)
		r.cfg.Logger = slog.New(slog.DiscardHandler)
		r.mustOnce()
	}
	b.ReportMetric(float64(b.N)*size/b.Elapsed().Seconds(), "entries/s")
}

// BenchmarkKeepUp has a log of a million entries grow while an auditor follows
// it, at 60,000 events a second and 300 bytes each if the machine can. It
// reports how many were written, the largest lag, and how long the auditor took
// after the last.
func BenchmarkKeepUp(b *testing.B) {
	const rate, seconds = 60_000, 10
	h := newHistory(b, origin)
	h.growLarge(1_000_000)
	f := newFront(b, h.handler)
	r := newRig(b, []string{h.vkey}, f.url)
	r.cfg.Interval, r.cfg.Logger = time.Second, slog.New(slog.DiscardHandler)
	a := r.new()
	if err := a.Once(b.Context()); err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	verified := func() float64 { return metric(b, a, "stele_audit_verified_size") }
	written, behind := 0, 0.0
	var writing, catching time.Duration
	for b.Loop() {
		start, before := time.Now(), h.size
		for tick := range 2 * seconds {
			h.growLarge(before + (tick+1)*rate/2)
			behind = max(behind, float64(h.size)-verified())
			time.Sleep(time.Until(start.Add(time.Duration(tick+1) * time.Second / 2)))
		}
		writing, written = writing+time.Since(start), written+h.size-before
		start = time.Now()
		waitFor(b, "the auditor", func() bool { return verified() == float64(h.size) })
		catching += time.Since(start)
	}
	stop()
	if err := <-ended; err != nil {
		b.Error(err)
	}
	b.ReportMetric(float64(written)/writing.Seconds(), "events/s")
	b.ReportMetric(behind, "most-entries-behind")
	b.ReportMetric(catching.Seconds(), "s-to-catch-up")
}

// growLarge appends events whose entries have about 300 bytes, from several
// goroutines, in batches of at most 5000.
func (h *history) growLarge(size int) {
	h.Helper()
	var writing errgroup.Group
	writing.SetLimit(4)
	for start := h.size; start < size; start += 5000 {
		writing.Go(func() error {
			events := make([]client.Event, min(5000, size-start))
			for i := range events {
				n := fmt.Sprint(start + i)
				events[i] = client.Event{ID: n, Source: "test", Type: "t", Time: clock(), Data: n + strings.Repeat("x", 120)}
			}
			_, err := h.client.Append(h.Context(), events...)
			return err
		})
	}
	if err := writing.Wait(); err != nil {
		h.Fatal(err)
	}
	h.size = size
	if _, err := h.client.Receipt(h.Context(), uint64(h.size-1), true); err != nil {
		h.Fatal(err)
	}
}
