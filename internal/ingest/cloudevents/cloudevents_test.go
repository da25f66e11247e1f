package cloudevents_test

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/stele-log/stele/internal/ingest"
	"github.com/stele-log/stele/internal/ingest/cloudevents"
)

func TestEventsAreReadHoweverTheyAreWritten(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, text string
		want       []string // place and event, or how the error begins
	}{
		{"nothing", "", nil},
		{"blank lines", "\n \r\n\t\n", nil},
		{"lines", "{\"a\":1}\n\n {\"b\":2} \r\n{\"c\":3}", []string{"f: line 1 {\"a\":1}", "f: line 3 {\"b\":2}", "f: line 4 {\"c\":3}"}},
		{"after a byte order mark and blank lines", "\ufeff\n\n{\"a\":1}\n", []string{"f: line 3 {\"a\":1}"}},
		{"a line that is wrong", "{\"a\":1}\n{\"b\":\n{\"c\":3}\n", []string{"f: line 1 {\"a\":1}", "f: line 2 {\"b\":", "f: line 3 {\"c\":3}"}},
		{"a first line that is wrong", "{\"a\":\n{\"b\":2}\n", []string{"f: line 1 {\"a\":", "f: line 2 {\"b\":2}"}},
		{"duplicate names", "{\"a\":1,\"a\":2}\n{\"b\":2}\n", []string{"f: line 1 {\"a\":1,\"a\":2}", "f: line 2 {\"b\":2}"}},
		{"an object over several lines", "{\n\"a\":1\n}\n", []string{"f: event 1 {\n\"a\":1\n}"}},
		{"several of them", "{\n\"a\":1}{\"b\":\n2}", []string{"f: event 1 {\n\"a\":1}", "f: event 2 {\"b\":\n2}"}},
		{"an array", "[{\"a\":1},\n{\"b\":2}]\n", []string{"f: event 1 {\"a\":1}", "f: event 2 {\"b\":2}"}},
		{"an empty array", "[]", nil},
		{"an array that breaks off", "[{\"a\":1},{\"b\"", []string{"f: event 1 {\"a\":1}", "f: event 2: jsontext: unexpected EOF"}},
		{"an array and more", "[{\"a\":1}] {\"b\":2}", []string{"f: event 1 {\"a\":1}", "f: something follows the array; it was not read"}},
		{"a line that is too long", "{\"a\":1}\n\"" + strings.Repeat("x", ingest.MaxRecord) + "\"\n{\"c\":3}\n",
			[]string{"f: line 1 {\"a\":1}", "f: line 2: it has more than 16777216 bytes; nothing from here on was read"}},
	} {
		var got []string
		for in := range cloudevents.Read("f", strings.NewReader(test.text)) {
			if in.Err != nil {
				got = append(got, in.Err.Error())
			} else {
				got = append(got, in.Place+" "+string(in.Event))
			}
		}
		if !slices.EqualFunc(got, test.want, strings.HasPrefix) {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

// TestLiveOutputIsReadAsItComes gets each line before the next is written.
func TestLiveOutputIsReadAsItComes(t *testing.T) {
	t.Parallel()
	r, w := io.Pipe()
	read := make(chan ingest.Input)
	go func() {
		defer close(read)
		for in := range cloudevents.Read("a pipe", r) {
			read <- in
		}
	}()
	for n := range 3 {
		line := fmt.Sprintf(`{"n":%d}`, n)
		if _, err := io.WriteString(w, line+"\n"); err != nil {
			t.Fatal(err)
		}
		if in := <-read; string(in.Event) != line || in.Err != nil {
			t.Fatalf("read %q, %v; want %q", in.Event, in.Err, line)
		}
	}
	_ = w.Close()
	if in, ok := <-read; ok {
		t.Errorf("at the end: %+v", in)
	}
}
