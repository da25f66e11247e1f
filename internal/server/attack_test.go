package server_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stele-log/stele/internal/test/dbtest"
	"github.com/stele-log/stele/internal/test/oidctest"
	"github.com/stele-log/stele/pkg/client"
)

// revoke revokes the keys of a principal.
func (r *running) revoke(principal string) {
	r.Helper()
	admin := r.client("", "default")
	keys, err := admin.Keys(r.Context())
	if err != nil {
		r.Fatal(err)
	}
	for _, k := range keys {
		if k.Principal == principal && k.Live {
			if err := admin.RevokeKey(r.Context(), k.ID); err != nil {
				r.Fatal(err)
			}
		}
	}
}

// TestKeyThatIsRevokedWhileItsRequestComes sends the header of a request, has its key
// revoked, and sends the body.
func TestKeyThatIsRevokedWhileItsRequestComes(t *testing.T) {
	t.Parallel()
	r := run(t, dbtest.SQLite(t)(), t.TempDir(), slog.New(slog.DiscardHandler))
	for i, c := range []call{
		{method: "POST", path: "/keys", body: `{"principal":"thief"}`, may: []string{"admin"}},
		{method: "POST", path: "/logs", body: `{"name":"theirs"}`, may: []string{"admin"}},
		{method: "PUT", path: "/limits", body: `{"principal":"*","events":1}`, may: []string{"admin"}},
		{method: "POST", path: "/logs/default/events", body: `{"type":"a"}`, may: []string{"writer"}},
	} {
		log := "*"
		if c.may[0] == "writer" {
			log = "default"
		}
		thief := fmt.Sprintf("thief-%d", i)
		key := r.key(thief, c.may[0], log, "", nil)
		body, w := io.Pipe()
		req, err := http.NewRequestWithContext(t.Context(), c.method, r.url+c.path, body)
		if err != nil {
			t.Fatal(err)
		}
		req.Header = bearer(key)
		req.Header.Set("Content-Type", "application/json")
		go func() {
			_, _ = io.WriteString(w, c.body[:1])
			r.revoke(thief)
			_, _ = io.WriteString(w, c.body[1:])
			w.Close()
		}()
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s %s: %d, want 401: %s", c.method, c.path, resp.StatusCode, text)
		}
	}
}

// TestWriterLearnsNothingOfOthersEntries has a writer guess what others have sent.
func TestWriterLearnsNothingOfOthersEntries(t *testing.T) {
	t.Parallel()
	r := run(t, dbtest.SQLite(t)(), t.TempDir(), slog.New(slog.DiscardHandler))
	post := func(header http.Header, salary int) (int, string) {
		return r.ask(call{method: "POST", path: "/logs/default/events", body: fmt.Sprintf(`{"type":"salary","source":"/hr","id":"ann","data":{"eur":%d}}`, salary)}, header)
	}
	hr, curious := bearer(r.key("hr", "writer", "default", "", nil)), bearer(r.key("curious", "writer", "default", "", nil))
	if status, body := post(hr, 4217); status != http.StatusCreated {
		t.Fatalf("%d: %s", status, body)
	}
	right, what := post(curious, 4217)
	if wrong, other := post(curious, 4218); right != http.StatusConflict || right != wrong || what != other || strings.Contains(what, "leaf_hash") {
		t.Errorf("a right guess is answered with %d %s, a wrong one with %d %s", right, what, wrong, other)
	}
	if status, body := post(hr, 4217); status != http.StatusOK {
		t.Errorf("its own event again: %d: %s", status, body)
	}
	both := bearer(r.key("both", "writer", "default", "", nil))
	r.grant("both", "reader", "default", "")
	if status, body := post(both, 4217); status != http.StatusOK {
		t.Errorf("an event of another that it may read: %d: %s", status, body)
	}
}

