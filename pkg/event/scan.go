package event

import "github.com/stele-log/stele/pkg/event/internal/scan"

// There are two ways to read an event: the scanner, which is fast and gives up on
// anything unusual, and [parser.read], which is strict JSON and decides. The
// scanner never accepts an event that read refuses, and both give the same Event;
// a fuzz test compares them.

// scan reads p.in, an event, with the scanner and reports whether that worked. If
// it did not, the caller must call p.reset and then p.read.
func (p *parser) scan() (ok bool) {
	p.out, ok = p.scanner.Object(p.in, p.out, MaxDepth, p.take)
	return ok
}

// scanEntry reads p.in, an entry, with the scanner and reports whether that
// worked, as scan does for an event.
func (p *parser) scanEntry() (ok bool) {
	p.received = -1
	p.out, ok = p.scanner.Object(p.in, p.out, MaxDepth, p.takeOfEntry)
	if !ok || p.received == -1 || len(p.out) != len(p.in)-1 {
		return false // an entry has no white space
	}
	p.out = p.out[:p.received]
	return true
}

// scanned takes a member of an event from the scanner and reports whether it is
// certainly valid. It never reports an error itself: read has the better message.
func (p *parser) scanned(m scan.Member) bool {
	standard := isStandard(m.Name)
	switch {
	case standard:
	case string(m.Name) == "data":
		p.data = "data"
		return true
	case string(m.Name) == "data_base64", checkName(m.Name) != "":
		return false
	}
	if m.Text == nil {
		return !standard && isScalar(m.Value[0]) && checkExtension(m.Value) == ""
	}
	return p.attribute(m.Name, m.Text, field{start: m.At + 1, end: m.At + 1 + len(m.Text)}) == ""
}

// isScalar reports whether a value that begins with c is a number or a boolean.
// null is not among them: it unsets an attribute, and is left to read.
func isScalar(c byte) bool { return c != '"' && c != '{' && c != '[' && c != 'n' }

// scannedOfEntry takes a member of an entry from the scanner, as addEntry takes
// one from read.
func (p *parser) scannedOfEntry(m scan.Member) bool {
	if p.received == -1 && string(m.Name) != "recordedtime" {
		return p.scanned(m)
	}
	if p.received == -1 {
		p.received = m.Start - 1 // the comma
	}
	p.server.set(m.Name, m.Text)
	return m.Text != nil
}
