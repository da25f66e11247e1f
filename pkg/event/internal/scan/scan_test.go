package scan_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/stele-log/stele/pkg/event/internal/scan"
)

// depth is how deep values may be nested here: less than that.
const depth = 8

// nested returns an object whose value is nested n deep, each time between the
// two texts.
func nested(n int, before, after string) string {
	return `{"a":` + strings.Repeat(before, n) + "1" + strings.Repeat(after, n) + `}`
}

// object returns an object of n members.
func object(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"name%d":%d`, i, i)
	}
	return "{" + b.String()[1:] + "}"
}

var plain = []string{
	`{"a":1}`,
	`{"":""}`,
	"\n\t\r {\"a\" :\t[ 1 , { \"b c\" : null } , [ ] , { } ] ,\r\n\"d\" : \"e f\" } \n\t\r ",
	`{"printable ASCII !#[]^_z{|}~ of many words":"and printable ASCII !#[]^_z{|}~","~ ":" ~"}`,
	`{"a":"\"\\\/\b\f\n\r\t\u00e9\uFfFf\u09aF","b":"é 😀` + "\x7f\u0080" + `","c":"` + "\x7f" + ` and so on and on"}`,
	`{"a":[0,-0,-1,1234567890,-9.05e-10,1E+9,0.5e7,10.25E0],"b":[true,false,null,"",{}],"c":0,"d":true}`,
	`{"a":{"a":1,"b":{"a":2}},"b":[{"a":1},{"a":2}]}`,
	`{"a":[],"b":[[],[[]],{}],"c":{"d":{},"e":[]}}`,
	object(64),
	`{"a":` + object(64) + `,"b":` + object(64) + `}`,
	nested(depth-1, "[", "]"),
	nested(depth-1, `{"a":`, "}"),
}

// notPlain is what the scanner must say nothing about.
var notPlain = []string{
	``, ` `, `{`, `{}`, `[]`, `1`, `"a"`, `"a":1}`, "\ufeff{\"a\":1}",
	`{"a`, `{"a"`, `{"a":`, `{"a":1`, `{"a":"`, `{"a":"b`, `{"a":"b"`, `{"a":1,`, `{"a":1,"b":{"c":1}`, `{"a":"bcdefghi`,
	`{"a":1]`, `{"a":1x`, `{"a":1,}`, `{,"a":1}`, `{"a" 1}`, `{"a":1 "b":2}`, `{"a":1;"b":2}`, `{a:1}`, `{1:1}`, `{"a":}`, `{"a"::1}`, "{\"a\":1\v}",
	`{"a":1}x`, `{"a":1}{"a":1}`, `{"a":1} }`,
	`{"a":1,"a":2}`, `{"a":{"b":1,"b":2}}`, `{"a":{"b":1,"c":{"b":1},"b":2}}`, `{"a":[{"b":1,"b":2}]}`, `{"a":{"b":1},"a":2}`, `{"a":{"b":[{}]},"a":2}`,
	`{"\u0061":1}`, `{"é":1}`, "{\"a\x7f\":1}", "{\"a\x7f and so on and on\":1}", "{\"a\nb\":1}", "{\"\x00\":1}",
	`{"a":[1 2]}`, `{"a":[1,]}`, `{"a":[,1]}`, `{"a":[1}`, `{"a":[}`, `{"a":[`, `{"a":[1`, `{"a":[1,`,
	`{"a":{"b":1,}}`, `{"a":{"b"}}`, `{"a":{"b":}}`, `{"a":{"b":1]}`, `{"a":{b:1}}`, `{"a":{"\u0062":1}}`, `{"a":{]}`, `{"a":{`, `{"a":{"b":1`,
	`{"a":01}`, `{"a":-01}`, `{"a":1.}`, `{"a":.5}`, `{"a":1e}`, `{"a":1e+}`, `{"a":+1}`, `{"a":-}`, `{"a":--1}`, `{"a":1.e5}`, `{"a":1e5.5}`, `{"a":0x1}`, `{"a":1/}`, `{"a":1:}`,
	`{"a":tru}`, `{"a":truely}`, `{"a":fals}`, `{"a":nul}`, `{"a":nulll}`, `{"a":True}`, `{"a":t`, `{"a":true`,
	`{"a":"\`, `{"a":"\"`, `{"a":"\x"}`, `{"a":"\u"}`, `{"a":"\u12`, `{"a":"\u1234`, `{"a":"\u123"}`, `{"a":"\u12g4"}`, `{"a":"\u/234"}`, `{"a":"\u:234"}`, "{\"a\":\"\\u`234\"}", `{"a":"\u@234"}`, `{"a":"\uG234"}`,
	`{"a":"\ud83d\ude00"}`, `{"a":"\uD800"}`, "{\"a\":\"\\u123\x11\"}", "{\"a\":\"\\u123\x19\"}",
	"{\"a\":\"\x1f\"}", "{\"a\":\"b\x1f and so on and on\"}", "{\"a\":\"\x80\"}", "{\"a\":\"\xff\"}", "{\"a\":\"\xed\xa0\x80\"}", "{\"a\":[\"\xc3\"]}",
	object(65), `{"a":` + object(65) + `}`,
	nested(depth, "[", "]"), nested(depth, `{"a":`, "}"),
}

// A reading is an object as the scanner reads it.
type reading struct {
	members []scan.Member
	out     []byte // with the closing brace
}

func read(s *scan.Scanner, json string) (r reading, ok bool) {
	// Without room behind it, in which a byte too far would go unnoticed.
	in := slices.Clip([]byte(json))
	r.out, ok = s.Object(in, nil, depth, func(m scan.Member) bool {
		r.members = append(r.members, m)
		return true
	})
	r.out = append(r.out, '}')
	return r, ok
}

// check compares what was read with what a strict decoder reads.
func check(t *testing.T, json string, got reading) {
	t.Helper()
	compact := jsontext.Value(json)
	if err := compact.Compact(); err != nil || !bytes.Equal(compact, got.out) {
		t.Fatalf("%q is read as %q, and is %q (%v)", json, got.out, compact, err)
	}
	dec := jsontext.NewDecoder(strings.NewReader(json))
	if _, err := dec.ReadToken(); err != nil {
		t.Fatal(err)
	}
	for _, m := range got.members {
		name, err := dec.ReadToken()
		if err != nil || name.String() != string(m.Name) {
			t.Fatalf("%q: name %q, want %v (%v)", json, m.Name, name, err)
		}
		value, err := dec.ReadValue()
		if err != nil || string(value) != string(m.Value) {
			t.Fatalf("%q: value %q, want %q (%v)", json, m.Value, value, err)
		}
		inner := strings.Trim(string(value), `"`)
		isPlain := value.Kind() == jsontext.KindString &&
			!strings.ContainsFunc(inner, func(r rune) bool { return r < ' ' || r > '~' || r == '\\' })
		if isPlain != (m.Text != nil) || isPlain && string(m.Text) != inner {
			t.Fatalf("%q: the text of %q is %q", json, m.Value, m.Text)
		}
		if err := value.Compact(); err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(got.out[m.Start:], []byte(`"`+string(m.Name)+`":`)) || !bytes.HasPrefix(got.out[m.At:], value) {
			t.Fatalf("%q: member %q is not at %d and %d of %q", json, m.Name, m.Start, m.At, got.out)
		}
	}
	if kind := dec.PeekKind(); kind != jsontext.KindEndObject {
		t.Fatalf("%q: %v after %d members", json, kind, len(got.members))
	}
}

func TestPlainObjectsAreReadAsTheDecoderReadsThem(t *testing.T) {
	t.Parallel()
	var s scan.Scanner
	for _, json := range plain {
		if got, ok := read(&s, json); ok {
			check(t, json, got)
		} else {
			t.Errorf("%q is not read", json)
		}
	}
}

func TestNothingIsSaidOfOtherObjects(t *testing.T) {
	t.Parallel()
	var s scan.Scanner
	for _, json := range notPlain {
		if got, ok := read(&s, json); ok {
			t.Errorf("%q is read as %q", json, got.out)
		}
		// What was read before is forgotten.
		if got, ok := read(&s, plain[0]); !ok || string(got.out) != plain[0] {
			t.Errorf("after %q, %q is read as %q, %t", json, plain[0], got.out, ok)
		}
	}
}

func TestReadingEndsWithTheMemberThatIsRefused(t *testing.T) {
	t.Parallel()
	var s scan.Scanner
	taken := 0
	_, ok := s.Object([]byte(`{"a":1,"b":2,"c":3}`), nil, depth, func(m scan.Member) bool {
		taken++
		return string(m.Name) != "b"
	})
	if ok || taken != 2 {
		t.Errorf("after %d members it is %t", taken, ok)
	}
}

func TestTheObjectIsAppended(t *testing.T) {
	t.Parallel()
	var s scan.Scanner
	out, ok := s.Object([]byte(`{ "a": 1 }`), []byte("before"), depth, func(m scan.Member) bool {
		return m.Start == len(`before{`) && m.At == len(`before{"a":`)
	})
	if !ok || string(out) != `before{"a":1` {
		t.Errorf("got %q, %t", out, ok)
	}
}

func FuzzScannerAgreesWithTheDecoder(f *testing.F) {
	for _, json := range append(plain, notPlain...) {
		f.Add(json)
	}
	f.Fuzz(func(t *testing.T, json string) {
		var s scan.Scanner
		if got, ok := read(&s, json); ok {
			check(t, json, got)
		}
	})
}
