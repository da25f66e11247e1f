package event_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stele-log/stele/pkg/event"
)

// results writes each item as its type or, if it is bad, as its error's place.
func results(items []event.Item) string {
	var s []string
	for _, item := range items {
		if err, ok := errors.AsType[*event.Error](item.Err); ok {
			s = append(s, fmt.Sprintf("%d:%d:%s:%d", err.Item, err.Line, err.Pointer, err.Offset))
		} else {
			s = append(s, item.Event.Type)
		}
	}
	return strings.Join(s, " ")
}

func TestBadEventDoesNotSpoilItsNeighbours(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ body, want string }{
		"empty":            {` [ ] `, ""},
		"one":              {`[{"type":"a"}]`, "a"},
		"good":             {"\n[ {\"type\":\"a\"} ,\t{\"type\":\"b\",\"data\":\"],[\\\"\"}\r\n, {\"type\":\"c\",\"data\":[[],{}]} ]\n", "a b c"},
		"duplicate member": {`[{"type":"a"},{"type":"b","type":"b"},{"type":"c"}]`, "a 1:0:/1/type:26 c"},
		"duplicate deep":   {`[{"type":"a"},{"type":"b","data":{"x":1,"x":2}}]`, "a 1:0:/1/data/x:40"},
		"wrong UTF-8":      {"[{\"type\":\"\xff\"},{\"type\":\"c\"}]", "0:0:/0/type:10 c"},
		"half a surrogate": {`[{"type":"\ud800"},{"type":"c"}]`, "0:0:/0/type:10 c"},
		"no objects":       {`[1,"a",null,[],true,{"type":"c"},-1.5e3]`, "0:0:/0:1 1:0:/1:3 2:0:/2:7 3:0:/3:12 4:0:/4:15 c 6:0:/6:33"},
		"no type":          {`[{},{"type":"c"}]`, "0:0:/0/type:-1 c"},
		"bad time":         {`[{"type":"a","time":"now"},{"type":"c"}]`, "0:0:/0/time:20 c"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			items, err := event.ParseBatch([]byte(c.body), known)
			if err != nil {
				t.Fatal(err)
			}
			if got := results(items); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestBrokenArrayIsRefusedAsAWhole(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		body   string
		offset int64
	}{
		"nothing":                 {``, 0},
		"not an array":            {` {"type":"a"}`, 1},
		"not closed":              {`[{"type":"a"}`, 13},
		"only open":               {`[`, 1},
		"not closed after comma":  {`[{"type":"a"},`, 14},
		"comma at the end":        {`[{"type":"a"},]`, 14},
		"two commas":              {`[{"type":"a"},,{"type":"b"}]`, 14},
		"no comma after a number": {`[1{},{"type":"b"}]`, 3},
		"no comma":                {`[{"type":"a"}{"type":"b"}]`, 13},
		"cut in an event":         {`[{"type":"a"},{"type":"b"`, 25},
		"cut in a string":         {`[{"type":"a"},{"type":"b`, 24},
		"something after":         {`[{"type":"a"}] x`, 15},
		"two arrays":              {`[{"type":"a"}][]`, 14},
		"wrong bracket":           {`[{"type":"a"},{"data":[1},{"type":"b"}]`, 24},
		"bare word":               {`[{"type":"a"},{"data":yes},{"type":"b"}]`, 22},
		"bad attribute, then bare word": {
			`[{"A":1,"data":yes},{"type":"b"}]`, 15},
		"raw control character": {"[{\"type\":\"a\nb\"},{\"type\":\"b\"}]", 11},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			items, err := event.ParseBatch([]byte(c.body), known)
			bad, ok := errors.AsType[*event.Error](err)
			if !ok || items != nil {
				t.Fatalf("items %s, error %v", results(items), err)
			}
			if bad.Offset != c.offset {
				t.Errorf("offset %d, want %d: %v", bad.Offset, c.offset, err)
			}
			t.Log(err)
		})
	}
}

func TestLinesStandAlone(t *testing.T) {
	t.Parallel()
	body := "{\"type\":\"a\"}\r\n\n  \t\n{\"type\":\"b\"\n{\"type\":\"c\"}\n[]\n{\"type\":\"\"}\n{\"type\":\"d\"}"
	want := "a 1:4::11 c 3:6::0 4:7:/type:8 d"
	if got := results(event.ParseLines([]byte(body), known)); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if items := event.ParseLines(nil, known); len(items) != 0 {
		t.Errorf("nothing has items %v", items)
	}
}

func TestErrorSaysTheLine(t *testing.T) {
	t.Parallel()
	items := event.ParseLines([]byte("\n{\"type\":\"t\",\"x\":[]}"), known)
	if got := items[0].Err.Error(); !strings.HasPrefix(got, "line 2: /x (byte 16): an object or array") {
		t.Errorf("got %q", got)
	}
	items, _ = event.ParseBatch([]byte(`[{"type":"t"},{"type":"t","x":[]}]`), known)
	if got := items[1].Err.Error(); !strings.HasPrefix(got, "item 1: /1/x (byte 30): an object or array") {
		t.Errorf("got %q", got)
	}
}
