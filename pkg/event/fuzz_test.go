package event_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stele-log/stele/pkg/event"
)

// seeds adds the files of testdata/good and some that are bad or cut.
func seeds(f *testing.F) {
	good := files(f, "testdata/good")
	for _, name := range slices.Sorted(maps.Keys(good)) {
		f.Add(good[name])
		f.Add(good[name][:len(good[name])/2])
	}
	for _, s := range []string{
		small, ``, `{}`, `[]`, `null`, `{"type":"t"}`, `{"type":"t","type":"t"}`, `{"type":"t","x":null,"data":null}`,
		`[{"type":"a"},{"type":"b","data":[1,{"x":"]"}]},{"A":1}]`, `{"ty\u0070e":"\ud83d\ude00","data":1e400}`,
		"{\"type\":\"a\"}\n\n{\"type\":\"b\"}", `{"type":"t","time":"2016-12-31T23:59:60Z","source":"//h:1/[","n":-1}`,
		`{"type":"t","data_base64":"AAE=","dataschema":"urn:x","datacontenttype":"a/b"}`,
	} {
		f.Add([]byte(s))
	}
}

func FuzzParse(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		e, err := event.Parse(body, known)
		checkParsed(t, body, e, err)
	})
}

// checkParsed checks what must hold for whatever was parsed.
func checkParsed(t *testing.T, body []byte, e event.Event, err error) {
	t.Helper()
	if err != nil {
		if bad, ok := errors.AsType[*event.Error](err); !ok || bad.Reason == "" || bad.Offset > int64(len(body)) {
			t.Fatalf("error %#v", err)
		}
		return
	}
	entry := e.AppendEntry(nil, recorded)
	if len(entry) != e.EntrySize() || len(entry) > event.MaxEntry {
		t.Fatalf("entry of %d bytes, EntrySize %d", len(entry), e.EntrySize())
	}
	received, err := event.Received(entry)
	if err != nil || !bytes.Equal(received, e.Received()) {
		t.Fatalf("Received(%s) = %s, %v", entry, received, err)
	}
	if !bytes.HasPrefix(entry, received[:len(received)-1]) {
		t.Fatalf("entry %s does not begin with %s", entry, received)
	}
	checkMeaning(t, body, received)
	again, err := event.Parse(received, known)
	if err != nil || !bytes.Equal(again.AppendEntry(nil, recorded), entry) {
		t.Fatalf("what was received, parsed again: %v", err)
	}
}

// checkMeaning checks that two events say the same to encoding/json.
func checkMeaning(t *testing.T, body, received []byte) {
	t.Helper()
	decode := func(b []byte) (m map[string]any) {
		d := json.NewDecoder(bytes.NewReader(b))
		d.UseNumber()
		if err := d.Decode(&m); err != nil {
			t.Fatalf("encoding/json: %s: %v", b, err)
		}
		maps.DeleteFunc(m, func(name string, v any) bool { return v == nil && name != "data" })
		return m
	}
	if want, got := decode(body), decode(received); !reflect.DeepEqual(want, got) {
		t.Fatalf("received %s, sent %s", received, body)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, received); err != nil || !bytes.Equal(compact.Bytes(), received) {
		t.Fatalf("not compact: %s", received)
	}
}

func FuzzParseBatch(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		items, err := event.ParseBatch(body, known)
		if err != nil {
			if items != nil {
				t.Fatal("items beside an error")
			}
			// JSON without duplicates and in UTF-8 is an array to others just
			// as little.
			var array []json.RawMessage
			if json.Unmarshal(body, &array) == nil && array != nil && !strings.Contains(err.Error(), "too deep") {
				t.Fatalf("encoding/json takes it: %v", err)
			}
			return
		}
		var array []json.RawMessage
		if err := json.Unmarshal(body, &array); err != nil || len(array) != len(items) {
			t.Fatalf("%d items, encoding/json has %d: %v", len(items), len(array), err)
		}
		for i, item := range items {
			e, err := event.Parse(array[i], known)
			if (err == nil) != (item.Err == nil) || !bytes.Equal(e.Received(), item.Event.Received()) {
				t.Fatalf("item %d: %v, alone: %v", i, item.Err, err)
			}
		}
	})
}

func FuzzParseLines(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		n := 0
		for line := range bytes.Lines(body) {
			if len(bytes.Trim(line, " \t\r\n")) > 0 {
				n++
			}
		}
		if items := event.ParseLines(body, known); len(items) != n {
			t.Fatalf("%d items of %d lines", len(items), n)
		}
	})
}

func FuzzReceived(f *testing.F) {
	for _, json := range files(f, "testdata/good") {
		for _, w := range []event.Sender{known, unknown} {
			if e, err := event.Parse(json, w); err == nil {
				f.Add(e.AppendEntry(nil, recorded))
			}
		}
	}
	f.Fuzz(func(t *testing.T, entry []byte) {
		d, err := event.Decode(entry)
		if err != nil {
			return
		}
		if again := d.AppendEntry(nil, d.Recorded); !bytes.Equal(again, entry) {
			t.Fatalf("entry %s prints as %s", entry, again)
		}
		w := event.Sender{Name: d.Sender, Authenticated: true, NewID: func() string { return d.ID }}
		if d.Sender == "" {
			w.Name, w.Authenticated = d.Source, false
		}
		e, err := event.Parse(d.Received(), w)
		if err != nil || !bytes.Equal(e.AppendEntry(nil, d.Recorded), entry) {
			t.Fatalf("entry %s, made again: %v", entry, err)
		}
	})
}

func FuzzParseBinary(f *testing.F) {
	f.Add("t", "a%20b", "application/json", []byte(`{"a":1}`))
	f.Add("Euro%20%E2%82%AC", `"q\"uoted"`, "text/plain; charset=utf-8", []byte("a\x00é"))
	f.Add("t", "%C0%A0", "image/png", []byte("\x89PNG"))
	f.Add("t", "\x7f", "", []byte(nil))
	f.Add("t", "x", "a/x+json", []byte(`1,"id":"2"`))
	f.Fuzz(func(t *testing.T, typ, ext, contentType string, body []byte) {
		h := http.Header{"Ce-Type": {typ}, "Ce-X": {ext}}
		if contentType != "" {
			h.Set("Content-Type", contentType)
		}
		e, err := event.ParseBinary(h, body, known)
		if err == nil {
			checkParsed(t, e.Received(), e, nil)
		} else if _, ok := errors.AsType[*event.Error](err); !ok {
			t.Fatalf("error %#v", err)
		}
	})
}
