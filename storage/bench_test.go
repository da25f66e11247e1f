package storage_test

import (
	"math/rand/v2"
	"testing"

	"github.com/stele-log/stele/internal/test/dbtest"
	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/storage"
	"github.com/stele-log/stele/storage/storagetest"
)

// BenchmarkChunk encodes and decodes a bundle of typical entries.
func BenchmarkChunk(b *testing.B) {
	bundle := bundleOf(b, storagetest.Typical(0, tile.Width))
	chunk := storage.EncodeChunk(0, tile.Width, bundle)
	b.Run("encode", func(b *testing.B) {
		b.SetBytes(int64(len(bundle)))
		b.ReportAllocs()
		for b.Loop() {
			storage.EncodeChunk(0, tile.Width, bundle)
		}
		b.ReportMetric(float64(len(chunk.Data))/tile.Width, "bytes/entry")
	})
	b.Run("decode", func(b *testing.B) {
		b.SetBytes(int64(len(bundle)))
		b.ReportAllocs()
		var dst []byte
		for b.Loop() {
			var err error
			if dst, err = chunk.Decode(dst[:0]); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkReadEntry reads entries at random from a log of a million, that no
// cache holds but the database's own.
func BenchmarkReadEntry(b *testing.B) {
	const size = 1_000_000
	for _, db := range databases {
		b.Run(db.name, func(b *testing.B) {
			l, err := db.open(b)().CreateLog(b.Context(), "default", "log.example")
			if err != nil {
				b.Fatal(err)
			}
			storagetest.Fill(b, l, size)
			r := storage.NewReader(l, storage.NewCache(smallCache))
			read := func(b *testing.B) {
				if _, err := r.ReadEntry(b.Context(), rand.Uint64N(size)); err != nil {
					b.Error(err)
				}
			}
			b.Run("alone", func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					read(b)
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "entries/s")
			})
			b.Run("together", func(b *testing.B) {
				b.ReportAllocs()
				b.SetParallelism(4)
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						read(b)
					}
				})
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "entries/s")
			})
		})
	}
}

var databases = []struct {
	name string
	open func(testing.TB) func() storage.Store
}{{"sqlite", dbtest.SQLite}, {"postgres", dbtest.Postgres}}