// TestOnePrincipalsSessionsAreFew signs one principal in very often.
func TestOnePrincipalsSessionsAreFew(t *testing.T) {
	t.Parallel()
	r := run(t, dbtest.SQLite(t)(), t.TempDir(), slog.New(slog.DiscardHandler))
	key := r.key("ann", "reader", "default", "", nil)
	signIn := call{method: "POST", path: "/session", body: fmt.Sprintf(`{"key":%q}`, key)}
	var browsers []*running
	for range 25 {
		browser := *r
		browser.http = oidctest.Browser(t)
		if status, body := browser.ask(signIn, nil); status != http.StatusNoContent {
			t.Fatalf("%d: %s", status, body)
		}
		browsers = append(browsers, &browser)
	}
	var alive []int
	for i, browser := range browsers {
		if _, body := browser.ask(call{method: "GET", path: "/whoami"}, proxied); strings.Contains(body, `"ann"`) {
			alive = append(alive, i)
		}
	}
	if len(alive) != 20 || alive[0] != 5 {
		t.Errorf("the sessions that go on are %v, want the last 20", alive)
	}
	r.revoke("ann")
	if _, body := browsers[24].ask(call{method: "GET", path: "/whoami"}, proxied); strings.Contains(body, "ann") {
		t.Errorf("once the key is revoked: %s", body)
	}
}

// TestHiddenLogIsNotKeptByCachesOrShownToPages looks at the headers of what is served.
func TestHiddenLogIsNotKeptByCachesOrShownToPages(t *testing.T) {
	t.Parallel()
	r := run(t, dbtest.SQLite(t)(), t.TempDir(), slog.New(slog.DiscardHandler))
	r.fill()
	key := r.key("ann", "auditor", "*", "", nil)
	for _, test := range []struct {
		path           string
		cached, shared bool
	}{
		{"/logs/default/tile/0/000.p/2", true, true},
		{"/logs/hidden/tile/0/000.p/2", false, false},
		{"/logs/hidden/checkpoint", false, false},
		{"/logs/nope/checkpoint", false, false},
		{"/logs/open/events/0", true, false},
		{"/logs/default/events/0", false, false},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url+test.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header = bearer(key)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		cached, shared := strings.HasPrefix(resp.Header.Get("Cache-Control"), "public"), resp.Header.Get("Access-Control-Allow-Origin") != ""
		if (resp.StatusCode != http.StatusOK) != strings.Contains(test.path, "nope") || cached != test.cached || shared != test.shared {
			t.Errorf("%s: %d, cached %t, shared %t", test.path, resp.StatusCode, cached, shared)
		}
	}
}

// TestHiddenEntriesAreAsThoseThatAreNotThere asks for the proof of both.
func TestHiddenEntriesAreAsThoseThatAreNotThere(t *testing.T) {
	t.Parallel()
	r := run(t, dbtest.SQLite(t)(), t.TempDir(), slog.New(slog.DiscardHandler))
	r.fill()
	portal := bearer(r.key("portal", "reader", "default", "subject:7", nil))
	hidden, text := r.ask(call{method: "GET", path: "/logs/default/proofs/inclusion?index=1"}, portal)
	absent, other := r.ask(call{method: "GET", path: "/logs/default/proofs/inclusion?index=7"}, portal)
	if hidden != absent || text != other {
		t.Errorf("hidden: %d %s, absent: %d %s", hidden, text, absent, other)
	}
}

// TestLogIsHiddenFromTheFirst looks for logs while they are made.
func TestLogIsHiddenFromTheFirst(t *testing.T) {
	t.Parallel()
	r := run(t, dbtest.SQLite(t)(), t.TempDir(), slog.New(slog.DiscardHandler))
	done := make(chan struct{})
	seen := make(chan string)
	go func() {
		for found := ""; ; {
			_, list := r.ask(call{method: "GET", path: "/logs"}, proxied)
			if strings.Contains(list, "hidden-") {
				found = list
			}
			select {
			case <-done:
				seen <- found
				return
			default:
			}
		}
	}()
	for i := range 10 {
		n := client.NewLog{Name: fmt.Sprintf("hidden-%d", i), LogSettings: client.LogSettings{Public: "nothing"}}
		if _, err := r.client("", "default").CreateLog(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	close(done)
	if list := <-seen; list != "" {
		t.Errorf("a stranger has seen %s", list)
	}
	logs, err := r.client("", "default").Logs(t.Context())
	if err != nil || !slices.ContainsFunc(logs, func(l client.LogInfo) bool { return l.Name == "hidden-9" }) {
		t.Errorf("they are not there: %v", err)
	}
}
