package api

import (
	"bytes"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/stele-log/stele/internal/access"
	"github.com/stele-log/stele/pkg/event"
)

// This file parses the events in the body of a request that is not a stream, at most
// MaxBody bytes, by its content type. An event that is invalid is an item with an
// error, and leaves the others alone; a body that cannot be taken apart into events is
// an error as a whole.

// readEvents reads the events of a request, by its content type. single means that
// the body was one event by itself, so that the reply is about it alone. The claim
// covers the events.
//
// SPEC: CloudEvents HTTP protocol binding 1.0.2, section 3.
func (s *server) readEvents(w http.ResponseWriter, r *http.Request, p access.Permit, memory *claim) (items []event.Item, single bool, err error) {
	body, err := s.readBody(w, r, MaxBody, memory)
	if err != nil {
		return nil, false, err
	}
	defer release(body) // events are copies, for which its claim stands
	items, single, err = parseEvents(r.Header, *body, senderOf(r))
	if err == nil {
		if bindSources(items, p) && !single {
			s.noteRefusal(r, errSource, problem{Status: http.StatusForbidden}) // a single event is noted when it is answered
		}
		err = s.spend(r, len(items), len(*body))
	}
	if err == nil {
		err = memory.take(len(items) * eventMemory)
	}
	return items, single, err
}

// errSource refuses events of a source that their writer may not send.
var errSource = refusal{statusError: statusError{http.StatusForbidden, "of another source than the writer's"}, role: string(access.Writer)}

// bindSources refuses such events, and reports whether there are any.
func bindSources(items []event.Item, p access.Permit) (refused bool) {
	if p.Sources == nil {
		return false
	}
	for i := range items {
		if items[i].Err == nil && !p.LetsWrite(items[i].Event.Source) {
			items[i].Err = statusError{http.StatusForbidden, fmt.Sprintf("the source of events of this writer must begin with %s, and this one's is %.100q",
				strings.Join(p.Sources, " or "), items[i].Event.Source)}
			refused = true
		}
	}
	return refused
}

// spend takes events off what the caller may append now, or returns a limitError.
func (s *server) spend(r *http.Request, events, bytes int) error {
	if s.Access == nil {
		return nil
	}
	wait := s.Access.Spend(callerOf(r), events, bytes)
	if wait == 0 {
		return nil
	}
	return limitError{"this principal has appended as much as it may for now, and nothing was stored; send the events again when Retry-After says", wait}
}

// parseEvents parses a body by its Content-Type. The types of CloudEvents and of
// JSON lines decide first. Then any ce- header means binary mode, in which the
// Content-Type is that of the data. Plain JSON is an event or an array of them.
func parseEvents(h http.Header, body []byte, from event.Sender) (items []event.Item, single bool, err error) {
	contentType, err := mediaType(h.Get("Content-Type"))
	if err != nil {
		return nil, false, err
	}
	if isStructured(contentType) {
		if err := unmark(body); err != nil {
			return nil, false, err
		}
	}
	switch {
	case contentType == eventType:
		return parseOne(body, from)
	case contentType == batchType:
		return parseArray(body, from)
	case slices.Contains(linesTypes, contentType):
		return parseLines(body, from)
	case isBinary(h):
		e, err := event.ParseBinary(h, body, from)
		return []event.Item{{Event: e, Err: err}}, true, nil
	case contentType == jsonType:
		if bytes.HasPrefix(bytes.TrimLeft(body[:min(len(body), 64)], " \t\r\n"), []byte{'['}) {
			return parseArray(body, from)
		}
		return parseOne(body, from)
	}
	return nil, false, statusError{http.StatusUnsupportedMediaType,
		"send Content-Type application/json (an event or an array), application/cloudevents+json, " +
			"application/cloudevents-batch+json or application/x-ndjson, or an event in binary mode with ce- headers"}
}

const (
	eventType = "application/cloudevents+json"
	batchType = "application/cloudevents-batch+json"
	linesType = "application/x-ndjson"
)

// linesTypes are the names that JSON lines go by.
var linesTypes = []string{linesType, "application/ndjson", "application/jsonl"}

// charsets are the names of UTF-8 and of its subset that senders give.
var charsets = []string{"", "utf-8", "utf8", "us-ascii", "ascii"}

// mediaType returns a Content-Type without its parameters, of which only a
// charset other than UTF-8 matters.
func mediaType(header string) (string, error) {
	if header == "" {
		return "", nil
	}
	mediaType, params, err := mime.ParseMediaType(header)
	if err != nil {
		return "", statusError{http.StatusUnsupportedMediaType, "the Content-Type cannot be read: " + err.Error()}
	}
	if cs := params["charset"]; !slices.Contains(charsets, strings.ToLower(cs)) && isStructured(mediaType) {
		return "", statusError{http.StatusUnsupportedMediaType, "events are JSON in UTF-8, not " + cs}
	}
	return mediaType, nil
}

// isBinary reports whether an event is in binary mode. Any attribute in a header
// decides it, since specversion may be missing like the others.
func isBinary(h http.Header) bool {
	for name := range h {
		if strings.HasPrefix(name, "Ce-") {
			return true
		}
	}
	return false
}

// isStructured reports whether a body of that type is JSON, which must be in
// UTF-8. Other data, in binary mode, may be in any charset.
func isStructured(contentType string) bool {
	return strings.HasPrefix(contentType, "application/cloudevents") || strings.HasSuffix(contentType, "json") ||
		slices.Contains(linesTypes, contentType)
}

func parseOne(body []byte, from event.Sender) ([]event.Item, bool, error) {
	e, err := event.Parse(body, from)
	return []event.Item{{Event: e, Err: err}}, true, nil
}

// parseArray parses a JSON array of events, of at most MaxEvents elements.
func parseArray(body []byte, from event.Sender) ([]event.Item, bool, error) {
	// An array of very many tiny elements costs much memory to parse, so they are
	// counted first. That takes as long as parsing, but an array with few commas
	// need not be counted.
	if bytes.Count(body, []byte{','}) >= 5*MaxEvents && countElements(body) > MaxEvents {
		return nil, false, errTooMany
	}
	items, err := event.ParseBatch(body, from)
	if err == nil && len(items) > MaxEvents {
		return nil, false, errTooMany
	}
	return items, false, err
}

// parseLines parses JSON lines. They are counted before they are parsed, so blank
// ones count towards MaxEvents too.
func parseLines(body []byte, from event.Sender) ([]event.Item, bool, error) {
	if bytes.Count(bytes.TrimSpace(body), []byte{'\n'}) >= MaxEvents {
		return nil, false, errTooMany
	}
	return event.ParseLines(body, from), false, nil
}

var errTooMany = statusError{http.StatusRequestEntityTooLarge,
	fmt.Sprintf("more than %d events; send them in parts", MaxEvents)}

// countElements returns how many elements a JSON array has. Of text that is not
// an array the number means nothing; parsing will refuse it.
func countElements(array []byte) int {
	n, depth := 1, 0
	for i := 0; i < len(array); i++ {
		switch array[i] {
		case '"':
			for i++; i < len(array) && array[i] != '"'; i++ {
				if array[i] == '\\' {
					i++
				}
			}
		case '[', '{':
			depth++
		case ']', '}':
			depth--
		case ',':
			if depth == 1 {
				n++
			}
		}
	}
	return n
}
