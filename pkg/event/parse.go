package event

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/stele-log/stele/pkg/event/internal/scan"
)

// Parse checks one event in the JSON event format, in which every attribute but
// type may be missing. White space around and inside it is allowed, and left out
// of the entry. The error is an [*Error]. Neither json nor from is kept.
//
// SPEC: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
func Parse(json []byte, from Sender) (Event, error) { return parse(json, from, true) }

// parse is Parse, with the scanner or without: a test compares the two.
func parse(json []byte, from Sender, mayScan bool) (Event, error) {
	p := newParser(json)
	defer p.release()
	if !mayScan || !p.scan() {
		p.reset()
		if err := p.read((*parser).add); err != nil {
			return Event{}, err
		}
	}
	e, err := p.event(from)
	if err != nil {
		return Event{}, err
	}
	return e, nil
}

// A parser reads one event, or one entry, with scan if that can read it and with
// read otherwise. Both fill the same fields, from which event then makes the
// Event. Parsers are pooled, so that an event allocates little but its own text.
type parser struct {
	in  []byte
	out []byte // the event as received, without white space and the closing brace

	// How it is read:
	dec     jsontext.Decoder
	src     bytes.Buffer // over in, for dec
	scanner scan.Scanner

	// The scanner's callbacks, scanned and scannedOfEntry: binding them for each
	// event would allocate.
	take, takeOfEntry func(scan.Member) bool

	// What was received:
	id, source, typ, subject field
	time                     time.Time
	hasTime, hasSpec         bool
	data                     string // "data" or "data_base64", whichever came

	// What else was read of an entry:
	server   server // set by the server
	received int    // in scanEntry: out[:received] is the event as received; -1 if unknown
}

// A field is the value of a string attribute: a part of parser.out if scan has
// read it, or a string of its own.
type field struct {
	start, end int // within out
	text       string
}

func (f field) isSet() bool { return f.end > 0 || f.text != "" }

// in returns the value, given a text that begins with parser.out.
func (f field) in(text string) string {
	if f.end > 0 {
		return text[f.start:f.end]
	}
	return f.text
}

// A member is one member of the event's object.
type member struct {
	rawName []byte // with quotes, and escapes if any
	name    []byte
	value   []byte // as received
	at      int    // offset of the value, in bytes
}

var parsers = sync.Pool{New: func() any {
	p := new(parser)
	p.take, p.takeOfEntry = p.scanned, p.scannedOfEntry
	return p
}}

func newParser(json []byte) *parser {
	p := parsers.Get().(*parser)
	p.in = json
	return p
}

// release puts the parser back into the pool, without what it read. A buffer that
// one huge event has made large is not kept.
func (p *parser) release() {
	if cap(p.out) > 2*MaxEntry {
		p.out = nil
	}
	p.reset()
	p.in = nil
	parsers.Put(p)
}

// reset forgets what was read, perhaps in part, and keeps the input.
func (p *parser) reset() {
	p.out = p.out[:0]
	p.id, p.source, p.typ, p.subject = field{}, field{}, field{}, field{}
	p.time, p.hasTime, p.hasSpec, p.data = time.Time{}, false, false, ""
	p.server = server{}
}

// read reads p.in, one object, with the strict decoder, and hands each of its
// members to take. Whatever it refuses, this package refuses.
func (p *parser) read(take func(*parser, member) *Error) *Error {
	p.src = *bytes.NewBuffer(p.in)
	p.dec.Reset(&p.src)
	defer func() {
		p.src = bytes.Buffer{}
		p.dec.Reset(&p.src)
	}()
	switch p.dec.PeekKind() {
	case jsontext.KindBeginObject, jsontext.KindInvalid:
	default:
		return errorAt(nil, 0, "not an event: send one JSON object")
	}
	if _, err := p.dec.ReadToken(); err != nil {
		return errorInJSON(err)
	}
	p.out = append(p.out, '{')
	for p.dec.PeekKind() != jsontext.KindEndObject {
		var m member
		var err error
		if m.rawName, _, err = p.readValue(); err != nil {
			return errorInJSON(err)
		}
		if m.value, m.at, err = p.readValue(); err != nil {
			return errorInJSON(err)
		}
		if m.name, err = unquote(m.rawName); err != nil {
			return errorInJSON(err)
		}
		if err := take(p, m); err != nil {
			return err
		}
	}
	if _, err := p.dec.ReadToken(); err != nil {
		return errorInJSON(err)
	}
	end := int(p.dec.InputOffset())
	if _, err := p.dec.ReadToken(); err == nil {
		return errorAt(nil, end, "more than one event: send many as a JSON array or as NDJSON")
	} else if !errors.Is(err, io.EOF) {
		return errorInJSON(err)
	}
	return nil
}

// readValue returns the next name or value, as a part of p.in, and its offset.
func (p *parser) readValue() ([]byte, int, error) {
	v, err := p.dec.ReadValue()
	if err != nil {
		return nil, 0, err
	}
	// The decoder's own slice is only good until the next read.
	end := int(p.dec.InputOffset())
	return p.in[end-len(v) : end : end], end - len(v), nil
}

// unquote returns the text of a valid JSON string.
func unquote(raw []byte) ([]byte, error) {
	if !bytes.ContainsRune(raw, '\\') {
		return raw[1 : len(raw)-1], nil
	}
	return jsontext.AppendUnquote(nil, raw)
}

