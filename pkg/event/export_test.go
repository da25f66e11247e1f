package event

// ParseByDecoder is Parse without the scanner, for tests to compare the two.
func ParseByDecoder(json []byte, from Sender) (Event, error) { return parse(json, from, false) }

// Scans reports whether the scanner reads an event by itself.
func Scans(json []byte) bool {
	p := newParser(json)
	defer p.release()
	return p.scan()
}

// ScansEntry reports whether the scanner reads an entry by itself.
func ScansEntry(entry []byte) bool {
	p := newParser(entry)
	defer p.release()
	return p.scanEntry()
}

// DaysIn is daysIn.
var DaysIn = daysIn
