// Package scan reads plainly written JSON objects in one pass over their bytes,
// several times as fast as a JSON decoder. An object is plainly written if it is
// valid and has no escapes in the names of its members.
//
// A scanner either reads an object or gives up, without a reason; the caller then
// asks a strict decoder. Giving up is always allowed, so the code stays small: it
// gives up on surrogates, on more than 64 members, and wherever it is not sure.
//
// What always holds:
//   - it accepts no object that a strict decoder refuses (RFC 8259, UTF-8, no
//     name twice), and reads the objects that it accepts as the decoder does;
//   - it neither keeps nor changes its input.
//
// A [Scanner] is for one goroutine.
package scan

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"slices"
	"unicode/utf8"
)

// A Scanner reads objects, one after the other. Its zero value is ready.
type Scanner struct {
	names []uint64 // memory for scan.names, used again by each scan
}

// A scan is the reading of one object. It stays on the stack, where the garbage
// collector takes no note of each change.
//
// Its methods take the offset of what they read and return the offset after it,
// or unsure.
type scan struct {
	in     []byte
	out    []byte   // in[:copied] without white space
	names  []uint64 // hashes of the names in all objects that are open
	depth  int      // how deep values may be nested
	copied int      // in[copied:] up to the current offset is not in out yet
	other  bool     // there are bytes beyond ASCII
}

// unsure is no offset: the scanner does not say what stands there.
const unsure = -1

// A Member is a member of the object that is read. Its slices are parts of the
// input.
type Member struct {
	Name  []byte // without its quotes
	Value []byte // as it is written, with the white space inside it
	Text  []byte // the text of a string of printable ASCII without escapes; otherwise nil
	Start int    // offset of the name's opening quote in the output
	At    int    // offset of the value in the output
}

// Object reads one object, in, whose values are nested less than depth deep. It
// appends the object to out, without white space and without the closing brace,
// and calls take for each member, in order, before the member is complete in the
// output. It returns false if it is not sure or if take returns false; out then
// ends in a part of the object.
func (s *Scanner) Object(in, out []byte, depth int, take func(Member) bool) ([]byte, bool) {
	one := scan{in: in, out: out, names: s.names[:0], depth: depth}
	ok := one.members(take)
	s.names = one.names
	return one.out, ok
}

// members reads the whole of the object, and reports whether it is sure.
func (s *scan) members(take func(Member) bool) bool {
	i := s.space(0)
	if !s.is(i, '{') {
		return false
	}
	for i = s.space(i + 1); ; i = s.space(i + 1) {
		m := Member{Start: s.position(i)}
		if m.Name, i = s.name(i); i == unsure || s.seen(0, m.Name) {
			return false
		}
		m.At = s.position(i)
		start := i
		var end int
		if m.Text, end = s.plain(i); end == unsure {
			m.Text, end = nil, s.value(i, 1)
		}
		if end == unsure {
			return false
		}
		m.Value = s.in[start:end]
		if !take(m) {
			return false
		}
		if i = s.space(end); !s.is(i, ',') {
			break
		}
	}
	s.out = append(s.out, s.in[s.copied:i]...)
	return s.is(i, '}') && SkipSpace(s.in, i+1) == len(s.in) && (!s.other || utf8.Valid(s.in))
}

// position returns where in[i] will be in the output.
func (s *scan) position(i int) int { return len(s.out) + i - s.copied }

// name reads a member's name and the colon after it.
func (s *scan) name(i int) (name []byte, end int) {
	if name, i = s.plain(i); i == unsure {
		return nil, unsure
	}
	if i = s.space(i); !s.is(i, ':') {
		return nil, unsure
	}
	return name, s.space(i + 1)
}

// value reads a JSON value that stands in depth objects and arrays.
func (s *scan) value(i, depth int) int {
	if i >= len(s.in) {
		return unsure
	}
	switch s.in[i] {
	case '"':
		return s.string(i)
	case '{', '[':
		switch {
		case depth == s.depth:
			return unsure
		case s.in[i] == '{':
			return s.object(i, depth+1)
		}
		return s.array(i, depth+1)
	}
	return s.scalar(i)
}

func (s *scan) object(i, depth int) int {
	if i = s.space(i + 1); s.is(i, '}') {
		return i + 1
	}
	for base := len(s.names); ; i = s.space(i + 1) {
		name, at := s.name(i)
		if at == unsure || s.seen(base, name) {
			return unsure
		}
		if i = s.value(at, depth); i == unsure {
			return unsure
		}
		if i = s.space(i); !s.is(i, ',') {
			s.names = s.names[:base]
			return s.after(i, '}')
		}
	}
}

func (s *scan) array(i, depth int) int {
	if i = s.space(i + 1); s.is(i, ']') {
		return i + 1
	}
	for ; ; i = s.space(i + 1) {
		if i = s.value(i, depth); i == unsure {
			return unsure
		}
		if i = s.space(i); !s.is(i, ',') {
			return s.after(i, ']')
		}
	}
}

