package policy_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/cosignature"
	"github.com/stele-log/stele/pkg/policy"
)

func TestParseAcceptsGoodPolicies(t *testing.T) {
	t.Parallel()
	for name, text := range vectors(t, "good") {
		t.Run(name, func(t *testing.T) {
			p, err := policy.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			again, err := policy.Parse([]byte(p.String()))
			if err != nil || again.String() != p.String() {
				t.Errorf("printed, it is %q (%v)", p, err)
			}
		})
	}
}

func TestParseRefusesBadPolicies(t *testing.T) {
	t.Parallel()
	reasons := map[string]string{
		"control-character.txt":      `line 2: it ends in CR LF`,
		"delete-character.txt":       `line 1: control character '\x7f'`,
		"empty.txt":                  "no quorum line",
		"group-defined-twice.txt":    `line 4: the name "g" is taken`,
		"group-empty.txt":            `line 2: want "group`,
		"group-named-none.txt":       `line 2: the name "none" is reserved`,
		"group-of-itself.txt":        `line 2: group "g": member "g" is not defined above`,
		"group-takes-witness.txt":    `line 2: the name "w1" is taken`,
		"log-of-witness.txt":         "line 1: log: verifier key",
		"log-twice.txt":              "line 2: log \"log.example/one\" has the same public key",
		"log-two-origins.txt":        "has the same public key as log \"log.example/one\"",
		"log-without-key.txt":        `line 1: want "log`,
		"member-forward.txt":         `line 1: group "g": member "w1" is not defined above`,
		"member-in-two-groups.txt":   `line 4: group "h": "w1" is a member of group "g" already`,
		"member-none.txt":            `line 2: group "g": member "none" is not defined above`,
		"member-twice.txt":           `line 2: group "g": "w1" is a member of group "g" already`,
		"not-ended.txt":              "line 2: not ended by a line feed",
		"quorum-forward.txt":         `line 1: quorum "w1" is not defined above`,
		"quorum-missing.txt":         "no quorum line",
		"quorum-of-log.txt":          `line 2: quorum "log.example/one" is not defined above`,
		"quorum-twice.txt":           "line 2: a second quorum line",
		"quorum-two-names.txt":       `line 3: want "quorum <name>"`,
		"threshold-leading-zero.txt": `line 2: group "g": threshold "01"`,
		"threshold-plus.txt":         `line 2: group "g": threshold "+1"`,
		"threshold-too-large.txt":    `line 2: group "g": threshold "2": want all, any or a number from 1 to 1`,
		"threshold-zero.txt":         `line 2: group "g": threshold "0"`,
		"too-many-items.txt":         `line 1: want "witness`,
		"trailing-comment.txt":       `line 1: want "quorum <name>"`,
		"unicode-space.txt":          "line 1: unknown keyword",
		"unknown-keyword.txt":        "line 1: unknown keyword",
		"witness-of-log.txt":         "line 1: witness \"w1\": verifier key",
		"witness-two-names.txt":      `line 2: witness "w2" has the same public key as witness "w1"`,
		"witness-two-vkeys.txt":      `line 2: witness "w2" has the same public key as witness "w1"`,
		"witness-defined-twice.txt":  `line 2: the name "w1" is taken`,
		"witness-wrong-id.txt":       "line 1: witness \"w1\": verifier key",
	}
	files := vectors(t, "bad")
	for name, want := range reasons {
		t.Run(name, func(t *testing.T) {
			text, ok := files[name]
			if !ok {
				t.Fatal("there is no such vector")
			}
			_, err := policy.Parse(text)
			wantError(t, err, want)
		})
	}
	if len(files) != len(reasons) {
		t.Errorf("%d vectors, but reasons for %d", len(files), len(reasons))
	}
}

