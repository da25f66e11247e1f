package api

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/stele-log/stele/pkg/event"
)

// anonymous is who writes where nobody is asked for a name.
var anonymous = event.Writer{Name: "anonymous"}

// readEvents reads the events of a request, by its content type.
//
// SPEC: CloudEvents HTTP protocol binding 1.0.2, section 3.
func readEvents(w http.ResponseWriter, r *http.Request) (items []event.Item, single bool, err error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
	if err != nil {
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			return nil, false, err
		}
		return nil, false, badRequest("the body ended early: " + err.Error())
	}
	contentType, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil && r.Header.Get("Content-Type") != "" {
		return nil, false, statusError{http.StatusUnsupportedMediaType, "the Content-Type cannot be read: " + err.Error()}
	}
	if cs := params["charset"]; cs != "" && !strings.EqualFold(cs, "utf-8") && isStructured(contentType) {
		return nil, false, statusError{http.StatusUnsupportedMediaType, "events are JSON in UTF-8, not " + cs}
	}
	switch {
	case contentType == "application/cloudevents+json":
		return parseOne(body)
	case contentType == "application/cloudevents-batch+json":
		return parseArray(body)
	case contentType == "application/x-ndjson" || contentType == "application/ndjson" || contentType == "application/jsonl":
		return parseLines(body)
	case isBinary(r.Header):
		e, err := event.ParseBinary(r.Header, body, anonymous)
		return []event.Item{{Event: e, Err: err}}, true, nil
	case contentType == "application/json":
		if strings.HasPrefix(strings.TrimLeft(string(body[:min(len(body), 64)]), " \t\r\n"), "[") {
			return parseArray(body)
		}
		return parseOne(body)
	}
	return nil, false, statusError{http.StatusUnsupportedMediaType,
		"send Content-Type application/json (an event or an array), application/cloudevents+json, " +
			"application/cloudevents-batch+json or application/x-ndjson, or an event in binary mode with ce- headers"}
}

// isBinary reports whether an event comes in binary mode: an attribute in a
// header says so, since specversion may be missing like the others.
func isBinary(h http.Header) bool {
	for name := range h {
		if strings.HasPrefix(name, "Ce-") {
			return true
		}
	}
	return false
}

func isStructured(contentType string) bool {
	return strings.HasPrefix(contentType, "application/cloudevents") || strings.HasSuffix(contentType, "json")
}

func parseOne(body []byte) ([]event.Item, bool, error) {
	e, err := event.Parse(body, anonymous)
	return []event.Item{{Event: e, Err: err}}, true, nil
}

func parseArray(body []byte) ([]event.Item, bool, error) {
	if countElements(body) > MaxEvents {
		return nil, false, errTooMany
	}
	items, err := event.ParseBatch(body, anonymous)
	return items, false, err
}

func parseLines(body []byte) ([]event.Item, bool, error) {
	if bytes.Count(bytes.TrimSpace(body), []byte{'\n'}) >= MaxEvents {
		return nil, false, errTooMany
	}
	return event.ParseLines(body, anonymous), false, nil
}

var errTooMany = statusError{http.StatusRequestEntityTooLarge,
	fmt.Sprintf("more than %d events; send them in parts", MaxEvents)}

// countElements returns how many elements a JSON array has, if it is one.
func countElements(array []byte) int {
	n, depth, inString := 1, 0, false
	for i := 0; i < len(array); i++ {
		switch c := array[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '[' || c == '{':
			depth++
		case c == ']' || c == '}':
			depth--
		case c == ',' && depth == 1:
			n++
		}
	}
	return n
}
