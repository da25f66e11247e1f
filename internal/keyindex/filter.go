package keyindex

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/bits"
	"slices"

	"github.com/FastFilter/xorfilter"

	"github.com/stele-log/stele/storage"
)

// A filter tells most keys that are not in a run. It looks at one word first,
// which tells 29 keys in 30; for what is left it has binary fuse filters, which
// touch three places and let one key in 65,536 through.
type filter struct {
	// bank has a Bloom filter in which a key sets bits of one word only, at 8 bits
	// a key. The word is chosen by the key's first bits.
	bank  *bank
	parts parts
}

// parts are chosen by a key's first bits, too; one without keys is nil. Making a
// part takes ten times its memory, making all at once would be felt.
type parts []*xorfilter.BinaryFuse[uint16]

// A storedFilter is a filter by itself, as it is made and stored.
type storedFilter struct {
	words []uint64 // their number is a power of two
	parts parts
}

const (
	keysInWord = 8
	keysInPart = 1 << 19
)

// wordsFor returns how many words the filter of so many keys has.
func wordsFor(keys int) int { return max(1, keys/keysInWord) }

// choose returns which of n, a power of two, a key belongs to.
func choose(key uint64, n int) int { return int(key >> (keyBits - bits.TrailingZeros(uint(n)))) }

// wordBits returns the bits that a key sets in its word: four, some of which may
// be the same.
func wordBits(key uint64) uint64 {
	h := key * 0x9e3779b97f4a7c15 // 2^64 by the golden ratio: spreads the key's last bits
	return 1<<(h>>58) | 1<<(h>>52&63) | 1<<(h>>46&63) | 1<<(h>>40&63)
}

// contain reports whether a run may have a key that its words let through.
func (p parts) contain(key uint64) bool {
	part := p[choose(key, len(p))]
	return part != nil && part.Contains(key)
}

// newFilter returns the filter of sorted pairs. Their number is a power of two.
func newFilter(pairs []pair) (*storedFilter, error) {
	f := &storedFilter{
		words: make([]uint64, wordsFor(len(pairs))),
		parts: make(parts, max(1, len(pairs)/keysInPart)),
	}
	for _, p := range pairs {
		f.words[choose(p.key(), len(f.words))] |= wordBits(p.key())
	}
	var builder xorfilter.BinaryFuseBuilder
	keys := make([]uint64, 0, min(len(pairs), keysInPart*5/4))
	for i := range f.parts {
		keys = keys[:0]
		for len(pairs) > 0 && choose(pairs[0].key(), len(f.parts)) == i {
			keys = append(keys, pairs[0].key())
			pairs = pairs[1:]
		}
		if len(keys) == 0 {
			continue
		}
		part, err := xorfilter.BuildBinaryFuse[uint16](&builder, keys)
		if err != nil {
			return nil, err
		}
		part.Fingerprints = slices.Clone(part.Fingerprints) // the builder's until now
		f.parts[i] = &part
	}
	return f, nil
}

// encode returns the filter as it is stored: a CRC-32C of the rest, since a
// filter with a wrong byte would let an event in twice; the words; and for each
// part its size and itself, as the library writes it. The words and the parts
// are preceded by their number. Numbers have 32 bits and are big-endian.
func (f *storedFilter) encode() []byte {
	b := make([]byte, crc32.Size, crc32.Size+(8+3*keysInWord)*len(f.words)+1024)
	b = binary.BigEndian.AppendUint32(b, uint32(len(f.words)))
	for _, word := range f.words {
		b = binary.BigEndian.AppendUint64(b, word)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(f.parts)))
	var encoded bytes.Buffer
	for _, part := range f.parts {
		encoded.Reset()
		if part != nil {
			if err := part.Save(&encoded); err != nil {
				panic(err) // a bytes.Buffer takes all
			}
		}
		b = binary.BigEndian.AppendUint32(b, uint32(encoded.Len()))
		b = append(b, encoded.Bytes()...)
	}
	binary.BigEndian.PutUint32(b, checksum(b[crc32.Size:]))
	return b
}

// decodeFilter undoes encode. What has the right checksum is what was encoded,
// but for one by another version.
func decodeFilter(b []byte) (*storedFilter, error) {
	if len(b) < crc32.Size || binary.BigEndian.Uint32(b) != checksum(b[crc32.Size:]) {
		return nil, fmt.Errorf("%w: wrong checksum of its filter", storage.ErrDamaged)
	}
	r := &filterReader{b: b[crc32.Size:]}
	f := &storedFilter{words: make([]uint64, r.count(8))}
	for i := range f.words {
		f.words[i] = binary.BigEndian.Uint64(r.next(8))
	}
	f.parts = make(parts, r.count(4))
	for i := range f.parts {
		if encoded := r.next(r.count(1)); len(encoded) > 0 {
			var err error
			if f.parts[i], err = xorfilter.LoadBinaryFuse[uint16](bytes.NewReader(encoded)); err != nil {
				return nil, fmt.Errorf("%w: its filter: %w", storage.ErrDamaged, err)
			}
		}
	}
	if r.short || len(r.b) > 0 || bits.OnesCount(uint(len(f.words))) != 1 || bits.OnesCount(uint(len(f.parts))) != 1 {
		return nil, fmt.Errorf("%w: its filter has another form", storage.ErrDamaged)
	}
	return f, nil
}

// A filterReader reads what encode has written.
type filterReader struct {
	b     []byte
	short bool // there was less than was asked for
}

// next returns the next n bytes, or none.
func (r *filterReader) next(n int) []byte {
	if n > len(r.b) {
		r.short, n = true, 0
	}
	next := r.b[:n]
	r.b = r.b[n:]
	return next
}

// count reads the number of things that follow, of size bytes at least.
func (r *filterReader) count(size int) int {
	b := r.next(4)
	if r.short {
		return 0
	}
	n := int(binary.BigEndian.Uint32(b))
	if n > len(r.b)/size {
		r.short, n = true, 0
	}
	return n
}

func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }
