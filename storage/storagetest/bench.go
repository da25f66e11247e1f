package storagetest

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
)

// BenchmarkCommit measures commits of batches of 1 to 4096 entries of 300 bytes
// to an empty log. Making the batches is not counted.
func BenchmarkCommit(b *testing.B, l storage.Log) {
	lease := lead(b, l)
	var f tree.Frontier
	for _, n := range []int{1, 64, 256, 4096} {
		entries := make([][]byte, n)
		random := rand.NewChaCha8([32]byte{})
		for i := range entries {
			var id [64]byte // about half of an entry, as hexadecimal, cannot be compressed away
			random.Read(id[:])
			entries[i] = fmt.Appendf(nil, `{"specversion":"1.0","id":"%s","source":"storagetest","type":"made.up",`+
				`"recordedtime":"2025-01-01T00:00:00.000000Z","data":{"actor":"somebody","action":"read"}%*s`,
				hex.EncodeToString(id[:]), 26, "}")
		}
		b.Run(fmt.Sprintf("%d entries of %d bytes", n, len(entries[0])), func(b *testing.B) {
			var spent time.Duration
			for b.Loop() {
				batch := Batch(b, lease.Epoch(), &f, entries)
				start := time.Now()
				commit(b, l, batch)
				spent += time.Since(start)
			}
			b.ReportMetric(float64(spent.Nanoseconds())/float64(b.N), "ns/op")
			b.ReportMetric(float64(b.N)*float64(n)/spent.Seconds(), "entries/s")
		})
	}
}

// Typical returns n made-up entries of about 340 bytes, of events of about 300,
// as they would stand in a log from index start on: most of an entry is in the
// one before it too, its id is random.
func Typical(start uint64, n int) [][]byte {
	entries := make([][]byte, n)
	for i := range entries {
		id := start + uint64(i)
		random := rand.NewPCG(id, 0)
		entries[i] = fmt.Appendf(nil, `{"specversion":"1.0","id":"0192f3a4-7b1c-7d2e-%04x-%012x","source":"/billing/api/%d",`+
			`"type":"com.example.invoice.paid","subject":"invoice/%d","time":"2026-11-21T09:42:%02d.%03dZ",`+
			`"datacontenttype":"application/json","data":{"actor":"user:%d","amount":%d.95,"currency":"EUR","ip":"10.3.7.%d","ok":true},`+
			`"recordedtime":"2026-11-21T09:42:%02d.%06dZ"}`,
			random.Uint64()>>48, random.Uint64()>>16, id%7, 800000+id*7919%100000, id/1000%60, id%1000,
			id*31%5000, id*17%900, id%256, id/1000%60, id*13%1000000)
	}
	return entries
}

// Fill appends n typical entries to an empty log in batches of 16,384, so that
// each chunk is a whole bundle but the last, and returns the log's head.
func Fill(t testing.TB, l storage.Log, n uint64) tree.Head {
	t.Helper()
	lease := lead(t, l)
	defer lease.Release()
	var f tree.Frontier
	for f.Size() < n {
		commit(t, l, Batch(t, lease.Epoch(), &f, Typical(f.Size(), int(min(16_384, n-f.Size())))))
	}
	return f.Head()
}
