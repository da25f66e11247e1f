package event_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stele-log/stele/pkg/event"
)

func TestDecodeRefusesWhatAppendEntryCannotMake(t *testing.T) {
	t.Parallel()
	good := `{"type":"t","data":{"a":1}` + stamp + by + spec + id + source + setTime + `}`
	if _, err := event.Decode([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string]struct{ old, new string }{
		"not JSON":                   {`}`, ``},
		"white space":                {`,"data"`, `, "data"`},
		"white space in data":        {`"a":1`, `"a": 1`},
		"white space after":          {setTime + `}`, setTime + `} `},
		"null attribute":             {`{"type"`, `{"x":null,"type"`},
		"bad event":                  {`"type":"t"`, `"type":""`},
		"no recordedtime":            {stamp, ``},
		"nothing of the server's":    {stamp + by + spec + id + source + setTime, ``},
		"recordedtime twice":         {stamp, stamp + stamp},
		"recordedtime is a number":   {`"2026-11-21T09:42:00.123456Z","recordedby"`, `1,"recordedby"`},
		"recordedtime empty":         {stamp, `,"recordedtime":""`},
		"recordedtime too short":     {stamp, `,"recordedtime":"2026-11-21T09:42:00.12345Z"`},
		"recordedtime with offset":   {stamp, `,"recordedtime":"2026-11-21T09:42:00.12+00:00"`},
		"recordedtime of no day":     {stamp, `,"recordedtime":"2026-11-31T09:42:00.123456Z"`},
		"recordedby first":           {stamp + by, by + stamp},
		"recordedby empty":           {by, `,"recordedby":""`},
		"recordedby escaped":         {`"building-7","spec`, `"building\u002d7","spec`},
		"source is not the writer":   {source, `,"source":"other"`},
		"source missing":             {source, ``},
		"id missing":                 {id, ``},
		"id is no UUID":              {fixedID, "1"},
		"id in upper case":           {fixedID, strings.ToUpper(fixedID)},
		"id of version 4":            {fixedID, strings.Replace(fixedID, "-7d", "-4d", 1)},
		"id of another variant":      {fixedID, strings.Replace(fixedID, "-8b", "-cb", 1)},
		"specversion missing":        {spec, ``},
		"specversion after id":       {spec + id, id + spec},
		"time missing":               {setTime, ``},
		"time is not recordedtime":   {setTime, strings.Replace(setTime, "00.1", "00.2", 1)},
		"type after recordedtime":    {`"type":"t",`, ``},
		"unknown after recordedtime": {setTime, setTime + `,"x":"y"`},
		"data after recordedtime":    {setTime, setTime + `,"data_base64":""`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bad := strings.Replace(good, edit.old, edit.new, 1)
			if bad == good {
				t.Fatal("nothing was edited")
			}
			e, err := event.Decode([]byte(bad))
			if err == nil {
				t.Fatalf("Decode(%s) = %+v", bad, e)
			}
			if _, err := event.Received([]byte(bad)); err == nil {
				t.Error("Received accepts it")
			}
			t.Log(err)
		})
	}
}

// Of its id only the hexadecimal digits are the server's to choose, and of
// those not the version and not all of the variant.
func TestIDsThatTheServerSetsAreUUIDs(t *testing.T) {
	t.Parallel()
	before, after := `{"type":"t"`+stamp+by+spec+`,"id":"`, `"`+source+setTime+`}`
	for at, allowed := range map[int]string{
		0: "0123456789abcdef", 8: "-", 14: "7", 19: "89ab", 35: "0123456789abcdef",
	} {
		for c := range 256 {
			id := []byte(fixedID)
			id[at] = byte(c)
			_, err := event.Decode([]byte(before + string(id) + after))
			if good := strings.IndexByte(allowed, byte(c)) >= 0; good != (err == nil) {
				t.Errorf("id %q: error %v", id, err)
			}
		}
	}
}

func TestDecodeSaysWhereAnEntryIsNotAsTheFormatSays(t *testing.T) {
	t.Parallel()
	good := `{"type":"t"` + stamp + by + spec + id + source + setTime + `}`
	for bad, at := range map[string]int{
		`{ ` + good[1:]: 1,
		strings.Replace(good, spec+id, id+spec, 1): len(`{"type":"t"` + stamp + by + `,"`),
		good + " ": len(good),
	} {
		_, err := event.Decode([]byte(bad))
		if want := fmt.Sprintf("from byte %d on", at); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", bad, err, want)
		}
	}
}

func TestReceivedIgnoresNamesInData(t *testing.T) {
	t.Parallel()
	// The text before the real recordedtime looks like one.
	received := `{"type":"t","data":{"a":1,"recordedtime":"2026-11-21T09:42:00.123456Z"}}`
	e, err := event.Parse([]byte(received), known)
	if err != nil {
		t.Fatal(err)
	}
	got, err := event.Received(e.AppendEntry(nil, recorded))
	if err != nil || string(got) != received {
		t.Errorf("Received = %s, %v", got, err)
	}
}
