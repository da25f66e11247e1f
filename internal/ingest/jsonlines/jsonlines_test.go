package jsonlines_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stele-log/stele/internal/ingest"
	"github.com/stele-log/stele/internal/ingest/jsonlines"
	"github.com/stele-log/stele/internal/test/ingesttest"
	"github.com/stele-log/stele/pkg/event"
)

func ndjson(t testing.TB, o jsonlines.Options) *jsonlines.Reader {
	t.Helper()
	n, err := jsonlines.NewReader(o)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// attribute returns one attribute of an event as text.
func attribute(t testing.TB, e, name string) string {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(e), &m); err != nil {
		t.Fatal(err)
	}
	if m[name] == nil {
		return ""
	}
	return fmt.Sprint(m[name])
}

func TestLineBecomesAnEvent(t *testing.T) {
	t.Parallel()
	n := ndjson(t, jsonlines.Options{
		Source: "//hosts.example.org", IDField: "uid", TypeField: "/event/0/kind~1a", TimeField: "@timestamp", SubjectField: "user.name",
		TimeZone: time.UTC,
	})
	line := ` {"uid":17, "user.name":"al\u00e9x","user":{"name":"no"},"event":[{"kind/a":"login"}],"@timestamp":"2020-09-04 03:06:11.25","n":1.0} `
	good, bad := ingesttest.Collect(n.Events("f", strings.NewReader("\ufeff"+line+"\r\n\n")))
	want := `{"specversion":"1.0","id":"17","source":"//hosts.example.org","type":"login","subject":"aléx",` +
		`"time":"2020-09-04T03:06:11.25Z","datacontenttype":"application/json","data":` + strings.TrimSpace(line) + `}`
	if len(good) != 1 || good[0] != want || bad != nil {
		t.Fatalf("got %s %v\nwant %s", good, bad, want)
	}
	if _, err := event.Parse([]byte(good[0]), event.Sender{Name: "w"}); err != nil {
		t.Error(err)
	}
}

func TestRecordWithoutFieldsHasDefaults(t *testing.T) {
	t.Parallel()
	n := ndjson(t, jsonlines.Options{IDField: "id", TypeField: "type", TimeField: "time", SubjectField: "/a/b"})
	for _, line := range []string{`{}`, `{"id":null,"type":null,"time":null,"a":null}`, `{"id":"","type":"","a":{"b":""}}`, `[]`, `"id"`, `5`} {
		good, bad := ingesttest.Collect(n.Events("f", strings.NewReader(line)))
		if len(good) != 1 || bad != nil {
			t.Fatalf("%s: %v", line, bad)
		}
		if typ := attribute(t, good[0], "type"); typ != jsonlines.DefaultType {
			t.Errorf("%s: type %s", line, typ)
		}
		if id := attribute(t, good[0], "id"); !strings.HasPrefix(id, "sha256:") || len(id) != 71 {
			t.Errorf("%s: id %s", line, id)
		}
		for _, name := range []string{"source", "time", "subject"} {
			if v := attribute(t, good[0], name); v != "" {
				t.Errorf("%s: %s %s", line, name, v)
			}
		}
	}
}

func TestSameLinesAreKeptAndSecondImportIsTheSame(t *testing.T) {
	t.Parallel()
	a, b := "{\"x\":1}\n{\"x\":2}\n{\"x\":1}\n", "{\"x\":1}\n  {\"x\":1}"
	run := func() []string {
		n := ndjson(t, jsonlines.Options{})
		first, _ := ingesttest.Collect(n.Events("a", strings.NewReader(a)))
		second, bad := ingesttest.Collect(n.Events("b", ingesttest.Gzip(t, b)))
		if bad != nil {
			t.Fatal(bad)
		}
		return append(first, second...)
	}
	events := run()
	var ids []string
	for _, e := range events {
		ids = append(ids, attribute(t, e, "id"))
	}
	const one = "sha256:5041bf1f713df204784353e82f6a4a535931cb64f1f4b4a5aeaffcb720918b22"
	const two = "sha256:5e2b030a4a0f1582d78c0fd9924511cd6b1f2df9879e574f5ea1406c94052418"
	want := []string{one, two, one + ":2", one + ":3", one + ":4"}
	if fmt.Sprint(ids) != fmt.Sprint(want) {
		t.Errorf("ids %v, want %v", ids, want)
	}
	if again := run(); fmt.Sprint(again) != fmt.Sprint(events) {
		t.Errorf("a second import has other events: %v", again)
	}
}

