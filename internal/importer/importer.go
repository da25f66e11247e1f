// Package importer turns files of records into events for a log: CloudTrail
// deliveries ([CloudTrail]) and lines of JSON ([NDJSON]).
//
// What always holds:
//   - a record becomes the data of its event, byte for byte but for white space
//     between JSON tokens;
//   - the same file gives the same events, ids included: a second import adds
//     nothing to a log;
//   - a record that makes no event is an error that names file, record and
//     reason, and does not stop the import. Only what keeps the rest of a file
//     from being read ends the reading of that file, with an error.
//
// Files are read as a stream, plain or compressed with gzip.
package importer

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/klauspost/compress/gzip"

	"github.com/stele-log/stele/pkg/event"
)

// MaxRecord is the size of the largest record that is read, in bytes. Few of
// that size fit into an entry, but the error then says so.
const MaxRecord = 16 << 20

// open undoes gzip, if r is compressed, and skips a byte order mark.
func open(r io.Reader) (*bufio.Reader, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	if magic, _ := in.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, err
		}
		in = bufio.NewReaderSize(z, 64<<10)
	}
	if mark, _ := in.Peek(3); string(mark) == "\ufeff" {
		in.Discard(3)
	}
	return in, nil
}

// attributes are those of an event that an import gives. Empty ones are left
// out.
type attributes struct {
	id, source, typ, subject, time string
}

// event returns the event for a record, as JSON. The record must be one valid
// JSON value. The event is one that a server accepts.
func (a attributes) event(record []byte) ([]byte, error) {
	b := make([]byte, 0, len(record)+400)
	b = append(b, `{"specversion":"1.0"`...)
	for _, m := range [...]struct{ name, value string }{
		{"id", a.id}, {"source", a.source}, {"type", a.typ}, {"subject", a.subject}, {"time", a.time},
		{"datacontenttype", "application/json"},
	} {
		if m.value == "" {
			continue
		}
		b = append(append(append(b, `,"`...), m.name...), `":`...)
		var err error
		if b, err = jsontext.AppendQuote(b, m.value); err != nil {
			return nil, fmt.Errorf("%s: %w", m.name, err)
		}
	}
	b = append(b, `,"data":`...)
	start := len(b)
	b = append(append(b, record...), '}')

	_, err := event.Parse(b, event.Writer{Name: "importer"})
	if bad, ok := errors.AsType[*event.Error](err); ok {
		// The reader knows the record, not the event around it.
		if bad.Offset -= int64(start); bad.Offset < 0 {
			bad.Offset = -1
		}
		if rest, ok := bytes.CutPrefix([]byte(bad.Pointer), []byte("/data")); ok {
			bad.Pointer = string(rest)
		}
	}
	if err != nil {
		return nil, err
	}
	return b, nil
}

// checkJSON checks that a line is one JSON value. The rest, that an event may
// not have, shows in the event.
func checkJSON(line []byte) error {
	dec := jsontext.NewDecoder(bytes.NewBuffer(line),
		jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if _, err := dec.ReadValue(); err != nil {
		return fmt.Errorf("not JSON: %w", err)
	}
	end := dec.InputOffset()
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("not JSON: more than one value, from byte %d on", end)
	}
	return nil
}
