package importer

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
)

// DefaultType is the type of events from records that have none.
const DefaultType = "ndjson.record"

// Options say where in a record the event's attributes are. A field is the name
// of a member of the record, or, if it begins with a slash, a JSON Pointer.
type Options struct {
	// Source becomes the source of all events. If empty, the server sets it to
	// the writer's name.
	Source string

	// IDField holds the event's id. In records without it, or if it is empty,
	// the id is "sha256:" and the SHA-256 of the line in hexadecimal, without
	// white space around it. The second and later lines of the same content get
	// ":2", ":3" and so on.
	IDField string

	// TypeField holds the event's type. Records without it have DefaultType.
	TypeField string

	// TimeField holds the event's time: RFC 3339, also with a space for T or
	// without a zone, which then is UTC; 2006/01/02 15:04:05; the times of Apache
	// and nginx, such as 02/Jan/2006:15:04:05 -0700, of mail and HTTP; syslog's
	// with a year, such as "Jan 2 2006 15:04:05"; or seconds, milliseconds,
	// microseconds or nanoseconds since 1970, as a number or its digits, told
	// apart by size. The server sets the time of records without it.
	TimeField string

	// SubjectField holds the event's subject. Records without it have none.
	SubjectField string
}

// An NDJSON reads files of JSON lines that belong together: lines that are the
// same are told apart by counting them over all the files, in order. It is not
// safe for concurrent use. It keeps about 20 bytes for each line without id.
type NDJSON struct {
	source                 string
	id, typ, time, subject field

	// seen counts lines by 8 bytes of their hash. Should two lines share those,
	// one of them begins to count at 2, in each import of these files.
	seen map[uint64]uint32
}

// NewNDJSON returns an NDJSON. It fails if a field is not a JSON Pointer though
// it begins with a slash.
func NewNDJSON(o Options) (*NDJSON, error) {
	n := &NDJSON{source: o.Source, seen: map[uint64]uint32{}}
	var errs [4]error
	n.id, errs[0] = parseField(o.IDField)
	n.typ, errs[1] = parseField(o.TypeField)
	n.time, errs[2] = parseField(o.TimeField)
	n.subject, errs[3] = parseField(o.SubjectField)
	return n, errors.Join(errs[:]...)
}

// Events reads a file, called name in errors, and returns an event, or an
// error, for each line that is not blank.
func (n *NDJSON) Events(name string, r io.Reader) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		in, err := open(r)
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
func (n *NDJSON) event(line []byte) ([]byte, error) {
	if err := checkJSON(line); err != nil {
		return nil, err
	}
	a := attributes{source: n.source}
	var errs [3]error
	a.id, errs[0] = n.id.text(line)
	a.typ, errs[1] = n.typ.text(line)
	a.subject, errs[2] = n.subject.text(line)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	if v := n.time.find(line); v != nil {
		var err error
		if a.time, err = parseTimeValue(v); err != nil {
			return nil, fmt.Errorf("field %s: %w", n.time, err)
		}
	}
	if a.id == "" {
		a.id = n.contentID(line)
	}
	if a.typ == "" {
		a.typ = DefaultType
	}
	return a.event(line)
}

// contentID returns the id of a line that brings none.
func (n *NDJSON) contentID(line []byte) string {
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

// readLine returns the next line, of at most MaxRecord bytes. Of a longer one
// it reads all, and keeps nothing.
func readLine(in *bufio.Reader) ([]byte, error) {
	var line []byte
	size := 0
	for {
		part, err := in.ReadSlice('\n')
		if size += len(part); size <= MaxRecord {
			line = append(line, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && size == 0:
			return nil, io.EOF
		case err != nil && !errors.Is(err, io.EOF):
			return nil, &readError{err}
		case size > MaxRecord:
			return nil, fmt.Errorf("%d bytes in one line: at most %d are read", size, MaxRecord)
		}
		return line, nil
	}
}
