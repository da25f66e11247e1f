package golden_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stele-log/stele/pkg/event"
)

// An input is one request: a line of testdata/log-300.ndjson.
type input struct {
	Form          string      `json:"form"` // json, batch, lines or binary
	Writer        string      `json:"writer"`
	Authenticated bool        `json:"authenticated"`
	Recorded      time.Time   `json:"recorded"`
	Header        http.Header `json:"header,omitempty"`
	Body          string      `json:"body,omitempty"`
	Bytes         []byte      `json:"bytes,omitempty"` // in place of Body, if that is not UTF-8
}

// entries returns the entries for the events of an input. Ids that are missing
// count from number first on.
func (in input) entries(t testing.TB, first int) [][]byte {
	t.Helper()
	w := event.Sender{Name: in.Writer, Authenticated: in.Authenticated, NewID: func() string {
		first++
		return fmt.Sprintf("019aa5c1-7f9b-7d54-8b71-%012x", first-1)
	}}
	body := in.Bytes
	if body == nil {
		body = []byte(in.Body)
	}
	var items []event.Item
	var err error
	switch in.Form {
	case "json":
		items = make([]event.Item, 1)
		items[0].Event, items[0].Err = event.Parse(body, w)
	case "batch":
		items, err = event.ParseBatch(body, w)
	case "lines":
		items = event.ParseLines(body, w)
	case "binary":
		items = make([]event.Item, 1)
		items[0].Event, items[0].Err = event.ParseBinary(in.Header, body, w)
	default:
		t.Fatalf("unknown form %q", in.Form)
	}
	if err != nil {
		t.Fatal(err)
	}
	var entries [][]byte
	for _, item := range items {
		if item.Err != nil {
			t.Fatal(item.Err)
		}
		entries = append(entries, item.Event.AppendEntry(nil, in.Recorded))
	}
	return entries
}

// special are events that show one thing each.
var special = []string{
	`{"type":"only.a.type"}`,
	`{"specversion":"1.0","id":"A234-1234-1234","source":"https://example.org/mycontext","type":"com.example.complete","subject":"123","time":"2018-04-05T17:31:00Z","datacontenttype":"application/json","dataschema":"https://example.org/schema/1","data":{"a":1}}`,
	`{"type":"numbers","data":[0.10,1e400,-0,-0.0,1E+2,123456789012345678901234567890,3.0,9007199254740993]}`,
	`{"type":"numbers.in.extensions","min":-2147483648,"max":2147483647,"zero":-0,"yes":true,"no":false}`,
	`{"type":"größe.geändert","subject":"名前 😀","data":{"שלום":"e\u0301 é","emoji":"\ud83d\ude00 😀","nul":"\u0000","slash":"\/ /"}}`,
	`{"ty\u0070e":"escaped.\u006e\u0061me","s\u006furce":"\/a","\u0069d":"\"\\"}`,
	"{\r\n\t\"type\" : \"white.space\" ,\n  \"data\" : { \"a b\" : [ 1 , { } , [ ] , \" { \\\" , } \" ] }\n}\n",
	`{"type":"null.attributes","id":null,"subject":null,"source":null,"time":null,"ext":null,"data":{"kept":null}}`,
	`{"type":"null.data","data":null}`,
	`{"type":"base64","datacontenttype":"image/png","data_base64":"iVBORw0KGgo="}`,
	`{"type":"base64.empty","data_base64":""}`,
	`{"data":{"type":1,"recordedtime":"2026-11-21T09:42:00.123456Z","recordedby":"nobody"},"type":"names.in.data"}`,
	`{"type":"xml","datacontenttype":"application/xml","data":"<much wow=\"xml\"/>\n"}`,
	`{"type":"time.zone","time":"2026-11-21T10:42:00.123456789+01:00"}`,
	`{"type":"time.lower","time":"2026-11-21t09:42:00z"}`,
	`{"type":"time.leap","time":"2016-12-31T23:59:60.5Z"}`,
	`{"type":"time.long","time":"0000-01-01T00:00:00.000000000000000001-23:59"}`,
	`{"type":"nested","data":` + strings.Repeat("[", 62) + `{}` + strings.Repeat("]", 62) + `}`,
	`{"type":"text","data":"` + strings.Repeat("Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich. ", 40) + `"}`,
	`{"type":"attribute.of.64","` + strings.Repeat("n", 64) + `":"` + strings.Repeat("v", 300) + `"}`,
	// With what the server sets, exactly 65,535 bytes.
	`{"type":"largest","data":"` + strings.Repeat("x", 65535-222) + `"}`,
}

// inputs returns what the log was made of.
func inputs() []input {
	start := time.Date(2026, 11, 21, 9, 42, 0, 0, time.UTC)
	var all []input
	add := func(in input) {
		in.Recorded = start.Add(time.Duration(len(all)) * 1_234_567 * time.Microsecond)
		if in.Writer == "" {
			in.Writer, in.Authenticated = "building-7", true
		}
		all = append(all, in)
	}
	for _, body := range special {
		add(input{Form: "json", Body: body})
	}
	for _, writer := range []string{"anonymous", "a%20b", "größe \"1\""} {
		add(input{Form: "json", Writer: writer, Body: `{"type":"not.authenticated"}`})
		add(input{Form: "json", Writer: writer, Authenticated: true, Body: `{"type":"authenticated","time":"2026-11-21T09:42:00Z"}`})
	}
	for _, in := range []input{
		{Header: http.Header{"Ce-Type": {"binary.json"}, "Ce-Id": {"1"}, "Ce-Zone": {"z"}, "Ce-Apple": {"1"},
			"Content-Type": {"application/json; charset=utf-8"}}, Body: "{ \"a\" : 0.10 }\n"},
		{Header: http.Header{"Ce-Type": {"binary.text"}, "Ce-Subject": {"Euro%20%E2%82%AC%20%F0%9F%98%80"},
			"Content-Type": {"text/plain"}}, Body: "line 1\nline \"2\"\t\\ größe"},
		{Header: http.Header{"Ce-Type": {"binary.bytes"}, "Ce-Subject": {`"quoted \"text\""`},
			"Content-Type": {"application/octet-stream"}}, Bytes: []byte{0, 1, 0xfe, 0xff}},
		{Header: http.Header{"Ce-Type": {"binary.latin1"}, "Content-Type": {"text/plain; charset=iso-8859-1"}}, Bytes: []byte{0xe9}},
		{Header: http.Header{"Ce-Type": {"binary.empty"}}},
	} {
		in.Form = "binary"
		add(in)
	}
	n := 0
	one := func() string {
		n++
		return fmt.Sprintf(`{"id":"%d","source":"//example.org/doors/%d","type":"door.opened","time":"2026-11-21T09:%02d:%02dZ","data":{"door":%d,"by":"%s"}}`,
			n, n%7, n/60%60, n%60, n%12, strings.Repeat("ab ", n%17))
	}
	for range 20 {
		add(input{Form: "json", Body: one()})
		add(input{Form: "batch", Body: "[ " + one() + ",\n" + one() + `,{"type":"short"}]`})
		add(input{Form: "lines", Body: one() + "\r\n\n" + one() + "\n" + `{"type":"short"}` + "\n" + one() + "\n" + one()})
		add(input{Form: "binary", Header: http.Header{"Ce-Type": {"door.closed"}, "Content-Type": {"application/json"}}, Body: fmt.Sprint(n)})
	}
	// To 300 entries, with the 232 from above.
	for range 300 - (len(special) + 6 + 5 + 20*10) {
		add(input{Form: "json", Body: one()})
	}
	return all
}
