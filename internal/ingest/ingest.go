// Package ingest turns records that others have written into events for a log.
// It holds what the formats share; each format is a package in a folder below.
// They turn bytes into events and know neither log nor server; package submit,
// below, appends what they have read.
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
// Files are read as a stream, plain or compressed with gzip, in UTF-8 or UTF-16.
package ingest

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/stele-log/stele/pkg/event"
)

// MaxRecord is the size of the largest record that is read, in bytes. Few of
// that size fit into an entry, but the error then says so.
const MaxRecord = 16 << 20

// Attributes are those of an event that an import gives. Empty ones are left
// out.
type Attributes struct {
	ID, Source, Type, Subject, Time string
}

// Event returns the event for a record, as JSON. The record must be one valid
// JSON value. The event is one that a server accepts.
func (a Attributes) Event(record []byte) ([]byte, error) {
	b := make([]byte, 0, len(record)+400)
	b = append(b, `{"specversion":"1.0"`...)
	for _, m := range [...]struct{ name, value string }{
		{"id", a.ID}, {"source", a.Source}, {"type", a.Type}, {"subject", a.Subject}, {"time", a.Time},
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

	_, err := event.Parse(b, event.Sender{Name: "importer"})
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

// CheckJSON checks that a line is one JSON value. The rest, that an event may
// not have, shows in the event.
func CheckJSON(line []byte) error {
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
