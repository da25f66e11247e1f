// Package event takes CloudEvents 1.0 in and gives log entries out
// (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md).
//
// An event comes as structured JSON ([Parse]), a JSON batch ([ParseBatch]), a
// line of NDJSON ([ParseLines]) or an HTTP message in binary mode
// ([ParseBinary]). All but type may be missing: the server then sets
// specversion, id (a UUIDv7), source (the sender's name) and time.
//
// The entry is the event as received, one JSON object, with the attributes that
// the server sets before its closing brace:
//
//	{"type":"door.opened","data":{"door":7}
//	,"recordedtime":"2026-11-21T09:42:00.123456Z"   always, and always so long
//	,"recordedby":"building-7"                      if the sender is authenticated
//	,"specversion":"1.0"                            the rest only if missing,
//	,"id":"019aa5c1-7f9b-7d54-8b71-5a0f3cf4a8f6"    in this order
//	,"source":"building-7"
//	,"time":"2026-11-21T09:42:00.123456Z"           the same as recordedtime
//	}
//
// on one line, without white space. The format is frozen in docs/formats.md.
//
// What always holds:
//   - what stands before recordedtime, with a closing brace, is the event as
//     received: numbers, strings and the order of members are untouched. Only
//     white space and attributes that are null, which CloudEvents calls unset,
//     are left out;
//   - an entry is valid JSON in UTF-8 without duplicate names, and a valid
//     CloudEvent; it has at most [MaxEntry] bytes;
//   - names that begin with "recorded" are the server's: no event can bring one.
//
// All functions are safe for concurrent use.
package event

import (
	"time"

	"github.com/stele-log/stele/pkg/tile"
)

const (
	// MaxEntry is the size of the largest entry, in bytes.
	MaxEntry = tile.MaxEntry

	// MaxDepth is how deep objects and arrays may be nested in an entry, the
	// entry's own object counted. JSON readers in common use take that much.
	MaxDepth = 64

	// MaxName is the size of the longest attribute name, in bytes.
	MaxName = 64
)

// A Sender is who sends an event.
type Sender struct {
	// Name is not empty and has no control characters. It becomes the source of
	// events that have none; bytes a URI-reference cannot have are then
	// percent-encoded.
	Name string

	// Authenticated says that Name is known to be true. It then also becomes
	// recordedby.
	Authenticated bool

	// NewID makes the ids of events that have none. It returns UUIDs of version
	// 7 in lower case. If nil, [NewID] is used.
	NewID func() string
}

// An Event is one that was checked. It can be copied and shared.
type Event struct {
	ID      string // with Source, identifies the event
	Source  string // a URI-reference
	Type    string
	Subject string    // empty if the event has none
	Time    time.Time // zero if the event has none: the server will set it

	// text is the entry up to and including the server's attributes, but
	// without recordedtime, time and the closing brace; text[:received] is what
	// was received, without its closing brace.
	text     string
	received int
	setTime  bool // time is missing
}

// An Item is one event of many, or the reason why it is none.
type Item struct {
	Event Event
	Err   error // an *Error
}

const (
	recordedTime = `,"recordedtime":"`
	eventTime    = `,"time":"`
	timeFormat   = "2006-01-02T15:04:05.000000Z"
)

// AppendEntry appends the entry for the event, as recorded at that time, which
// is cut to microseconds and must lie in the years 0 to 9999.
func (e Event) AppendEntry(dst []byte, recorded time.Time) []byte {
	dst = append(dst, e.text[:e.received]...)
	dst = append(dst, recordedTime...)
	dst = appendTime(dst, recorded)
	dst = append(dst, '"')
	dst = append(dst, e.text[e.received:]...)
	if e.setTime {
		dst = append(dst, eventTime...)
		dst = appendTime(dst, recorded)
		dst = append(dst, '"')
	}
	return append(dst, '}')
}

// EntrySize returns the size of the event's entry, in bytes.
func (e Event) EntrySize() int {
	n := len(e.text) + len(recordedTime) + len(timeFormat) + len(`"}`)
	if e.setTime {
		n += len(eventTime) + len(timeFormat) + len(`"`)
	}
	return n
}

// Received returns the event as received, without white space and without
// attributes that are null. Two events are the same if they have the same
// source, id and Received.
func (e Event) Received() []byte {
	b := make([]byte, 0, e.received+1)
	return append(append(b, e.text[:e.received]...), '}')
}
