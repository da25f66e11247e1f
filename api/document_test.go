package api_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

// A document is openapi.yaml, read.
type document struct {
	root       map[string]any
	operations []operation
	schemas    map[string]*jsonschema.Schema // by reference
}

type operation struct {
	method, path string
	object       map[string]any
	shared       []any          // parameters of the path
	pattern      *regexp.Regexp // of URL paths
}

const documentURL = "https://example.com/openapi.json"

var readDocument = sync.OnceValues(func() (*document, error) {
	text, err := os.ReadFile("openapi.yaml")
	if err != nil {
		return nil, err
	}
	var v any
	if err := yaml.Unmarshal(text, &v); err != nil {
		return nil, err
	}
	asJSON, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	root, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
	if err != nil {
		return nil, err
	}
	d := &document{root: object(root), schemas: map[string]*jsonschema.Schema{}}
	d.findOperations()
	return d, d.compileSchemas()
})

func loadDocument(t testing.TB) *document {
	t.Helper()
	d, err := readDocument()
	if err != nil {
		t.Fatalf("openapi.yaml: %v", err)
	}
	return d
}

func (d *document) findOperations() {
	paths := object(d.root["paths"])
	for path, v := range paths {
		item := object(v)
		pattern := regexp.QuoteMeta(path)
		pattern = strings.Replace(pattern, `\{tile\}`, `.*`, 1)
		pattern = regexp.MustCompile(`\\\{\w+\\\}`).ReplaceAllString(pattern, `[^/]+`)
		for _, method := range []string{"get", "put", "post", "delete", "options", "head", "patch", "trace"} {
			if op := object(item[method]); op != nil {
				d.operations = append(d.operations, operation{strings.ToUpper(method), path, op,
					array(item["parameters"]), regexp.MustCompile("^" + pattern + "$")})
			}
		}
	}
}

// compileSchemas compiles the components that are schemas or have one.
func (d *document) compileSchemas() error {
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	if err := c.AddResource(documentURL, d.root); err != nil {
		return err
	}
	for kind, suffix := range map[string]string{"schemas": "", "headers": "/schema", "parameters": "/schema"} {
		for name := range d.components(kind) {
			ref := "#/components/" + kind + "/" + name
			schema, err := c.Compile(documentURL + ref + suffix)
			if err != nil {
				return err
			}
			d.schemas[ref] = schema
		}
	}
	return nil
}

func (d *document) components(kind string) map[string]any {
	return object(object(d.root["components"])[kind])
}

// resolve returns what a reference within the document points to.
func (d *document) resolve(ref string) (map[string]any, error) {
	path, ok := strings.CutPrefix(ref, "#/")
	v := any(d.root)
	for name := range strings.SplitSeq(path, "/") {
		v = object(v)[strings.NewReplacer("~1", "/", "~0", "~").Replace(name)]
	}
	if !ok || object(v) == nil {
		return nil, fmt.Errorf("reference %s leads nowhere", ref)
	}
	return object(v), nil
}

// deref follows a reference, if v is one.
func (d *document) deref(v any) map[string]any {
	o := object(v)
	if ref, ok := o["$ref"].(string); ok {
		o, _ = d.resolve(ref)
	}
	return o
}

// references returns all references in the document.
func (d *document) references() map[string]bool {
	refs := map[string]bool{}
	var walk func(v any)
	walk = func(v any) {
		for _, e := range array(v) {
			walk(e)
		}
		for name, e := range object(v) {
			if ref, ok := e.(string); ok && name == "$ref" {
				refs[ref] = true
			}
			walk(e)
		}
	}
	walk(d.root)
	return refs
}

func (op operation) parameters(d *document) []map[string]any {
	var parameters []map[string]any
	for _, p := range slices.Concat(op.shared, array(op.object["parameters"])) {
		parameters = append(parameters, d.deref(p))
	}
	return parameters
}

// An example is one in the document.
type example struct {
	name      string // where it stands, for people
	where     string // operation, and status of the reply
	isRequest bool
	value     any
	text      string             // the value as it is sent
	schema    *jsonschema.Schema // nil if it is not JSON
}

// examples returns all examples of bodies.
func (d *document) examples() []example {
	var all []example
	add := func(name, where string, isRequest bool, content map[string]any) {
		for contentType, v := range content {
			for key, e := range object(object(v)["examples"]) {
				value := d.deref(e)["value"]
				text, ok := value.(string)
				if !ok {
					b, _ := json.Marshal(value)
					text = string(b)
				}
				all = append(all, example{fmt.Sprintf("%s, %s, %s", name, contentType, key), where, isRequest,
					value, text, d.schemaOf(contentType, v)})
			}
		}
	}
	for _, op := range d.operations {
		add(op.String(), op.String(), true, object(d.deref(op.object["requestBody"])["content"]))
		for status, v := range object(op.object["responses"]) {
			add(op.String()+" "+status, op.String()+" "+status, false, object(d.deref(v)["content"]))
		}
	}
	return all
}

