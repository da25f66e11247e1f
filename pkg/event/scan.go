package event

import (
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"slices"
	"unicode/utf8"
)

// A scanner reads a plainly written event in one pass over its bytes, several
// times as fast as a JSON decoder: one that is valid, with no escapes in its
// attributes and names. Whatever it is not sure of it leaves to [parser.read],
// which decides, and says what is wrong. So a scanner never accepts what read
// refuses, and what it accepts it reads alike.
//
// Its methods take the offset of what they read and return the offset after it,
// or -1 if they are not sure.
type scanner struct {
	*parser
	copied int  // in[:copied] is in out, but for white space
	other  bool // there are bytes beyond ASCII
}

// scan reads p.in, an event, and reports whether it could. If not, p.reset is
// due.
func (p *parser) scan() bool {
	s := scanner{parser: p}
	i := s.event(false)
	return i >= 0 && s.end(i)
}

// scanEntry reads p.in, an entry, as scan reads an event.
func (p *parser) scanEntry() bool {
	s := scanner{parser: p}
	i := s.event(true)
	for i >= 0 && s.is(i, ',') {
		name, at := s.name(i + 1)
		if at < 0 {
			return false
		}
		text, after := s.plain(at)
		p.server.set(name, text)
		i = after
	}
	return i >= 0 && s.end(i)
}

// event reads an event up to its closing brace or, in an entry, up to the comma
// before recordedtime.
func (s *scanner) event(entry bool) int {
	i := s.space(0)
	if !s.is(i, '{') {
		return -1
	}
	for i = s.space(i + 1); ; i = s.space(i + 1) {
		name, at := s.name(i)
		if at < 0 || s.seen(0, name) {
			return -1
		}
		if entry && string(name) == "recordedtime" {
			if s.copied > 0 {
				return -1 // an entry has no white space
			}
			s.out = append(s.out, s.in[:i-1]...)
			return i - 1
		}
		if i = s.member(name, at); i < 0 {
			return -1
		}
		if i = s.space(i); !s.is(i, ',') {
			s.out = append(s.out, s.in[s.copied:i]...)
			if entry {
				return -1
			}
			return i
		}
	}
}

// end reports whether the closing brace is at i, with nothing but white space
// after it, and all was UTF-8.
func (s *scanner) end(i int) bool {
	return s.is(i, '}') && skipSpace(s.in, i+1) == len(s.in) && (!s.other || utf8.Valid(s.in))
}

// name reads a member's name and the colon after it.
func (s *scanner) name(i int) (name []byte, end int) {
	if name, i = s.plain(i); i < 0 {
		return nil, -1
	}
	if i = s.space(i); !s.is(i, ':') {
		return nil, -1
	}
	return name, s.space(i + 1)
}

// member reads the value of a member of the event.
func (s *scanner) member(name []byte, i int) int {
	standard := isStandard(name)
	if !standard {
		switch string(name) {
		case "data":
			s.data = "data"
			return s.value(i, 1)
		case "data_base64":
			return -1
		}
		if checkName(name) != "" {
			return -1
		}
	}
	if !s.is(i, '"') {
		if standard || s.is(i, 'n') {
			return -1
		}
		end := s.scalar(i)
		if end < 0 || checkExtension(s.in[i:end]) != "" {
			return -1
		}
		return end
	}
	text, end := s.plain(i)
	if end < 0 {
		return -1
	}
	at := len(s.out) + i - s.copied // where the value will stand in out
	if s.attribute(name, text, field{start: at + 1, end: at + 1 + len(text)}) != "" {
		return -1
	}
	return end
}

// value reads a JSON value that stands in depth objects and arrays.
func (s *scanner) value(i, depth int) int {
	if i >= len(s.in) {
		return -1
	}
	switch s.in[i] {
	case '"':
		return s.string(i)
	case '{', '[':
		switch {
		case depth == MaxDepth:
			return -1
		case s.in[i] == '{':
			return s.object(i, depth+1)
		}
		return s.array(i, depth+1)
	}
	return s.scalar(i)
}

