package event_test

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stele-log/stele/pkg/event"
)

const fixedID = "019aa5c1-7f9b-7d54-8b71-5a0f3cf4a8f6"

var (
	recorded = time.Date(2026, 11, 21, 9, 42, 0, 123456789, time.UTC)
	known    = event.Sender{Name: "building-7", Authenticated: true, NewID: func() string { return fixedID }}
	unknown  = event.Sender{Name: "anonymous", NewID: known.NewID}
)

const (
	stamp   = `,"recordedtime":"2026-11-21T09:42:00.123456Z"`
	by      = `,"recordedby":"building-7"`
	spec    = `,"specversion":"1.0"`
	id      = `,"id":"` + fixedID + `"`
	source  = `,"source":"building-7"`
	setTime = `,"time":"2026-11-21T09:42:00.123456Z"`
)

func TestEntryIsTheEventAndWhatTheServerSets(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		json   string
		sender event.Sender
		want   string
	}{
		"only a type": {`{"type":"t"}`, known, `{"type":"t"` + stamp + by + spec + id + source + setTime + `}`},
		"sender not authenticated": {`{"type":"t"}`, unknown,
			`{"type":"t"` + stamp + spec + id + `,"source":"anonymous"` + setTime + `}`},
		"nothing missing": {
			`{"specversion":"1.0","id":"1","source":"/s","type":"t","time":"2026-11-21T09:41:59Z"}`, known,
			`{"specversion":"1.0","id":"1","source":"/s","type":"t","time":"2026-11-21T09:41:59Z"` + stamp + by + `}`,
		},
		"white space": {
			" \n{ \"type\" :\t\"t t\" , \"data\": [ 1 , { \"a b\" : \" [ \\\" , \" } ,\r\n [ ] ] } \n", known,
			`{"type":"t t","data":[1,{"a b":" [ \" , "},[]]` + stamp + by + spec + id + source + setTime + `}`,
		},
		"numbers and escapes are untouched": {
			`{"type":"\u0074\/","n":-0,"data":{"a":0.10,"b":1e400,"c":1E+2,"d":123456789012345678901234567890,"é\u00e8":"\ud83d\ude00😀\u0000"}}`, known,
			`{"type":"\u0074\/","n":-0,"data":{"a":0.10,"b":1e400,"c":1E+2,"d":123456789012345678901234567890,"é\u00e8":"\ud83d\ude00😀\u0000"}` +
				stamp + by + spec + id + source + setTime + `}`,
		},
		"null attributes are unset": {
			`{"id":null,"subject":null,"type":"t","ext":null,"data":null,"time":null}`, known,
			`{"type":"t","data":null` + stamp + by + spec + id + source + setTime + `}`,
		},
		"sender's name is no URI-reference": {
			`{"type":"t"}`, event.Sender{Name: `a"b\ ü:c/d`, Authenticated: true, NewID: known.NewID},
			`{"type":"t"` + stamp + `,"recordedby":"a\"b\\ ü:c/d"` + spec + id + `,"source":"a%22b%5C%20%C3%BC%3Ac/d"` + setTime + `}`,
		},
		"data before type": {`{"data":{"type":5,"recordedtime":1},"type":"t"}`, known,
			`{"data":{"type":5,"recordedtime":1},"type":"t"` + stamp + by + spec + id + source + setTime + `}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, err := event.Parse([]byte(c.json), c.sender)
			if err != nil {
				t.Fatal(err)
			}
			entry := string(e.AppendEntry([]byte("before"), recorded))
			if want := "before" + c.want; entry != want {
				t.Fatalf("entry\n%s\nwant\n%s", entry, want)
			}
			if n := e.EntrySize(); n != len(c.want) {
				t.Errorf("EntrySize %d, want %d", n, len(c.want))
			}
			checkEntry(t, e, []byte(c.want), c.sender)
			there := recorded.In(time.FixedZone("", 5*3600))
			if entry := string(e.AppendEntry(nil, there)); entry != c.want {
				t.Errorf("recorded in another zone: %s", entry)
			}
		})
	}
}

// checkEntry checks that an entry decodes to the event it was made of.
func checkEntry(t *testing.T, e event.Event, entry []byte, w event.Sender) {
	t.Helper()
	d, err := event.Decode(entry)
	if err != nil {
		t.Fatalf("Decode(%s): %v", entry, err)
	}
	received, _, _ := strings.Cut(string(entry), stamp)
	if received += "}"; string(e.Received()) != received || string(d.Received()) != received {
		t.Errorf("received %s, decoded %s, want %s", e.Received(), d.Received(), received)
	}
	if d.ID != e.ID || d.Source != e.Source || d.Type != e.Type || d.Subject != e.Subject {
		t.Errorf("decoded %+v, want %+v", d.Event, e)
	}
	if !d.Recorded.Equal(recorded.Truncate(time.Microsecond)) {
		t.Errorf("recorded at %v", d.Recorded)
	}
	if want := e.Time; !d.Time.Equal(want) && !(want.IsZero() && d.Time.Equal(d.Recorded)) {
		t.Errorf("time %v, want %v", d.Time, want)
	}
	if w.Authenticated != (d.Sender != "") || w.Authenticated && d.Sender != w.Name {
		t.Errorf("sender %q, want %+v", d.Sender, w)
	}
}

func TestEventSaysWhatItIs(t *testing.T) {
	t.Parallel()
	e, err := event.Parse([]byte(`{"type":"a\u00e9b","id":"i\"d","source":"https:\/\/example.org","subject":"s","time":"2026-11-21T10:42:00.5+01:00"}`), known)
	if err != nil {
		t.Fatal(err)
	}
	if e.Type != "aéb" || e.ID != `i"d` || e.Source != "https://example.org" || e.Subject != "s" ||
		!e.Time.Equal(time.Date(2026, 11, 21, 9, 42, 0, 500_000_000, time.UTC)) {
		t.Errorf("got %+v", e)
	}
}

func TestBadEventIsRefusedWithPlaceAndReason(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat(`[`, 63) + strings.Repeat(`]`, 63)
	if _, err := event.Parse([]byte(`{"type":"t","data":`+deep+`}`), known); err != nil {
		t.Errorf("nested as deep as allowed: %v", err)
	}
	for name, c := range map[string]struct{ json, pointer, reason string }{
		"nothing":                     {``, "", "empty"},
		"white space":                 {" \n", "", "empty"},
		"not JSON":                    {`hello`, "", "not JSON"},
		"not an object":               {`"hello"`, "", "send one JSON object"},
		"array":                       {`[]`, "", "send one JSON object"},
		"cut off":                     {`{"type":"t","data":{"a":`, "", "ends too early"},
		"comma at the end":            {`{"type":"t",}`, "", "not JSON"},
		"two events":                  {`{"type":"t"}{"type":"t"}`, "", "more than one event"},
		"junk after":                  {`{"type":"t"} x`, "", "not JSON"},
		"byte order mark":             {"\ufeff" + `{"type":"t"}`, "", "not JSON"},
		"duplicate member":            {`{"type":"t","type":"t"}`, "/type", "duplicate member"},
		"duplicate by escape":         {`{"type":"t","ty\u0070e":"t"}`, "/type", "duplicate member"},
		"duplicate null":              {`{"type":"t","x":null,"x":null}`, "/x", "duplicate member"},
		"duplicate member deep":       {`{"type":"t","data":[{"a":{"b":1,"b":1}}]}`, "/data/0/a/b", "duplicate member"},
		"wrong UTF-8":                 {"{\"type\":\"t\xff\"}", "/type", "not UTF-8"},
		"wrong UTF-8 deep":            {"{\"type\":\"t\",\"data\":{\"a\":\"\xc0\x80\"}}", "/data/a", "not UTF-8"},
		"half a surrogate":            {`{"type":"t","data":"\ud83d"}`, "/data", "surrogate"},
		"control character in JSON":   {"{\"type\":\"t\",\"data\":\"a\nb\"}", "/data", "not JSON"},
		"no type":                     {`{"data":1}`, "/type", "missing"},
		"null type":                   {`{"type":null}`, "/type", "missing"},
		"empty type":                  {`{"type":""}`, "/type", "empty"},
		"type is a number":            {`{"type":5}`, "/type", "not a string"},
		"specversion 0.3":             {`{"type":"t","specversion":"0.3"}`, "/specversion", `send "1.0"`},
		"specversion 1":               {`{"type":"t","specversion":1.0}`, "/specversion", "not a string"},
		"empty id":                    {`{"type":"t","id":""}`, "/id", "empty"},
		"empty source":                {`{"type":"t","source":""}`, "/source", "empty"},
		"source with a space":         {`{"type":"t","source":"my app"}`, "/source", "%20"},
		"empty subject":               {`{"type":"t","subject":""}`, "/subject", "empty"},
		"time without zone":           {`{"type":"t","time":"2026-11-21T09:42:00"}`, "/time", "RFC 3339"},
		"media type":                  {`{"type":"t","datacontenttype":"json"}`, "/datacontenttype", "media type"},
		"relative dataschema":         {`{"type":"t","dataschema":"schema.json"}`, "/dataschema", "no scheme"},
		"dataschema with fragment":    {`{"type":"t","dataschema":"http://a/b#c"}`, "/dataschema", "fragment"},
		"upper case name":             {`{"type":"t","userId":"1"}`, "/userId", `'I' at byte 4`},
		"name with underscore":        {`{"type":"t","user_id":"1"}`, "/user_id", `'_' at byte 4`},
		"name with umlaut":            {`{"type":"t","größe":"1"}`, "/größe", `'ö' at byte 2`},
		"name with a slash":           {`{"type":"t","a/b~c":"1"}`, "/a~1b~0c", `'/'`},
		"empty name":                  {`{"type":"t","":"1"}`, "/", "0 bytes"},
		"name as long as a pointer":   {`{"type":"t","` + strings.Repeat("n", 255) + `":"1"}`, "/" + strings.Repeat("n", 255), "1 to 64"},
		"very long name":              {`{"type":"t","` + strings.Repeat("n", 1000) + `":"1"}`, "", "1 to 64"},
		"long name":                   {`{"type":"t","` + strings.Repeat("n", 65) + `":"1"}`, "/" + strings.Repeat("n", 65), "1 to 64"},
		"recordedtime":                {`{"type":"t","recordedtime":"2026-11-21T09:42:00Z"}`, "/recordedtime", "set by the server"},
		"recordedby":                  {`{"type":"t","recordedby":null}`, "/recordedby", "set by the server"},
		"recorded by escape":          {`{"type":"t","\u0072ecordedby":"x"}`, "/recordedby", "set by the server"},
		"extension with fraction":     {`{"type":"t","x":1.0}`, "/x", "whole numbers"},
		"extension beyond int32":      {`{"type":"t","x":2147483648}`, "/x", "whole numbers"},
		"extension object":            {`{"type":"t","x":{}}`, "/x", "move it into data"},
		"extension array":             {`{"type":"t","x":[]}`, "/x", "move it into data"},
		"control character":           {`{"type":"t","x":"a\u0001b"}`, "/x", "U+0001"},
		"delete character":            {`{"type":"t` + "\x7f" + `"}`, "/type", "U+007F"},
		"control character above":     {`{"type":"t\u0085"}`, "/type", "U+0085"},
		"unit separator":              {`{"type":"t\u001f"}`, "/type", "U+001F"},
		"last control character":      {`{"type":"t\u009f"}`, "/type", "U+009F"},
		"noncharacter":                {`{"type":"t","subject":"\ufdd0"}`, "/subject", "U+FDD0"},
		"last noncharacter":           {`{"type":"t","subject":"\ufdef"}`, "/subject", "U+FDEF"},
		"noncharacter in plane 1":     {`{"type":"t","subject":"` + "\U0001ffff" + `"}`, "/subject", "U+1FFFF"},
		"both data":                   {`{"type":"t","data":1,"data_base64":"AA=="}`, "/data_base64", "send one of them"},
		"both data, other order":      {`{"type":"t","data_base64":"AA==","data":null}`, "/data", "send one of them"},
		"base64 is no string":         {`{"type":"t","data_base64":null}`, "/data_base64", "not a string"},
		"base64 without padding":      {`{"type":"t","data_base64":"AA"}`, "/data_base64", "base64"},
		"base64 with trailing bits":   {`{"type":"t","data_base64":"AB=="}`, "/data_base64", "base64"},
		"base64 with a line end":      {`{"type":"t","data_base64":"AAAA\nAAAA"}`, "/data_base64", "line ends"},
		"base64 padded in the middle": {`{"type":"t","data_base64":"` + strings.Repeat("A", 1362) + `==AAAA"}`, "/data_base64", "base64"},
		"nested too deep":             {`{"type":"t","data":[` + deep + `]}`, "/data", "64 deep"},
		"nested beyond the decoder":   {`{"type":"t","data":` + strings.Repeat(`[`, 20000), "/data" + strings.Repeat("/0", 125), "64 deep"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, err := event.Parse([]byte(c.json), known)
			bad, ok := errors.AsType[*event.Error](err)
			if !ok {
				t.Fatalf("error %v, event %+v", err, e)
			}
			if !strings.Contains(bad.Reason, c.reason) {
				t.Errorf("reason %q, want one with %q", bad.Reason, c.reason)
			}
			if bad.Pointer != c.pointer && c.pointer != "" {
				t.Errorf("pointer %q, want %q", bad.Pointer, c.pointer)
			}
			if bad.Offset > int64(len(c.json)) {
				t.Errorf("offset %d of %d", bad.Offset, len(c.json))
			}
			if bad.TooLarge || bad.Item != -1 || bad.Line != 0 {
				t.Errorf("got %+v", bad)
			}
			t.Log(err)
		})
	}
}

