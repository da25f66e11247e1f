package storage_test

import (
	"math/rand/v2"
	"testing"

	"github.com/stele-log/stele/pkg/proof"
	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
	"github.com/stele-log/stele/storage/storagetest"
)

// BenchmarkProof builds proofs in a log of a million entries. Warm, the tiles
// are all in the cache; cold, those of level 0 hardly ever are.
func BenchmarkProof(b *testing.B) {
	for _, db := range databases {
		b.Run(db.name, func(b *testing.B) {
			l, err := db.open(b)().CreateLog(b.Context(), "default", "log.example/default")
			if err != nil {
				b.Fatal(err)
			}
			const size = 1_000_000
			storagetest.Grow(b, l, size/4, size/4, size/4, size/4)
			b.Run("warm", func(b *testing.B) { benchmarkProof(b, l, bigCache, size) })
			b.Run("cold", func(b *testing.B) { benchmarkProof(b, l, smallCache, size) })
		})
	}
}

func benchmarkProof(b *testing.B, l storage.Log, cache int, size uint64) {
	r := storage.NewReader(l, storage.NewCache(cache))
	for index := uint64(0); index < size; index += tile.Width {
		if _, err := r.ReadLeaf(b.Context(), index); err != nil {
			b.Fatal(err)
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for _, p := range []struct {
		name string
		make func() ([]tree.Hash, error)
	}{
		{"inclusion", func() ([]tree.Hash, error) { return proof.Inclusion(b.Context(), r, random.Uint64N(size), size) }},
		{"consistency", func() ([]tree.Hash, error) { return proof.Consistency(b.Context(), r, random.Uint64N(size), size) }},
	} {
		b.Run(p.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.make(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
