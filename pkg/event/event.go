// Package event turns CloudEvents 1.0 into log entries, and entries back into
// events (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md).
//
// An event arrives as structured JSON ([Parse]), in a JSON batch ([ParseBatch]),
// on a line of NDJSON ([ParseLines]) or as an HTTP message in binary mode
// ([ParseBinary]). Every attribute but type may be missing; the server then sets
// specversion, id (a UUIDv7), source (the sender's name) and time.
//
// Each of these checks the event and returns an [Event], which holds the whole
// entry except for the time of recording. That time is known only when the entry
// gets its index: [Event.AppendEntry] then writes the entry. [Decode] is the way
// back, and refuses bytes that AppendEntry cannot have written.
//
// The entry is the event as received, one JSON object, with the attributes that
// the server sets inserted before its closing brace:
//
//	{"type":"door.opened","data":{"door":7}
//	,"recordedtime":"2026-11-21T09:42:00.123456Z"   always, and always this long
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
//   - the part before recordedtime, with a closing brace, is the event as
//     received: numbers, strings and the order of members are untouched. Only
//     white space and attributes that are null, which CloudEvents calls unset,
//     are left out;
//   - an entry is valid JSON in UTF-8 without duplicate names, and a valid
//     CloudEvent; it has at most [MaxEntry] bytes;
//   - names that begin with "recorded" belong to the server: an event that has
//     one is refused.
//
// All functions are safe for concurrent use.
package event

import (
	"time"

	"github.com/stele-log/stele/pkg/tile"
)

const (
	// MaxEntry is the size of the largest entry, in bytes: 65,535, since a bundle
	// has two bytes for the length of an entry.
	MaxEntry = tile.MaxEntry

	// MaxDepth is how deep objects and arrays may be nested in an entry, counting
	// the entry's own object. JSON readers in common use accept that much.
	MaxDepth = 64

	// MaxName is the size of the longest attribute name, in bytes. CloudEvents
	// recommends at most 20 and sets no limit.
	MaxName = 64
)

// A Sender is the client from which an event comes. The server knows it from the
// request, not from the event.
type Sender struct {
	// Name is not empty and has no control characters. It becomes the source of
	// events that have none; bytes that a URI-reference cannot have are then
	// percent-encoded.
	Name string

	// Authenticated is true if the client has proven its Name, which then also
	// becomes recordedby.
	Authenticated bool

	// NewID makes the ids of events that have none. It returns UUIDs of version
	// 7 in lower case. If nil, [NewID] is used.
	NewID func() string
}

// An Event is an event that has passed all checks. Only the parsers of this
// package make one; it is not changed afterwards, and may be copied and shared.
type Event struct {
	ID      string // with Source, identifies the event within a log
	Source  string // a URI-reference
	Type    string
	Subject string    // empty if the event has none
	Time    time.Time // zero if the event has none: the server will set it
	Sender  string    // recordedby: the authenticated sender's name, or empty

	// text is the entry without recordedtime, time and the closing brace, none of
	// which is known before the event is recorded. text[:received] is the event as
	// received, without its closing brace; the rest are attributes that the server
	// sets.
	text     string
	received int
	setTime  bool // time is missing
}

// An Item is the outcome for one of many events that came together.
type Item struct {
	Event Event // if Err is nil
	Err   error // an *Error
}

const (
	recordedTime = `,"recordedtime":"`
	eventTime    = `,"time":"`
	timeFormat   = "2006-01-02T15:04:05.000000Z"
)

// AppendEntry appends the event's entry to dst and returns the extended slice, in
// which the entry takes [Event.EntrySize] bytes. The time of recording is
// truncated to microseconds and must lie in the years 0 to 9999. Nothing is
// allocated if dst has room.
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

// EntrySize returns the size of the event's entry, in bytes, which is at most
// [MaxEntry]. It does not depend on the time of recording.
func (e Event) EntrySize() int {
	n := len(e.text) + len(recordedTime) + len(timeFormat) + len(`"}`)
	if e.setTime {
		n += len(eventTime) + len(timeFormat) + len(`"`)
	}
	return n
}

// Received returns the event as received, without white space and without
// attributes that are null. Two events are the same if they have the same
// source, id and Received: this is how a server recognizes an event that is sent
// a second time, and one that reuses the id of another.
func (e Event) Received() []byte {
	b := make([]byte, 0, e.received+1)
	return append(append(b, e.text[:e.received]...), '}')
}
