package event

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// order is the order in which the attributes of a binary mode message go into the
// entry, as headers have none of their own. Extensions come after them, sorted by
// name, and data last.
var order = []string{"specversion", "id", "source", "type", "subject", "time", "dataschema", "datacontenttype"}

// ParseBinary checks one event in binary mode, which has its attributes in
// headers and its data in the body. It writes the same event as one JSON object
// and parses that. The Content-Type decides how the body is written: JSON as
// JSON, text in UTF-8 as a JSON string, anything else as data_base64. The error
// is an [*Error].
//
// SPEC: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md#31-binary-content-mode
func ParseBinary(h http.Header, body []byte, from Sender) (Event, error) {
	attributes, err := headerAttributes(h)
	if err != nil {
		return Event{}, err
	}
	structured := []byte{'{'}
	for _, a := range attributes {
		structured = appendMember(structured, a.name)
		structured, _ = jsontext.AppendQuote(structured, a.value)
	}
	if structured, err = appendBody(structured, h.Get("Content-Type"), body); err != nil {
		return Event{}, err
	}
	structured = append(structured, '}')

	e, failed := Parse(structured, from)
	if err, ok := failed.(*Error); ok {
		return Event{}, err.inHeader()
	}
	return e, nil
}

type attribute struct{ name, value string }

// headerAttributes returns the attributes in the headers, in the order in which
// they go into the entry. It checks names and characters; Parse checks the values.
func headerAttributes(h http.Header) ([]attribute, *Error) {
	var attributes []attribute
	for header, values := range h {
		name, ok := strings.CutPrefix(strings.ToLower(header), "ce-")
		if header == "Content-Type" {
			name, ok = "datacontenttype", true
		}
		if !ok {
			continue
		}
		a := attribute{name: name}
		reason := checkName([]byte(name))
		switch {
		case len(values) != 1:
			reason = "sent more than once: send it once"
		case name == "data":
			reason = "data is not an attribute: send it as the body"
		case name == "datacontenttype" && header != "Content-Type":
			reason = "send it as Content-Type"
		case name == "datacontenttype":
			a.value = values[0]
		case reason == "":
			a.value, reason = headerValue(values[0])
		}
		if reason == "" {
			reason = checkString([]byte(a.value))
		}
		if reason != "" {
			err := errorAt(nil, -1, "%s", reason)
			err.Header = strings.ToLower(header)
			return nil, err
		}
		attributes = append(attributes, a)
	}
	slices.SortFunc(attributes, func(a, b attribute) int {
		return cmp.Or(cmp.Compare(rank(a.name), rank(b.name)), strings.Compare(a.name, b.name))
	})
	return attributes, nil
}

// rank returns the place of an attribute in order; extensions share the last.
func rank(name string) int {
	if i := slices.Index(order, name); i >= 0 {
		return i
	}
	return len(order)
}

// headerValue decodes the value of a ce- header. If it cannot, reason is why.
//
// SPEC: HTTP binding section 3.1.3.2: a header value MUST first be unescaped
// with respect to double-quoted strings, then a single round of percent-decoding
// MUST be performed; byte sequences that are invalid in UTF-8 MUST be rejected.
func headerValue(s string) (value, reason string) {
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		var b strings.Builder
		for i := 1; i < len(s)-1; i++ {
			if s[i] == '\\' && i+1 < len(s)-1 {
				i++
			}
			b.WriteByte(s[i])
		}
		s = b.String()
	}
	value, err := url.PathUnescape(s)
	if err != nil {
		return "", `"%" without two hexadecimal digits after it: write %25 for "%"`
	}
	if !utf8.ValidString(value) {
		return "", "not UTF-8: percent-encode the bytes of UTF-8"
	}
	return value, ""
}

// appendBody appends the member for the data to dst, an event without its closing
// brace. An event with an empty body has no data.
func appendBody(dst []byte, contentType string, body []byte) ([]byte, *Error) {
	if len(body) == 0 {
		return dst, nil
	}
	mediaType, params, _ := mime.ParseMediaType(contentType)
	switch {
	case strings.HasSuffix(mediaType, "/json") || strings.HasSuffix(mediaType, "+json"):
		dec := jsontext.NewDecoder(bytes.NewBuffer(body))
		value, err := dec.ReadValue()
		if err != nil {
			return nil, errorInJSON(err)
		}
		dst = append(appendMember(dst, "data"), value...)
		if _, err := dec.ReadToken(); err == nil || len(bytes.TrimSpace(dec.UnreadBuffer())) > 0 {
			return nil, errorAt(nil, int(dec.InputOffset()), "not JSON: more than one value in the body; send one")
		}
		return dst, nil
	case strings.HasPrefix(mediaType, "text/") && isUTF8(params["charset"]) && utf8.Valid(body):
		dst, _ = jsontext.AppendQuote(appendMember(dst, "data"), body)
		return dst, nil
	default:
		dst = append(appendMember(dst, "data_base64"), '"')
		return append(base64.StdEncoding.AppendEncode(dst, body), '"'), nil
	}
}

func isUTF8(charset string) bool {
	switch strings.ToLower(charset) {
	case "", "utf-8", "us-ascii":
		return true
	}
	return false
}

func appendMember(dst []byte, name string) []byte {
	if len(dst) > 1 {
		dst = append(dst, ',')
	}
	dst, _ = jsontext.AppendQuote(dst, name)
	return append(dst, ':')
}

// inHeader turns an Error about an attribute into one about the header that it
// came in: the sender has never seen the JSON that it points into.
func (e *Error) inHeader() *Error {
	switch name := strings.TrimPrefix(e.Pointer, "/"); name {
	case "", "data", "data_base64":
	case "datacontenttype":
		e.Header = "content-type"
	default:
		e.Header = "ce-" + name
	}
	e.Pointer, e.Offset = "", -1
	return e
}