// maxNames limits the members of one object, since each name's hash is compared
// with all those before it. Above it the scan gives up.
const maxNames = 64

var nameSeed = maphash.MakeSeed()

// seen adds a name to those of the innermost object, which are names[base:], and
// reports whether it may be among them already. Two names with one hash count as
// the same: the decoder sorts that out.
func (s *scan) seen(base int, name []byte) bool {
	h := maphash.Bytes(nameSeed, name)
	if len(s.names)-base >= maxNames || slices.Contains(s.names[base:], h) {
		return true
	}
	s.names = append(s.names, h)
	return false
}

// is reports whether c stands at i.
func (s *scan) is(i int, c byte) bool { return uint(i) < uint(len(s.in)) && s.in[i] == c }

// after reads c.
func (s *scan) after(i int, c byte) int {
	if s.is(i, c) {
		return i + 1
	}
	return unsure
}

// space skips white space, and leaves it out of the output.
func (s *scan) space(i int) int {
	if uint(i) < uint(len(s.in)) && s.in[i] > ' ' {
		return i
	}
	end := SkipSpace(s.in, i)
	s.out = append(s.out, s.in[s.copied:i]...)
	s.copied = end
	return end
}

// plain reads a string of printable ASCII without escapes and returns its text.
func (s *scan) plain(i int) (text []byte, end int) {
	if !s.is(i, '"') {
		return nil, unsure
	}
	end = skipPlain(s.in, i+1)
	if !s.is(end, '"') {
		return nil, unsure
	}
	return s.in[i+1 : end], end + 1
}

// string reads any string.
func (s *scan) string(i int) int {
	for i = skipPlain(s.in, i+1); i < len(s.in); i = skipPlain(s.in, i) {
		switch c := s.in[i]; {
		case c == '"':
			return i + 1
		case c == '\\':
			if i = s.escape(i); i == unsure {
				return unsure
			}
		case c >= utf8.RuneSelf:
			s.other = true
			i++
		case c == 0x7f:
			i++
		default:
			return unsure
		}
	}
	return unsure
}

// escape reads an escape. It gives up on surrogates, which must come in pairs.
func (s *scan) escape(i int) int {
	if i+1 >= len(s.in) {
		return unsure
	}
	switch s.in[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2
	case 'u':
		if i+6 > len(s.in) || s.in[i+2]|0x20 == 'd' || slices.ContainsFunc(s.in[i+2:i+6], notHex) {
			return unsure
		}
		return i + 6
	}
	return unsure
}

func notHex(c byte) bool {
	return (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'f')
}

// scalar reads a number, true, false or null.
func (s *scan) scalar(i int) int {
	switch s.in[i] {
	case 't':
		return s.word(i, "true")
	case 'f':
		return s.word(i, "false")
	case 'n':
		return s.word(i, "null")
	}
	return s.number(i)
}

func (s *scan) word(i int, word string) int {
	if bytes.HasPrefix(s.in[i:], []byte(word)) {
		return i + len(word)
	}
	return unsure
}

// number reads a number.
//
// SPEC: RFC 8259 section 6.
func (s *scan) number(i int) int {
	if s.is(i, '-') {
		i++
	}
	if s.is(i, '0') {
		i++
	} else if i = s.digits(i); i == unsure {
		return unsure
	}
	if s.is(i, '.') {
		if i = s.digits(i + 1); i == unsure {
			return unsure
		}
	}
	if !s.is(i, 'e') && !s.is(i, 'E') {
		return i
	}
	if i++; s.is(i, '+') || s.is(i, '-') {
		i++
	}
	return s.digits(i)
}

// digits reads one digit or more.
func (s *scan) digits(i int) int {
	start := i
	for i < len(s.in) && '0' <= s.in[i] && s.in[i] <= '9' {
		i++
	}
	if i == start {
		return unsure
	}
	return i
}

// skipPlain returns the offset at which the run of printable ASCII without quotes
// and backslashes that begins at b[i] ends. Most of an event is such text, so it
// is read eight bytes at a time.
func skipPlain(b []byte, i int) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	for ; i+8 <= len(b); i += 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		quote, backslash, del := w^(ones*'"'), w^(ones*'\\'), w^(ones*0x7f)
		// The high bit of a byte is set where it is below 0x20, is one of the
		// three, or is beyond ASCII; after the first such byte it means nothing.
		found := ((w - ones*0x20) | (quote - ones) | (backslash - ones) | (del - ones) | w) & highs
		if found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	for i < len(b) && ' ' <= b[i] && b[i] < 0x7f && b[i] != '"' && b[i] != '\\' {
		i++
	}
	return i
}

// SkipSpace returns the offset of the first byte of b[i:] that is not white space
// of JSON, or len(b).
func SkipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}
