package keyindex

import (
	"encoding/binary"
	"fmt"

	"github.com/stele-log/stele/storage"
)

// A run is what is in memory of a stored run.
type run struct {
	start, end uint64
	filter     *filter // nil if it is not in memory, or the kind has none
	damaged    error   // not nil: there is a filter that cannot be read
}

func (r run) length() uint64 { return r.end - r.start }

// isLoaded reports whether the filter was read, or cannot be.
func (r run) isLoaded() bool { return r.filter != nil || r.damaged != nil }

func sameRun(a, b run) bool { return a.start == b.start && a.end == b.end }

// A pair is a key and, in its last 24 bits, the entry it belongs to, counted
// from the run's start.
type pair uint64

const (
	offsetBits = 64 - keyBits
	pageSize   = 1900 // bytes, about: so that a page is stored within its row
)

func newPair(key uint64, offset int) pair { return pair(key<<offsetBits | uint64(offset)) }

func (p pair) key() uint64    { return uint64(p) >> offsetBits }
func (p pair) offset() uint64 { return uint64(p) & (1<<offsetBits - 1) }

// pages cuts sorted pairs into pages. Pairs with the same key stay together, so
// that a key is looked for on one page.
//
// A page has the differences between its pairs as unsigned varints; the first is
// counted from the pair of its first key and offset 0.
func pages(pairs []pair) []storage.Page {
	pages := make([]storage.Page, 0, len(pairs)/(pageSize/8)+1)
	for len(pairs) > 0 {
		page := storage.Page{First: pairs[0].key(), Data: make([]byte, 0, pageSize+16)}
		n, last := 0, newPair(page.First, 0)
		for n < len(pairs) && (len(page.Data) < pageSize || pairs[n].key() == last.key()) {
			page.Data = binary.AppendUvarint(page.Data, uint64(pairs[n]-last))
			last = pairs[n]
			n++
		}
		pages = append(pages, page)
		pairs = pairs[n:]
	}
	return pages
}

// appendPairs appends a page's pairs, their offsets moved by shift.
func appendPairs(pairs []pair, p storage.Page, shift uint64) ([]pair, error) {
	last := newPair(p.First, 0)
	for d := p.Data; len(d) > 0; {
		delta, n := binary.Uvarint(d)
		next := last + pair(delta)
		if n <= 0 || next < last || next == last && len(d) < len(p.Data) {
			return nil, fmt.Errorf("%w: page of keys from %#x on, at byte %d",
				storage.ErrDamaged, p.First, len(p.Data)-len(d))
		}
		pairs = append(pairs, next+pair(shift))
		last, d = next, d[n:]
	}
	return pairs, nil
}

// find returns the offsets that a page has for a key.
func find(p storage.Page, key uint64) (offsets []uint64, err error) {
	pairs, err := appendPairs(nil, p, 0)
	for _, pair := range pairs {
		if pair.key() == key {
			offsets = append(offsets, pair.offset())
		}
	}
	return offsets, err
}
