package query

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Bind returns the query with values in the place of claims. The error names a claim that
// has no value: what it would match cannot be decided.
func (q Query) Bind(claims map[string]string) (Query, error) {
	var missing string
	var bind func(node) node
	bind = func(n node) node {
		switch n := n.(type) {
		case and:
			return each[and](n, bind)
		case or:
			return each[or](n, bind)
		case not:
			return not{bind(n.node)}
		case term:
			if n.is != claim && n.is != claimStart {
				return n
			}
			value := claims[n.text]
			if value == "" {
				missing = n.text
			}
			return term{n.field, map[comparison]comparison{claim: equal, claimStart: prefix}[n.is], value}
		}
		return n
	}
	bound := Query{bind(q.root)}
	if missing != "" {
		return Query{}, fmt.Errorf("the claim %s has no value", missing)
	}
	return bound, nil
}

func each[T ~[]node](parts T, f func(node) node) T {
	result := make(T, len(parts))
	for i, n := range parts {
		result[i] = f(n)
	}
	return result
}

// Matches reports whether an entry satisfies the query. A term is true if any value of
// its member is as it says: members of objects are found by their path, elements of
// arrays by that of the array, and two members with one path both count. A string counts
// as its characters, a number and a boolean as they are written; null counts as missing,
// and objects and arrays have no value of their own.
//
// The error says why it cannot be decided: the entry is no JSON object, or the query has
// claims that are not bound.
func (q Query) Matches(entry []byte) (bool, error) {
	if names := q.Claims(); len(names) > 0 {
		return false, fmt.Errorf("the claim %s has no value", names[0])
	}
	if q.root == nil {
		return true, nil
	}
	values, err := valuesOf(entry, q.Fields())
	if err != nil {
		return false, err
	}
	return holds(q.root, values), nil
}

func holds(n node, values map[string][]string) bool {
	switch n := n.(type) {
	case and:
		for _, part := range n {
			if !holds(part, values) {
				return false
			}
		}
		return true
	case or:
		for _, part := range n {
			if holds(part, values) {
				return true
			}
		}
		return false
	case not:
		return !holds(n.node, values)
	}
	t := n.(term)
	for _, v := range values[t.field] {
		if t.is == present || t.is == equal && v == t.text || t.is == prefix && strings.HasPrefix(v, t.text) {
			return true
		}
	}
	return false
}

// valuesOf returns the values of some members of an entry, by their paths.
func valuesOf(entry []byte, fields []string) (map[string][]string, error) {
	values := make(map[string][]string, len(fields))
	for _, f := range fields {
		values[f] = nil
	}
	d := jsontext.NewDecoder(bytes.NewReader(entry))
	if d.PeekKind() != '{' {
		return nil, fmt.Errorf("the entry is not a JSON object")
	}
	if err := collect(d, "", values); err != nil {
		return nil, fmt.Errorf("read the entry: %w", err)
	}
	return values, nil
}

// collect reads one value, and adds what it and its parts are to the values that are
// looked for.
func collect(d *jsontext.Decoder, path string, values map[string][]string) error {
	t, err := d.ReadToken()
	if err != nil {
		return err
	}
	switch t.Kind() {
	case '{':
		for d.PeekKind() != '}' {
			name, err := d.ReadToken()
			if err != nil {
				return err
			}
			inner := name.String()
			if path != "" {
				inner = path + "." + inner
			}
			if err := collect(d, inner, values); err != nil {
				return err
			}
		}
		_, err = d.ReadToken()
		return err
	case '[':
		for d.PeekKind() != ']' {
			if err := collect(d, path, values); err != nil {
				return err
			}
		}
		_, err = d.ReadToken()
		return err
	case 'n':
		return nil
	}
	if known, ok := values[path]; ok {
		values[path] = append(known, t.String())
	}
	return nil
}
