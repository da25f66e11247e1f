package apply_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stele-log/stele/internal/apply"
	"github.com/stele-log/stele/pkg/client"
)

var now = time.Date(2026, 11, 21, 9, 42, 0, 0, time.UTC)

const file = `
logs:
  - {name: payroll, public: nothing}
  - name: doors
issuers:
  - {name: corp, url: "https://login.example.com", audience: stele}
grants:
  - {principal: billing, role: writer, log: payroll}
  - {claim: "corp:groups=audit", role: auditor, log: "*", until: 2027-01-31}
  - {principal: portal, role: reader, log: doors, filter: "subject = {claims.tenant}"}
limits:
  - {principal: billing, events: 1000}
`

// there is the state that the file says.
func there() client.State {
	return client.State{
		Size: 9,
		Logs: []client.RecordedLog{
			{Name: "payroll", LogSettings: client.LogSettings{Public: "nothing", Reads: "people"}},
			{Name: "doors", LogSettings: client.LogSettings{Public: "proofs", Reads: "people"}},
		},
		Issuers: []client.Issuer{{Name: "corp", URL: "https://login.example.com", Audience: "stele", Created: now}},
		Grants: []client.Grant{
			{ID: "aaaaaaaaaa", Principal: "billing", Role: "writer", Log: "payroll"},
			{ID: "bbbbbbbbbb", Claim: "corp:groups=audit", Role: "auditor", Log: "*", Until: time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC)},
			{ID: "cccccccccc", Principal: "portal", Role: "reader", Log: "doors", Filter: "subject:{claims.tenant}"},
		},
		Limits: []client.Limit{{Principal: "billing", Events: 1000}},
	}
}

func TestPlanBringsAServerToTheFile(t *testing.T) {
	t.Parallel()
	f, err := apply.Read([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name  string
		state func(*client.State)
		prune bool
		want  []string
	}{
		{"what is there", func(*client.State) {}, true, nil},
		{"nothing", func(s *client.State) { *s = client.State{} }, false, []string{
			"+ log payroll", "+ log doors", "+ issuer corp, https://login.example.com for stele", "+ grant billing, writer on payroll",
			"+ grant to all with corp:groups=audit, auditor on *, until 2027-01-31T00:00:00Z",
			"+ grant portal, reader on doors, entries that match subject:{claims.tenant}", "+ limit of billing"}},
		{"another setting", func(s *client.State) { s.Logs[0].Public = "entries" }, false, []string{"~ log payroll, public: entries -> nothing"}},
		{"another audience", func(s *client.State) { s.Issuers[0].Audience = "old" }, false,
			[]string{"- issuer corp", "+ issuer corp, https://login.example.com for stele"}},
		{"another limit", func(s *client.State) { s.Limits[0].Bytes = 1 }, false, []string{"~ limit of billing"}},
		{"a grant that has ended", func(s *client.State) { s.Grants[0].Until = now }, true, []string{"+ grant billing, writer on payroll"}},
		{"more than the file, kept", more, false, nil},
		{"more than the file, pruned", more, true, []string{"- issuer old", "- grant eve, reader on doors, source x", "- limit of eve"}},
	} {
		s := there()
		test.state(&s)
		var got []string
		plan, err := apply.Make(f, s, test.prune, now)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		for _, c := range plan.Changes {
			got = append(got, c.Text)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

func TestPlansThatCannotBeAreRefused(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		text, want string
		prune      bool
	}{
		{"{}", "take all away", true},
		{"grants: [{principal: a, role: reader, log: nope}]", `grant 1: there is no log "nope"`, false},
		{"logs: [{name: doors, origin: elsewhere.example/doors}]", "cannot be changed", false},
	} {
		f, err := apply.Read([]byte(test.text))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := apply.Make(f, there(), test.prune, now); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: %v, want %q", test.text, err, test.want)
		}
	}
}

// TestAdminsAreNotPrunedInSilence has a file that names no admin, and one that does.
func TestAdminsAreNotPrunedInSilence(t *testing.T) {
	t.Parallel()
	s := there()
	s.Grants = append(s.Grants, client.Grant{ID: "eeeeeeeeee", Principal: "root", Role: "admin", Log: "*"})
	for text, want := range map[string]bool{file: false, file + "\n": false,
		strings.Replace(file, "grants:\n", "grants:\n  - {principal: ann, role: admin, log: \"*\"}\n", 1): true} {
		f, err := apply.Read([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		plan, err := apply.Make(f, s, true, now)
		pruned := slices.ContainsFunc(plan.Changes, func(c apply.Change) bool { return c.Text == "- grant root, admin on *" })
		if err != nil || pruned != want {
			t.Errorf("%t, %v; want %t", pruned, err, want)
		}
	}
}

// TestGrantThatHasEndedStaysInTheFile is for files in version control.
func TestGrantThatHasEndedStaysInTheFile(t *testing.T) {
	t.Parallel()
	f, err := apply.Read([]byte("grants: [{principal: a, role: reader, log: doors, until: 2020-01-31}]"))
	if err != nil {
		t.Fatal(err)
	}
	if plan, err := apply.Make(f, there(), false, now); err != nil || len(plan.Changes) != 0 {
		t.Errorf("%v, %v", plan.Changes, err)
	}
}

func more(s *client.State) {
	s.Logs = append(s.Logs, client.RecordedLog{Name: "old"})
	s.Issuers = append(s.Issuers, client.Issuer{Name: "old"})
	s.Grants = append(s.Grants, client.Grant{ID: "dddddddddd", Principal: "eve", Role: "reader", Log: "doors", Source: "x"})
	s.Limits = append(s.Limits, client.Limit{Principal: "eve", Events: 1})
}

func TestFilesThatCannotBeAreRefused(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"grant: []":                   "field grant not found",
		"grants:\n  - {principle: x}": "line 2",
		"grants: {}":                  "line 1",
		"grants:\n  - {until: soon}":  "grant 1: until",
		"grants:\n  - {principal: a, role: reader, log: x, filter: \"type:\"}": "grant 1: this cannot be: filter",
		"a: b: c": "yaml:",
		"grants:\n  - {principal: a, role: owner, log: x}":             "grant 1: this cannot be: there is no role",
		"grants:\n  - {role: reader, log: x}":                          "grant 1",
		"grants:\n  - &g {principal: a, role: reader, log: x}\n  - *g": "grant 2: it is there before",
		"logs:\n  - {name: a, public: some}":                           "log 1, a",
		"logs: [{name: a}, {name: a}]":                                 "log 2: there is a log a before",
		"limits: [{principal: a}]":                                     "limit 1",
		"limits: [{principal: a, logs: 1}, {principal: a, logs: 2}]":   "limit 2",
		"issuers: [{name: a, url: \"http://a.example\", audience: a}]": "issuer 1",
		"logs: []\n---\nlogs: []":                                      "more than one document",
	} {
		if _, err := apply.Read([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if _, err := apply.Read(nil); err != nil {
		t.Errorf("an empty file: %v", err)
	}
}
