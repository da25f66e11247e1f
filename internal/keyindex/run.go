package keyindex

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"sort"

	"github.com/FastFilter/xorfilter"

	"github.com/stele-log/stele/storage"
)

// A run is what is in memory of a stored run.
type run struct {
	start, end uint64
	filter     *xorfilter.BinaryFuse[uint16]
}

func (r run) length() uint64 { return r.end - r.start }

func newRun(start, end uint64, pairs []pair) (run, error) {
	keys := make([]uint64, len(pairs))
	for i, p := range pairs {
		keys[i] = p.key
	}
	filter, err := xorfilter.NewBinaryFuse[uint16](keys)
	return run{start, end, filter}, err
}

// encodeFilter returns the filter as the library writes it, after its CRC-32C:
// a filter with a wrong byte would let an event in twice, or panic.
func (r run) encodeFilter() []byte {
	var b bytes.Buffer
	b.Write(make([]byte, crc32.Size))
	if err := r.filter.Save(&b); err != nil {
		panic(err) // a bytes.Buffer takes all
	}
	binary.BigEndian.PutUint32(b.Bytes(), checksum(b.Bytes()[crc32.Size:]))
	return b.Bytes()
}

func openRun(s storage.Run) (run, error) {
	if len(s.Filter) < crc32.Size || binary.BigEndian.Uint32(s.Filter) != checksum(s.Filter[crc32.Size:]) {
		return run{}, fmt.Errorf("%w: wrong checksum of its filter", storage.ErrDamaged)
	}
	filter, err := xorfilter.LoadBinaryFuse[uint16](bytes.NewReader(s.Filter[crc32.Size:]))
	if err != nil {
		return run{}, fmt.Errorf("%w: %w", storage.ErrDamaged, err)
	}
	return run{s.Start, s.End, filter}, nil
}

func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// A pair is a key and the entry it belongs to, counted from the run's start.
type pair struct {
	key    uint64
	offset uint32
}

func (p pair) compare(q pair) int {
	return cmp.Or(cmp.Compare(p.key, q.key), cmp.Compare(p.offset, q.offset))
}

const (
	pairSize  = 8 + 4 // bytes: key and offset, big-endian
	pagePairs = 160   // so that a page is stored within its row
)

// pages cuts sorted pairs into pages. Pairs with the same key stay together, so
// that a key is looked for on one page.
func pages(pairs []pair) []storage.Page {
	pages := make([]storage.Page, 0, len(pairs)/pagePairs+1)
	for len(pairs) > 0 {
		n := min(pagePairs, len(pairs))
		for n < len(pairs) && pairs[n].key == pairs[n-1].key {
			n++
		}
		data := make([]byte, 0, n*pairSize)
		for _, p := range pairs[:n] {
			data = binary.BigEndian.AppendUint64(data, p.key)
			data = binary.BigEndian.AppendUint32(data, p.offset)
		}
		pages = append(pages, storage.Page{First: pairs[0].key, Data: data})
		pairs = pairs[n:]
	}
	return pages
}

// appendPairs appends a page's pairs, their offsets moved by shift.
func appendPairs(pairs []pair, p storage.Page, shift uint32) ([]pair, error) {
	if len(p.Data)%pairSize != 0 {
		return nil, fmt.Errorf("%w: page of %d bytes", storage.ErrDamaged, len(p.Data))
	}
	for d := p.Data; len(d) > 0; d = d[pairSize:] {
		pairs = append(pairs, pair{binary.BigEndian.Uint64(d), binary.BigEndian.Uint32(d[8:]) + shift})
	}
	return pairs, nil
}

// find returns the offsets that a page has for a key.
func find(p storage.Page, key uint64) ([]uint32, error) {
	if len(p.Data)%pairSize != 0 {
		return nil, fmt.Errorf("%w: page of %d bytes", storage.ErrDamaged, len(p.Data))
	}
	keyAt := func(i int) uint64 { return binary.BigEndian.Uint64(p.Data[i*pairSize:]) }
	n := len(p.Data) / pairSize
	var offsets []uint32
	for i := sort.Search(n, func(i int) bool { return keyAt(i) >= key }); i < n && keyAt(i) == key; i++ {
		offsets = append(offsets, binary.BigEndian.Uint32(p.Data[i*pairSize+8:]))
	}
	return offsets, nil
}
