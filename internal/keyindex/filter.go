package keyindex

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/stele-log/stele/storage"
)

// A filter excludes all but one in 45,000 of the keys that are not in a run, and
// never one that is. It is two Bloom filters. In the first a key sets bits of one
// word only, so that a lookup in eight runs is one memory access; it excludes 29
// keys in 30. The second is for the rest: in it a key sets a bit in each word of a
// line.
//
// The first bits of a key select its word and its line. A filter is therefore
// built in the order of its sorted keys, without misses of the processor's cache.
type filter struct {
	bank  *bank // has the run's words in one of its columns
	lines lines
}

// A storedFilter is the filter of one run as it is built and stored, outside a
// bank.
type storedFilter struct {
	words []uint64
	lines lines
}

// lines are a split block Bloom filter, like that of Apache Parquet, with blocks of
// 512 bits: lineWords words each.
type lines []uint64

const (
	lineWords = 8

	wordKeys = 8  // keys a word: 8 bits each
	lineKeys = 28 // keys a line: 18.3 bits each
)

// choose returns the one of n words or lines that a key belongs to; n is less than
// 2^24, so that the product fits 64 bits.
func choose(key uint64, n int) int { return int(key * uint64(n) >> keyBits) }

// wordBits returns the bits that a key sets in its word: four, some of which may
// be the same.
func wordBits(key uint64) uint64 {
	h := key * 0x9e3779b97f4a7c15 // 2^64 by the golden ratio: spreads the key's last bits
	return 1<<(h>>58) | 1<<(h>>52&63) | 1<<(h>>46&63) | 1<<(h>>40&63)
}

// lineHash returns which bits a key sets in the words of its line, six bits a word,
// the last word's first.
func lineHash(key uint64) uint64 { return key * 0xd6e8feb86659fd93 >> 16 }

// line returns the line that a key belongs to.
func (l lines) line(key uint64) []uint64 {
	return l[choose(key, len(l)/lineWords)*lineWords:][:lineWords]
}

// contain reports whether the run may have a key.
func (l lines) contain(key uint64) bool {
	h := lineHash(key)
	missing := uint64(0)
	for _, word := range l.line(key) {
		missing |= ^word >> (h & 63)
		h >>= 6
	}
	return missing&1 == 0
}

func (l lines) add(key uint64) {
	h := lineHash(key)
	line := l.line(key)
	for i := range line {
		line[i] |= 1 << (h & 63)
		h >>= 6
	}
}

// filterSize returns the number of words in either part of a filter for so many
// keys.
func filterSize(keys int) (words, lines int) {
	return max(1, keys/wordKeys), max(1, keys/lineKeys) * lineWords
}

// newFilter returns the filter of a run's pairs.
func newFilter(pairs []pair) *storedFilter {
	words, lines := filterSize(len(pairs))
	f := &storedFilter{make([]uint64, words), make([]uint64, lines)}
	for _, p := range pairs {
		f.words[choose(p.key(), len(f.words))] |= wordBits(p.key())
		f.lines.add(p.key())
	}
	return f
}

// encode returns the filter as it is stored: a CRC-32C of the rest, the words, and
// the lines, all big-endian. The number of keys determines how many there are. The
// checksum is there because a wrong bit could let the same event in twice.
func (f *storedFilter) encode() []byte {
	b := make([]byte, crc32.Size, crc32.Size+8*(len(f.words)+len(f.lines)))
	b, _ = binary.Append(b, binary.BigEndian, f.words) // fails for other types only
	b, _ = binary.Append(b, binary.BigEndian, []uint64(f.lines))
	binary.BigEndian.PutUint32(b, checksum(b[crc32.Size:]))
	return b
}

// decodeFilter is the inverse of encode, for a run of so many keys.
func decodeFilter(b []byte, keys int) (*storedFilter, error) {
	words, lines := filterSize(keys)
	if want := crc32.Size + 8*(words+lines); len(b) != want {
		return nil, fmt.Errorf("%w: its filter has %d bytes, not %d", storage.ErrDamaged, len(b), want)
	}
	sum, b := binary.BigEndian.Uint32(b), b[crc32.Size:]
	if sum != checksum(b) {
		return nil, fmt.Errorf("%w: wrong checksum of its filter", storage.ErrDamaged)
	}
	f := &storedFilter{make([]uint64, words), make([]uint64, lines)}
	n, _ := binary.Decode(b, binary.BigEndian, f.words) // fails if b is short only
	_, _ = binary.Decode(b[n:], binary.BigEndian, []uint64(f.lines))
	return f, nil
}

func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }
