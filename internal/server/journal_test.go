package server_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stele-log/stele/internal/test/dbtest"
	"github.com/stele-log/stele/pkg/client"
)

// facts returns the entries of the log access, as far as a test looks at them.
func (r *running) facts() (facts []string) {
	r.Helper()
	for i := 0; ; i++ {
		status, body := r.ask(call{method: "GET", path: fmt.Sprintf("/logs/access/events/%d", i)}, http.Header{})
		if status != http.StatusOK {
			return facts
		}
		var e struct {
			Type string
			Data struct {
				Principal, Log, Role, Filter, Reason, What string
				Count                                      int
				Entries                                    *struct{ First, Last uint64 }
				Size                                       uint64
			}
		}
		if err := json.Unmarshal([]byte(body), &e); err != nil {
			r.Fatal(err)
		}
		d := e.Data
		fact := fmt.Sprintf("%s %s %s %s %d", strings.TrimPrefix(e.Type, "stele.access."), d.Principal, d.Log, d.Role, d.Count)
		if d.Entries != nil && d.Log == "access" { // what is published of it meanwhile varies
			fact += fmt.Sprintf(" %d-%d", d.Entries.First, d.Entries.Last)
		} else if d.Entries != nil {
			fact += fmt.Sprintf(" %d-%d under %d", d.Entries.First, d.Entries.Last, d.Size)
		}
		facts = append(facts, strings.TrimSpace(fact+" "+d.Filter+d.Reason))
	}
}

// want waits until the log access has facts, in any order.
func (r *running) want(facts ...string) {
	r.Helper()
	var all string
	for range 100 {
		all = "\n" + strings.Join(r.facts(), "\n") + "\n"
		missing := 0
		for _, fact := range facts {
			if !strings.Contains(all, "\n"+fact+"\n") {
				missing++
			}
		}
		if missing == 0 {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	r.Errorf("the log access has\n%s\nwant\n%s", all, strings.Join(facts, "\n"))
}

func TestWhatIsReadAndRefusedIsRecorded(t *testing.T) {
	t.Parallel()
	store, dir := dbtest.SQLite(t)(), t.TempDir()
	r := run(t, store, dir, slog.New(slog.DiscardHandler))
	r.fill()
	local := r.client("", "hidden")
	if err := local.ChangeLog(t.Context(), client.LogSettings{Reads: "all"}); err != nil {
		t.Fatal(err)
	}
	auditor, reader := bearer(r.key("ann", "auditor", "*", "", nil)), bearer(r.key("app", "reader", "default", "", nil))
	portal := bearer(r.key("portal", "reader", "hidden", "subject:7", nil))
	r.key("gone", "", "default", "", nil) // and never used
	r.ask(call{method: "GET", path: "/logs/default/events/1"}, auditor)
	r.ask(call{method: "GET", path: "/logs/default/tile/entries/000.p/2"}, auditor)
	r.ask(call{method: "GET", path: "/logs/default/events/1"}, reader) // no person
	r.ask(call{method: "GET", path: "/logs/hidden/events/0"}, portal)
	r.ask(call{method: "POST", path: "/logs/default/events", body: `{"type":"a"}`}, reader)
	r.ask(call{method: "GET", path: "/logs/hidden/checkpoint"}, reader)
	r.ask(call{method: "GET", path: "/logs/hidden/events/1"}, portal)
	r.ask(call{method: "GET", path: "/keys"}, bearer("stele_aaaaaaaaaa_"+strings.Repeat("0", 64)))
	bound := bearer(r.key("edge", "", "default", "", nil))
	if _, err := r.client("", "default").AddGrant(t.Context(), client.Grant{Principal: "edge", Role: "writer", Log: "default", Source: "/berlin/"}); err != nil {
		t.Fatal(err)
	}
	r.ask(call{method: "POST", path: "/logs/default/events", body: `[{"type":"a","source":"/rome/"},{"type":"a","source":"/rome/"}]`}, bound)
	r.want("refused app hidden  1 hidden from it", "refused portal hidden  1 hidden from it", "refused edge default writer 1 without the role", "read ann default auditor 1 1-1 under 2", "read ann default auditor 1 0-1 under 2", "read portal hidden reader 1 0-0 under 2 subject:7",
		"refused app default writer 1 without the role")
	for _, fact := range r.facts() {
		if strings.HasPrefix(fact, "read app") {
			t.Errorf("%q, which no setting asks for", fact)
		}
	}
	// What is not due yet is recorded at the end.
	r.ask(call{method: "GET", path: "/logs/access/events/0"}, auditor)
	r.stop()
	r = run(t, store, dir, slog.New(slog.DiscardHandler))
	keys, err := r.client("", "default").Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		if used := !k.LastUsed.IsZero(); used != (k.Principal != "gone") {
			t.Errorf("after a restart the key of %s was used: %t", k.Principal, used)
		}
	}
	r.want("read ann access auditor 1 0-0", "used app   3", "used ann   3", "refused    1 not a valid key or token")
}

// TestStreamBeyondItsLimitIsSlowedDown sends more events than its limit lets through at once.
func TestStreamBeyondItsLimitIsSlowedDown(t *testing.T) {
	t.Parallel()
	r := run(t, dbtest.SQLite(t)(), t.TempDir(), slog.New(slog.DiscardHandler))
	c := r.client(r.key("app", "writer", "default", "", nil), "default")
	if err := r.client(r.adminKey(), "default").SetLimit(t.Context(), client.Limit{Principal: "app", Events: 200}); err != nil {
		t.Fatal(err)
	}
	events := make([]client.Event, 200)
	for i := range events {
		events[i] = client.Event{Type: "a"}
	}
	begin := time.Now()
	if _, err := c.Append(t.Context(), events...); err != nil { // a batch passes
		t.Fatal(err)
	}
	n := 0
	for _, err := range c.Stream(t.Context(), slices.Values(slices.Repeat([][]byte{[]byte(`{"type":"a"}`)}, 300))) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if took := time.Since(begin); n != 300 || took < 900*time.Millisecond {
		t.Errorf("%d events in %v; want all, and at 200 a second", n, took)
	}
}
