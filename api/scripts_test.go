package api_test

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/stele-log/stele/internal/test/dbtest"
	"github.com/stele-log/stele/storage"
)

// TestScripts runs the files in testdata, each on a server of its own, on each
// database. A file is a conversation:
//
//	# What this shows.
//	POST /logs/default/events
//	Content-Type: application/json
//
//	{"type": "door.opened"}
//
//	HTTP 201
//	Location: /logs/default/events/0
//
//	{"index": 0, "id": "{{uuid}}", "source": "anonymous", "leaf_hash": "{{first=hash}}"}
//
// A reply must have the status, the headers (one without a value must not be
// there) and the body that the file says. White space in JSON does not count,
// and a body is compared as it was before Content-Encoding. In expected replies
// {{hash}}, or another of the names below, stands for what varies, and
// {{first=hash}} keeps it; elsewhere {{first}} is what was kept. {{bytes 64}} is
// a body of 64 bytes. A request can say {{byte 255}} and {{repeat 70000 x}}, and a line of its own
// {{each 300 <text>}}: the text 300 times, a line each, with % for the numbers
// from 0.
//
// A request that is refused must change nothing: the runner looks.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	databases := []struct {
		name string
		make func(testing.TB) (open func() storage.Store)
	}{
		{"sqlite", dbtest.SQLite},
		{"postgres", dbtest.Postgres},
	}
	for _, db := range databases {
		seen := newSightings()
		t.Run(db.name, func(t *testing.T) {
			for _, file := range files {
				t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
					t.Parallel()
					script := readScript(t, file)
					r := newRig(t, settings{store: db.make(t)(), seen: seen, maxLogs: 3})
					kept := map[string]string{}
					for _, e := range script {
						e.run(r, kept)
					}
				})
			}
		})
		if allRan := len(seen.replies) > 0 && !strings.Contains(runFlag(), "/"); allRan {
			checkSightings(t, loadDocument(t), seen)
		}
	}
}

// An exchange is a request and the reply it must get.
type exchange struct {
	place        string // file and line
	method, path string
	sent         message
	status       int
	want         message
}

type message struct {
	headers []string // name, value, ...
	body    string
}

var (
	requestLine = regexp.MustCompile(`^([A-Z]+) (/\S*)$`)
	statusLine  = regexp.MustCompile(`^HTTP (\d{3})$`)
	headerLine  = regexp.MustCompile(`^([A-Za-z-]+): ?(.*)$`)
)

func readScript(t testing.TB, file string) []exchange {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var script []exchange
	var m *message
	inHeaders := false
	for i, line := range strings.Split(string(text), "\n") {
		request, status := requestLine.FindStringSubmatch(line), statusLine.FindStringSubmatch(line)
		switch {
		case strings.HasPrefix(line, "# ") || m == nil && request == nil:
		case request != nil:
			script = append(script, exchange{place: fmt.Sprintf("%s:%d", file, i+1), method: request[1], path: request[2]})
			m, inHeaders = &script[len(script)-1].sent, true
		case status != nil:
			e := &script[len(script)-1]
			e.status, _ = strconv.Atoi(status[1])
			m, inHeaders = &e.want, true
		case inHeaders && line != "":
			h := headerLine.FindStringSubmatch(line)
			if h == nil {
				t.Fatalf("%s:%d: not a header", file, i+1)
			}
			m.headers = append(m.headers, h[1], h[2])
		case inHeaders:
			inHeaders = false
		default:
			m.body += line + "\n"
		}
	}
	return script
}

func (e exchange) run(r *rig, kept map[string]string) {
	r.Helper()
	before := r.sizes()
	headers := make([]string, len(e.sent.headers))
	for i, h := range e.sent.headers {
		headers[i] = fill(h, kept)
	}
	got := r.do(e.method, fill(e.path, kept), fill(strings.TrimRight(e.sent.body, "\n"), kept), headers...)
	if got.status != e.status {
		r.Errorf("%s: status %d, want %d", e.place, got.status, e.status)
	}
	for i := 0; i < len(e.want.headers); i += 2 {
		name, want := e.want.headers[i], e.want.headers[i+1]
		if value := strings.Join(got.header.Values(name), ", "); !match(r, want, value, kept) {
			r.Errorf("%s: %s is %q, want %q", e.place, name, value, want)
		}
	}
	body, want := decoded(r, got), strings.TrimRight(e.want.body, "\n")
	if strings.HasSuffix(got.header.Get("Content-Type"), "json") {
		body, want = compact(body), compact(want)
	}
	if !match(r, want, strings.TrimRight(body, "\n"), kept) {
		r.Errorf("%s: body is\n%.4000s\nwant\n%.4000s", e.place, body, want)
	}
	if after := r.sizes(); e.status >= 400 && !maps.Equal(before, after) {
		r.Errorf("%s: refused, but the logs have %v entries, and had %v", e.place, after, before)
	}
}

