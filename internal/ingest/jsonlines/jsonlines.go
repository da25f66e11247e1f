// Package jsonlines reads files with a JSON value a line (NDJSON). What always
// holds is in package ingest.
package jsonlines

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/stele-log/stele/internal/ingest"
)

// DefaultType is the type of events from records that have none.
const DefaultType = "ndjson.record"

// Options say where in a record the event's attributes are. A field is the name
// of a member of the record, or, if it begins with a slash, a JSON Pointer.
type Options struct {
	// Source becomes the source of all events. If empty, the server sets it to
	// the sender's name.
	Source string

	// IDField holds the event's id. In records without it, or if it is empty,
	// the id is "sha256:" and the SHA-256 of the line in hexadecimal, without
	// white space around it. The second and later lines of the same content get
	// ":2", ":3" and so on.
	IDField string

	// TypeField holds the event's type. Records without it have DefaultType.
	TypeField string

	// TimeField holds the event's time: RFC 3339, also with a space for T or
	// without a zone; 2006/01/02 15:04:05; the times of Apache and nginx, such as
	// 02/Jan/2006:15:04:05 -0700, of mail and HTTP; syslog's with a year, such as
	// "Jan 2 2006 15:04:05"; .NET's /Date(1772352000123)/; or seconds,
	// milliseconds, microseconds or nanoseconds since 1970, as a number or its
	// digits, told apart by size. The server sets the time of records without it.
	TimeField string

	// TimeZone is that of times without a zone. If nil, these are errors that wrap
	// [ingest.ErrNoZone].
	TimeZone *time.Location

	// SubjectField holds the event's subject. Records without it have none.
	SubjectField string
}

// A Reader reads files of JSON lines that belong together: lines that are the
// same are told apart by counting them over all the files, in order. It is not
// safe for concurrent use. It keeps about 20 bytes for each line without id.
type Reader struct {
	options                Options
	id, typ, time, subject column
	records                int // read; lines that are not JSON are not counted

	// seen counts lines by 8 bytes of their hash. Should two lines share those,
	// one of them begins to count at 2, in each import of these files.
	seen map[uint64]uint32
}

// A column is a field that an option names, and how many records have it.
type column struct {
	ingest.Field
	records int
}

// text returns the value of the field in a record, as text.
func (c *column) text(record []byte) (string, error) {
	s, err := c.Text(record)
	if s != "" || err != nil {
		c.records++
	}
	return s, err
}

// NewReader returns a Reader. It fails if a field is not a JSON Pointer though
// it begins with a slash.
func NewReader(o Options) (*Reader, error) {
	n := &Reader{options: o, seen: map[uint64]uint32{}}
	var errs [4]error
	n.id.Field, errs[0] = ingest.ParseField(o.IDField)
	n.typ.Field, errs[1] = ingest.ParseField(o.TypeField)
	n.time.Field, errs[2] = ingest.ParseField(o.TimeField)
	n.subject.Field, errs[3] = ingest.ParseField(o.SubjectField)
	return n, errors.Join(errs[:]...)
}

// unfound returns the fields that options name and no record has that was read so far.
func (n *Reader) unfound() []string {
	o := n.options
	var names []string
	for i, c := range []column{n.id, n.typ, n.time, n.subject} {
		if name := []string{o.IDField, o.TypeField, o.TimeField, o.SubjectField}[i]; name != "" && c.records == 0 {
			names = append(names, name)
		}
	}
	return names
}

// Events reads a file, called name in errors, and returns an event, or an
// error, for each line that is not blank.
func (n *Reader) Events(name string, r io.Reader) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		in, err := ingest.Open(r)
		if err != nil {
			yield(nil, fmt.Errorf("%s: %w", name, err))
			return
		}
		for line := 1; ; line++ {
			text, err := readLine(in)
			if errors.Is(err, io.EOF) {
				return
			}
			if err == nil {
				if text = bytes.TrimSpace(text); len(text) == 0 {
					continue
				}
				var event []byte
				if event, err = n.event(text); err == nil {
					if !yield(event, nil) {
						return
					}
					continue
				}
			}
			if !yield(nil, fmt.Errorf("%s: line %d: %w", name, line, err)) {
				return
			}
			if _, broken := errors.AsType[*readError](err); broken {
				return
			}
		}
	}
}

// event returns the event for one line.
func (n *Reader) event(line []byte) ([]byte, error) {
	if err := ingest.CheckJSON(line); err != nil {
		return nil, err
	}
	n.records++
	a := ingest.Attributes{Source: n.options.Source}
	var errs [3]error
	a.ID, errs[0] = n.id.text(line)
	a.Type, errs[1] = n.typ.text(line)
	a.Subject, errs[2] = n.subject.text(line)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	if v := n.time.Find(line); v != nil {
		n.time.records++
		var err error
		if a.Time, err = ingest.ParseTime(v, n.options.TimeZone); err != nil {
			return nil, fmt.Errorf("field %s: %w", n.time, err)
		}
	}
	if a.ID == "" {
		a.ID = n.contentID(line)
	}
	if a.Type == "" {
		a.Type = DefaultType
	}
	return a.Event(line)
}

// contentID returns the id of a line that brings none.
func (n *Reader) contentID(line []byte) string {
	hash := sha256.Sum256(line)
	id := "sha256:" + hex.EncodeToString(hash[:])
	key := binary.BigEndian.Uint64(hash[:])
	n.seen[key]++
	if count := n.seen[key]; count > 1 {
		id = fmt.Sprintf("%s:%d", id, count)
	}
	return id
}

// A readError says that the rest of a file cannot be read.
type readError struct{ err error }

func (e *readError) Error() string { return "read: " + e.err.Error() }
func (e *readError) Unwrap() error { return e.err }

// readLine returns the next line, of at most ingest.MaxRecord bytes. Of a longer one
// it reads all, and keeps nothing.
func readLine(in *bufio.Reader) ([]byte, error) {
	var line []byte
	size := 0
	for {
		part, err := in.ReadSlice('\n')
		if size += len(part); size <= ingest.MaxRecord {
			line = append(line, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && size == 0:
			return nil, io.EOF
		case err != nil && !errors.Is(err, io.EOF):
			return nil, &readError{err}
		case size > ingest.MaxRecord:
			return nil, fmt.Errorf("%d bytes in one line: at most %d are read", size, ingest.MaxRecord)
		}
		return line, nil
	}
}
