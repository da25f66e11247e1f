package event

import (
	"bytes"
	"errors"
	"io"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/stele-log/stele/pkg/event/internal/scan"
)

// ParseBatch checks the events in a JSON array, each by itself: a bad event does
// not spoil its neighbours, and its [Item] has the reason. An array that is
// broken as JSON is refused whole, since nobody can know where its elements end:
// there are no items then, and the error is an [*Error].
//
// SPEC: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md#4-json-batch-format
func ParseBatch(body []byte, from Sender) ([]Item, error) {
	var items []Item
	i := scan.SkipSpace(body, 0)
	if i == len(body) || body[i] != '[' {
		return nil, errorAt(nil, i, "not a batch: send a JSON array of events")
	}
	if i = scan.SkipSpace(body, i+1); i < len(body) && body[i] == ']' {
		return checkEnd(items, body, i+1)
	}
	for {
		end := skipValue(body, i)
		item := Item{}
		item.Event, item.Err = Parse(body[i:end], from)
		if err, ok := errors.AsType[*Error](item.Err); ok {
			err.inBatch(len(items), i)
			if err := checkSyntax(body[i:end]); err != nil {
				return nil, err.inBatch(len(items), i)
			}
		}
		items = append(items, item)

		i = scan.SkipSpace(body, end)
		switch {
		case i == len(body):
			return nil, errorAt(nil, i, "not JSON: the array is not closed; send the whole of it")
		case body[i] == ']':
			return checkEnd(items, body, i+1)
		case body[i] != ',':
			return nil, errorAt(nil, i, "not JSON: no comma between two events")
		}
		i = scan.SkipSpace(body, i+1)
	}
}

// ParseLines checks the events in NDJSON, one a line, each by itself. There is one
// [Item] for each line that is not blank, in order; the [Error] of a bad one has
// its line number.
func ParseLines(body []byte, from Sender) []Item {
	items := make([]Item, 0, bytes.Count(body, []byte{'\n'})+1)
	for line := 1; len(body) > 0; line++ {
		var text []byte
		text, body, _ = bytes.Cut(body, []byte{'\n'})
		if scan.SkipSpace(text, 0) == len(text) {
			continue
		}
		item := Item{}
		item.Event, item.Err = Parse(text, from)
		if err, ok := errors.AsType[*Error](item.Err); ok {
			err.Item, err.Line = len(items), line
		}
		items = append(items, item)
	}
	return items
}

// checkSyntax returns the error in one value that keeps a reader from finding
// where it ends, or nil. Duplicate names and wrong UTF-8 do not: they make one
// event bad, not the whole batch.
func checkSyntax(value []byte) *Error {
	dec := jsontext.NewDecoder(bytes.NewBuffer(value),
		jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if _, err := dec.ReadValue(); err != nil {
		return errorInJSON(err)
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return errorAt(nil, int(dec.InputOffset()), "not JSON: no comma between two values")
	}
	return nil
}

// checkEnd returns the items if nothing follows the array's end at body[i:].
func checkEnd(items []Item, body []byte, i int) ([]Item, error) {
	if i = scan.SkipSpace(body, i); i < len(body) {
		return nil, errorAt(nil, i, "not JSON: something follows the array; send one array")
	}
	return items, nil
}

// skipValue returns the offset after the value at b[i:]. It finds the end of
// every valid value; for an invalid one it returns some offset, and Parse, which
// is given the bytes up to there, finds the error.
func skipValue(b []byte, i int) int {
	for depth := 0; i < len(b); {
		switch b[i] {
		case '"':
			i = endOfString(b, i)
			if depth == 0 {
				return i
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',', ' ', '\n', '\t', '\r':
			if depth == 0 {
				return i
			}
		}
		i++
	}
	return i
}
