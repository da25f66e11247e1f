package ingest

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/klauspost/compress/gzip"
)

// Open returns the text of a file as UTF-8: it undoes gzip, skips a byte order mark,
// and decodes UTF-16, in which Windows PowerShell writes files. No more is read than
// the first four bytes need, so that a pipe may be somebody's live output.
func Open(r io.Reader) (*bufio.Reader, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	if magic, _ := in.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, err
		}
		in = bufio.NewReaderSize(z, 64<<10)
	}
	order, mark := encoding(in)
	_, _ = in.Discard(mark)
	if order == nil {
		return in, nil
	}
	return bufio.NewReaderSize(&utf16Reader{in: in, order: order}, 64<<10), nil
}

// encoding returns the byte order of text in UTF-16, nil for UTF-8, and the size of
// its byte order mark. UTF-16 without a mark shows in the first character: in all
// that is read here it is one of ASCII.
func encoding(in *bufio.Reader) (order binary.ByteOrder, mark int) {
	head, _ := in.Peek(2)
	switch {
	case len(head) < 2:
		return nil, 0
	case head[0] == 0xff && head[1] == 0xfe:
		return binary.LittleEndian, 2
	case head[0] == 0xfe && head[1] == 0xff:
		return binary.BigEndian, 2
	case head[0] != 0 && head[1] == 0:
		return binary.LittleEndian, 0
	case head[0] == 0 && head[1] != 0:
		return binary.BigEndian, 0
	}
	if head[0] == 0xef {
		if head, _ = in.Peek(3); string(head) == "\ufeff" {
			return nil, 3
		}
	}
	return nil, 0
}

// A utf16Reader decodes UTF-16. Half a surrogate pair is an error, where decoders
// usually put U+FFFD: an entry would keep for ever what nobody wrote.
type utf16Reader struct {
	in    io.Reader
	order binary.ByteOrder
	raw   [4096]byte // read; raw[:have] has not been decoded
	have  int
	done  int64 // bytes decoded
	out   []byte
	err   error
}

func (u *utf16Reader) Read(p []byte) (int, error) {
	for len(u.out) == 0 {
		if u.err != nil {
			return 0, u.err
		}
		n, err := u.in.Read(u.raw[u.have:])
		u.have += n
		u.err = u.decode(err)
	}
	n := copy(p, u.out)
	u.out = u.out[n:]
	return n, nil
}

// decode decodes what is read, but for the beginning of a character whose rest is
// still to come, and returns the error to end with: that of reading, or its own.
func (u *utf16Reader) decode(end error) error {
	raw := u.raw[:u.have]
	u.out = u.out[:0]
	for len(raw) >= 2 {
		char, size := rune(u.order.Uint16(raw)), 2
		if utf16.IsSurrogate(char) {
			if len(raw) < 4 {
				break
			}
			char, size = utf16.DecodeRune(char, rune(u.order.Uint16(raw[2:]))), 4
			if char == utf8.RuneError {
				return u.broken(len(u.raw[:u.have]) - len(raw))
			}
		}
		u.out = utf8.AppendRune(u.out, char)
		raw = raw[size:]
	}
	decoded := u.have - len(raw)
	if errors.Is(end, io.EOF) && len(raw) > 0 {
		return u.broken(decoded)
	}
	u.have = copy(u.raw[:], raw)
	u.done += int64(decoded)
	return end
}

func (u *utf16Reader) broken(at int) error {
	return fmt.Errorf("not UTF-16: half a character at byte %d of the text", u.done+int64(at))
}