// add checks one member of an event and, unless it is unset, adds it to p.out.
func (p *parser) add(m member) *Error {
	switch string(m.name) {
	case "data", "data_base64":
		return p.addData(m)
	}
	if reason := checkName(m.name); reason != "" {
		return errorAt(m.name, m.at, "%s", reason)
	}
	// SPEC: CloudEvents JSON format, section 2.2: an attribute that is null MUST
	// be treated as unset.
	if m.value[0] == 'n' {
		return nil
	}
	var text []byte
	if m.value[0] == '"' {
		var err error
		if text, err = unquote(m.value); err != nil {
			return errorInJSON(err)
		}
		if reason := checkString(text); reason != "" {
			return errorAt(m.name, m.at, "%s", reason)
		}
	}
	p.append(m, m.value)
	if reason := p.addAttribute(m, text); reason != "" {
		return errorAt(m.name, m.at, "%s", reason)
	}
	return nil
}

// addAttribute checks the value of an attribute, whose text is nil unless it is
// a string. It returns what is wrong.
func (p *parser) addAttribute(m member, text []byte) (reason string) {
	if text == nil && !isStandard(m.name) {
		return checkExtension(m.value)
	} else if text == nil {
		return "not a string: put it in double quotes"
	}
	return p.attribute(m.name, text, field{text: string(text)})
}

// attribute checks the text of a string attribute and keeps what event needs to
// know of it. It returns the reason if the text is wrong.
func (p *parser) attribute(name, text []byte, f field) (reason string) {
	switch string(name) {
	case "specversion":
		p.hasSpec = true
		return checkSpecVersion(text)
	case "id":
		p.id = f
		return checkNotEmpty(text)
	case "source":
		p.source = f
		return checkSource(text)
	case "type":
		p.typ = f
		return checkNotEmpty(text)
	case "subject":
		p.subject = f
		return checkNotEmpty(text)
	case "time":
		p.hasTime = true
		p.time, reason = parseTime(text)
		return reason
	case "datacontenttype":
		return checkMediaType(text)
	case "dataschema":
		return checkSchema(text)
	}
	return ""
}

// addData checks data or data_base64 and adds it to p.out. Of the two, an event
// may have one.
func (p *parser) addData(m member) *Error {
	if p.data != "" {
		return errorAt(m.name, m.at, "both data and data_base64: send one of them")
	}
	if string(m.name) == "data" {
		p.data = "data"
		if m.value[0] != '{' && m.value[0] != '[' {
			p.append(m, m.value)
			return nil
		}
		p.append(m, nil)
		var depth int
		p.out, depth = appendCompact(p.out, m.value)
		if depth >= MaxDepth {
			return errorAt(m.name, m.at, "data is nested %d deep: an event may be nested %d deep, "+
				"its own object counted; flatten it or send it as a string", depth, MaxDepth)
		}
		return nil
	}
	p.data = "data_base64"
	if m.value[0] != '"' {
		return errorAt(m.name, m.at, "not a string: send the data in base64, in double quotes")
	}
	text, err := unquote(m.value)
	if err != nil {
		return errorInJSON(err)
	}
	if reason := checkBase64(text); reason != "" {
		return errorAt(m.name, m.at, "%s", reason)
	}
	p.append(m, m.value)
	return nil
}

// append appends a member to p.out.
func (p *parser) append(m member, value []byte) {
	if len(p.out) > 1 {
		p.out = append(p.out, ',')
	}
	p.out = append(p.out, m.rawName...)
	p.out = append(p.out, ':')
	p.out = append(p.out, value...)
}

// appendCompact appends a valid JSON value without white space, and returns how
// deep it is nested: 1 for an object of scalars.
func appendCompact(dst, value []byte) (compact []byte, depth int) {
	open, start := 0, 0
	for i := 0; i < len(value); i++ {
		switch value[i] {
		case '"':
			i = endOfString(value, i) - 1
		case '{', '[':
			open++
			depth = max(depth, open)
		case '}', ']':
			open--
		case ' ', '\t', '\n', '\r':
			dst = append(dst, value[start:i]...)
			start = i + 1
		}
	}
	return append(dst, value[start:]...), depth
}

// endOfString returns where the string that begins at b[i] ends, or len(b).
func endOfString(b []byte, i int) int {
	for i++; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(b)
}

// event makes the Event from what was read: it appends the attributes that the
// server sets for this sender, in the order of the format, and checks the size.
func (p *parser) event(from Sender) (Event, *Error) {
	if !p.typ.isSet() {
		return Event{}, errorAt([]byte("type"), -1, "missing: an event needs a type, a string that is not empty")
	}
	if reason := checkSender(from.Name); reason != "" {
		return Event{}, errorAt(nil, -1, "%s", reason)
	}
	e := Event{received: len(p.out), setTime: !p.hasTime, Time: p.time}
	if from.Authenticated {
		e.Sender = from.Name
		p.set("recordedby", from.Name)
	}
	if !p.hasSpec {
		p.set("specversion", "1.0")
	}
	if !p.id.isSet() {
		newID := from.NewID
		if newID == nil {
			newID = NewID
		}
		p.id = p.set("id", newID())
	}
	if !p.source.isSet() {
		p.source = p.set("source", sourceOf(from.Name))
	}
	e.text = string(p.out)
	e.ID, e.Source, e.Type, e.Subject = p.id.in(e.text), p.source.in(e.text), p.typ.in(e.text), p.subject.in(e.text)
	if n := e.EntrySize(); n > MaxEntry {
		err := errorAt(nil, -1, "too large: the entry would have %d bytes and may have %d; "+
			"keep large data elsewhere and log its hash", n, MaxEntry)
		err.TooLarge = true
		return Event{}, err
	}
	return e, nil
}

// set appends an attribute that the server sets.
func (p *parser) set(name, value string) field {
	p.out = append(p.out, `,"`...)
	p.out = append(p.out, name...)
	p.out = append(p.out, `":`...)
	// A Sender's name was checked: the only error there is, UTF-8, cannot be.
	p.out, _ = jsontext.AppendQuote(p.out, value)
	return field{text: value}
}
