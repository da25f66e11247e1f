package api_test

import (
	"fmt"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stele-log/stele/pkg/event"
	"github.com/stele-log/stele/pkg/tree"
)

// FuzzAppend sends what the seeds, which are the scripts' events, become. The
// server must never fail; what it takes must be there, and be an entry; what it
// refuses must not be.
func FuzzAppend(f *testing.F) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		for _, e := range readScript(f, file) {
			if body := fill(strings.TrimRight(e.sent.body, "\n"), nil); e.method == "POST" && len(body) < 1<<17 {
				f.Add(headers(e.sent.headers), body)
			}
		}
	}
	r := newRig(f, settings{})
	f.Fuzz(func(t *testing.T, headers, body string) {
		r := r.as(t)
		before := r.sizes()["default"]
		got := r.serve("POST", "/logs/default/events", headers, body)
		if got.status >= 500 {
			t.Fatalf("status %d: %s", got.status, got.body)
		}
		results := []appended{{}}
		if strings.Contains(string(got.body), `"results":`) {
			results = r.results(got)
		} else {
			r.decode(got.body, &results[0])
		}
		added := uint64(0)
		for _, a := range results {
			if a.Index == nil || a.LeafHash == "" {
				continue // refused
			}
			if !a.Duplicate {
				added++
			}
			entry := r.serve("GET", fmt.Sprintf("/logs/default/events/%d", *a.Index), "", "")
			e, err := event.Decode(entry.body)
			if err != nil || e.ID != a.ID || tree.LeafHash(entry.body).String() != a.LeafHash {
				t.Errorf("entry %d is %s: %v", *a.Index, entry.body, err)
			}
		}
		if size := r.sizes()["default"]; size != before+added {
			t.Errorf("%d events are new, but the log went from %d entries to %d", added, before, size)
		}
	})
}

// headers returns headers as a fuzzer can change them: a line each.
func headers(list []string) string {
	var b strings.Builder
	for i := 0; i < len(list); i += 2 {
		fmt.Fprintf(&b, "%s: %s\n", list[i], list[i+1])
	}
	return b.String()
}

// as returns the rig for another test to use.
func (r *rig) as(t testing.TB) *rig {
	other := *r
	other.TB = t
	return &other
}

// serve hands a request to the server without a connection between them.
func (r *rig) serve(method, path, headers, body string) reply {
	r.Helper()
	req := httptest.NewRequest(method, path, strings.NewReader(body))
	for line := range strings.Lines(headers) {
		if name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ":"); ok {
			req.Header.Add(name, strings.TrimSpace(value))
		}
	}
	w := httptest.NewRecorder()
	r.handler.ServeHTTP(w, req)
	resp := w.Result()
	if err := loadDocument(r).check(req, resp, w.Body.Bytes()); err != nil {
		r.Errorf("%s %s: %v: %.2000s", method, path, err, w.Body)
	}
	return reply{resp.StatusCode, resp.Header, w.Body.Bytes()}
}
