package event

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"mime"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The checks below return the reason why a value is wrong, with what to do about
// it, or "" if it is right. The texts go to the sender as they are. They follow
// the type system of CloudEvents:
// https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md#type-system

// isStandard reports whether CloudEvents itself defines the attribute. All of
// those are strings.
func isStandard(name []byte) bool {
	switch string(name) {
	case "specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema":
		return true
	}
	return false
}

// checkName checks the name of an attribute.
//
// SPEC: CloudEvents attribute names MUST consist of lower-case letters ('a' to
// 'z') or digits ('0' to '9') from the ASCII character set.
func checkName(name []byte) string {
	if len(name) == 0 || len(name) > MaxName {
		return fmt.Sprintf("attribute name of %d bytes: it may have 1 to %d", len(name), MaxName)
	}
	for i, c := range name {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			r, _ := utf8.DecodeRune(name[i:])
			return fmt.Sprintf("attribute name with %q at byte %d: CloudEvents allows a to z and 0 to 9 only; "+
				"rename it, or move the value into data", r, i)
		}
	}
	if bytes.HasPrefix(name, []byte("recorded")) {
		return `attribute names that begin with "recorded" are set by the server: leave it out or rename it`
	}
	return ""
}

// checkString checks the text of any string attribute.
//
// SPEC: CloudEvents strings MUST NOT have control characters (U+0000 to U+001F
// and U+007F to U+009F) nor code points that are not characters.
func checkString(s []byte) string {
	for i := 0; i < len(s); {
		if c := s[i]; c > 0x1f && c < 0x7f {
			i++
			continue
		}
		r, n := utf8.DecodeRune(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			return "not UTF-8"
		case r <= 0x1f || 0x7f <= r && r <= 0x9f:
			return fmt.Sprintf("control character %U: attributes may have none; move the text into data", r)
		case r&0xfffe == 0xfffe || 0xfdd0 <= r && r <= 0xfdef:
			return fmt.Sprintf("%U is not a character: leave it out", r)
		}
		i += n
	}
	return ""
}

// checkExtension checks the value of an extension attribute, given as JSON. The
// text of a string is left to checkString.
func checkExtension(value []byte) string {
	switch value[0] {
	case '"', 't', 'f':
		return ""
	case '{', '[':
		return "an object or array: extension attributes are strings, booleans or integers; move it into data"
	}
	// SPEC: CloudEvents integers are whole numbers from -2147483648 to
	// 2147483647; of a JSON number only the integer component is permitted.
	if _, err := strconv.ParseInt(string(value), 10, 32); err != nil {
		return fmt.Sprintf("number %.40s: extension attributes take whole numbers from -2147483648 to 2147483647; "+
			"send it as a string, or move it into data", value)
	}
	return ""
}

func checkNotEmpty(s []byte) string {
	if len(s) == 0 {
		return "empty: give it a value or leave it out"
	}
	return ""
}

func checkSpecVersion(s []byte) string {
	if string(s) != "1.0" {
		return fmt.Sprintf(`%.20q is not supported: send "1.0" or leave it out`, s)
	}
	return ""
}

// checkSource checks the source of an event.
//
// SPEC: CloudEvents source MUST be a non-empty URI-reference.
func checkSource(s []byte) string {
	if len(s) == 0 {
		return checkNotEmpty(s)
	}
	if reason := checkURIReference(s); reason != "" {
		return "not a URI-reference (RFC 3986): " + reason
	}
	return ""
}

// checkMediaType checks a media type as in RFC 2046.
func checkMediaType(s []byte) string {
	if string(s) == "application/json" {
		return ""
	}
	mediaType, _, err := mime.ParseMediaType(string(s))
	major, minor, ok := strings.Cut(mediaType, "/")
	if err != nil || !ok || major == "" || minor == "" {
		return `not a media type: write it like "application/json" or "text/plain; charset=utf-8"`
	}
	return ""
}

// checkSchema checks an absolute URI.
//
// SPEC: the CloudEvents type URI is an absolute-URI of RFC 3986 section 4.3,
// which has a scheme and no fragment.
func checkSchema(s []byte) string {
	reason := checkURIReference(s)
	switch {
	case reason != "":
	case scheme(s) == 0:
		reason = `it has no scheme; write it like "https://example.org/schema.json"`
	case bytes.ContainsRune(s, '#'):
		reason = "it has a fragment; leave out what follows #"
	}
	if reason != "" {
		return "not an absolute URI (RFC 3986): " + reason
	}
	return ""
}

// checkBase64 checks standard base64 with padding, piece by piece, so that it
// needs no memory for the decoded data.
func checkBase64(s []byte) string {
	const wrong = "not standard base64 with padding (RFC 4648 section 4): encode the data that way"
	// The decoder would skip these.
	if bytes.ContainsAny(s, "\r\n") {
		return wrong + ", without line ends"
	}
	buf := make([]byte, 0, 1023) // whole groups of three
	for enc := base64.StdEncoding.Strict(); len(s) > 0; {
		// Only the last part may end in padding.
		n := min(len(s), enc.EncodedLen(cap(buf)))
		last := n == len(s)
		if decoded, err := enc.AppendDecode(buf, s[:n]); err != nil || !last && len(decoded) != n/4*3 {
			return wrong
		}
		s = s[n:]
	}
	return ""
}

// checkSender checks a sender's name, which may become a string attribute. It is
// the server that knows the name, so an error here is not the event's fault.
func checkSender(name string) string {
	if name == "" {
		return "the sender has no name"
	}
	if reason := checkString([]byte(name)); reason != "" {
		return "the sender's name: " + reason
	}
	return ""
}
