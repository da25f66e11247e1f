package ingest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// A Field names a place in a record: "/a/b" is a JSON Pointer (RFC 6901), and
// anything that does not begin with a slash is the name of a member of the
// record itself, dots and all.
type Field []string

func ParseField(s string) (Field, error) {
	switch {
	case s == "":
		return nil, nil
	case s[0] != '/':
		return Field{s}, nil
	case !jsontext.Pointer(s).IsValid():
		return nil, fmt.Errorf("field %q is not a JSON Pointer: in names, write ~0 for ~ and ~1 for /", s)
	}
	return slices.Collect(jsontext.Pointer(s).Tokens()), nil
}

func (f Field) String() string { return strings.Join(f, "/") }

// Find returns the value at the field, or nil if the record has none or null.
// The record must be valid JSON.
func (f Field) Find(record []byte) jsontext.Value {
	if f == nil {
		return nil
	}
	dec := jsontext.NewDecoder(bytes.NewBuffer(record),
		jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	for _, name := range f {
		if !enter(dec, name) {
			return nil
		}
	}
	v, err := dec.ReadValue()
	if err != nil || v.Kind() == jsontext.KindNull {
		return nil
	}
	return v
}

// enter moves dec before the value of the member or element name of the object
// or array that comes next, and reports whether there is one.
func enter(dec *jsontext.Decoder, name string) bool {
	kind := dec.PeekKind()
	if kind != jsontext.KindBeginObject && kind != jsontext.KindBeginArray {
		return false
	}
	if _, err := dec.ReadToken(); err != nil {
		return false
	}
	for i := 0; ; i++ {
		if next := dec.PeekKind(); next == jsontext.KindEndObject || next == jsontext.KindEndArray {
			return false
		}
		at := fmt.Sprint(i)
		if kind == jsontext.KindBeginObject {
			token, err := dec.ReadToken()
			if err != nil {
				return false
			}
			at = token.String()
		}
		if at == name {
			return true
		}
		if err := dec.SkipValue(); err != nil {
			return false
		}
	}
}

// Text returns the value at the field as text: that of a string, or a number or
// boolean as it is written. It returns "" if there is none.
func (f Field) Text(record []byte) (string, error) {
	v := f.Find(record)
	switch {
	case v == nil:
		return "", nil
	case v.Kind() == jsontext.KindString:
		b, err := jsontext.AppendUnquote(nil, v)
		if err != nil {
			return "", fmt.Errorf("field %s: %w", f, err)
		}
		return string(b), nil
	case v.Kind() == jsontext.KindBeginObject, v.Kind() == jsontext.KindBeginArray:
		return "", fmt.Errorf("field %s is an object or array: name a field with a string or number", f)
	}
	return string(v), nil
}