func (s *scanner) object(i, depth int) int {
	if i = s.space(i + 1); s.is(i, '}') {
		return i + 1
	}
	for base := len(s.names); ; i = s.space(i + 1) {
		name, at := s.name(i)
		if at < 0 || s.seen(base, name) {
			return -1
		}
		if i = s.value(at, depth); i < 0 {
			return -1
		}
		if i = s.space(i); !s.is(i, ',') {
			s.names = s.names[:base]
			return s.after(i, '}')
		}
	}
}

func (s *scanner) array(i, depth int) int {
	if i = s.space(i + 1); s.is(i, ']') {
		return i + 1
	}
	for ; ; i = s.space(i + 1) {
		if i = s.value(i, depth); i < 0 {
			return -1
		}
		if i = s.space(i); !s.is(i, ',') {
			return s.after(i, ']')
		}
	}
}

// maxNames is the number of members of an object up to which the hashes of
// their names are compared one by one.
const maxNames = 64

var nameSeed = maphash.MakeSeed()

// seen adds a name to those of the innermost object, which begin at base, and
// reports whether it may be there already.
func (s *scanner) seen(base int, name []byte) bool {
	h := maphash.Bytes(nameSeed, name)
	if len(s.names)-base >= maxNames || slices.Contains(s.names[base:], h) {
		return true
	}
	s.names = append(s.names, h)
	return false
}

// is reports whether c stands at i.
func (s *scanner) is(i int, c byte) bool { return uint(i) < uint(len(s.in)) && s.in[i] == c }

// after reads c.
func (s *scanner) after(i int, c byte) int {
	if s.is(i, c) {
		return i + 1
	}
	return -1
}

// space leaves white space out.
func (s *scanner) space(i int) int {
	if uint(i) < uint(len(s.in)) && s.in[i] > ' ' {
		return i
	}
	end := skipSpace(s.in, i)
	if end > i {
		s.out = append(s.out, s.in[s.copied:i]...)
		s.copied = end
	}
	return end
}

// plain reads a string of printable ASCII without escapes and returns its text.
func (s *scanner) plain(i int) (text []byte, end int) {
	if !s.is(i, '"') {
		return nil, -1
	}
	end = skipPlain(s.in, i+1)
	if !s.is(end, '"') {
		return nil, -1
	}
	return s.in[i+1 : end], end + 1
}

// string reads any string.
func (s *scanner) string(i int) int {
	for i = skipPlain(s.in, i+1); i >= 0 && i < len(s.in); i = skipPlain(s.in, i) {
		switch c := s.in[i]; {
		case c == '"':
			return i + 1
		case c == '\\':
			i = s.escape(i)
		case c >= utf8.RuneSelf:
			s.other = true
			i++
		case c < ' ':
			return -1
		default:
			i++
		}
		if i < 0 {
			return -1
		}
	}
	return -1
}

// escape reads an escape, but for surrogates.
func (s *scanner) escape(i int) int {
	if i+1 >= len(s.in) {
		return -1
	}
	switch s.in[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2
	case 'u':
		if i+6 > len(s.in) || s.in[i+2]|0x20 == 'd' || slices.ContainsFunc(s.in[i+2:i+6], notHex) {
			return -1
		}
		return i + 6
	}
	return -1
}

func notHex(c byte) bool { return !isHex(c) }

// scalar reads a number, true, false or null.
func (s *scanner) scalar(i int) int {
	if i >= len(s.in) {
		return -1
	}
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

func (s *scanner) word(i int, word string) int {
	if end := i + len(word); end <= len(s.in) && string(s.in[i:end]) == word {
		return end
	}
	return -1
}

// number reads a number.
//
// SPEC: RFC 8259 section 6.
func (s *scanner) number(i int) int {
	if s.is(i, '-') {
		i++
	}
	if s.is(i, '0') {
		i++
	} else if i = s.digits(i); i < 0 {
		return -1
	}
	if s.is(i, '.') {
		if i = s.digits(i + 1); i < 0 {
			return -1
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
func (s *scanner) digits(i int) int {
	start := i
	for i < len(s.in) && '0' <= s.in[i] && s.in[i] <= '9' {
		i++
	}
	if i == start {
		return -1
	}
	return i
}

// skipPlain returns where the run of printable ASCII without quotes and
// backslashes that begins at b[i] ends.
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