func TestBadLineIsNamedAndDoesNotStopTheImport(t *testing.T) {
	t.Parallel()
	lines := []string{
		`{"ok":1}`, `{`, `{} {}`, `1,"ext":"x"`, `{"a":1,"a":2}`, "{\"a\":\"\xff\"}", `{"time":"yesterday"}`, `{"time":[]}`,
		`{"id":{}}`, `{"type":"a\u0001b"}`, `{"x":"` + strings.Repeat("x", 66000) + `"}`,
		`{"x":"` + strings.Repeat("x", ingest.MaxRecord) + `"}`, `{"ok":2}`,
	}
	want := []string{
		"2: not JSON", "3: not JSON: more than one value, from byte 2 on", "4: not JSON", "5: /a (byte 7): duplicate", "6: /a (byte 6): not UTF-8",
		`7: field time: time "yesterday" is in no format`, "8: field time: time [] is neither", "9: field id is an object",
		"10: /type: control character U+0001", "11: too large: the entry would have 66", "12: 16777225 bytes in one line",
	}
	n := ndjson(t, jsonlines.Options{IDField: "id", TypeField: "type", TimeField: "time"})
	good, bad := ingesttest.Collect(n.Events("f.json", strings.NewReader(strings.Join(lines, "\n"))))
	if len(good) != 2 {
		t.Errorf("%d good lines", len(good))
	}
	if len(bad) != len(want) {
		t.Fatalf("errors %v", bad)
	}
	for i, w := range want {
		if !strings.HasPrefix(bad[i], "f.json: line "+w) {
			t.Errorf("error %.200s, want line %s", bad[i], w)
		}
	}
}

func TestFailedReadEndsTheFile(t *testing.T) {
	t.Parallel()
	z := ingesttest.Gzip(t, strings.Repeat("{\"ok\":1}\n", 1000)).Bytes()
	for name, r := range map[string]io.Reader{
		"broken gzip":    bytes.NewReader(append([]byte{0x1f, 0x8b}, "not gzip at all"...)),
		"cut gzip":       bytes.NewReader(z[:len(z)-4]),
		"failing reader": io.MultiReader(strings.NewReader("{}\n{"), iotest.ErrReader(io.ErrClosedPipe)),
	} {
		_, bad := ingesttest.Collect(ndjson(t, jsonlines.Options{}).Events("f", r))
		if len(bad) != 1 || !strings.HasPrefix(bad[0], "f: ") {
			t.Errorf("%s: errors %v", name, bad)
		}
	}
}

func TestBadFieldIsRefused(t *testing.T) {
	t.Parallel()
	if _, err := jsonlines.NewReader(jsonlines.Options{IDField: "/a~2"}); err == nil {
		t.Error("no error")
	}
}

func TestReadingCanStopEarly(t *testing.T) {
	t.Parallel()
	for range ndjson(t, jsonlines.Options{}).Events("f", strings.NewReader("{}\n{}\nx\n")) {
		break
	}
}

