package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"

	"github.com/stele-log/stele/api"
	"github.com/stele-log/stele/internal/engine"
)

func TestTheDocumentHasTheRoutesOfTheServer(t *testing.T) {
	t.Parallel()
	d := loadDocument(t)
	var documented []string
	for _, op := range d.operations {
		// OpenAPI has no parameter that spans segments.
		documented = append(documented, op.method+" "+strings.Replace(op.path, "{tile}", "*", 1))
	}
	var routes []string
	public, _ := api.New(api.Config{Engine: &engine.Engine{}})
	err := chi.Walk(public.(chi.Routes),
		func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
			routes = append(routes, method+" "+route)
			return nil
		})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(documented)
	slices.Sort(routes)
	if !slices.Equal(documented, routes) {
		t.Errorf("documented:\n%s\nserved:\n%s", strings.Join(documented, "\n"), strings.Join(routes, "\n"))
	}
}

func TestTheDocumentIsWellFormed(t *testing.T) {
	t.Parallel()
	d := loadDocument(t)
	if v, _ := d.root["openapi"].(string); !strings.HasPrefix(v, "3.1.") {
		t.Errorf("openapi is %v, want 3.1", d.root["openapi"])
	}
	ids := map[string]bool{}
	for _, op := range d.operations {
		id, _ := op.object["operationId"].(string)
		if id == "" || ids[id] {
			t.Errorf("%s: operationId %q is missing or not unique", op, id)
		}
		ids[id] = true
		if summary, _ := op.object["summary"].(string); summary == "" {
			t.Errorf("%s: no summary", op)
		}
		checkReplies(t, d, op)
		checkPathParameters(t, d, op)
	}
	for ref := range d.references() {
		if _, err := d.resolve(ref); err != nil {
			t.Error(err)
		}
	}
	for name := range d.components("schemas") {
		if !d.references()["#/components/schemas/"+name] {
			t.Errorf("schema %s is used by nothing", name)
		}
	}
}

// checkReplies checks that each operation says what may go right, and that all
// else is a problem document.
func checkReplies(t *testing.T, d *document, op operation) {
	t.Helper()
	replies := object(op.object["responses"])
	fine := false
	for status, v := range replies {
		reply := d.deref(v)
		fine = fine || strings.HasPrefix(status, "2") || status == "303"
		if text, _ := reply["description"].(string); text == "" {
			t.Errorf("%s: reply %s has no description", op, status)
		}
		for contentType, content := range object(reply["content"]) {
			if object(content)["schema"] == nil {
				t.Errorf("%s: reply %s as %s has no schema", op, status, contentType)
			}
		}
	}
	if !fine {
		t.Errorf("%s: no reply for when all is well", op)
	}
	if _, ok := object(d.deref(replies["default"])["content"])["application/problem+json"]; !ok {
		t.Errorf("%s: default is not a problem document", op)
	}
}

// checkPathParameters checks that a path's parameters are those in its braces.
func checkPathParameters(t *testing.T, d *document, op operation) {
	t.Helper()
	var want, got []string
	for _, m := range regexp.MustCompile(`\{(\w+)\}`).FindAllStringSubmatch(op.path, -1) {
		want = append(want, m[1])
	}
	for _, p := range op.parameters(d) {
		if p["in"] == "path" {
			got = append(got, p["name"].(string))
		}
		if text, _ := p["description"].(string); text == "" {
			t.Errorf("%s: parameter %v has no description", op, p["name"])
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%s: path parameters %v, want %v", op, got, want)
	}
}

func TestTheSchemasOfRepliesAreClosed(t *testing.T) {
	t.Parallel()
	d := loadDocument(t)
	for name, v := range d.components("schemas") {
		schema := object(v)
		if schema["type"] != "object" || schema["x-base"] == true {
			continue
		}
		if schema["additionalProperties"] == nil && schema["unevaluatedProperties"] != false {
			t.Errorf("schema %s says nothing of members that it does not name", name)
		}
	}
}

func TestTheExamplesFitTheirSchemas(t *testing.T) {
	t.Parallel()
	d := loadDocument(t)
	for _, e := range d.examples() {
		if e.schema == nil {
			continue
		}
		if err := e.schema.Validate(e.value); err != nil {
			t.Errorf("example %s: %v", e.name, err)
		}
	}
}

// checkSightings checks that the scripts have shown all that the document
// promises: each example, and each reply but those of a server in trouble, which
// it takes more to get.
func checkSightings(t *testing.T, d *document, seen *sightings) {
	t.Helper()
	for _, op := range d.operations {
		for status := range object(op.object["responses"]) {
			if status[0] == '5' || status == "202" || status == "default" || status == "303" {
				continue // 303 takes an issuer, see internal/server
			}
			if _, ok := seen.replies[op.String()+" "+status]; !ok {
				t.Errorf("no script gets %s from %s", status, op)
			}
		}
	}
	for _, e := range d.examples() {
		where := seen.replies
		if e.isRequest {
			where = seen.requests
		}
		if !where[e.where][normal(e.text)] {
			t.Errorf("example %s: no script has it", e.name)
		}
	}
}

// variable are the values that differ from run to run: times of the database's
// clock, and identifiers that the server makes.
var variable = regexp.MustCompile(`\d{4}-\d\d-\d\dT[\d:.]+Z|[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}`)

// normal returns a body as it is compared: JSON without white space, its
// members by name.
func normal(body string) string {
	var v any
	d := json.NewDecoder(strings.NewReader(body))
	d.UseNumber()
	if d.Decode(&v) == nil && !d.More() {
		if b, err := json.Marshal(v); err == nil {
			body = string(b)
		}
	}
	return variable.ReplaceAllString(strings.TrimSpace(body), "-")
}

func TestTheServedDocumentIsTheDocument(t *testing.T) {
	t.Parallel()
	want, err := os.ReadFile("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if got := newRig(t, settings{}).get("/openapi.yaml"); string(got) != string(want) {
		t.Error("/openapi.yaml is not openapi.yaml")
	}
}

func object(v any) map[string]any {
	o, _ := v.(map[string]any)
	return o
}

func array(v any) []any {
	a, _ := v.([]any)
	return a
}

func (op operation) String() string { return fmt.Sprintf("%s %s", op.method, op.path) }
