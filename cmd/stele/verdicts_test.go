package main_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stele-log/stele/pkg/contradiction"
	"github.com/stele-log/stele/pkg/tree"
)

// A case is a command of a verifier, its exit status, and what it must say.
type verdictCase struct {
	name   string
	status int
	args   string // the words that are names below stand for what newPlaces has under them
	says   string
}

var verdictCases = []verdictCase{
	{"check: whole", 0, "check URL --key KEY", ""},
	{"check: nothing answers", 3, "check DOWN --key KEY", "NOT CHECKED*connection refused*server is running"},
	{"check: a path that was forgotten", 3, "check SERVER --key KEY", "NOT CHECKED: there is no log*404*URL of a log"},
	{"check: another web site", 3, "check SITE --key KEY", "NOT CHECKED: this is not the URL of a log"},
	{"check: a server that fails", 3, "check FAILING --key KEY", "NOT CHECKED*500 Internal Server Error"},
	{"check: it leads elsewhere", 3, "check ELSEWHERE --key KEY", "NOT CHECKED*leads to another host"},
	{"check: a folder that is missing", 3, "check NOWHERE --key KEY", "NOT CHECKED*there is no log"},
	{"check: another log's key", 3, "check URL --key OTHER", "NOT CHECKED: this is the log logs.example/default; the keys that were given are for log.example/other"},
	{"check: a key of the same name", 1, "check URL --key FALSE", "NOT whole*no valid signature of the log"},
	{"check: a copy", 0, "check COPY --key KEY", ""},
	{"check: a damaged copy", 1, "check DAMAGED --key KEY", "NOT whole: entry 300 was changed"},
	{"check: a copy with a damaged checkpoint", 1, "check GARBAGE --key KEY", "NOT whole: this is not a checkpoint"},
	{"check: no database", 3, "check --data NOWHERE --key KEY", "NOT CHECKED*run stele migrate"},
	{"check: a database that is down", 3, "check --database postgres://x@127.0.0.1:1/x --key KEY", "NOT CHECKED*connection refused"},
	{"check: nobody to trust", 2, "check URL", "say whom to trust"},
	{"check: no such key", 2, "check URL --key NOWHERE", "neither a verifier key"},
	{"check: what it must contain is missing", 3, "check URL --key KEY --since NOWHERE", "NOT CHECKED: --since"},
	{"check: what it must contain is of another log", 3, "check URL --key KEY --since OTHERCHECKPOINT", "NOT CHECKED: --since*this is the log log.example/other"},
	{"check: what it must contain is no checkpoint", 3, "check URL --key KEY --since GARBAGEFILE", "NOT CHECKED: --since*this is not a checkpoint"},
	{"check: it contains a receipt", 0, "check URL --key KEY --since RECEIPT", ""},

	{"receipt: verified", 0, "verify receipt RECEIPT --event EVENT --key KEY", ""},
	{"receipt: no file", 3, "verify receipt NOWHERE --event EVENT --key KEY", "NOT CHECKED: open"},
	{"receipt: no event", 3, "verify receipt RECEIPT --event NOWHERE --key KEY", "NOT CHECKED: open"},
	{"receipt: another log's key", 3, "verify receipt RECEIPT --event EVENT --key OTHER", "NOT CHECKED*this is the log logs.example/default"},
	{"receipt: another event", 1, "verify receipt RECEIPT --event RECEIPT --key KEY", "NOT verified"},
	{"receipt: damaged", 1, "verify receipt GARBAGEFILE --event EVENT --key KEY", "NOT verified"},
	{"receipt: CR LF", 1, "verify receipt CRLF --event EVENT --key KEY", "NOT verified*its line ends are CR LF"},
	{"receipt: UTF-16", 1, "verify receipt UTF16 --event EVENT --key KEY", "NOT verified*it is UTF-16"},
	{"receipt: an event in UTF-16", 1, "verify receipt RECEIPT --event UTF16 --key KEY", "NOT verified*it is UTF-16"},
	{"receipt: too large", 1, "verify receipt HUGE --event EVENT --key KEY", "NOT verified*larger than it can be"},
	{"receipt: a key that is too large", 2, "verify receipt RECEIPT --event EVENT --key HUGE", "larger than it can be"},
	{"receipt: a policy that is too large", 2, "verify receipt RECEIPT --event EVENT --policy HUGE", "larger than it can be"},
	{"receipt: nobody to trust", 2, "verify receipt RECEIPT --event EVENT", "say whom to trust"},

	{"heads: verified", 0, "verify heads HEADS --key KEY", ""},
	{"heads: no file", 3, "verify heads NOWHERE --key KEY", "NOT CHECKED: open"},
	{"heads: a folder", 3, "verify heads COPY --key KEY", "NOT CHECKED*is a directory"},
	{"heads: another log's key", 3, "verify heads HEADS --key OTHER", "NOT CHECKED*this is the log logs.example/default"},
	{"heads: damaged", 1, "verify heads GARBAGEFILE --key KEY", "NOT verified"},
	{"heads: contradicted", 1, "verify heads BADHEADS --key KEY", "NOT verified: checkpoint 2"},

	{"contradiction: shown", 0, "verify contradiction FORK --key FORKKEY", ""},
	{"contradiction: no file", 3, "verify contradiction NOWHERE --key KEY", "NOT CHECKED: open"},
	{"contradiction: another log's key", 3, "verify contradiction FORK --key KEY", "NOT CHECKED*this is the log"},
	{"contradiction: damaged", 1, "verify contradiction GARBAGEFILE --key KEY", "NOT shown"},
	{"contradiction: too large", 1, "verify contradiction HUGE --key KEY", "NOT shown*larger than it can be"},

	{"mirror: nothing answers", 3, "mirror DOWN TMP --once --key KEY", "NOT CHECKED*connection refused"},
	{"mirror: another web site", 3, "mirror SITE TMP --once --key KEY", "NOT CHECKED: this is not the URL of a log"},
	{"mirror: another log's key", 3, "mirror URL TMP --once --key OTHER", "NOT CHECKED*this is the log logs.example/default"},
	{"mirror: a damaged log", 1, "mirror DAMAGED TMP --once --key KEY", "NOT copied*entry 300 is not the one"},
	{"mirror: a folder that cannot be written", 3, "mirror URL GARBAGEFILE --once --key KEY", "NOT CHECKED"},

	{"audit: nothing answers", 3, "audit DOWN --once --interval 100ms --state TMP --key KEY", "NOT CHECKED: the audit could not be finished"},
}