var (
	eachLine    = regexp.MustCompile(`(?m)^\{\{each (\d+) (.*)\}\}$`)
	wholeBody   = regexp.MustCompile(`^\{\{bytes (\d+)\}\}$`)
	placeholder = regexp.MustCompile(`\{\{([a-z]+)(?:([ =])(\w+)(?: (.*?))?)?\}\}`)
)

// fill puts in what a request is to have.
func fill(s string, kept map[string]string) string {
	s = eachLine.ReplaceAllStringFunc(s, func(line string) string {
		m := eachLine.FindStringSubmatch(line)
		n, _ := strconv.Atoi(m[1])
		var lines []string
		for i := range n {
			lines = append(lines, strings.ReplaceAll(m[2], "%", strconv.Itoa(i)))
		}
		return strings.Join(lines, "\n")
	})
	return placeholder.ReplaceAllStringFunc(s, func(p string) string {
		m := placeholder.FindStringSubmatch(p)
		n, _ := strconv.Atoi(m[3])
		switch m[1] {
		case "byte":
			return string([]byte{byte(n)})
		case "repeat":
			return strings.Repeat(m[4], n)
		}
		return kept[m[1]]
	})
}

// patterns are what a placeholder in an expected reply may match.
var patterns = map[string]string{
	"any":    `(?s:.*)`,
	"hash":   `[A-Za-z0-9+/]{43}=`,
	"id":     `[a-z2-7]{10}`,
	"key":    `stele_[a-z2-7]{10}_[0-9a-f]{64}`,
	"number": `\d+`,
	"sha":    `[0-9a-f]{64}`,
	"time":   `\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?Z`,
	"uuid":   `[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}`,
}

// match compares what came with what a script says, and keeps what it is to.
func match(r *rig, want, got string, kept map[string]string) bool {
	r.Helper()
	if n := wholeBody.FindStringSubmatch(want); n != nil {
		return n[1] == strconv.Itoa(len(got))
	}
	pattern, end := "^", 0
	for _, m := range placeholder.FindAllStringSubmatchIndex(want, -1) {
		pattern += regexp.QuoteMeta(want[end:m[0]])
		end = m[1]
		name := want[m[2]:m[3]]
		switch value, ok := kept[name]; {
		case m[4] >= 0 && want[m[4]] == '=':
			pattern += "(?P<" + name + ">" + patterns[want[m[6]:m[7]]] + ")"
		case ok:
			pattern += regexp.QuoteMeta(value)
		case patterns[name] != "":
			pattern += patterns[name]
		default:
			r.Fatalf("%q stands for nothing", name)
		}
	}
	re, err := regexp.Compile(pattern + regexp.QuoteMeta(want[end:]) + "$")
	if err != nil {
		r.Fatalf("%q: %v", want, err)
	}
	found := re.FindStringSubmatch(got)
	for i, name := range re.SubexpNames() {
		if found != nil && name != "" {
			kept[name] = found[i]
		}
	}
	return found != nil
}

// compact leaves out the white space of JSON that has placeholders.
func compact(s string) string {
	var b strings.Builder
	inString := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && inString && i+1 < len(s):
			b.WriteByte(c)
			i++
		case c == '"':
			inString = !inString
		case !inString && strings.IndexByte(" \t\r\n", c) >= 0:
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// decoded undoes a reply's content encoding.
func decoded(r *rig, got reply) string {
	r.Helper()
	var body io.Reader = bytes.NewReader(got.body)
	var err error
	switch got.header.Get("Content-Encoding") {
	case "gzip":
		body, err = gzip.NewReader(body)
	case "zstd":
		var d *zstd.Decoder
		d, err = zstd.NewReader(body)
		defer d.Close()
		body = d
	}
	if err != nil {
		r.Fatal(err)
	}
	b, err := io.ReadAll(body)
	if err != nil {
		r.Fatal(err)
	}
	return string(b)
}

// runFlag returns what go test was told to run.
func runFlag() string { return flag.Lookup("test.run").Value.String() }
