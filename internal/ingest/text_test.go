package ingest_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf16"

	"github.com/stele-log/stele/internal/ingest"
	"github.com/stele-log/stele/internal/test/ingesttest"
)

// inUTF16 returns text in UTF-16, without a byte order mark.
func inUTF16(order binary.AppendByteOrder, text string) string {
	var b []byte
	for _, unit := range utf16.Encode([]rune(text)) {
		b = order.AppendUint16(b, unit)
	}
	return string(b)
}

func TestTextIsReadAsUTF8(t *testing.T) {
	t.Parallel()
	text := `{"name":"Žofie 🙂"}` + strings.Repeat("\r\n{\"é\":\"🙂\"}", 3000)
	for name, in := range map[string]string{
		"UTF-8":                      text,
		"UTF-8 with a mark":          "\ufeff" + text,
		"UTF-16LE with a mark":       inUTF16(binary.LittleEndian, "\ufeff"+text),
		"UTF-16BE with a mark":       inUTF16(binary.BigEndian, "\ufeff"+text),
		"UTF-16LE without":           inUTF16(binary.LittleEndian, text),
		"UTF-16BE without":           inUTF16(binary.BigEndian, text),
		"gzip of UTF-16 with a mark": ingesttest.Gzip(t, inUTF16(binary.LittleEndian, "\ufeff"+text)).String(),
	} {
		for _, r := range []io.Reader{strings.NewReader(in), iotest.OneByteReader(strings.NewReader(in))} {
			opened, err := ingest.Open(r)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(opened); string(got) != text || err != nil {
				t.Errorf("%s: %d bytes, %v; want the %d of the text", name, len(got), err, len(text))
			}
		}
	}
	for _, short := range []string{"", "5", "[]", "\xff", "\xef\xbb"} {
		opened, err := ingest.Open(strings.NewReader(short))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(opened); string(got) != short || err != nil {
			t.Errorf("%q is read as %q, %v", short, got, err)
		}
	}
}

// TestBrokenUTF16IsRefused has halves of surrogate pairs, which decoders often
// replace in silence.
func TestBrokenUTF16IsRefused(t *testing.T) {
	t.Parallel()
	start := "\xff\xfe" + inUTF16(binary.LittleEndian, "{}")
	for name, test := range map[string]struct{ end, want string }{
		"a low half":       {"\x00\xdc{\x00", "byte 4"},
		"two high halves":  {"\x00\xd8\x00\xd8", "byte 4"},
		"half at the end":  {"\x00\xd8", "byte 4"},
		"an odd last byte": {"a\x00b", "byte 6"},
	} {
		opened, err := ingest.Open(iotest.OneByteReader(strings.NewReader(start + test.end)))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(opened)
		if err == nil || !strings.Contains(err.Error(), "not UTF-16: half a character at "+test.want) || !bytes.HasPrefix(got, []byte("{}")) {
			t.Errorf("%s: %q, error %v", name, got, err)
		}
	}
}
