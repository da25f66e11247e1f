package client

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// withUniqueNames returns the JSON value with duplicate names made unique: in each
// object, the second member of a name is called name_2, the third name_3, and so
// on. package slog lets a record have two attributes of one key; an event may not.
func withUniqueNames(value []byte) (jsontext.Value, error) {
	if v := jsontext.Value(bytes.TrimSpace(value)); v.IsValid() {
		return v, nil
	}
	dec := jsontext.NewDecoder(bytes.NewReader(value),
		jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	var out bytes.Buffer
	enc := jsontext.NewEncoder(&out, jsontext.AllowInvalidUTF8(true))
	var open []map[string]bool // names of the objects that are open; nil for arrays
	for {
		isName := len(open) > 0 && open[len(open)-1] != nil && nextIsName(dec)
		token, err := dec.ReadToken()
		if errors.Is(err, io.EOF) {
			return bytes.TrimSpace(out.Bytes()), nil
		}
		if err != nil {
			return nil, err
		}
		switch kind := token.Kind(); {
		case kind == jsontext.KindBeginObject:
			open = append(open, map[string]bool{})
		case kind == jsontext.KindBeginArray:
			open = append(open, nil)
		case kind == jsontext.KindEndObject, kind == jsontext.KindEndArray:
			open = open[:len(open)-1]
		case isName:
			token = jsontext.String(uniqueName(open[len(open)-1], token.String()))
		}
		if err := enc.WriteToken(token); err != nil {
			return nil, err
		}
	}
}

// nextIsName reports whether, within an object, the next token is a name and not a
// value.
func nextIsName(dec *jsontext.Decoder) bool {
	_, members := dec.StackIndex(dec.StackDepth())
	return members%2 == 0 && dec.PeekKind() == jsontext.KindString
}

// uniqueName returns the name, or the first of name_2, name_3 and so on that is
// not taken, and marks it as taken.
func uniqueName(taken map[string]bool, name string) string {
	unique := name
	for n := 2; taken[unique]; n++ {
		unique = fmt.Sprintf("%s_%d", name, n)
	}
	taken[unique] = true
	return unique
}
