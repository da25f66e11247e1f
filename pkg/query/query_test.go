package query_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stele-log/stele/pkg/query"
)

const entry = `{"type":"user.login","source":"/web","subject":"invoice/7","data":{"user":{"name":"Ann Lee","age":41},` +
	`"tags":["red","blue"],"items":[{"sku":"a"},{"sku":"b"}],"none":null,"ok":true,"user.name":"dotted","amount":1000.50},` +
	`"recordedtime":"2026-11-21T09:42:00.123456Z","recordedby":"web-7"}`

func parse(t testing.TB, text string) query.Query {
	t.Helper()
	q, err := query.Parse(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return q
}

func TestQueriesMatchAsTheySay(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		``:                                     true,
		`type:user.login`:                      true,
		`type = user.login`:                    true,
		`type:"user.login"`:                    true,
		`type:USER.LOGIN`:                      false,
		`type:user.log`:                        false,
		`type:user.*`:                          true,
		`type:user.login*`:                     true,
		`type:user.logout*`:                    false,
		`type:(user.logout or user.login)`:     true,
		`type:(user.logout or user.l*)`:        true,
		`type:(a or b)`:                        false,
		`subject:invoice/*`:                    true,
		`"subject":"invoice/7"`:                true,
		`data.user.name:"Ann Lee"`:             true,
		`data.user.name:"Ann "*`:               true,
		`data.user.name:dotted`:                true,
		`data.user.age:41`:                     true,
		`data.amount:1000.50`:                  true,
		`data.amount:1000.5`:                   false,
		`data.ok:true`:                         true,
		`data.tags:blue`:                       true,
		`data.tags:green`:                      false,
		`data.items.sku:b`:                     true,
		`data.none:*`:                          false,
		`data.none:null`:                       false,
		`data.user:*`:                          false,
		`data.user.age:*`:                      true,
		`recordedby:web-7`:                     true,
		`not type:user.login`:                  false,
		`-type:user.logout`:                    true,
		`not missing:x`:                        true,
		`missing:x`:                            false,
		`type:user.login source:/web`:          true,
		`type:user.login AND source:/api`:      false,
		`type:x or source:/web`:                true,
		`type:x and type:y or source:/web`:     true,
		`type:x and (type:y or source:/web)`:   false,
		`not (type:x or source:/web)`:          false,
		`not not source:/web`:                  true,
		`source:/web -subject:order/* type:u*`: true,
		"\n\ttype:user.login\n":                true,
	} {
		got, err := parse(t, text).Matches([]byte(entry))
		if err != nil || got != want {
			t.Errorf("%s: %t, %v; want %t", text, got, err, want)
		}
	}
}

func TestCanonicalForm(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		``:                    ``,
		` `:                   ``,
		`TYPE=a`:              `TYPE:a`,
		`a:1 b:2`:             `a:1 and b:2`,
		`-a:1`:                `not a:1`,
		`a:(1 or 2)`:          `a:1 or a:2`,
		`a:(1 or 2) b:3`:      `(a:1 or a:2) and b:3`,
		`a:1 or (b:2 or c:3)`: `a:1 or b:2 or c:3`,
		`(a:1 and (b:2 c:3))`: `a:1 and b:2 and c:3`,
		`not (a:1 and b:2)`:   `not (a:1 and b:2)`,
		`not not not a:1`:     `not a:1`,
		`a:"x"`:               `a:x`,
		`a:"x y"*`:            `a:"x y"*`,
		`a:"and"`:             `a:"and"`,
		`a:""`:                `a:""`,
		`a:"-1"`:              `a:"-1"`,
		`a:"x*"`:              `a:"x*"`,
		`a:*`:                 `a:*`,
		`a:"*"`:               `a:"*"`,
		`a:{claims.tenant}*`:  `a:{claims.tenant}*`,
		`"a b":ü`:             `"a b":ü`,
	} {
		if got := parse(t, text).String(); got != want {
			t.Errorf("%s is printed as %s, want %s", text, got, want)
		}
	}
}

