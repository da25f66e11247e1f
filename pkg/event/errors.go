package event

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// An Error is the reason why an event was refused: the place, what is wrong
// there, and what to do about it. It is written for the sender, who sees its
// fields in the answer of the API. The place is as exact as the way the event
// came permits; fields that do not apply are at the values given below.
type Error struct {
	Item     int    // position in the batch, from 0; -1 if there is no batch
	Line     int    // line of NDJSON, from 1; 0 if there are no lines
	Header   string // HTTP header in binary mode, such as "ce-time"; otherwise empty
	Pointer  string // JSON Pointer (RFC 6901) into the body or line, such as "/time"; empty for all of it
	Offset   int64  // bytes from the start of the body or line; -1 if unknown
	Reason   string // what is wrong, and what to do
	TooLarge bool   // the entry would have more than MaxEntry bytes
}

// Error returns the place, as far as it is known, and the reason, on one line.
func (e *Error) Error() string {
	var b strings.Builder
	switch {
	case e.Line > 0:
		fmt.Fprintf(&b, "line %d: ", e.Line)
	case e.Item >= 0:
		fmt.Fprintf(&b, "item %d: ", e.Item)
	}
	switch {
	case e.Header != "":
		fmt.Fprintf(&b, "header %s: ", e.Header)
	case e.Pointer != "" && e.Offset >= 0:
		fmt.Fprintf(&b, "%s (byte %d): ", e.Pointer, e.Offset)
	case e.Pointer != "":
		fmt.Fprintf(&b, "%s: ", e.Pointer)
	case e.Offset > 0:
		fmt.Fprintf(&b, "byte %d: ", e.Offset)
	}
	b.WriteString(e.Reason)
	return b.String()
}

// errorAt returns an Error about the value at offset, or at an unknown place if
// that is -1. If name is not nil, the value is that of the top-level member with
// this name.
func errorAt(name []byte, offset int, format string, args ...any) *Error {
	e := &Error{Item: -1, Offset: int64(offset), Reason: fmt.Sprintf(format, args...)}
	if name != nil {
		e.Pointer = cutPointer(jsontext.Pointer("").AppendToken(string(name)))
	}
	return e
}

// maxPointer is the length of the longest pointer that goes into an Error, in
// bytes. A sender chooses names and depth, and must not choose the size of the
// answer.
const maxPointer = 256

// cutPointer shortens a pointer that is too long to one that names an object or
// array around the place.
func cutPointer(p jsontext.Pointer) string {
	if len(p) <= maxPointer {
		return string(p)
	}
	return string(p[:strings.LastIndexByte(string(p[:maxPointer+1]), '/')])
}

// errorInJSON returns the Error for an error of the JSON decoder, in our words:
// the decoder's own are meant for programmers of Go, and may change.
func errorInJSON(err error) *Error {
	var syntax *jsontext.SyntacticError
	if !errors.As(err, &syntax) {
		if errors.Is(err, io.EOF) {
			return errorAt(nil, 0, "empty: send one JSON object")
		}
		return errorAt(nil, -1, "%v", err)
	}
	e := &Error{Item: -1, Pointer: cutPointer(syntax.JSONPointer), Offset: syntax.ByteOffset}
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		e.Reason = "duplicate member: an object may have each name once; remove or rename one"
	case errors.Is(err, io.ErrUnexpectedEOF):
		e.Reason = "not JSON: the text ends too early; send the whole of it"
	case strings.Contains(syntax.Err.Error(), "UTF-8"):
		e.Reason = "not UTF-8: send JSON encoded in UTF-8"
	case strings.Contains(syntax.Err.Error(), "max depth"):
		e.Reason = fmt.Sprintf("nested too deep: an event may be nested %d deep, its own object counted", MaxDepth)
	default:
		e.Reason = "not JSON: " + syntax.Err.Error()
	}
	return e
}

// inBatch turns an Error about one element into one about the array around it,
// in which the element has the given position and offset.
func (e *Error) inBatch(item, offset int) *Error {
	e.Item = item
	e.Pointer = "/" + strconv.Itoa(item) + e.Pointer
	if e.Offset >= 0 {
		e.Offset += int64(offset)
	}
	return e
}
