package event

import (
	"bytes"
	"cmp"
	"fmt"
	"time"
)

// An Entry is an entry of a log, decoded.
type Entry struct {
	Event              // Time is not zero: the server has set it if the event had none
	Recorded time.Time // when the server recorded the event, to the microsecond, UTC
}

// Decode parses an entry, given as its bytes are in the log. It accepts only
// bytes that [Event.AppendEntry] can have written: it writes the entry again from
// what it has read, and compares. The error may wrap an [*Error].
func Decode(entry []byte) (Entry, error) {
	p := newParser(entry)
	defer p.release()
	if !p.scanEntry() {
		p.reset()
		if err := p.read((*parser).addEntry); err != nil {
			return Entry{}, fmt.Errorf("not an entry: %w", err)
		}
	}
	e, err := p.entry()
	if err != nil {
		return Entry{}, fmt.Errorf("not an entry: %w", err)
	}
	// An entry has one spelling: what was read must print the same.
	p.out = e.AppendEntry(p.out[:0], e.Recorded)
	if !bytes.Equal(p.out, entry) {
		return Entry{}, fmt.Errorf("not an entry: from byte %d on it departs from the format",
			commonPrefix(p.out, entry))
	}
	if e.setTime {
		e.Time = e.Recorded
	}
	return e, nil
}

// Received returns the event in an entry as it was received, as
// [Event.Received] does. It accepts the entries that [Decode] accepts. Cutting an
// entry at the text of recordedtime would not do: data may contain that text.
func Received(entry []byte) ([]byte, error) {
	e, err := Decode(entry)
	if err != nil {
		return nil, err
	}
	return e.Received(), nil
}

// server holds the attributes that the server has set in an entry; those that are
// absent are empty. The entry's time, if the server has set it, is recordedtime.
type server struct {
	recorded, by, id, source string
}

// addEntry takes one member of an entry. The members before recordedtime are the
// event as received. The others are kept as they are: Decode notices one that is
// wrong when it compares.
func (p *parser) addEntry(m member) *Error {
	if p.server.recorded == "" && string(m.name) != "recordedtime" {
		return p.add(m)
	}
	if m.value[0] != '"' {
		return errorAt(m.name, m.at, "not a string")
	}
	text, err := unquote(m.value)
	if err != nil {
		return errorInJSON(err)
	}
	if string(m.name) == "recordedtime" && len(text) != len(timeFormat) {
		return errorAt(m.name, m.at, "not of the form %s", timeFormat)
	}
	p.server.set(m.name, text)
	return nil
}

func (s *server) set(name, text []byte) {
	switch string(name) {
	case "recordedtime":
		s.recorded = string(text)
	case "recordedby":
		s.by = string(text)
	case "id":
		s.id = string(text)
	case "source":
		s.source = string(text)
	}
}

// entry makes the event again, from its received part and from the attributes
// that the server set, along the same path as when it first came in. So whatever
// AppendEntry would not write makes a difference that Decode sees.
func (p *parser) entry() (Entry, error) {
	recorded, wrong := parseRFC3339([]byte(p.server.recorded))
	if wrong != "" {
		return Entry{}, fmt.Errorf("recordedtime: %s", wrong)
	}
	from := Sender{Name: p.server.by, Authenticated: true}
	if from.Name == "" {
		from = Sender{Name: cmp.Or(p.server.source, "anonymous")}
	}
	if !p.id.isSet() {
		if !isUUID7(p.server.id) {
			return Entry{}, fmt.Errorf("id %.40q after recordedtime is not a UUID of version 7", p.server.id)
		}
		id := p.server.id
		from.NewID = func() string { return id }
	}
	e, failed := p.event(from)
	if failed != nil {
		return Entry{}, failed
	}
	return Entry{Event: e, Recorded: recorded}, nil
}

// commonPrefix returns the number of bytes at the beginning that a and b share.
func commonPrefix(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}
