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
