package server_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stele-log/stele/internal/engine"
	"github.com/stele-log/stele/internal/server"
	"github.com/stele-log/stele/internal/test/dbtest"
	"github.com/stele-log/stele/pkg/client"
	"github.com/stele-log/stele/storage"
)

// A running is a server with access control, on a loopback address.
type running struct {
	testing.TB
	url  string
	dir  string
	http *http.Client
	stop func()
}

func run(t testing.TB, store storage.Store, dir string, logger *slog.Logger) *running {
	t.Helper()
	return runAt(t, server.ListenConfig{Address: "127.0.0.1:0", Logger: logger}, store, dir)
}

func runAt(t testing.TB, at server.ListenConfig, store storage.Store, dir string, now ...func() time.Time) *running {
	t.Helper()
	logger := at.Logger
	l, err := server.Listen(at)
	if err != nil {
		t.Fatal(err)
	}
	now = append(now, time.Now)
	s, err := server.Start(t.Context(), server.Config{
		Listener: l, Store: store, Logger: logger, OriginPrefix: "logs.example.com", FirstLog: "default",
		Engine: engine.Config{Dir: dir, Interval: 10 * time.Millisecond, Cache: 1 << 20, MaxLogs: 100, Now: now[0]},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	r := &running{TB: t, url: s.URL(), dir: dir, http: http.DefaultClient, stop: sync.OnceFunc(func() { cancel(); <-ended })}
	t.Cleanup(r.stop)
	return r
}

// client returns a client with a key, for a log.
func (r *running) client(key, log string) *client.Client {
	r.Helper()
	c, err := client.New(client.Config{URL: r.url, Token: key, Log: log, HTTP: r.http, RetryFor: -1})
	if err != nil {
		r.Fatal(err)
	}
	return c
}

func (r *running) adminKey() string {
	r.Helper()
	text, err := os.ReadFile(filepath.Join(r.dir, "admin.key"))
	if err != nil {
		r.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// key makes a key of a principal and gives it a role, unless that is empty.
func (r *running) key(principal, role, log, filter string, claims map[string]string) string {
	r.Helper()
	admin := r.client(r.adminKey(), log)
	k, err := admin.CreateKey(r.Context(), client.NewKey{Principal: principal, Claims: claims})
	if err == nil && role != "" {
		_, err = admin.AddGrant(r.Context(), client.Grant{Principal: principal, Role: role, Log: log, Filter: filter})
	}
	if err != nil {
		r.Fatal(err)
	}
	return k.Text
}

// A call is a request to one route, and who may make it.
type call struct {
	method, route string // the route as openapi.yaml has it
	path          string // in place of the route, if it has parameters
	body          string
	may           []string // everybody if it is nil
}

var (
	readers  = []string{"reader", "narrowed", "auditor", "local"}
	admins   = []string{"admin", "local"}
	overseen = []string{"auditor", "admin", "local"}
)

// calls has a row for each route, and more for those that are about several things.
var calls = []call{
	{"GET", "/healthz", "", "", nil},
	{"GET", "/readyz", "", "", nil},
	{"GET", "/openapi.yaml", "", "", nil},
	{"GET", "/metrics", "", "", overseen},
	{"GET", "/whoami", "", "", nil},
	{"GET", "/logs", "", "", nil},
	{"POST", "/logs", "", `{"name":"default"}`, admins},
	{"GET", "/logs/{log}", "/logs/default", "", nil},
	{"POST", "/logs/{log}/events", "/logs/default/events", `{"type":"mine"}`, []string{"writer", "local"}},
	{"POST", "/logs/{log}/events", "/logs/system/events", `{"type":"stele.key.revoked"}`, []string{}},
	{"GET", "/logs/{log}/events/{index}", "/logs/default/events/0", "", readers},
	{"GET", "/logs/{log}/events/{index}", "/logs/system/events/0", "", []string{"auditor", "local"}},
	{"GET", "/logs/{log}/events/{index}/receipt", "/logs/default/events/0/receipt", "", readers},
	{"GET", "/logs/{log}/proofs/inclusion", "/logs/default/proofs/inclusion?index=0", "", readers},
	{"GET", "/logs/{log}/proofs/consistency", "/logs/default/proofs/consistency?from=1", "", nil},
	{"GET", "/logs/{log}/checkpoint", "/logs/default/checkpoint", "", nil},
	{"GET", "/logs/{log}/checkpoints", "/logs/default/checkpoints", "", nil},
	{"GET", "/logs/{log}/tile/{tile}", "/logs/default/tile/0/000.p/2", "", nil},
	{"GET", "/logs/{log}/tile/{tile}", "/logs/default/tile/entries/000.p/2", "", []string{"reader", "auditor", "local"}},
	{"GET", "/logs/{log}/tile/{tile}", "/logs/system/tile/entries/000.p/1", "", []string{"auditor", "local"}},
	{"GET", "/keys", "", "", overseen},
	{"POST", "/keys", "", `{"principal":"x y"}`, admins},
	{"DELETE", "/keys/{id}", "/keys/aaaaaaaaaa", "", admins},
	{"GET", "/grants", "", "", overseen},
	{"POST", "/grants", "", `{"principal":"x","role":"reader","log":"nope"}`, admins},
	{"DELETE", "/grants/{id}", "/grants/aaaaaaaaaa", "", admins},
	{"POST", "/keys/{id}/rotate", "/keys/aaaaaaaaaa/rotate", `{}`, admins},
	{"GET", "/grants/explain", "/grants/explain?principal=x&role=reader&log=default", "", overseen},
	{"GET", "/limits", "", "", overseen},
	{"PUT", "/limits", "", `{"principal":"x y"}`, admins},
	{"DELETE", "/limits", "/limits?principal=x", "", admins},
	{"GET", "/issuers", "", "", overseen},
	{"POST", "/issuers", "", `{"name":"x y"}`, admins},
	{"DELETE", "/issuers/{name}", "/issuers/nope", "", admins},
	{"PATCH", "/logs/{log}", "/logs/default", `{"public":"x"}`, admins},
	{"POST", "/session", "", `{"wrong":""}`, nil},
	{"DELETE", "/session", "", "", nil},
	{"GET", "/signin", "", "", nil},
	{"GET", "/signin/{issuer}", "/signin/nope", "", nil},
	{"GET", "/signin/{issuer}/callback", "/signin/nope/callback", "", nil},
	{"GET", "/state", "", "", overseen},
	{"GET", "/logs/{log}", "/logs/hidden", "", []string{"auditor", "admin", "local"}},
	{"GET", "/logs/{log}/checkpoint", "/logs/hidden/checkpoint", "", []string{"auditor", "admin", "local"}},
	{"GET", "/logs/{log}/events/{index}", "/logs/hidden/events/0", "", []string{"auditor", "local"}},
	{"GET", "/logs/{log}/events/{index}", "/logs/open/events/0", "", nil},
	{"GET", "/logs/{log}/tile/{tile}", "/logs/open/tile/entries/000.p/1", "", nil},
	{"POST", "/logs/{log}/events", "/logs/access/events", `{"type":"stele.access.read"}`, []string{}},
	{"GET", "/logs/{log}/events/{index}", "/logs/access/events/0", "", []string{"auditor", "local"}},
}

// ask makes a call, and returns the answer's status and body.
func (r *running) ask(c call, header http.Header) (int, string) {
	r.Helper()
	path := c.path
	if path == "" {
		path = c.route
	}
	req, err := http.NewRequestWithContext(r.Context(), c.method, r.url+path, strings.NewReader(c.body))
	if err != nil {
		r.Fatal(err)
	}
	if header != nil {
		req.Header = header.Clone()
	}
	if c.body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := r.http.Do(req)
	if err != nil {
		r.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		r.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func bearer(key string) http.Header { return http.Header{"Authorization": {"Bearer " + key}} }

// fill makes what calls ask for: entries in several logs, of which one is hidden and one open.
func (r *running) fill() {
	r.Helper()
	local := r.client("", "default")
	for _, n := range []client.NewLog{
		{Name: "elsewhere"}, {Name: "hidden", LogSettings: client.LogSettings{Public: "nothing"}}, {Name: "open", LogSettings: client.LogSettings{Public: "entries"}},
	} {
		if _, err := local.CreateLog(r.Context(), n); err != nil {
			r.Fatal(err)
		}
	}
	for _, log := range []string{"default", "hidden", "open"} {
		for _, e := range []client.Event{{Type: "mine", Subject: "7"}, {Type: "other", Subject: "8"}} {
			if _, err := r.client("", log).WithReceipts().Append(r.Context(), e); err != nil {
				r.Fatal(err)
			}
		}
	}
}

// A caller is somebody who may do the same as another, however they say who they are.
type caller struct {
	as     string // as calls have it
	header http.Header
	http   *http.Client
}

// checkCalls has each caller make each call.
func (r *running) checkCalls(callers map[string]caller) {
	r.Helper()
	for name, from := range callers {
		as := *r
		if from.http != nil {
			as.http = from.http
		}
		for _, c := range calls {
			want := 0 // any but 401 and 403
			switch {
			case c.may == nil || slices.Contains(c.may, from.as):
			case strings.Contains(c.path, "/hidden") && from.as != "admin":
				want = http.StatusNotFound
			case from.as == "nobody":
				want = http.StatusUnauthorized
			default:
				want = http.StatusForbidden
			}
			if c.route == "/session" && c.method == http.MethodDelete && from.header == nil {
				continue // it would end the caller's own
			}
			status, body := as.ask(c, from.header)
			if len(c.may) == 0 && c.may != nil && status == http.StatusForbidden {
				continue // whoever asks
			}
			refused := status == http.StatusUnauthorized || status == http.StatusForbidden
			if want == http.StatusNotFound {
				refused = status == http.StatusNotFound
			}
			if refused != (want != 0) || refused && status != want || status == http.StatusInternalServerError {
				r.Errorf("%s: %s %s %s: %d, want %d: %s", name, c.method, c.route, c.path, status, want, body)
			}
		}
	}
}

func TestEachRouteTakesItsRoles(t *testing.T) {
	t.Parallel()
	r := run(t, dbtest.SQLite(t)(), t.TempDir(), slog.New(slog.DiscardHandler))
	r.fill()
	revoked := r.key("gone", "reader", "default", "", nil)
	local := r.client("", "default")
	keys, err := local.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		if k.Principal == "gone" {
			if err := local.RevokeKey(t.Context(), k.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	callers := map[string]caller{}
	for name, header := range map[string]http.Header{
		"nobody":            {"X-Forwarded-For": {"192.0.2.7"}},
		"local":             {},
		"admin":             bearer(r.adminKey()),
		"writer":            bearer(r.key("writer", "writer", "default", "", nil)),
		"reader":            bearer(r.key("reader", "reader", "default", "", nil)),
		"narrowed":          bearer(r.key("narrowed", "reader", "default", "subject:{claims.tenant}", map[string]string{"tenant": "7"})),
		"without its claim": bearer(r.key("unclaimed", "reader", "default", "subject:{claims.tenant}", nil)),
		"auditor":           bearer(r.key("auditor", "auditor", "*", "", nil)),
		"officer":           bearer(r.key("officer", "officer", "default", "", nil)),
		"writer elsewhere":  bearer(r.key("other", "writer", "elsewhere", "", nil)),
		"reader elsewhere":  bearer(r.key("others", "reader", "else*", "", nil)),
		"without a grant":   bearer(r.key("ungranted", "", "default", "", nil)),
	} {
		callers[name] = caller{as: name, header: header}
	}
	r.checkCalls(callers)
	for name, header := range map[string]http.Header{
		"a revoked key":    bearer(revoked),
		"a key like one":   bearer("stele_aaaaaaaaaa_" + strings.Repeat("0", 64)),
		"no key":           bearer("x"),
		"another scheme":   {"Authorization": {"Basic " + revoked}},
		"nothing after it": {"Authorization": {"Bearer"}},
	} {
		for _, c := range calls {
			if status, body := r.ask(c, header); status != http.StatusUnauthorized || strings.Contains(body, revoked) {
				t.Errorf("%s: %s %s: %d, want 401: %s", name, c.method, c.route, status, body)
			}
		}
	}
	two := http.Header{"Authorization": {"Bearer " + r.adminKey(), "Bearer " + revoked}}
	if status, _ := r.ask(calls[0], two); status != http.StatusBadRequest {
		t.Errorf("two Authorization headers: %d, want 400", status)
	}
	inURL := call{method: "GET", path: "/keys?token=" + r.adminKey()}
	if status, body := r.ask(inURL, http.Header{}); status != http.StatusBadRequest || strings.Contains(body, r.adminKey()) {
		t.Errorf("a key in a URL: %d, want 400: %s", status, body)
	}
}

// TestEachRouteHasARow compares the rows with the routes that the API documents, which its
// own tests compare with those that it has.
func TestEachRouteHasARow(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../api/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, paths, _ := strings.Cut(string(text), "\npaths:\n")
	paths, _, _ = strings.Cut(paths, "\ncomponents:\n")
	var documented, rows []string
	var path string
	for line := range strings.Lines(paths) {
		if m := regexp.MustCompile(`^  (/\S*):\n$`).FindStringSubmatch(line); m != nil {
			path = m[1]
		}
		if m := regexp.MustCompile(`^    (get|post|delete|put|patch):\n$`).FindStringSubmatch(line); m != nil {
			documented = append(documented, strings.ToUpper(m[1])+" "+path)
		}
	}
	for _, c := range calls {
		rows = append(rows, c.method+" "+c.route)
	}
	slices.Sort(documented)
	slices.Sort(rows)
	if rows = slices.Compact(rows); !slices.Equal(documented, rows) {
		t.Errorf("documented:\n%s\nrows:\n%s", strings.Join(documented, "\n"), strings.Join(rows, "\n"))
	}
}

func TestNarrowedReaderSeesWhatMatches(t *testing.T) {
	t.Parallel()
	r := run(t, dbtest.SQLite(t)(), t.TempDir(), slog.New(slog.DiscardHandler))
	results, err := r.client("", "default").WithReceipts().Append(t.Context(), client.Event{Type: "a", Subject: "7"}, client.Event{Type: "a", Subject: "8"})
	if err != nil {
		t.Fatal(err)
	}
	header := bearer(r.key("portal", "reader", "default", "subject:{claims.tenant}", map[string]string{"tenant": "7"}))
	for i, want := range []int{http.StatusOK, http.StatusNotFound} {
		for _, path := range []string{
			fmt.Sprintf("events/%d", i), fmt.Sprintf("events/%d/receipt", i), fmt.Sprintf("proofs/inclusion?index=%d", i),
			"proofs/inclusion?hash=" + strings.NewReplacer("+", "%2B", "/", "%2F").Replace(results[i].LeafHash.String()),
		} {
			if status, body := r.ask(call{method: "GET", path: "/logs/default/" + path}, header); status != want {
				t.Errorf("%s: %d, want %d: %s", path, status, want, body)
			}
		}
	}
	_, hidden := r.ask(call{method: "GET", path: "/logs/default/events/1"}, header)
	_, absent := r.ask(call{method: "GET", path: "/logs/default/events/9"}, header)
	if strings.ReplaceAll(hidden, "1", "9") != absent {
		t.Errorf("what is hidden is answered with %s, what is not there with %s", hidden, absent)
	}
}

func TestSenderIsThePrincipal(t *testing.T) {
	t.Parallel()
	r := run(t, dbtest.SQLite(t)(), t.TempDir(), slog.New(slog.DiscardHandler))
	c := r.client(r.key("billing", "writer", "default", "", nil), "default")
	if _, err := c.Append(t.Context(), client.Event{Type: "a"}); err != nil {
		t.Fatal(err)
	}
	status, entry := r.ask(call{method: "GET", path: "/logs/default/events/0"}, http.Header{})
	if status != http.StatusOK || !strings.Contains(entry, `"recordedby":"billing"`) || !strings.Contains(entry, `"source":"billing"`) {
		t.Errorf("%d: %s", status, entry)
	}
}

// TestStartThatEndedAfterItsFirstLogGoesOn has only the system log, as after a crash.
func TestStartThatEndedAfterItsFirstLogGoesOn(t *testing.T) {
	t.Parallel()
	store, dir := dbtest.SQLite(t)(), t.TempDir()
	e, err := engine.Open(t.Context(), engine.Config{Store: store, Dir: dir, Interval: time.Second, Cache: 1 << 20, Logger: slog.New(slog.DiscardHandler)})
	if err == nil {
		_, err = e.Create(t.Context(), engine.NewLog{Name: "system", Origin: "logs.example.com/system"})
	}
	if err != nil {
		t.Fatal(err)
	}
	r := run(t, store, dir, slog.New(slog.DiscardHandler))
	if _, err := r.client(r.key("app", "writer", "default", "", nil), "default").Append(t.Context(), client.Event{Type: "a"}); err != nil {
		t.Error(err)
	}
}

// TestRevokedKeyEndsItsStreams revokes a key while a stream that it has opened is open.
func TestRevokedKeyEndsItsStreams(t *testing.T) {
	t.Parallel()
	r := run(t, dbtest.SQLite(t)(), t.TempDir(), slog.New(slog.DiscardHandler))
	text := r.key("app", "writer", "default", "", nil)
	lines, w := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url+"/logs/default/events", lines)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = bearer(text)
	req.Header.Set("Content-Type", "application/x-ndjson")
	req.Header.Set("Accept", "application/x-ndjson")
	go fmt.Fprintln(w, `{"type":"before"}`)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	results := bufio.NewScanner(resp.Body)
	if !results.Scan() || !strings.Contains(results.Text(), `"index":0`) {
		t.Fatalf("before: %d %s, %v", resp.StatusCode, results.Text(), results.Err())
	}
	admin := r.client(r.adminKey(), "default")
	keys, err := admin.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(keys, func(k client.Key) bool { return k.Principal == "app" })
	if err := admin.RevokeKey(t.Context(), keys[i].ID); err != nil {
		t.Fatal(err)
	}
	go fmt.Fprintln(w, `{"type":"after"}`)
	for results.Scan() && results.Text() == "" { // heartbeats
	}
	if !strings.Contains(results.Text(), `"status":401`) || strings.Contains(results.Text(), `"index"`) {
		t.Errorf("after: %s, %v", results.Text(), results.Err())
	}
}

// TestRevokedKeyIsOutAtOnce revokes a key while requests with it come, on two servers of
// one database.
func TestRevokedKeyIsOutAtOnce(t *testing.T) {
	t.Parallel()
	open, dir := dbtest.Postgres(t), t.TempDir()
	discard := slog.New(slog.DiscardHandler)
	one := run(t, open(), dir, discard)
	other := t.TempDir()
	keys, err := filepath.Glob(filepath.Join(dir, "logs/*/*.key"))
	for _, path := range keys {
		var text []byte
		if text, err = os.ReadFile(path); err == nil {
			folder := filepath.Join(other, "logs", filepath.Base(filepath.Dir(path)))
			err = errors.Join(os.MkdirAll(folder, 0o700), os.WriteFile(filepath.Join(folder, filepath.Base(path)), text, 0o600))
		}
	}
	if err != nil || len(keys) != 6 {
		t.Fatal(keys, err)
	}
	two := run(t, open(), other, discard)
	text := one.key("app", "reader", "default", "", nil)
	if _, err := one.client("", "default").Append(t.Context(), client.Event{Type: "a"}); err != nil {
		t.Fatal(err)
	}
	read := call{method: "GET", path: "/logs/default/events/0"}
	time.Sleep(time.Second)
	var revoked atomic.Bool
	for _, r := range []*running{one, two} {
		if status, body := r.ask(read, bearer(text)); status != http.StatusOK {
			t.Fatalf("before: %d: %s", status, body)
		}
	}
	late := make(chan int)
	go func() {
		n := 0
		for asked := 0; asked < 500; { // once the key is revoked, and before
			was := revoked.Load()
			status, _ := one.ask(read, bearer(text))
			if was {
				asked++
			}
			if was && status != http.StatusUnauthorized {
				n++
			}
		}
		late <- n
	}()
	admin := one.client(one.adminKey(), "default")
	made, err := admin.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(made, func(k client.Key) bool { return k.Principal == "app" })
	if err := admin.RevokeKey(t.Context(), made[i].ID); err != nil {
		t.Fatal(err)
	}
	revoked.Store(true)
	at := time.Now()
	for {
		if status, _ := two.ask(read, bearer(text)); status == http.StatusUnauthorized {
			break
		}
		if time.Since(at) > 10*time.Second {
			t.Fatal("the other server takes the key")
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Logf("the other server refused the key after %v", time.Since(at))
	if n := <-late; n > 0 {
		t.Errorf("%d requests succeeded after the reply", n)
	}
}

// TestNoKeyIsLogged makes, uses and misuses keys, and looks for them in what the server
// logs and stores.
func TestNoKeyIsLogged(t *testing.T) {
	t.Parallel()
	var output bytes.Buffer
	dir := t.TempDir()
	r := run(t, dbtest.SQLite(t)(), dir, slog.New(slog.NewTextHandler(&output, &slog.HandlerOptions{Level: slog.LevelDebug})))
	keys := []string{r.adminKey(), r.key("app", "reader", "default", "", nil), "stele_aaaaaaaaaa_" + strings.Repeat("7", 64)}
	for _, key := range keys {
		r.ask(call{method: "GET", path: "/logs/default/events/0"}, bearer(key))
		r.ask(call{method: "GET", path: "/keys?key=" + key}, http.Header{})
		r.ask(call{method: "GET", path: "/keys/" + key}, http.Header{})
		r.ask(call{method: "POST", path: "/keys", body: `{"principal":"` + key + `","x":1}`}, http.Header{})
	}
	_, metrics := r.ask(call{method: "GET", path: "/metrics"}, http.Header{})
	_, state := r.ask(call{method: "GET", path: "/state"}, http.Header{})
	r.stop()
	info, err := os.Stat(filepath.Join(dir, "admin.key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the mode of admin.key is %v, %v", info.Mode(), err)
	}
	for _, key := range keys {
		for name, text := range map[string]string{"log": output.String(), "metrics": metrics, "state": state} {
			if strings.Contains(text, key[20:]) {
				t.Errorf("a key is in the %s", name)
			}
		}
	}
}

// TestWhatIsAddedToTheSystemLogGivesNoRight has the database's owner add a grant, in a well-
// formed entry with its head, while the server runs and before its start.
func TestWhatIsAddedToTheSystemLogGivesNoRight(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, open func() storage.Store) {
		store, dir := open(), t.TempDir()
		r := run(t, store, dir, slog.New(slog.DiscardHandler))
		text := r.key("mallory", "", "default", "", nil)
		var state struct{ Size uint64 }
		_, body := r.ask(call{method: "GET", path: "/state"}, http.Header{})
		if err := json.Unmarshal([]byte(body), &state); err != nil {
			t.Fatal(err)
		}
		addGrant(t, store, "mallory")
		time.Sleep(1500 * time.Millisecond)
		if status, _ := r.ask(call{method: "GET", path: "/keys"}, bearer(text)); status != http.StatusForbidden {
			t.Errorf("with an added grant: %d, want 403", status)
		}
		if status, body := r.ask(call{method: "POST", path: "/keys", body: `{"principal":"x"}`}, http.Header{}); status != http.StatusInternalServerError &&
			status != http.StatusServiceUnavailable {
			t.Errorf("a change on top of it: %d: %s", status, body)
		}
		r.stop()
		l, err := server.Listen(server.ListenConfig{Address: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		_, err = server.Start(t.Context(), server.Config{Listener: l, Store: store, Logger: slog.New(slog.DiscardHandler),
			OriginPrefix: "logs.example.com", FirstLog: "default", Engine: engine.Config{Dir: dir, Interval: time.Second, Cache: 1 << 20}})
		if err == nil || !strings.Contains(err.Error(), "head.key") {
			t.Errorf("the next start: %v", err)
		}
	})
}