// TestVerifiersHaveThreeVerdicts runs each command twice: for people, and for programs.
func TestVerifiersHaveThreeVerdicts(t *testing.T) {
	t.Parallel()
	places := newPlaces(t)
	for _, c := range verdictCases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			args := strings.Fields(c.args)
			for i, arg := range args {
				if arg == "TMP" {
					args[i] = t.TempDir()
				} else if place, ok := places[arg]; ok {
					args[i] = place
				}
			}
			_, stderr := run(t, c.status, args...)
			wantParts(t, stderr, c.says)
			out, _ := run(t, c.status, append(args, "--json")...)
			lines := strings.Split(strings.TrimSpace(out), "\n") // audit prints reports before
			var printed struct{ Verdict, Reason string }
			if err := json.Unmarshal([]byte(lines[len(lines)-1]), &printed); err != nil {
				t.Fatalf("with --json it prints %q: %v", out, err)
			}
			want := map[int]string{0: "verified", 1: "contradicted", 2: "unchecked", 3: "unchecked"}[c.status]
			if printed.Verdict != want || (printed.Reason == "") != (c.status == 0) {
				t.Errorf("with --json it prints %s, want the verdict %s", out, want)
			}
			if strings.Contains(stderr+out, "secret") {
				t.Errorf("it repeats what it has found: %s%s", stderr, out)
			}
		})
	}
}

// wantParts fails the test unless a text has all parts, which * separates, in order.
func wantParts(t *testing.T, text, parts string) {
	t.Helper()
	rest := text
	for part := range strings.SplitSeq(parts, "*") {
		_, after, ok := strings.Cut(rest, part)
		if !ok {
			t.Fatalf("it says %q, want it to say %q", text, parts)
		}
		rest = after
	}
}

