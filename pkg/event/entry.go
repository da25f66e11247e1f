package event

import (
	"bytes"
	"cmp"
	"fmt"
	"time"
)

// An Entry is what an entry of the log says.
type Entry struct {
	Event              // Time is not zero: the server has set it if the event had none
	Recorded time.Time // when the server took the event, to the microsecond, UTC
	Sender   string    // recordedby: the authenticated sender's name, or empty
}

// Decode reads an entry. It accepts only what [Event.AppendEntry] can have made.
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
	// One accepted spelling: what was read must print the same.
	p.out = e.AppendEntry(p.out[:0], e.Recorded)
	if !bytes.Equal(p.out, entry) {
		return Entry{}, fmt.Errorf("not an entry: from byte %d on it is not what the format says",
			commonPrefix(p.out, entry))
	}
	if e.setTime {
		e.Time = e.Recorded
	}
	return e, nil
}

// Received returns the event in an entry as it was received, as
// [Event.Received] does. It accepts only what [Event.AppendEntry] can have made.
func Received(entry []byte) ([]byte, error) {
	e, err := Decode(entry)
	if err != nil {
		return nil, err
	}
	return e.Received(), nil
}

// server is what the server has set in an entry, as far as it is there.
type server struct {
	recorded, by, id, source string
}

// addEntry takes one member of an entry: up to recordedtime it is one of the
// event as received. What is wrong with the others shows in Decode.
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

// entry makes the event anew, from what was received and what the server set.
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
	by := p.server.by
	e, failed := p.event(from)
	if failed != nil {
		return Entry{}, failed
	}
	return Entry{Event: e, Recorded: recorded, Sender: by}, nil
}

func commonPrefix(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}