func TestParseReadsLogsAndWitnesses(t *testing.T) {
	t.Parallel()
	l1, l2 := logKey(t, origin, 1), cosigner(t, cosignature.MLDSA44, origin, 2)
	w1, w2 := witness(t, 1), cosigner(t, cosignature.MLDSA44, "w2.example", 3)
	p := parse(t,
		"log "+l1.vkey+" https://log.example/one/",
		"  \tlog\t"+l2.vkey+" ",
		"# a comment", "  # another", "",
		"witness A+\xff "+w1.vkey+" https://w1.example/",
		"witness B "+w2.vkey,
		"quorum none")
	logs := []policy.Log{{Origin: origin, VKey: l1.vkey, URL: "https://log.example/one/"}, {Origin: origin, VKey: l2.vkey}}
	if !slices.Equal(p.Logs(), logs) {
		t.Errorf("logs are %+v", p.Logs())
	}
	witnesses := []policy.Witness{{Name: "A+\xff", VKey: w1.vkey, URL: "https://w1.example/"}, {Name: "B", VKey: w2.vkey}}
	if !slices.Equal(p.Witnesses(), witnesses) {
		t.Errorf("witnesses are %+v", p.Witnesses())
	}
}

func TestParseHoldsItsLimits(t *testing.T) {
	t.Parallel()
	build := func(n int) []byte {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "log %s\n", logKey(t, fmt.Sprintf("log%d.example", i), 1000+i).vkey)
			fmt.Fprintf(&b, "witness w%d %s\n", i, cosigner(t, cosignature.Ed25519, "w", 2000+i).vkey)
			fmt.Fprintf(&b, "group g%d any w%d\n", i, i)
		}
		return []byte(b.String() + "quorum none\n")
	}
	if _, err := policy.Parse(build(256)); err != nil {
		t.Error(err)
	}
	_, err := policy.Parse(build(257))
	wantError(t, err, "more than 256 logs")
	const quorum = "quorum none\n"
	comment := "#" + strings.Repeat("x", 1<<20-len("#\n"+quorum)) + "\n"
	if _, err := policy.Parse([]byte(comment + quorum)); err != nil {
		t.Error(err)
	}
	_, err = policy.Parse([]byte(comment + quorum + "\n"))
	wantError(t, err, "want at most 1048576")
}

// Of some hundred thousand keys with one name, two have the same ID of 32 bits.
func TestParseRefusesKeysThatCannotBeToldApart(t *testing.T) {
	t.Parallel()
	seed := func(n uint32) io.Reader {
		return bytes.NewReader(append(binary.BigEndian.AppendUint32(nil, n), make([]byte, 28)...))
	}
	var logs, witnesses string
	for _, n := range []uint32{68694, 103129} {
		_, vkey, err := checkpoint.GenerateKey(seed(n), origin)
		if err != nil {
			t.Fatal(err)
		}
		logs += "log " + vkey + "\n"
	}
	for _, n := range []uint32{37947, 77777} {
		_, vkey, err := cosignature.GenerateKey(seed(n), cosignature.Ed25519, "w.example")
		if err != nil {
			t.Fatal(err)
		}
		witnesses += fmt.Sprintf("witness w%d %s\n", n, vkey)
	}
	_, err := policy.Parse([]byte(logs + "quorum none\n"))
	wantError(t, err, `line 2: two keys of log "log.example/one" have the same ID, 084b6eba`)
	_, err = policy.Parse([]byte(witnesses + "quorum none\n"))
	wantError(t, err, `line 2: the keys of witnesses "w77777" and "w37947" have the same name and ID`)
}

func TestParseRefusesAControlCharacterAtTheStartOfALine(t *testing.T) {
	t.Parallel()
	_, err := policy.Parse([]byte("\x01quorum none\n"))
	wantError(t, err, `line 1: control character '\x01'`)
}

func FuzzParse(f *testing.F) {
	for _, folder := range []string{"good", "bad"} {
		for _, text := range vectors(f, folder) {
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := policy.Parse(text)
		if err != nil {
			return
		}
		again, err := policy.Parse([]byte(p.String()))
		if err != nil || again.String() != p.String() {
			t.Fatalf("%q prints as %q, which parses as %q (%v)", text, p, again, err)
		}
	})
}