func TestEventsAtTheLimitsAreTaken(t *testing.T) {
	t.Parallel()
	for name, json := range map[string]string{
		"longest name":                    `{"type":"t","` + strings.Repeat("n", event.MaxName) + `":"1"}`,
		"first and last of letters":       `{"type":"t","a0z9":"1"}`,
		"beside control characters":       `{"type":" ~\u00a0"}`,
		"beside noncharacters":            `{"type":"\ufdcf\ufdf0\ufffd"}`,
		"smallest and largest integers":   `{"type":"t","a":-2147483648,"b":2147483647}`,
		"many values, none deep":          `{"type":"t","data":["\ud83d\ude00"` + strings.Repeat(",[{}]", event.MaxDepth) + `]}`,
		"base64 of more than one part":    `{"type":"t","data_base64":"` + strings.Repeat("AAAA", 1000) + `AA=="}`,
		"base64 of just so many parts":    `{"type":"t","data_base64":"` + strings.Repeat("A", 2*1364) + `"}`,
		"members that are escaped, empty": `{"type":"t","data":{"\u0061":{},"b":[]}}`,
	} {
		if _, err := event.Parse([]byte(json), known); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestErrorAboutTheWholeHasNoOffset(t *testing.T) {
	t.Parallel()
	large := `{"type":"t","data":"` + strings.Repeat("x", event.MaxEntry) + `"}`
	for name, c := range map[string]struct {
		json   string
		sender event.Sender
	}{
		"no type":   {`{"data":1}`, known},
		"no sender": {`{"type":"t"}`, event.Sender{}},
		"too large": {large, known},
	} {
		_, err := event.Parse([]byte(c.json), c.sender)
		if bad, ok := errors.AsType[*event.Error](err); !ok || bad.Offset != -1 {
			t.Errorf("%s: %+v", name, err)
		}
	}
}

func TestErrorNamesThePlace(t *testing.T) {
	t.Parallel()
	for want, e := range map[string]event.Error{
		"reason":                      {Item: -1, Offset: -1},
		"byte 7: reason":              {Item: -1, Offset: 7},
		"/a: reason":                  {Item: -1, Offset: -1, Pointer: "/a"},
		"/a (byte 0): reason":         {Item: -1, Offset: 0, Pointer: "/a"},
		"header ce-a: reason":         {Item: -1, Offset: -1, Header: "ce-a"},
		"item 0: reason":              {Item: 0, Offset: -1},
		"line 1: byte 7: reason":      {Item: 0, Line: 1, Offset: 7},
		"item 2: /2 (byte 7): reason": {Item: 2, Offset: 7, Pointer: "/2"},
	} {
		e.Reason = "reason"
		if got := e.Error(); got != want {
			t.Errorf("%+v is written %q, want %q", e, got, want)
		}
	}
	e := event.Error{Item: -1, Reason: "reason"}
	if got := e.Error(); got != "reason" {
		t.Errorf("at the very start it is written %q", got)
	}
}

func TestGoodEventsOfOthersAreTaken(t *testing.T) {
	t.Parallel()
	for name, json := range files(t, "testdata/good") {
		e, err := event.Parse(json, known)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, err := event.Decode(e.AppendEntry(nil, recorded)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// files returns the contents of a folder's files by name.
func files(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s: no files, %v", dir, err)
	}
	all := map[string][]byte{}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all[filepath.Base(path)] = b
	}
	return all
}

func TestEntryHasALimit(t *testing.T) {
	t.Parallel()
	body := func(n int) []byte {
		return []byte(`{"type":"t","data":"` + strings.Repeat("x", n) + `"}`)
	}
	e, err := event.Parse(body(1000), known)
	if err != nil {
		t.Fatal(err)
	}
	room := event.MaxEntry - e.EntrySize()
	e, err = event.Parse(body(1000+room), known)
	if err != nil || len(e.AppendEntry(nil, recorded)) != event.MaxEntry {
		t.Fatalf("largest entry: %d bytes, %v", e.EntrySize(), err)
	}
	_, err = event.Parse(body(1000+room+1), known)
	bad, ok := errors.AsType[*event.Error](err)
	if !ok || !bad.TooLarge || !strings.Contains(bad.Reason, "65536") || !strings.Contains(bad.Reason, "65535") {
		t.Errorf("one byte more: %v", err)
	}
}

func TestSenderNeedsAName(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "a\nb", "a\xffb"} {
		if _, err := event.Parse([]byte(`{"type":"t"}`), event.Sender{Name: name}); err == nil {
			t.Errorf("sender %q: no error", name)
		}
	}
}

func TestNewIDsAreDistinctAndSorted(t *testing.T) {
	t.Parallel()
	uuid7 := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	seen := map[string]bool{}
	last := ""
	for range 1000 {
		e, err := event.Parse([]byte(`{"type":"t"}`), event.Sender{Name: "w"})
		if err != nil {
			t.Fatal(err)
		}
		// The first 13 characters are the milliseconds.
		if seen[e.ID] || e.ID[:13] < last || !uuid7.MatchString(e.ID) {
			t.Fatalf("id %s after %s", e.ID, last)
		}
		seen[e.ID], last = true, e.ID[:13]
	}
}
