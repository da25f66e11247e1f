package api_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stele-log/stele/api"
)

func TestOnlyNamesOfTheMachineItselfAreAnswered(t *testing.T) {
	t.Parallel()
	h := api.OnlyFor([]string{"logs.example.com"}, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for host, want := range map[string]int{
		"127.0.0.1:8080":        200,
		"127.8.9.10":            200,
		"[::1]:8080":            200,
		"[::1]":                 200,
		"[::ffff:127.0.0.1]:80": 200,
		"localhost":             200,
		"LocalHost.:8080":       200,
		"a.localhost:8080":      200,
		"logs.example.com":      200,
		"logs.example.com:8080": 200,
		"":                      200, // HTTP/1.0, which no browser speaks
		"attacker.example":      421,
		"attacker.example:8080": 421,
		"localhost.example:80":  421,
		"notlocalhost":          421,
		"127.0.0.1.example":     421,
		"192.0.2.1:8080":        421,
		"[2001:db8::1]:8080":    421,
		"0.0.0.0:8080":          421,
		"x.logs.example.com":    421,
	} {
		w := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/logs", nil)
		r.Host = host
		h.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("host %q: status %d, want %d", host, w.Code, want)
		}
		if w.Code != 200 && (w.Header().Get("Content-Type") != "application/problem+json" || !strings.Contains(w.Body.String(), "localhost")) {
			t.Errorf("host %q: %s: %s", host, w.Header().Get("Content-Type"), w.Body)
		}
	}
}

func TestPagesOfOtherSitesMayReadWhatProvesItself(t *testing.T) {
	t.Parallel()
	r := newRig(t, settings{})
	r.appended(r.post("/logs/default/events?wait=published", `{"type":"a"}`), 201)
	for _, tt := range []struct {
		path, host string
		want       string
	}{
		{"/logs/default/checkpoint", "127.0.0.1:8080", "*"},
		{"/logs/default/checkpoints", "localhost", "*"},
		{"/logs/default/tile/0/000.p/1", "127.0.0.1", "*"},
		{"/logs/default/tile/0/000", "logs.example.com", "*"}, // which is not there
		{"/logs/default/proofs/inclusion?index=0", "localhost", "*"},
		{"/logs/default/proofs/consistency?from=0", "localhost", "*"},
		{"/logs/default/events/0/receipt", "localhost", "*"},
		{"/logs/default/events/0", "logs.example.com", "*"},
		{"/logs/default/tile/entries/000.p/1", "logs.example.com", "*"},
		// Others cannot reach these, so the pages of other sites should not.
		{"/logs/default/events/0", "127.0.0.1:8080", ""},
		{"/logs/default/tile/entries/000.p/1", "[::1]:8080", ""},
		// These prove nothing.
		{"/logs/default", "logs.example.com", ""},
		{"/logs", "logs.example.com", ""},
		{"/readyz", "logs.example.com", ""},
		{"/metrics", "logs.example.com", ""},
	} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", r.url+tt.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = tt.host
		resp, err := r.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if got := resp.Header.Get("Access-Control-Allow-Origin"); got != tt.want {
			t.Errorf("%s of %s: Access-Control-Allow-Origin %q, want %q", tt.path, tt.host, got, tt.want)
		}
	}
	got := r.post("/logs/default/events", `{"type":"a"}`)
	if origin := got.header.Get("Access-Control-Allow-Origin"); origin != "" {
		t.Errorf("pages of %s may write events", origin)
	}
}
