package event_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/stele-log/stele/pkg/event"
)

// TestPlainEventsAreScanned holds that what is usual takes the fast way; that
// both ways agree is for FuzzScannerAgreesWithDecoder.
func TestPlainEventsAreScanned(t *testing.T) {
	t.Parallel()
	for _, json := range []string{
		small,
		`{"type":"t"}`,
		" {\"type\" : \"t\" ,\r\n\t\"data\" : [ 1 , { \"a b\" : null } , [ ] , { } ] } \n",
		`{"type":"t","n":-2147483648,"ok":true,"data":{"a":-0.10e+7,"b":[true,false,null,"",0]}}`,
		`{"type":"t","data":"\"\\\/\b\f\n\r\t\u00e9 é 😀` + "\x7f" + `"}`,
		`{"type":"t ~","data":"` + strings.Repeat("printable ASCII ~!#[]^ ", 3) + `"}`,
		`{"type":"t","data":[0,1234567890,-9.05e-10,1E+9]}`,
		`{"type":"t","data":` + strings.Repeat(`{"a":`, event.MaxDepth-1) + "1" + strings.Repeat("}", event.MaxDepth-1) + `}`,
		`{"type":"t","data":` + strings.Repeat("[", event.MaxDepth-1) + strings.Repeat("]", event.MaxDepth-1) + `}`,
		`{"type":"t","data":{` + members(64) + `}}`,
	} {
		if !event.Scans([]byte(json)) {
			t.Errorf("left to the decoder: %s", json)
		}
		e, err := event.Parse([]byte(json), known)
		if err != nil {
			t.Errorf("%s: %v", json, err)
		} else if entry := e.AppendEntry(nil, recorded); !event.ScansEntry(entry) {
			t.Errorf("left to the decoder: %s", entry)
		}
	}
}

// members returns n members of an object.
func members(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"name%d":%d`, i, i)
	}
	return b.String()[1:]
}

// unsure is what the scanner must leave to the decoder: it is not an event, or
// takes more than one pass to tell.
var unsure = []string{
	``, `{`, `{}`, `{"type":"t"`, `{"type":"t"]`, `{"type":"t"x`, `{"type":"t",}`, `{"type":"t"}x`, `{"type":"t"}{}`, `{"type" "t"}`, `{"type":"t" "a":1}`,
	`{"type":"t","type":"t"}`, `{"type":"t","data":1,"data":2}`, `{"type":"t","data":{"a":1,"a":2}}`,
	`{"type":"t","data":{"a":[{"b":1,"b":2}]}}`, `{"type":"t","data":{"a":1,"\u0061":2}}`,
	`{"type":"t","data":{"a":{"b":1},"a":2}}`, `{"type":"t","data":[{"a":1},{"a":1}],"data":1}`,
	`{"type":"\u0074"}`, `{"type":"é"}`, "{\"type\":\"\x7f\"}", "{\"type\":\"a\nb\"}", `{"type":""}`, `{"type":null}`, `{"type":1}`,
	"{\"type\":\"a\x7f and so on\"}", `{"type":"t","a":`,
	`{"type":"t","A":1}`, `{"type":"t","":1}`, `{"type":"t","recordedby":"x"}`, `{"type":"t","a":1.5}`, `{"type":"t","a":{}}`,
	`{"type":"t","a":2147483648}`, `{"type":"t","a":01}`, `{"type":"t","a":-}`, `{"type":"t","a":tru}`, `{"type":"t","a":truely}`,
	`{"type":"t","data":01}`, `{"type":"t","data":1.}`, `{"type":"t","data":.5}`, `{"type":"t","data":1e}`, `{"type":"t","data":+1}`,
	`{"type":"t","data":-}`, `{"type":"t","data":nul}`, `{"type":"t","data":}`, `{"type":"t","data":[}`, `{"type":"t","data":[1,]}`,
	`{"type":"t","data":[1 2]}`, `{"type":"t","data":{"a":1,}}`, `{"type":"t","data":{"a"}}`, `{"type":"t","data":{"a":1]}`,
	`{"type":"t","data":"`, `{"type":"t","data":"\`, `{"type":"t","data":"\x"}`, `{"type":"t","data":"\u12g4"}`, `{"type":"t","data":"\u12`,
	"{\"type\":\"t\",\"data\":\"\x1f\"}", "{\"type\":\"t\",\"data\":\"\x80\"}", "{\"type\":\"t\",\"data\":\"\xff\"}", "{\"type\":\"t\",\"data\":\"\xed\xa0\x80\"}",
	`{"type":"t","data":"\ud83d\ude00"}`, `{"type":"t","data":"\uD800"}`, `{"type":"t","data_base64":"AA=="}`, "{\"type\":\"t\"\v}", "\ufeff{\"type\":\"t\"}",
	`{"type":"t","data":` + strings.Repeat("[", event.MaxDepth) + strings.Repeat("]", event.MaxDepth) + `}`,
	`{"type":"t","data":` + strings.Repeat(`{"a":`, event.MaxDepth) + "1" + strings.Repeat("}", event.MaxDepth) + `}`,
	`{"type":"t","time":"2026-02-30T00:00:00Z"}`, `{"type":"t","source":"a b"}`, `{"type":"t","specversion":"0.3"}`,
	`[{"type":"t"}]`, `"type"`, `{"type":"t","data":{` + members(65) + `}}`,
}

func TestScannerLeavesToTheDecoderWhatItIsNotSureOf(t *testing.T) {
	t.Parallel()
	for _, json := range unsure {
		// Without a type the scanner may read on: that is found out later.
		if event.Scans([]byte(json)) && strings.Contains(json, "type") {
			t.Errorf("scanned: %s", json)
		}
		checkAgree(t, []byte(json))
	}
}

func FuzzScannerAgreesWithDecoder(f *testing.F) {
	seeds(f)
	for _, json := range unsure {
		f.Add([]byte(json))
	}
	f.Fuzz(checkAgree)
}

// checkAgree checks that an event is the same, or refused alike, with the
// scanner and without.
func checkAgree(t *testing.T, json []byte) {
	got, err := event.Parse(json, known)
	want, refused := event.ParseByDecoder(json, known)
	if fmt.Sprint(err) != fmt.Sprint(refused) {
		t.Fatalf("%q: error %v, without the scanner %v", json, err, refused)
	}
	if err != nil {
		return
	}
	entry, same := got.AppendEntry(nil, recorded), want.AppendEntry(nil, recorded)
	if !bytes.Equal(entry, same) || fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		t.Fatalf("%q: %+v, without the scanner %+v", json, got, want)
	}
	decoded, err := event.Decode(entry)
	if err != nil || decoded.ID != got.ID || decoded.Source != got.Source || decoded.Type != got.Type ||
		decoded.Subject != got.Subject || !bytes.Equal(decoded.Received(), got.Received()) {
		t.Fatalf("%q: decoded as %+v, %v", json, decoded, err)
	}
}