func TestErrorsHavePlaceAndReason(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]struct {
		offset int
		reason string
	}{
		`type`:                          {0, "type:user.login"},
		`type:`:                         {5, "must be a value"},
		`type:user.login and`:           {19, "is missing"},
		`type:a or or type:b`:           {10, "is missing"},
		`(type:a`:                       {7, "closing parenthesis"},
		`type:a)`:                       {6, `unexpected ")"`},
		`type:(a b)`:                    {8, "closing parenthesis"},
		`type:"a`:                       {5, "does not end"},
		`type:"\q"`:                     {5, "escape"},
		`type:{claim.x}`:                {5, "{claims.tenant}"},
		`type:{claims.}`:                {5, "{claims.tenant}"},
		`type:not`:                      {5, "in quotes"},
		`amount:-1`:                     {7, "in quotes"},
		`amount>=1000`:                  {6, "does not exist"},
		`source:http://x`:               {11, "in quotes"},
		`"free text"`:                   {0, "is not a condition"},
		`:x`:                            {0, "is missing"},
		"type:\xff":                     {5, "UTF-8"},
		strings.Repeat("(", 40) + "a:1": {33, "nested"},
		strings.Repeat("-", 40) + "a:1": {33, "nested"},
		strings.Repeat("a:1 ", 1025):    {query.MaxLength, "longer"},
	} {
		_, err := query.Parse(text)
		failed, ok := errors.AsType[*query.Error](err)
		if !ok || failed.Offset != want.offset || !strings.Contains(failed.Reason, want.reason) {
			t.Errorf("%.60s: %v, want %q at byte %d", text, err, want.reason, want.offset)
		}
	}
}

func TestClaimsAreBoundOrRefused(t *testing.T) {
	t.Parallel()
	q := parse(t, `subject:{claims.tenant} or source:{claims.area}* and not type:x`)
	if got := q.Claims(); !slices.Equal(got, []string{"area", "tenant"}) {
		t.Errorf("the claims are %v", got)
	}
	if ok, err := q.Matches([]byte(entry)); ok || err == nil {
		t.Errorf("unbound: %t, %v", ok, err)
	}
	for _, claims := range []map[string]string{nil, {"tenant": "a"}, {"tenant": "a", "area": ""}} {
		if bound, err := q.Bind(claims); err == nil {
			t.Errorf("bound to %v it is %s", claims, bound)
		}
	}
	bound, err := q.Bind(map[string]string{"tenant": `a" or type:*`, "area": "/w"})
	if want := `subject:"a\" or type:*" or source:/w* and not type:x`; err != nil || bound.String() != want {
		t.Errorf("bound it is %s, %v; want %s", bound, err, want)
	}
	if ok, err := bound.Matches([]byte(entry)); !ok || err != nil {
		t.Errorf("bound: %t, %v", ok, err)
	}
}

func TestOr(t *testing.T) {
	t.Parallel()
	for _, c := range [][3]string{
		{"", "", ""}, {"a:1", "", ""}, {"", "a:1", ""}, {"a:1", "b:2 or c:3", "a:1 or b:2 or c:3"},
		{"a:1 b:2", "c:3", "a:1 and b:2 or c:3"},
	} {
		if got := parse(t, c[0]).Or(parse(t, c[1])).String(); got != c[2] {
			t.Errorf("%s or %s is %s, want %s", c[0], c[1], got, c[2])
		}
	}
}

func TestWhatIsNoEntryCannotBeDecided(t *testing.T) {
	t.Parallel()
	for _, text := range []string{``, `[]`, `"x"`, `{"type":`, `{"type":"a"`, `{"a":1,"a":2}`} {
		if ok, err := parse(t, "not type:b").Matches([]byte(text)); ok || err == nil {
			t.Errorf("%s: %t, %v", text, ok, err)
		}
	}
}

// TestExamplesInTheDocumentationHold runs the table of docs/query.md: an entry, a query,
// yes or no.
func TestExamplesInTheDocumentationHold(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/query.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := bytes.Cut(page, []byte("```json\n"))
	example, _, _ = bytes.Cut(example, []byte("\n```"))
	var compact bytes.Buffer
	if err := json.Compact(&compact, example); err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (yes|no) \\|").FindAllSubmatch(page, -1)
	if len(rows) < 15 {
		t.Fatalf("the table has %d examples", len(rows))
	}
	for _, row := range rows {
		got, err := parse(t, string(row[1])).Matches(compact.Bytes())
		if err != nil || got != (string(row[2]) == "yes") {
			t.Errorf("%s: %t, %v; the page says %s", row[1], got, err, row[2])
		}
	}
}
