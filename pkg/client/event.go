package client

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/stele-log/stele/pkg/event"
)

// An Event is an event to append, with the attributes of CloudEvents
// (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md#context-attributes).
// Only Type must be set.
type Event struct {
	ID      string    // with Source, identifies the event; a new UUID (version 7) if empty
	Source  string    // a URI-reference; the sender's name, set by the server, if empty
	Type    string    // such as "com.example.order.placed"
	Subject string    // the object within the source that it is about, such as "order/48151"
	Time    time.Time // when it happened; now, if zero

	// Data is marshalled by encoding/json, unless it is nil.
	Data any

	// Extensions are further attributes: strings, booleans or 32-bit integers, by
	// names of 1 to 64 characters a-z and 0-9.
	Extensions map[string]any
}

// json returns the event as one line of JSON, with an id, and without a time if
// that is zero. It only prints: newLine checks the result.
func (e Event) json() ([]byte, error) {
	at := ""
	if !e.Time.IsZero() {
		at = e.Time.Format(time.RFC3339Nano)
	}
	b := bytes.NewBufferString(`{"specversion":"1.0"`)
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	member := func(name string, value any) error {
		fmt.Fprintf(b, ",%q:", name)
		if err := enc.Encode(value); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		b.Truncate(b.Len() - 1) // the line end that Encode adds
		return nil
	}
	for _, m := range [...]struct{ name, value string }{
		{"id", cmp.Or(e.ID, event.NewID())}, {"source", e.Source}, {"type", e.Type}, {"subject", e.Subject},
		{"time", at},
	} {
		if m.value == "" {
			continue
		}
		if err := member(m.name, m.value); err != nil {
			return nil, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(e.Extensions)) {
		if err := member(name, e.Extensions[name]); err != nil {
			return nil, err
		}
	}
	if e.Data != nil {
		if err := member("data", e.Data); err != nil {
			return nil, err
		}
	}
	return append(b.Bytes(), '}'), nil
}

// A line is an event as it is sent: one line, with an id.
type line struct {
	text []byte
	id   string
}

// anyone stands for the sender's name, which only the server knows. It does not
// get into the event.
const anyone = "client"

// newLine makes a line of an event in JSON, or returns the error for which the
// server would refuse it, which saves a request. An event that has an id and is
// one line stays as it is. Any other is written as the server would store it (see
// [event.Event.Received]), with an id before the closing brace.
func newLine(json []byte) (line, error) {
	newID := ""
	e, err := event.Parse(json, event.Sender{Name: anyone, NewID: func() string {
		newID = event.NewID()
		return newID
	}})
	if err != nil {
		return line{}, refusedEvent(err)
	}
	switch {
	case newID != "":
		text := e.Received()
		text = fmt.Appendf(text[:len(text)-1], `,"id":%q}`, newID)
		return line{text, newID}, nil
	case len(json) > event.MaxEntry || bytes.IndexByte(json, '\n') >= 0:
		return line{e.Received(), e.ID}, nil
	}
	return line{json, e.ID}, nil
}