// schemaOf returns the schema of a body in JSON, which must be a component.
func (d *document) schemaOf(contentType string, content any) *jsonschema.Schema {
	if !strings.HasSuffix(contentType, "json") {
		return nil
	}
	ref, _ := object(object(content)["schema"])["$ref"].(string)
	return d.schemas[ref]
}

// check holds a reply against what the document says of the request.
func (d *document) check(req *http.Request, resp *http.Response, body []byte) error {
	method := req.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	known := false // the path, for some method
	for _, op := range d.operations {
		if !op.pattern.MatchString(req.URL.EscapedPath()) {
			continue
		}
		known = true
		if op.method == method {
			return d.checkReply(op, req, resp, body)
		}
	}
	want := http.StatusNotFound
	if known {
		want = http.StatusMethodNotAllowed
	}
	if resp.StatusCode != want {
		return fmt.Errorf("status %d for what is not documented, want %d", resp.StatusCode, want)
	}
	return d.checkContent(object(d.deref(object(object(d.components("responses")["Problem"])))["content"]), req, resp, body)
}

func (d *document) checkReply(op operation, req *http.Request, resp *http.Response, body []byte) error {
	v, ok := object(op.object["responses"])[strconv.Itoa(resp.StatusCode)]
	if !ok {
		return fmt.Errorf("%s: status %d is not documented", op, resp.StatusCode)
	}
	if resp.StatusCode < 400 {
		if err := d.checkRequest(op, req); err != nil {
			return fmt.Errorf("%s: %w", op, err)
		}
	}
	reply := d.deref(v)
	err := errors.Join(d.checkHeaders(object(reply["headers"]), resp.Header),
		d.checkContent(object(reply["content"]), req, resp, body))
	if err != nil {
		return fmt.Errorf("%s: status %d: %w", op, resp.StatusCode, err)
	}
	return nil
}

// checkRequest checks that what the server has accepted is documented.
func (d *document) checkRequest(op operation, req *http.Request) error {
	var names []string
	for _, p := range op.parameters(d) {
		if p["in"] == "query" {
			names = append(names, p["name"].(string))
		}
	}
	for name := range req.URL.Query() {
		if !slices.Contains(names, name) {
			return fmt.Errorf("parameter %s is not documented", name)
		}
	}
	content := object(d.deref(op.object["requestBody"])["content"])
	contentType, _, _ := mime.ParseMediaType(req.Header.Get("Content-Type"))
	if content == nil || content[contentType] != nil || content["*/*"] != nil && hasAttributes(req.Header) {
		return nil
	}
	return fmt.Errorf("a body of type %s is not documented", contentType)
}

func hasAttributes(h http.Header) bool {
	for name := range h {
		if strings.HasPrefix(name, "Ce-") {
			return true
		}
	}
	return false
}

// everywhere are headers that any reply may have.
var everywhere = []string{"Content-Type", "Content-Length", "Date", "Connection", "Trailer",
	"X-Content-Type-Options", "Content-Security-Policy", "Access-Control-Allow-Origin"}

func (d *document) checkHeaders(documented map[string]any, got http.Header) error {
	for name := range got {
		v, ok := documented[name]
		if !ok && !slices.Contains(everywhere, name) {
			return fmt.Errorf("header %s is not documented", name)
		}
		ref, _ := object(v)["$ref"].(string)
		schema := d.schemas[ref]
		if ok && schema == nil {
			return fmt.Errorf("header %s has no schema", name)
		}
		if !ok {
			continue
		}
		var value any = strings.Join(got.Values(name), ", ")
		if object(d.deref(v)["schema"])["type"] == "integer" {
			value = json.Number(got.Get(name))
		}
		if err := schema.Validate(value); err != nil {
			return fmt.Errorf("header %s: %w", name, err)
		}
	}
	for name, v := range documented {
		if d.deref(v)["required"] == true && got.Get(name) == "" {
			return fmt.Errorf("header %s is missing", name)
		}
	}
	return nil
}

func (d *document) checkContent(documented map[string]any, req *http.Request, resp *http.Response, body []byte) error {
	if len(documented) == 0 && len(body) == 0 {
		return nil
	}
	contentType, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil {
		return err
	}
	content, ok := documented[contentType]
	if !ok {
		return fmt.Errorf("content type %s is not documented; %s are", contentType, slices.Sorted(maps.Keys(documented)))
	}
	schema := d.schemaOf(contentType, content)
	if req.Method == http.MethodHead || !strings.HasSuffix(contentType, "json") {
		return nil
	}
	if schema == nil {
		return fmt.Errorf("the schema of %s is not a component", contentType)
	}
	texts := [][]byte{body}
	if strings.HasSuffix(contentType, "ndjson") {
		texts = slices.Collect(bytes.Lines(body))
	}
	for _, text := range texts {
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			return fmt.Errorf("body: %w", err)
		}
		if err := schema.Validate(v); err != nil {
			return err
		}
	}
	return nil
}
