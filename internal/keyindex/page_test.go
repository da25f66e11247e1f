package keyindex

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stele-log/stele/storage"
)

// pairsOf returns the sorted pairs of a run with these keys.
func pairsOf(keys []uint64) []pair {
	pairs := make([]pair, len(keys))
	for i, key := range keys {
		pairs[i] = newPair(key, uint64(i))
	}
	slices.Sort(pairs)
	return pairs
}

func keysFrom(n int, key func(i int) uint64) []uint64 {
	keys := make([]uint64, n)
	for i := range keys {
		keys[i] = key(i)
	}
	return keys
}

func collectPages(pairs []pair) []storage.Page {
	var all []storage.Page
	for p := range pages(pairs) {
		all = append(all, storage.Page{First: p.First, Data: slices.Clone(p.Data)})
	}
	return all
}

func TestPagesHoldEveryPair(t *testing.T) {
	t.Parallel()
	const last = 1<<keyBits - 1
	random := func(int) uint64 { return rand.Uint64N(last + 1) }
	for name, keys := range map[string][]uint64{
		"hashes":                keysFrom(RunLength, random),
		"hashes of a long run":  keysFrom(maxRunLength, random),
		"all the same":          keysFrom(RunLength, func(int) uint64 { return 7 }),
		"all the lowest":        keysFrom(RunLength, func(int) uint64 { return 0 }),
		"all the highest":       keysFrom(RunLength, func(int) uint64 { return last }),
		"the lowest and others": keysFrom(RunLength, func(i int) uint64 { return uint64(i%2) * last }),
		"in a row":              keysFrom(RunLength, func(i int) uint64 { return uint64(i) }),
	} {
		want := pairsOf(keys)
		var got []pair
		bytes := 0
		var before uint64
		for i, p := range collectPages(want) {
			if i > 0 && p.First <= before {
				t.Errorf("%s: page %d is of keys from %#x on, after one from %#x on", name, i, p.First, before)
			}
			before = p.First
			bytes += len(p.Data)
			var err error
			if got, err = appendPairs(got, p, uint64(len(keys))); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: the pages do not hold the pairs they were made of", name)
		}
		if each := float64(bytes) / float64(len(keys)); each > 5.25 {
			t.Errorf("%s: %.2f bytes a pair", name, each)
		}
	}
}

func TestChangedPagesAreRefused(t *testing.T) {
	t.Parallel()
	whole := collectPages(pairsOf(keysFrom(RunLength, func(int) uint64 { return rand.Uint64N(1 << keyBits) })))[3]
	for name, change := range map[string]func(p *storage.Page){
		"empty":                   func(p *storage.Page) { p.Data = nil },
		"of a byte less":          func(p *storage.Page) { p.Data = p.Data[:len(p.Data)-1] },
		"of a byte more":          func(p *storage.Page) { p.Data = append(p.Data, 0) },
		"with a bit set behind":   func(p *storage.Page) { p.Data = append(p.Data, 0x80) },
		"of a pair more":          func(p *storage.Page) { p.Data[0]++ },
		"of a pair less":          func(p *storage.Page) { p.Data[0]-- },
		"with a key out of range": func(p *storage.Page) { p.First = 1 << keyBits },
		"that leaves the range":   func(p *storage.Page) { p.First = 1<<keyBits - 1 },
		"with a number cut off":   func(p *storage.Page) { p.Data = []byte{0x80} },
		"with a pair twice":       func(p *storage.Page) { p.Data = append([]byte{2}, make([]byte, 11)...) },
	} {
		p := storage.Page{First: whole.First, Data: slices.Clone(whole.Data)}
		change(&p)
		if _, err := appendPairs(nil, p, RunLength); !errors.Is(err, storage.ErrDamaged) {
			t.Errorf("a page %s: error %v, want %q", name, err, storage.ErrDamaged)
		}
	}
}

// FuzzPage holds that a page is refused, or has sorted pairs that a run may have.
func FuzzPage(f *testing.F) {
	for _, p := range collectPages(pairsOf(keysFrom(1000, func(int) uint64 { return rand.Uint64N(1 << keyBits) }))) {
		f.Add(p.First, p.Data)
	}
	f.Add(uint64(1), []byte{1, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, first uint64, data []byte) {
		pairs, err := appendPairs(nil, storage.Page{First: first, Data: data}, RunLength)
		if err != nil {
			return
		}
		var last pair
		for i, p := range pairs {
			if i > 0 && p <= last || p.key() < first || p.offset() >= RunLength {
				t.Fatalf("pair %d, (%#x, %d), after (%#x, %d), on a page of keys from %#x on",
					i, p.key(), p.offset(), last.key(), last.offset(), first)
			}
			last = p
		}
	})
}
