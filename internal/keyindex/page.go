package keyindex

import (
	"encoding/binary"
	"fmt"
	"iter"
	"math/bits"

	"github.com/stele-log/stele/storage"
)

// A page holds sorted pairs: their number as an unsigned varint, then the
// differences between them as a string of bits, the lowest of a byte first. The
// first difference is that to the page's first key with the offset 0.
//
// Differences are between numbers: the key, followed by the offset in as many bits
// as the run's length needs. Pairs of hashes are then 2^40 apart on average, for
// every length of run, and a difference is written in the Rice code of that width:
// a one for each 2^40 in it, a zero, and the remainder in 40 bits. This takes 5.2
// bytes a pair, a few hundredths of a bit more than the optimum.
const (
	pageSize = 1900 // bytes, about: small enough to be stored within its row
	riceBits = keyBits
)

// offsetWidth returns the number of bits of an offset in a run.
func offsetWidth(runLength uint64) uint { return uint(bits.Len64(runLength - 1)) }

// pages cuts the sorted pairs of a run into pages. Each page is overwritten by the
// next. Pairs with the same key stay together, so that a lookup reads one page.
func pages(pairs []pair) iter.Seq[storage.Page] {
	return func(yield func(storage.Page) bool) {
		var page []byte
		var w bitWriter
		width := offsetWidth(uint64(len(pairs)))
		for rest := pairs; len(rest) > 0; {
			n := w.page(rest, width)
			page = binary.AppendUvarint(page[:0], uint64(n))
			page = append(page, w.out...)
			if !yield(storage.Page{First: rest[0].key(), Data: page}) {
				return
			}
			rest = rest[n:]
		}
	}
}

// page writes the pairs of the next page, and returns their number.
func (w *bitWriter) page(pairs []pair, width uint) (n int) {
	*w = bitWriter{out: w.out[:0]}
	last := pairs[0].key() << width
	for n < len(pairs) && (len(w.out) < pageSize || pairs[n].key() == pairs[n-1].key()) {
		next := pairs[n].key()<<width | pairs[n].offset()
		w.rice(next - last)
		last = next
		n++
	}
	w.end()
	return n
}

// appendPairs appends the pairs of a page of a run of that length. The error is
// storage.ErrDamaged unless they are sorted and all bits are used.
func appendPairs(pairs []pair, p storage.Page, runLength uint64) ([]pair, error) {
	damaged := func() error {
		return fmt.Errorf("%w: page of keys from %#x on", storage.ErrDamaged, p.First)
	}
	n, header := binary.Uvarint(p.Data)
	if header <= 0 || p.First>>keyBits > 0 {
		return nil, damaged()
	}
	width := offsetWidth(runLength)
	last := p.First << width
	r := bitReader{in: p.Data[header:]}
	for i := range n {
		difference, ok := r.rice()
		next := last + difference
		if !ok || next>>width>>keyBits > 0 || next < last || next == last && i > 0 {
			return nil, damaged()
		}
		pairs = append(pairs, newPair(next>>width, next&(1<<width-1)))
		last = next
	}
	if !r.atEnd() {
		return nil, damaged()
	}
	return pairs, nil
}

// find returns the offsets that a page of a run of that length has for a key. The
// page is empty if all keys of the run are higher.
func find(p storage.Page, runLength, key uint64) (offsets []uint64, err error) {
	if len(p.Data) == 0 {
		return nil, nil
	}
	pairs, err := appendPairs(nil, p, runLength)
	for _, pair := range pairs {
		if pair.key() == key {
			offsets = append(offsets, pair.offset())
		}
	}
	return offsets, err
}

// A bitWriter appends bits to bytes, the lowest of a byte first.
type bitWriter struct {
	out  []byte
	acc  uint64 // bits not in out yet
	have uint   // how many; fewer than 8
}

// write writes the lowest n bits of v, which has no others; n is at most 56.
func (w *bitWriter) write(v uint64, n uint) {
	w.acc |= v << w.have
	w.have += n
	whole := w.have / 8
	w.out = binary.LittleEndian.AppendUint64(w.out, w.acc)[:len(w.out)+int(whole)]
	w.acc >>= 8 * whole
	w.have %= 8
}

// rice writes a number in the Rice code.
func (w *bitWriter) rice(v uint64) {
	w.ones(v >> riceBits)
	w.write(v&(1<<riceBits-1), riceBits)
}

// ones writes n ones and a zero.
func (w *bitWriter) ones(n uint64) {
	for ; n >= 32; n -= 32 {
		w.write(1<<32-1, 32)
	}
	w.write(1<<n-1, uint(n)+1)
}

// end fills the last byte up with zeros.
func (w *bitWriter) end() {
	if w.have > 0 {
		w.out = append(w.out, byte(w.acc))
	}
}

// A bitReader reads what a bitWriter has written.
type bitReader struct {
	in   []byte
	acc  uint64 // bits that are not in in any more
	have uint   // how many; the others of acc are zero
}

// fill moves bits into acc until it has at least 56, or all that are left.
func (r *bitReader) fill() {
	if len(r.in) < 8 {
		for r.have <= 56 && len(r.in) > 0 {
			r.acc |= uint64(r.in[0]) << r.have
			r.in = r.in[1:]
			r.have += 8
		}
		return
	}
	whole := (64 - r.have) / 8
	r.acc |= binary.LittleEndian.Uint64(r.in) << r.have
	r.in = r.in[whole:]
	r.have += 8 * whole
	r.acc &= 1<<r.have - 1
}

// rice reads a number in the Rice code, and returns false if there is none.
func (r *bitReader) rice() (v uint64, ok bool) {
	r.fill()
	high := uint(bits.TrailingZeros64(^r.acc))
	if n := high + 1 + riceBits; n <= r.have { // as almost all are
		v = uint64(high)<<riceBits | r.acc>>(high+1)&(1<<riceBits-1)
		r.acc >>= n
		r.have -= n
		return v, true
	}
	ones, ok := r.ones()
	low, whole := r.read(riceBits)
	return ones<<riceBits + low, ok && whole
}

// read reads n bits, at most 56, and returns false if there are fewer.
func (r *bitReader) read(n uint) (v uint64, ok bool) {
	r.fill()
	if r.have < n {
		return 0, false
	}
	v = r.acc & (1<<n - 1)
	r.acc >>= n
	r.have -= n
	return v, true
}

// ones reads ones up to a zero and returns how many, or false if none follows.
func (r *bitReader) ones() (n uint64, ok bool) {
	for {
		r.fill()
		if r.have == 0 {
			return 0, false
		}
		some := min(uint(bits.TrailingZeros64(^r.acc)), r.have)
		n += uint64(some)
		if some < r.have {
			r.acc >>= some + 1
			r.have -= some + 1
			return n, true
		}
		r.acc, r.have = 0, 0
	}
}

// atEnd reports whether only the zeros that fill up the last byte are left.
func (r *bitReader) atEnd() bool { return len(r.in) == 0 && r.have < 8 && r.acc == 0 }
