package keyindex_test

import (
	"math/rand/v2"
	"testing"

	"github.com/stele-log/stele/internal/keyindex"
	"github.com/stele-log/stele/internal/test/dbtest"
	"github.com/stele-log/stele/storage"
)

// randomKeys returns n keys as hashes give them.
func randomKeys(n int) []uint64 {
	keys := make([]uint64, n)
	for i := range keys {
		keys[i] = rand.Uint64N(maxKey + 1)
	}
	return keys
}

// BenchmarkFind looks for new keys in an index of seven runs, as an append does;
// an operation is one key.
func BenchmarkFind(b *testing.B) {
	l, err := dbtest.SQLite(b)().CreateLog(b.Context(), "default", "log.example/default")
	if err != nil {
		b.Fatal(err)
	}
	x, err := keyindex.Open(b.Context(), l.Runs(), keyindex.Events)
	if err != nil {
		b.Fatal(err)
	}
	for range 7 {
		if err := x.Add(b.Context(), randomKeys(run), nil); err != nil {
			b.Fatal(err)
		}
	}
	keys := randomKeys(4096)
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i += len(keys) {
		if _, err := x.Find(b.Context(), keys); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAdd adds runs, with all merging that there is to do; an operation is
// one key.
func BenchmarkAdd(b *testing.B) {
	stores := map[string]func(testing.TB) func() storage.Store{"sqlite": dbtest.SQLite, "postgres": dbtest.Postgres}
	for name, open := range stores {
		for _, kind := range []string{keyindex.Events, keyindex.Leaves} {
			b.Run(name+"/"+kind, func(b *testing.B) {
				l, err := open(b)().CreateLog(b.Context(), "default", "log.example/default")
				if err != nil {
					b.Fatal(err)
				}
				x, err := keyindex.Open(b.Context(), l.Runs(), kind)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportAllocs()
				b.ResetTimer()
				for i := 0; i < b.N; i += run {
					b.StopTimer()
					keys := randomKeys(run)
					b.StartTimer()
					if err := x.Add(b.Context(), keys, nil); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
