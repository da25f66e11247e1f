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

// An Event is one to append. Only Type must be set.
type Event struct {
	ID      string    // with Source, identifies the event; a new UUID (version 7) if empty
	Source  string    // a URI-reference; the sender's name, set by the server, if empty
	Type    string    // such as "com.example.order.placed"
	Subject string    // what in the source it is about, such as "order/48151"
	Time    time.Time // when it happened; now, if zero

	// Data is marshalled by encoding/json, unless it is nil.
	Data any

	// Extensions are further attributes: strings, booleans or integers of 32
	// bits, by names of a-z and 0-9.
	Extensions map[string]any
}

// json returns the event as JSON, with an id, and without a time if that is
// zero.
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

// anyone stands for the writer, whom the client does not know: the server
// checks again.
const anyone = "client"

// newLine makes a line of an event in JSON, or returns why it is none. What has
// an id and is one line stays as it is. The rest is written as the server would
// store it (see [event.Event.Received]), with an id before the closing brace.
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