// newPlaces makes all that the cases are about, by name.
func newPlaces(t *testing.T) map[string]string {
	t.Helper()
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	s := serve(t, "--origin-prefix", "logs.example")
	key := fill(t, s)
	places := map[string]string{"SERVER": s.url, "URL": s.url + "/logs/default", "KEY": key, "NOWHERE": in("nowhere"),
		"RECEIPT": putFile(t, in("receipt"), get(t, s.url+"/logs/default/events/3/receipt")),
		"EVENT":   putFile(t, in("event"), get(t, s.url+"/logs/default/events/3")),
		"COPY":    in("copy"), "DAMAGED": in("damaged"), "GARBAGE": in("garbage"), "HEADS": in("heads"),
		"GARBAGEFILE": putFile(t, in("garbagefile"), "nothing\n\nof anybody\n"),
		"CRLF":        "testdata/crlf.tlog-proof",
		"UTF16":       putFile(t, in("utf16"), "\xff\xfe{\x00}\x00"),
		"HUGE":        in("huge"),
	}
	sign, other := logSigner(t, "log.example/other")
	places["OTHER"] = other
	places["OTHERCHECKPOINT"] = putFile(t, in("other"), string(sign(tree.Empty())))
	_, places["FALSE"] = logSigner(t, "logs.example/default")
	places["FORK"], places["FORKKEY"] = fork(t, in("fork"))

	run(t, 0, "mirror", places["URL"], in("copy"), "--once", "--key", key)
	for _, name := range []string{"damaged", "garbage"} {
		if err := os.CopyFS(in(name), os.DirFS(in("copy"))); err != nil {
			t.Fatal(err)
		}
	}
	putFile(t, in("garbage/checkpoint"), "a secret\n")
	bundle, err := os.ReadFile(in("damaged/tile/entries/001"))
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(bundle), `"id":"300"`, `"id":"3O0"`, 1)
	putFile(t, in("damaged/tile/entries/001"), changed)

	run(t, 0, "export", "heads", places["URL"], "--key", key, "-o", in("heads"))
	text, err := os.ReadFile(in("heads"))
	if err != nil {
		t.Fatal(err)
	}
	places["BADHEADS"] = putFile(t, in("badheads"), strings.Replace(string(text), "\n512\n", "\n513\n", 1))

	f, err := os.Create(in("huge"))
	if err == nil {
		err = f.Truncate(1 << 40) // it takes no space, and no memory if it is not read
	}
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	servePlaces(t, places)
	return places
}

// fork writes a contradiction, and returns the file and the key of its log.
func fork(t *testing.T, name string) (file, vkey string) {
	t.Helper()
	sign, vkey := logSigner(t, "log.example/fork")
	seen := func(entry string) contradiction.Sighting {
		note := sign(tree.Head{Size: 1, Root: tree.LeafHash([]byte(entry))})
		return contradiction.Sighting{Note: note, Source: "https://log.example/fork", Time: time.Unix(1e9, 0)}
	}
	c := contradiction.Contradiction{Kind: contradiction.Fork, First: seen("one"), Second: seen("two")}
	return putFile(t, name, string(c.Format())), vkey
}

// servePlaces adds servers that are not logs.
func servePlaces(t *testing.T, places map[string]string) {
	t.Helper()
	start := func(f http.HandlerFunc) string {
		s := httptest.NewServer(f)
		t.Cleanup(s.Close)
		return s.URL
	}
	secret := start(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
		fmt.Fprint(w, "a secret")
	})
	places["FAILING"] = secret
	places["SITE"] = start(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>a secret</html>") })
	places["ELSEWHERE"] = start(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, secret, http.StatusFound) })
	down := httptest.NewServer(http.NotFoundHandler())
	places["DOWN"] = down.URL
	down.Close()
}

// TestCheckSaysThatTheDatabaseWasLost begins with another, empty one.
func TestCheckSaysThatTheDatabaseWasLost(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := serve(t, d.flags...)
		key := fill(t, s)
		s.end(syscall.SIGTERM)
		d = d.lose(t)
		run(t, 0, append([]string{"migrate"}, d.flags...)...)
		_, stderr := run(t, 1, append([]string{"check", "--key", key}, d.flags...)...)
		wantParts(t, stderr, "log default*signed.checkpoint*the database has no such log")
	})
}
