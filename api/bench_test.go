package api_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stele-log/stele/internal/test/dbtest"
)

// The benchmarks measure the handler, without what net/http does for a
// connection, over a log in SQLite. How long an append takes is mostly the
// disk's; what it allocates is not.

// invoice is an event of about 300 bytes.
const (
	invoiceID = "-0000000000000000"
	invoice   = `{"specversion":"1.0","id":"0192f3a4-7b1c-7d2e` + invoiceID + `","source":"/billing/api/3",` +
		`"type":"com.example.invoice.paid","subject":"invoice/803142","time":"2026-11-21T09:42:11.123Z",` +
		`"datacontenttype":"application/json","data":{"actor":"user:1234","amount":817.95,"currency":"EUR","ip":"10.3.7.1","ok":true}}`
)

// invoices returns a number of invoices and a function that gives them new ids.
func invoices(n int, open, separator, end string, ids *atomic.Uint64) (body []byte, renew func()) {
	body = []byte(open + strings.Repeat(invoice+separator, n-1) + invoice + end)
	return body, func() {
		at := len(open) + strings.Index(invoice, invoiceID) + 1
		for range n {
			copy(body[at:], fmt.Sprintf("%016x", ids.Add(1)))
			at += len(invoice) + len(separator)
		}
	}
}

// BenchmarkAppend appends from many connections; an operation is one request.
func BenchmarkAppend(b *testing.B) {
	for _, batch := range []struct {
		name, contentType, open, separator, end string
		events, writers                         int
	}{
		{"single", "application/cloudevents+json", "", "", "", 1, 128},
		{"lines=1000", "application/x-ndjson", "", "\n", "\n", 1000, 2},
		{"array=1000", "application/json", "[", ",", "]", 1000, 2},
	} {
		b.Run(batch.name, func(b *testing.B) {
			r := newRig(b, settings{})
			var ids atomic.Uint64
			b.SetParallelism(batch.writers)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				body, renew := invoices(batch.events, batch.open, batch.separator, batch.end, &ids)
				for pb.Next() {
					renew()
					req, _ := http.NewRequestWithContext(b.Context(), "POST", "/logs/default/events", bytes.NewReader(body))
					req.Header.Set("Content-Type", batch.contentType)
					r.answer(req)
				}
			})
			b.ReportMetric(float64(b.N)*float64(batch.events)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkGet gets, of a log of 10,000 entries, what most of its readers want.
func BenchmarkGet(b *testing.B) {
	r := newRig(b, settings{})
	const batches = 10
	var ids atomic.Uint64
	body, renew := invoices(1000, "", "\n", "\n", &ids)
	for range batches {
		renew()
		r.results(r.post("/logs/default/events?wait=published", string(body)))
	}
	for _, resource := range []struct {
		name string
		path func() string
	}{
		{"receipt", func() string { return fmt.Sprintf("/logs/default/events/%d/receipt", rand.IntN(batches*1000)) }},
		{"tile", func() string { return fmt.Sprintf("/logs/default/tile/0/%03d", rand.IntN(batches*1000/256)) }},
		{"checkpoint", func() string { return "/logs/default/checkpoint" }},
	} {
		b.Run(resource.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				req, _ := http.NewRequestWithContext(b.Context(), "GET", resource.path(), http.NoBody)
				r.answer(req)
			}
		})
	}
}

// answer hands a request, which must succeed, to the handler.
func (r *rig) answer(req *http.Request) {
	w := httptest.NewRecorder()
	w.Body = nil // it is not kept
	r.handler.ServeHTTP(w, req)
	if w.Code >= 300 {
		r.Errorf("%s %s: %d", req.Method, req.URL, w.Code)
	}
}

// BenchmarkStream appends on four streams over real connections; an operation is
// one event.
func BenchmarkStream(b *testing.B) {
	const streams, batch = 4, 64
	r := newRig(b, settings{store: dbtest.Postgres(b)()})
	var ids atomic.Uint64
	var open [streams]*openStream
	for i := range open {
		open[i] = r.stream()
	}
	each := b.N/streams/batch + 1
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for _, s := range open {
		wg.Go(func() {
			body, renew := invoices(batch, "", "\n", "\n", &ids)
			for range each {
				renew()
				if _, err := s.to.Write(body); err != nil {
					b.Error(err)
					break
				}
			}
			s.to.Close()
		})
		wg.Go(func() {
			for range each * batch {
				if _, err := s.lines.ReadSlice('\n'); err != nil {
					b.Error(err)
					break
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(streams*each*batch)/b.Elapsed().Seconds(), "events/s")
}