func TestTimesAreUnderstood(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{ // JSON to RFC 3339, or "" if refused
		`"2020-09-04T03:06:11Z"`:            "2020-09-04T03:06:11Z",
		`"2020-09-04T05:06:11.5+02:00"`:     "2020-09-04T03:06:11.5Z",
		`" 2020-09-04 03:06:11 "`:           "2020-09-04T03:06:11Z",
		`"2020-09-04 03:06:11,273"`:         "2020-09-04T03:06:11.273Z",
		`"2020-09-04T03:06:11"`:             "2020-09-04T03:06:11Z",
		`"2020-09-04 05:06:11+02:00"`:       "2020-09-04T03:06:11Z",
		`"2020-09-04 05:06:11 +0200"`:       "2020-09-04T03:06:11Z",
		`"2020-09-04T05:06:11.1+0200"`:      "2020-09-04T03:06:11.1Z",
		`"2020-09-04 03:06:11 UTC"`:         "2020-09-04T03:06:11Z",
		`"2020-09-04 03:06:11 CEST"`:        "",
		`"2020/09/04 03:06:11"`:             "2020-09-04T03:06:11Z",
		`"04/Sep/2020:05:06:11 +0200"`:      "2020-09-04T03:06:11Z",
		`"Fri Sep  4 03:06:11.123456 2020"`: "2020-09-04T03:06:11.123456Z",
		`"Fri, 04 Sep 2020 03:06:11 GMT"`:   "2020-09-04T03:06:11Z",
		`"Fri, 04 Sep 2020 05:06:11 +0200"`: "2020-09-04T03:06:11Z",
		`"Sep  4 2020 03:06:11"`:            "2020-09-04T03:06:11Z",
		`"Sep  4 03:06:11"`:                 "",
		`1599188771`:                        "2020-09-04T03:06:11Z",
		`"1599188771"`:                      "2020-09-04T03:06:11Z",
		`1599188771.273`:                    "2020-09-04T03:06:11.273Z",
		`1599188771.1234567891`:             "2020-09-04T03:06:11.123456789Z",
		`1599188771273`:                     "2020-09-04T03:06:11.273Z",
		`1599188771273.5`:                   "2020-09-04T03:06:11.2735Z",
		`1599188771273456`:                  "2020-09-04T03:06:11.273456Z",
		`1599188771273456789`:               "2020-09-04T03:06:11.273456789Z",
		`1599188771273456789.9`:             "2020-09-04T03:06:11.273456789Z",
		`"2016-12-31T23:59:60Z"`:            "2016-12-31T23:59:60Z",
		`"2016-12-31T15:59:60-08:00"`:       "2016-12-31T15:59:60-08:00",
		`"2016-12-31T22:59:60Z"`:            "",
		`"2026-01-01t00:00:00z"`:            "2026-01-01t00:00:00z",
		`"\/Date(1772352000123)\/"`:         "2026-03-01T08:00:00.123Z",
		`"/Date(1772352000123+0100)/"`:      "2026-03-01T08:00:00.123Z",
		`"/Date(-1000)/"`:                   "1969-12-31T23:59:59Z",
		`"/Date(1772352000123"`:             "",
		`"/Date()/"`:                        "",
		`0`:                                 "",
		`-1599188771`:                       "",
		`1.6e9`:                             "",
		`20200904`:                          "",
		`20200904030611`:                    "",
		`99999999999999999999`:              "",
		`"04.09.2020 03:06"`:                "",
		`""`:                                "",
		`true`:                              "",
		`"2020-02-30 00:00:00"`:             "",
	} {
		n := ndjson(t, jsonlines.Options{TimeField: "t", TimeZone: time.UTC})
		good, bad := ingesttest.Collect(n.Events("f", strings.NewReader(`{"t":`+in+`}`)))
		if (len(good) == 1) != (want != "") {
			t.Errorf("time %s: %v %v", in, good, bad)
		} else if want != "" && attribute(t, good[0], "time") != want {
			t.Errorf("time %s is %s, want %s", in, attribute(t, good[0], "time"), want)
		}
	}
}

