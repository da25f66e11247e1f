package query_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/stele-log/stele/pkg/query"
)

// FuzzParse: what is printed is the canonical form of the same query.
func FuzzParse(f *testing.F) {
	for _, text := range []string{`type:user.login and not outcome:success`, `a:(b or "c d"*) or -(e:{claims.f}* g:*)`, `"a b"="\u00e9"`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		q, err := query.Parse(text)
		if err != nil {
			return
		}
		printed := q.String()
		again, err := query.Parse(printed)
		if len(printed) > query.MaxLength {
			return // alternatives were written out
		}
		if err != nil || !reflect.DeepEqual(q, again) || again.String() != printed {
			t.Errorf("%q is printed as %q, which is %q, %v", text, printed, again, err)
		}
	})
}

// A made is a random query with what it means, said in another way.
type made struct {
	text  string
	holds func(values map[string][]string) bool
}

// make returns a random query.
func makeQuery(r *rand.Rand, depth int) made {
	field := []string{"a", "b", "b.c", "d"}[r.IntN(4)]
	value := []string{"x", "xy", "y", "1", "true"}[r.IntN(5)]
	some := func(ok func(string) bool) func(map[string][]string) bool {
		return func(values map[string][]string) bool {
			for _, v := range values[field] {
				if ok(v) {
					return true
				}
			}
			return false
		}
	}
	n := 7
	if depth == 0 {
		n = 3
	}
	switch r.IntN(n) {
	case 0:
		return made{field + ":" + value, some(func(v string) bool { return v == value })}
	case 1:
		return made{fmt.Sprintf("%s=%q*", field, value), some(func(v string) bool { return strings.HasPrefix(v, value) })}
	case 2:
		return made{field + ":*", some(func(string) bool { return true })}
	case 3:
		q := makeQuery(r, depth-1)
		return made{"not (" + q.text + ")", func(v map[string][]string) bool { return !q.holds(v) }}
	case 4:
		p, q := makeQuery(r, depth-1), makeQuery(r, depth-1)
		return made{"(" + p.text + ") or " + "(" + q.text + ")", func(v map[string][]string) bool { return p.holds(v) || q.holds(v) }}
	default:
		p, q := makeQuery(r, depth-1), makeQuery(r, depth-1)
		return made{"(" + p.text + ")" + []string{" ", " and "}[r.IntN(2)] + "(" + q.text + ")",
			func(v map[string][]string) bool { return p.holds(v) && q.holds(v) }}
	}
}

// makeValue returns a random JSON value.
func makeValue(r *rand.Rand, depth int) interface{} {
	n := 7
	if depth == 0 {
		n = 4
	}
	switch r.IntN(n) {
	case 0, 1:
		return []string{"x", "xy", "y", "1"}[r.IntN(4)]
	case 2:
		return []interface{}{1, true, nil}[r.IntN(3)]
	case 3:
		return nil
	case 4:
		return []interface{}{makeValue(r, depth-1), makeValue(r, depth-1)}
	}
	object := map[string]interface{}{}
	for _, name := range []string{"a", "b", "c", "b.c", "d"} {
		if r.IntN(2) == 0 {
			object[name] = makeValue(r, depth-1)
		}
	}
	return object
}

// flatten adds the values in a decoded value to those of their paths.
func flatten(path string, value interface{}, values map[string][]string) {
	switch v := value.(type) {
	case nil:
	case map[string]interface{}:
		for name, inner := range v {
			flatten(strings.TrimPrefix(path+"."+name, "."), inner, values)
		}
	case []interface{}:
		for _, inner := range v {
			flatten(path, inner, values)
		}
	default:
		values[path] = append(values[path], fmt.Sprint(v))
	}
}

func TestMatchesAgreesWithAnotherReading(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	var yes int
	for range 20_000 {
		q := makeQuery(r, 3)
		object := map[string]interface{}{"a": makeValue(r, 2), "b": makeValue(r, 2), "d": makeValue(r, 1)}
		text, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		values := map[string][]string{}
		flatten("", object, values)
		got, err := parse(t, q.text).Matches(text)
		if want := q.holds(values); err != nil || got != want {
			t.Fatalf("%s on %s: %t, %v; want %t", q.text, text, got, err, want)
		}
		if got {
			yes++
		}
	}
	if yes < 2_000 || yes > 18_000 {
		t.Errorf("%d of 20,000 matched, which tests little", yes)
	}
}
