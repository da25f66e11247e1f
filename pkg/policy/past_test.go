package policy_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/stele-log/stele/pkg/policy"
	"github.com/stele-log/stele/pkg/tile"
)

// TestPastIsJudgedByThePolicyOfItsTime writes a history as words: each is a checkpoint
// with the witnesses that have cosigned it, or - for none.
func TestPastIsJudgedByThePolicyOfItsTime(t *testing.T) {
	t.Parallel()
	l := logKey(t, origin, 1)
	signers := map[rune]note.Signer{}
	var lines []string
	for i, name := range "abcd" {
		w := witness(t, i)
		signers[name] = w
		lines = append(lines, fmt.Sprintf("witness %c %s", name, w.vkey))
	}
	// A policy is the witnesses that it asks for, all of them, or - for none.
	policyOf := func(names string) *policy.Policy {
		all := append([]string{"log " + l.vkey}, lines...)
		if names == "-" {
			return parse(t, append(all, "quorum none")...)
		}
		return parse(t, append(all, "group g all "+strings.Join(strings.Split(names, ""), " "), "quorum g")...)
	}
	for _, test := range []struct {
		policies, history string
		refused           int // index of the checkpoint that is refused, or -1
		before, unmet     uint64
	}{
		{"ab", "ab ab", -1, 0, 0},
		{"ab", "- a ab ab", -1, 2, 0},
		{"ab", "- ab - a ab", -1, 1, 2},
		{"ab", "- -", -1, 2, 0},
		{"-", "- ab -", -1, 0, 0},
		{"ab bc", "ab ab bc bc", -1, 0, 0},
		{"ab bc", "- ab bc", -1, 1, 0},
		{"ab bc", "abc ab bc", -1, 0, 0}, // the first meets both, and does not end the first policy
		{"ab bc", "ab - bc", 1, 0, 0},
		{"ab bc", "ab bc ab", 2, 0, 0},
		{"ab bc", "bc ab", 1, 0, 0},
		{"ab bc cd", "ab cd", -1, 0, 0},
		{"ab bc cd", "- - cd cd", -1, 2, 0},
		{"- ab", "- - ab", -1, 0, 0},
	} {
		var policies []*policy.Policy
		for names := range strings.FieldsSeq(test.policies) {
			policies = append(policies, policyOf(names))
		}
		past := policy.NewPast(policies...)
		refused := -1
		for i, names := range strings.Fields(test.history) {
			by := []note.Signer{l}
			for _, name := range strings.Trim(names, "-") {
				by = append(by, signers[name])
			}
			r, met, err := past.Check(sign(t, by...))
			if err != nil {
				refused = i
				break
			}
			if len(r.Logs) != 1 || len(r.Cosignatures) != len(by)-1 {
				t.Errorf("%s of %q: checkpoint %d is %+v", test.policies, test.history, i, r)
			}
			if r, err := policies[len(policies)-1].Check(sign(t, by...)); err == nil && !met {
				t.Errorf("%s of %q: checkpoint %d meets no policy, and the newest trusts %v", test.policies, test.history, i, r)
			}
		}
		if refused != test.refused || refused < 0 && (past.Before != test.before || past.Unmet != test.unmet) {
			t.Errorf("%s of %q: %d is refused, %d are from before, %d unmet; want %+v",
				test.policies, test.history, refused, past.Before, past.Unmet, test)
		}
	}
}

func TestPastTrustsNoStranger(t *testing.T) {
	t.Parallel()
	l, stranger, w := logKey(t, origin, 1), logKey(t, origin, 2), witness(t, 1)
	old := parse(t, "log "+l.vkey, "witness A "+w.vkey, "quorum A")
	good := sign(t, l, w)
	broken := append(good[:len(good)-6:len(good)-6], "AAAA=\n"...)
	for name, msg := range map[string][]byte{
		"another key":             sign(t, stranger, w),
		"the witness alone":       sign(t, w),
		"a broken cosignature":    broken,
		"another log":             []byte(strings.Replace(string(good), origin, origin+"x", 1)),
		"what is no checkpoint":   []byte("nothing\n\n"),
		"what has no signatures":  good[:strings.Index(string(good), "\n\n")+2],
		"what has no empty line ": []byte(origin + "\n"),
	} {
		for _, policies := range [][]*policy.Policy{{old}, {old, parse(t, "log "+l.vkey, "quorum none")}} {
			if _, _, err := policy.NewPast(policies...).Check(msg); err == nil {
				t.Errorf("%d policies trust %s", len(policies), name)
			}
		}
	}
}

// TestAnotherLogShowsNothing: an error about another log is not one about the log meant.
func TestAnotherLogShowsNothing(t *testing.T) {
	t.Parallel()
	one, other := logKey(t, origin, 1), logKey(t, "log.example/two", 2)
	p := parse(t, "log "+other.vkey, "quorum none")
	for _, test := range []struct {
		name      string
		msg       []byte
		says      string
		unchecked bool
	}{
		{"another log", sign(t, one), "this is the log " + origin + "; the keys that were given are for log.example/two", true},
		{"a web page", []byte("<html>secret</html>\n\n"), "this is not a checkpoint, of the log log.example/two or any other", false},
		{"nothing", nil, "this is not a checkpoint", false},
	} {
		_, err := p.Check(test.msg)
		wantError(t, err, test.says)
		if errors.Is(err, tile.ErrUnchecked) != test.unchecked || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error is %v", test.name, err)
		}
	}
	own := parse(t, "log "+one.vkey, "quorum none")
	if _, err := own.Check(sign(t, logKey(t, origin, 3))); err == nil || errors.Is(err, tile.ErrUnchecked) {
		t.Errorf("of a stranger with the log's name the error is %v", err)
	}
}

func TestPolicyWithoutWitnessesLooksAtNoCosignature(t *testing.T) {
	t.Parallel()
	l, w := logKey(t, origin, 1), witness(t, 1)
	p := parse(t, "log "+l.vkey, "witness A "+w.vkey, "quorum A").WithoutWitnesses()
	for _, msg := range [][]byte{sign(t, l), sign(t, l, w)} {
		if r, err := p.Check(msg); err != nil || len(r.Logs) != 1 || len(r.Cosignatures) != 0 {
			t.Errorf("%+v, %v", r, err)
		}
	}
	if len(p.Logs()) != 1 || len(p.Witnesses()) != 0 {
		t.Errorf("it is\n%s", p)
	}
}
