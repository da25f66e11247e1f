package event

import "github.com/stele-log/stele/pkg/event/internal/scan"

// scan reads p.in, an event, and reports whether it could. If not, p.reset is
// due, and [parser.read] decides: a scanner accepts nothing that read refuses,
// and reads what it accepts alike.
func (p *parser) scan() (ok bool) {
	p.out, ok = p.scanner.Object(p.in, p.out, MaxDepth, p.take)
	return ok
}

// scanEntry reads p.in, an entry, as scan reads an event.
func (p *parser) scanEntry() (ok bool) {
	p.received = -1
	p.out, ok = p.scanner.Object(p.in, p.out, MaxDepth, p.takeOfEntry)
	if !ok || p.received < 0 || len(p.out) != len(p.in)-1 {
		return false // an entry has no white space
	}
	p.out = p.out[:p.received]
	return true
}

// scanned takes a member of an event.
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

// isScalar reports whether a value that begins with c is one that an attribute
// may have, but no string: null unsets it.
func isScalar(c byte) bool { return c != '"' && c != '{' && c != '[' && c != 'n' }

// scannedOfEntry takes a member of an entry: up to recordedtime it is one of the
// event as received.
func (p *parser) scannedOfEntry(m scan.Member) bool {
	if p.received < 0 && string(m.Name) != "recordedtime" {
		return p.scanned(m)
	}
	if p.received < 0 {
		p.received = m.Start - 1 // the comma
	}
	p.server.set(m.Name, m.Text)
	return m.Text != nil
}
