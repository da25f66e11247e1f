// Package cloudevents reads events in the JSON format of CloudEvents, as people
// write them to files and pipes: one a line, one after the other over several
// lines, or in one array.
//
// What always holds:
//   - an event is returned byte for byte, without white space around it;
//   - no more is read than the next event takes, so that a pipe may be somebody's
//     live output;
//   - on lines, one that is wrong is left for the server to refuse, and keeps no
//     other from being read. Elsewhere the reading ends where the JSON is wrong,
//     with an error that says so.
package cloudevents

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/stele-log/stele/internal/ingest"
)

// Read reads the events in a file called name. Lines may have up to
// [ingest.MaxRecord] bytes.
func Read(name string, r io.Reader) iter.Seq[ingest.Input] {
	return func(yield func(ingest.Input) bool) {
		in, err := ingest.Open(r)
		if err != nil {
			yield(ingest.Input{Err: fmt.Errorf("%s: %w", name, err)})
			return
		}
		blank, first, err := firstLine(in)
		rest := io.MultiReader(bytes.NewReader(first), in)
		switch {
		case errors.Is(err, io.EOF) && len(first) == 0:
		case err != nil && !errors.Is(err, io.EOF):
			yield(ingest.Input{Err: fmt.Errorf("%s: %w", name, err)})
		case first[0] == '[':
			readValues(name, newDecoder(rest), yield)
		case isValue(first):
			readLines(name, blank, rest, yield)
		default:
			// It is the beginning of an object on several lines, or a line that is
			// wrong, and those after it may be right.
			var seen bytes.Buffer
			value, err := newDecoder(io.TeeReader(rest, &seen)).ReadValue()
			rest = io.MultiReader(&seen, rest)
			if err == nil && bytes.IndexByte(value, '\n') >= 0 {
				readValues(name, newDecoder(rest), yield)
			} else {
				readLines(name, blank, rest, yield)
			}
		}
	}
}

// firstLine returns the first line that is not blank, without white space
// before it, and how many are before it.
func firstLine(in *bufio.Reader) (blank int, line []byte, err error) {
	for {
		line, err = in.ReadBytes('\n')
		if trimmed := bytes.TrimLeft(line, " \t\r\n"); len(trimmed) > 0 || err != nil {
			return blank, trimmed, err
		}
		blank++
	}
}

// newDecoder returns a lenient decoder: what one event may not have, such as
// duplicate names, must not keep the next from being read.
func newDecoder(r io.Reader) *jsontext.Decoder {
	return jsontext.NewDecoder(r, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
}

func isValue(line []byte) bool {
	return jsontext.Value(line).IsValid(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
}

func readLines(name string, before int, r io.Reader, yield func(ingest.Input) bool) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, ingest.MaxRecord)
	n := before
	for lines.Scan() {
		n++
		if text := bytes.TrimSpace(lines.Bytes()); len(text) > 0 {
			if !yield(ingest.Input{Place: fmt.Sprintf("%s: line %d", name, n), Event: bytes.Clone(text)}) {
				return
			}
		}
	}
	err := lines.Err()
	if errors.Is(err, bufio.ErrTooLong) {
		err = fmt.Errorf("it has more than %d bytes; nothing from here on was read", ingest.MaxRecord)
	}
	if err != nil {
		yield(ingest.Input{Err: fmt.Errorf("%s: line %d: %w", name, n+1, err)})
	}
}

// readValues reads the elements of an array, or values one after the other.
func readValues(name string, dec *jsontext.Decoder, yield func(ingest.Input) bool) {
	array := dec.PeekKind() == '['
	if array {
		_, _ = dec.ReadToken()
	}
	for n := 1; ; n++ {
		if array && dec.PeekKind() == ']' {
			_, _ = dec.ReadToken()
			array = false // anything that follows is wrong
			if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
				yield(ingest.Input{Err: fmt.Errorf("%s: something follows the array; it was not read", name)})
			}
			return
		}
		value, err := dec.ReadValue()
		if errors.Is(err, io.EOF) && !array {
			return
		}
		place := fmt.Sprintf("%s: event %d", name, n)
		if err != nil {
			yield(ingest.Input{Err: fmt.Errorf("%s: %w; nothing from here on was read", place, err)})
			return
		}
		if !yield(ingest.Input{Place: place, Event: bytes.Clone(value)}) {
			return
		}
	}
}
