package event_test

import (
	"bufio"
	"errors"
	"net/http"
	"net/textproto"
	"strings"
	"testing"

	"github.com/stele-log/stele/pkg/event"
)

// header returns the headers in lines of "name: value".
func header(t testing.TB, lines string) http.Header {
	t.Helper()
	r := textproto.NewReader(bufio.NewReader(strings.NewReader(lines + "\n\n")))
	h, err := r.ReadMIMEHeader()
	if err != nil {
		t.Fatal(err)
	}
	return http.Header(h)
}

func TestBinaryModeIsTheSameEvent(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ header, body, want string }{
		"JSON": {
			"ce-id: 1\nce-zone: z\nce-apple: 5\nCE-Type: t\nce-source: /s\nce-specversion: 1.0\nce-time: 2026-11-21T09:42:00Z\n" +
				"ce-subject: sub\nce-dataschema: https://example.org/s\ncontent-type: application/json; charset=utf-8\nhost: h",
			" {\"a\": 0.10}\n",
			`{"specversion":"1.0","id":"1","source":"/s","type":"t","subject":"sub","time":"2026-11-21T09:42:00Z",` +
				`"dataschema":"https://example.org/s","datacontenttype":"application/json; charset=utf-8",` +
				`"apple":"5","zone":"z","data":{"a":0.10}}`,
		},
		"JSON of another kind": {"ce-type: t\ncontent-type: application/vnd.x+json", `null`,
			`{"type":"t","datacontenttype":"application/vnd.x+json","data":null}`},
		"text": {"ce-type: t\ncontent-type: text/plain", "a \"b\"\n\x00é",
			`{"type":"t","datacontenttype":"text/plain","data":"a \"b\"\n\u0000é"}`},
		"text in Latin-1": {"ce-type: t\ncontent-type: text/plain; charset=iso-8859-1", "\xe9",
			`{"type":"t","datacontenttype":"text/plain; charset=iso-8859-1","data_base64":"6Q=="}`},
		"text that is not UTF-8": {"ce-type: t\ncontent-type: text/plain", "\xe9",
			`{"type":"t","datacontenttype":"text/plain","data_base64":"6Q=="}`},
		"bytes": {"ce-type: t\ncontent-type: application/octet-stream", "\x00\x01",
			`{"type":"t","datacontenttype":"application/octet-stream","data_base64":"AAE="}`},
		"no content type":   {"ce-type: t", "hello", `{"type":"t","data_base64":"aGVsbG8="}`},
		"no body":           {"ce-type: t\ncontent-type: application/json", "", `{"type":"t","datacontenttype":"application/json"}`},
		"percent-encoded":   {"ce-type: Euro%20%E2%82%AC%20%f0%9f%98%80", "", `{"type":"Euro € 😀"}`},
		"needlessly so":     {"ce-type: %74%2B+", "", `{"type":"t++"}`},
		"one round only":    {"ce-type: 100%2525", "", `{"type":"100%25"}`},
		"quoted":            {`ce-type: "a b\"c\\d%20e"`, "", `{"type":"a b\"c\\d e"}`},
		"UTF-8 as it is":    {"ce-type: größe", "", `{"type":"größe"}`},
		"not our headers":   {"ce-type: t\ncex: 1\nx-ce-id: 2", "", `{"type":"t"}`},
		"quote at one side": {`ce-type: "a`, "", `{"type":"\"a"}`},
		"a quote alone":     {`ce-type: "`, "", `{"type":"\""}`},
		"nothing escaped":   {`ce-type: "a\"`, "", `{"type":"a\\"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, err := event.ParseBinary(header(t, c.header), []byte(c.body), known)
			if err != nil {
				t.Fatal(err)
			}
			if got := string(e.Received()); got != c.want {
				t.Errorf("received\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

func TestBadBinaryModeNamesTheHeader(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ header, body, want, reason string }{
		"no type":            {"ce-id: 1", "", "ce-type", "missing"},
		"twice":              {"ce-type: a\nce-type: b", "", "ce-type", "once"},
		"bad percent":        {"ce-type: 100%", "", "ce-type", "%25"},
		"overlong UTF-8":     {"ce-type: %C0%A0", "", "ce-type", "UTF-8"},
		"not UTF-8":          {"ce-type: \xe9", "", "ce-type", "UTF-8"},
		"control character":  {"ce-type: t\nce-x: %0A", "", "ce-x", "U+000A"},
		"empty in quotes":    {`ce-type: ""`, "", "ce-type", "empty"},
		"percent, one digit": {"ce-type: t\nce-source: a%2", "", "ce-source", "%25"},
		"bad time":           {"ce-type: t\nce-time: now", "", "ce-time", "RFC 3339"},
		"bad name":           {"ce-type: t\nce-user-id: 1", "", "ce-user-id", `'-' at byte 4`},
		"recordedtime":       {"ce-type: t\nce-recordedtime: 1", "", "ce-recordedtime", "set by the server"},
		"data":               {"ce-type: t\nce-data: 1", "", "ce-data", "body"},
		"data_base64":        {"ce-type: t\nce-data_base64: 1", "", "ce-data_base64", `'_'`},
		"datacontenttype":    {"ce-type: t\nce-datacontenttype: text/plain", "", "ce-datacontenttype", "Content-Type"},
		"media type":         {"ce-type: t\ncontent-type: json", "", "content-type", "media type"},
		"not JSON":           {"ce-type: t\ncontent-type: application/json", "{", "", "ends too early"},
		"duplicate":          {"ce-type: t\ncontent-type: application/json", `{"a":1,"a":1}`, "", "duplicate"},
		"two values":         {"ce-type: t\ncontent-type: application/json", `{} {}`, "", "more than one"},
		"junk after":         {"ce-type: t\ncontent-type: application/json", `{} x`, "", "more than one"},
		"injected member":    {"ce-type: t\ncontent-type: application/json", `1,"id":"2"`, "", "more than one"},
		"too deep": {"ce-type: t\ncontent-type: application/json",
			strings.Repeat("[", 64) + strings.Repeat("]", 64), "", "64 deep"},
		"too large": {"ce-type: t", strings.Repeat("x", event.MaxEntry), "", "too large"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, err := event.ParseBinary(header(t, c.header), []byte(c.body), known)
			bad, ok := errors.AsType[*event.Error](err)
			if !ok {
				t.Fatalf("error %v, received %s", err, e.Received())
			}
			if bad.Header != c.want || !strings.Contains(bad.Reason, c.reason) {
				t.Errorf("header %q, want %q: %v", bad.Header, c.want, err)
			}
			if bad.Header != "" && bad.Offset != -1 {
				t.Errorf("offset %d in a header", bad.Offset)
			}
			t.Log(err)
		})
	}
}
