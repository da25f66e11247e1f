package keyindex

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/bits"

	"github.com/FastFilter/xorfilter"

	"github.com/stele-log/stele/storage"
)

// A filter tells most keys that are not in a run. It is one of 2^n parts by the
// key's first n bits; a part without keys is nil. Making a part takes ten times
// its memory, making all at once would be felt.
type filter []*xorfilter.BinaryFuse[uint16]

// partLength is the number of keys in a part, if they are spread evenly.
const partLength = 1 << 19

// part returns which part a key belongs to.
func (f filter) part(key uint64) int {
	return int(key >> (keyBits - bits.TrailingZeros(uint(len(f)))))
}

// contains reports whether the run may have the key.
func (f filter) contains(key uint64) bool {
	part := f[f.part(key)]
	return part != nil && part.Contains(key)
}

// newFilter returns the filter of sorted pairs. Their number is a power of two.
func newFilter(pairs []pair) (filter, error) {
	f := make(filter, max(1, len(pairs)/partLength))
	var keys []uint64
	for i := range f {
		keys = keys[:0]
		for len(pairs) > 0 && f.part(pairs[0].key()) == i {
			keys = append(keys, pairs[0].key())
			pairs = pairs[1:]
		}
		if len(keys) == 0 {
			continue
		}
		var err error
		if f[i], err = xorfilter.NewBinaryFuse[uint16](keys); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// encode returns the filter as it is stored: a CRC-32C of the rest, since a
// filter with a wrong byte would let an event in twice; the number of parts; and
// for each its size and itself, as the library writes it. Numbers have 32 bits,
// big-endian. No filter has no bytes.
func (f filter) encode() []byte {
	if f == nil {
		return nil
	}
	b := binary.BigEndian.AppendUint32(make([]byte, crc32.Size), uint32(len(f)))
	for _, part := range f {
		var encoded bytes.Buffer
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

func decodeFilter(b []byte) (filter, error) {
	if len(b) < crc32.Size || binary.BigEndian.Uint32(b) != checksum(b[crc32.Size:]) {
		return nil, fmt.Errorf("%w: wrong checksum of its filter", storage.ErrDamaged)
	}
	// What has the right checksum is what was encoded.
	r := bytes.NewReader(b[crc32.Size:])
	var parts, size uint32
	err := binary.Read(r, binary.BigEndian, &parts)
	if err != nil || bits.OnesCount32(parts) != 1 || int(parts) > len(b) {
		return nil, fmt.Errorf("%w: no filter", storage.ErrDamaged)
	}
	f := make(filter, parts)
	for i := range f {
		if err = binary.Read(r, binary.BigEndian, &size); err == nil && size > 0 {
			f[i], err = xorfilter.LoadBinaryFuse[uint16](r)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: its filter: %w", storage.ErrDamaged, err)
		}
	}
	return f, nil
}

func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }
