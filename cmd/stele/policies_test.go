package main_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stele-log/stele/internal/test/witnesstest"
	"github.com/stele-log/stele/pkg/client"
)

// writePolicy has stele write a policy that asks for all of some witnesses.
func (c *cosigned) writePolicy(t *testing.T, name string, witnesses ...*witnesstest.Witness) string {
	t.Helper()
	file := filepath.Join(c.dir, name)
	args := []string{"witness", "policy", "--quorum", "2", "--key", c.vkey, "-o", file}
	for i, w := range witnesses {
		key := w.VKeys[0]
		if i == 0 {
			key = putFile(t, file+".vkey", key+"\n")
		}
		args = append(args, string(rune('a'+i))+"="+key+"@"+w.URL)
	}
	run(t, 0, args...)
	return file
}

// TestPoliciesChangeOverTime has a log that begins without witnesses, gets two, and then
// gets another in the place of one.
func TestPoliciesChangeOverTime(t *testing.T) {
	t.Parallel()
	c := newCosigned(t)
	keyOnly := putFile(t, filepath.Join(c.dir, "key-only.txt"), "log "+c.vkey+"\nquorum none\n")
	first := c.writePolicy(t, "first.txt", c.w[0], c.w[1])
	second := c.writePolicy(t, "second.txt", c.w[1], c.w[2])

	// counts returns the checkpoints of the history, those from before the policies, and
	// whether the log is whole.
	type counted struct {
		History uint64
		Before  uint64 `json:"before_policy"`
		Unmet   uint64
	}
	check := func(s *served, policies ...string) (n counted) {
		t.Helper()
		args := []string{"check", s.url + "/logs/default", "--json"}
		for _, p := range policies {
			args = append(args, "--policy", p)
		}
		out, _ := run(t, 0, args...)
		if err := json.Unmarshal([]byte(out), &n); err != nil || n.Unmet > 0 {
			t.Fatalf("check prints %s, %v", out, err)
		}
		return n
	}
	grow := func(args ...string) *served {
		s := c.serve(t, args...)
		for range 3 {
			if _, err := newClient(t, s).WithReceipts().Append(t.Context(), client.Event{Type: "hello"}); err != nil {
				t.Fatal(err)
			}
		}
		return s
	}
	s := grow()
	alone := check(s, keyOnly)
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	s = grow("--witness-policy", first)
	witnessed := check(s, first)
	if witnessed.Before < alone.History || witnessed.History <= witnessed.Before {
		t.Errorf("under the first policy %+v, before there were %+v", witnessed, alone)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	s = grow("--witness-policy", second)

	for _, test := range []struct {
		policies []string
		before   uint64
	}{
		{[]string{second}, witnessed.History},
		{[]string{first, second}, witnessed.Before},
		{[]string{keyOnly, first, second}, 0},
		{[]string{keyOnly, second}, 0},
	} {
		if n := check(s, test.policies...); n.Before != test.before || n.History <= witnessed.History {
			t.Errorf("under %q %+v, want %d from before", test.policies, n, test.before)
		}
	}
	out, _ := run(t, 0, "check", s.url+"/logs/default", "--policy", second)
	wantParts(t, out, "whole*of them are from before the policy")
	_, stderr := run(t, 1, "check", s.url+"/logs/default", "--policy", second, "--policy", first)
	wantParts(t, stderr, `NOT whole*quorum "witnesses" is not met: 1 of 2*missing: a`)

	heads := filepath.Join(c.dir, "all.heads")
	out, _ = run(t, 0, "export", "heads", s.url+"/logs/default", "--policy", first, "--policy", second, "-o", heads)
	wantParts(t, out, "written*from before it")
	run(t, 0, "verify", "heads", heads, "--policy", first, "--policy", second)
	out, _ = run(t, 0, "verify", "heads", heads, "--policy", second)
	wantParts(t, out, "verified*of them are from before the policy")
	_, stderr = run(t, 1, "verify", "heads", heads, "--policy", second, "--policy", first)
	wantParts(t, stderr, "NOT verified")

	receipt, entry := receiptOf(t, s, "0")
	run(t, 0, "verify", "receipt", receipt, "--event", entry, "--policy", first, "--policy", second)
	run(t, 1, "verify", "receipt", receipt, "--event", entry, "--policy", first)
	_, stderr = run(t, 2, "audit", s.url+"/logs/default", "--once", "--state", t.TempDir(), "--policy", first, "--policy", second)
	wantParts(t, stderr, "give one --policy")
}

func TestWitnessPolicyWritesAPolicy(t *testing.T) {
	t.Parallel()
	c := newCosigned(t)
	a, b := "a="+c.w[0].VKeys[0]+"@https://a.example/w", "b="+c.w[1].VKeys[0]
	out, _ := run(t, 0, "witness", "policy", a, b, "--quorum", "1")
	want := "witness a " + c.w[0].VKeys[0] + " https://a.example/w\nwitness b " + c.w[1].VKeys[0] +
		"\ngroup witnesses 1 a b\nquorum witnesses\n"
	if out != want {
		t.Errorf("it prints\n%swant\n%s", out, want)
	}
	file := filepath.Join(t.TempDir(), "policy.txt")
	run(t, 0, "witness", "policy", a, b, "--quorum", "2", "--key", c.vkey, "-o", file)
	if text, err := os.ReadFile(file); err != nil || !strings.HasPrefix(string(text), "log "+c.vkey+"\nwitness a ") {
		t.Errorf("the file has %q, %v", text, err)
	}
	for _, test := range []struct {
		status int
		args   []string
		says   string
	}{
		{2, []string{a, b}, `required flag(s) "quorum" not set`},
		{2, []string{"--quorum", "1"}, "requires at least 1 arg"},
		{1, []string{a, b, "--quorum", "3"}, "want all, any or a number from 1 to 2"},
		{1, []string{a, a, "--quorum", "1"}, "is taken already"},
		{1, []string{"w", "--quorum", "1"}, "want NAME=VKEY@URL"},
		{1, []string{"w=nothing", "--quorum", "1"}, "neither a verifier key"},
		{1, []string{"w=" + c.vkey, "--quorum", "1"}, "witness"},
	} {
		_, stderr := run(t, test.status, append([]string{"witness", "policy"}, test.args...)...)
		wantParts(t, stderr, test.says)
	}
}
