package client_test

import (
	"crypto/sha256"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stele-log/stele/internal/test/dbtest"
	"github.com/stele-log/stele/pkg/client"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
	"github.com/stele-log/stele/storage/storagetest"
)

// BenchmarkCheck checks a log of a million entries in its database and, turn by
// turn with it, hashes the same leaves and as many nodes from memory and does
// nothing else, on as many cores. Both take what other work the machine has to
// do; the ratio of the two is what to look at.
func BenchmarkCheck(b *testing.B) {
	const size = 1_000_000
	for _, db := range []struct {
		name string
		open func(testing.TB) func() storage.Store
	}{{"sqlite", dbtest.SQLite}, {"postgres", dbtest.Postgres}} {
		b.Run(db.name, func(b *testing.B) {
			stored, err := db.open(b)().CreateLog(b.Context(), "default", memOrigin)
			if err != nil {
				b.Fatal(err)
			}
			head := storagetest.Fill(b, stored, size)
			l := &memLog{}
			l.useKey(b, memOrigin, 1)
			c := storage.Checkpoint{Size: size, Note: l.sign(b, head), Published: time.Now()}
			if err := stored.AddCheckpoint(b.Context(), c); err != nil {
				b.Fatal(err)
			}
			leaves := prefixed(storagetest.Typical(0, size))
			p, r := l.policy(b), storage.NewReader(stored, storage.NewCache(0))
			var checks, hashes, ratios []float64 // entries a second
			runtime.GC()
			b.ReportAllocs()
			for b.Loop() {
				start := time.Now()
				hashAll(leaves)
				alone := time.Since(start)
				start = time.Now()
				if _, err := client.Check(b.Context(), r, p, client.CheckOptions{}); err != nil {
					b.Fatal(err)
				}
				checked := time.Since(start)
				checks = append(checks, size/checked.Seconds())
				hashes = append(hashes, size/alone.Seconds())
				ratios = append(ratios, alone.Seconds()/checked.Seconds())
			}
			b.ReportMetric(median(checks), "entries/s")
			b.ReportMetric(median(hashes), "hashed/s")
			b.ReportMetric(median(ratios), "ratio")
			b.ReportMetric(slices.Min(ratios), "least")
			b.ReportMetric(slices.Max(ratios), "most")
		})
	}
}

// prefixed returns entries with the byte before them that makes them leaves.
func prefixed(entries [][]byte) [][]byte {
	for i, e := range entries {
		entries[i] = append([]byte{0}, e...)
	}
	return entries
}

// hashAll hashes leaves, and a node for each, on all cores.
func hashAll(leaves [][]byte) {
	var wg sync.WaitGroup
	n := runtime.GOMAXPROCS(0)
	for part := range slices.Chunk(leaves, (len(leaves)+n-1)/n) {
		wg.Go(func() {
			var node [1 + 2*tree.HashSize]byte
			for _, leaf := range part {
				hash := sha256.Sum256(leaf)
				copy(node[1:], hash[:])
				hash = sha256.Sum256(node[:])
				copy(node[1+tree.HashSize:], hash[:])
			}
		})
	}
	wg.Wait()
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}
