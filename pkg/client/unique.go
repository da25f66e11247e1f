package client

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// withUniqueNames returns a JSON value in which members that have the name of
// one before them, in the same object, are called name_2, name_3 and so on: an
// event has no duplicate names.
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

// nextIsName reports whether, within an object, a name comes next.
func nextIsName(dec *jsontext.Decoder) bool {
	_, members := dec.StackIndex(dec.StackDepth())
	return members%2 == 0 && dec.PeekKind() == jsontext.KindString
}

// uniqueName returns the name, or name_2 and so on if it is taken, and takes it.
func uniqueName(taken map[string]bool, name string) string {
	unique := name
	for n := 2; taken[unique]; n++ {
		unique = fmt.Sprintf("%s_%d", name, n)
	}
	taken[unique] = true
	return unique
}