func TestTimeWithoutAZoneNeedsOne(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ zone, in, want string }{ // want: RFC 3339, or how the error goes on
		{"", "2020-09-04 03:06:08", "it has no zone; --time-zone"},
		{"", "Sep  4 2020 03:06:11", "it has no zone; --time-zone"},
		{"", "2020-09-04 03:06:08Z", "2020-09-04T03:06:08Z"},
		{"America/New_York", "2020-09-04 03:06:08", "2020-09-04T07:06:08Z"},
		{"America/New_York", "2020-09-04 03:06:08Z", "2020-09-04T03:06:08Z"},
		{"-04:00", "2020/09/04 03:06:08.5", "2020-09-04T07:06:08.5Z"},
		{"Europe/Paris", "2026-03-29 01:59:59", "2026-03-29T00:59:59Z"},
		{"Europe/Paris", "2026-03-29 02:30:00", "clocks in Europe/Paris have never shown it"},
		{"Europe/Paris", "2026-03-29 03:00:00", "2026-03-29T01:00:00Z"},
		{"Europe/Paris", "2026-10-25 02:30:00", "2026-10-25T00:30:00Z"}, // and an hour later again
		{"Europe/Paris", "2026-10-25 03:00:00", "2026-10-25T02:00:00Z"},
	} {
		o := jsonlines.Options{TimeField: "t"}
		if test.zone != "" {
			zone, err := ingest.ParseZone(test.zone)
			if err != nil {
				t.Fatal(err)
			}
			o.TimeZone = zone
		}
		good, bad := ingesttest.Collect(ndjson(t, o).Events("f", strings.NewReader(`{"t":"`+test.in+`"}`)))
		switch {
		case len(good) == 1 && attribute(t, good[0], "time") == test.want:
		case len(bad) == 1 && strings.HasPrefix(bad[0], fmt.Sprintf("f: line 1: field t: time %q: %s", test.in, test.want)):
		default:
			t.Errorf("%s in zone %q: %s %v, want %s", test.in, test.zone, good, bad, test.want)
		}
	}
	for _, zone := range []string{"", "Local", "Paris", "CEST+1", "+2"} {
		if _, err := ingest.ParseZone(zone); err == nil {
			t.Errorf("zone %q is accepted", zone)
		}
	}
}

func TestFieldThatNoRecordHasIsNoticed(t *testing.T) {
	t.Parallel()
	one, two := filepath.Join(t.TempDir(), "one"), filepath.Join(t.TempDir(), "two")
	writeFile(t, one, "{\"a\":1,\"t\":\"2020-09-04 03:06:08\"}\nnot JSON\n{\"a\":null}\n")
	writeFile(t, two, "{\"b\":{\"c\":\"x\"}}\n")
	both := []string{one, two}
	for name, test := range map[string]struct {
		names []string
		o     jsonlines.Options
		want  string // error
	}{
		"none is named":        {both, jsonlines.Options{}, ""},
		"found at once":        {both, jsonlines.Options{IDField: "a"}, ""},
		"found in a late file": {both, jsonlines.Options{IDField: "a", SubjectField: "/b/c"}, ""},
		"in no record":         {both, jsonlines.Options{IDField: "a", TypeField: "nope"}, "0 of 3 records have nope (with --allow-missing"},
		"two in no record":     {both, jsonlines.Options{IDField: "/x", TypeField: "nope"}, "0 of 3 records have /x, and 0 have nope (with"},
		"time without a zone":  {both, jsonlines.Options{TimeField: "t"}, one + `: line 1: field t: time "2020-09-04 03:06:08": it has no zone`},
		"a zone for it":        {both, jsonlines.Options{TimeField: "t", TimeZone: time.UTC}, ""},
		"no records at all":    {[]string{os.DevNull}, jsonlines.Options{TypeField: "nope"}, ""},
	} {
		err := jsonlines.CheckFields(test.names, test.o)
		if (err == nil) != (test.want == "") || err != nil && !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%s: error %v, want %q", name, err, test.want)
		}
	}
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func FuzzJSONLines(f *testing.F) {
	f.Add([]byte("{\"t\":1599188771,\"id\":\"a\"}\n[1,{\"x\":null}]\n\n\"t\""), "t")
	f.Add([]byte("{\"a\":{\"b\":\"2020-09-04 03:06:11\"}}\r\n{"), "/a/b")
	f.Add([]byte("\x1f\x8b\x08"), "/0")
	f.Fuzz(func(t *testing.T, file []byte, field string) {
		n, err := jsonlines.NewReader(jsonlines.Options{IDField: field, TypeField: field, TimeField: field, SubjectField: field})
		if err != nil {
			return
		}
		for e, err := range n.Events("f", bytes.NewReader(file)) {
			if (e == nil) != (err != nil) {
				t.Fatalf("event %s, error %v", e, err)
			}
			if err == nil {
				if _, err := event.Parse(e, event.Sender{Name: "w"}); err != nil {
					t.Fatalf("event %s: %v", e, err)
				}
			}
		}
	})
}
