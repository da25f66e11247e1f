package policy_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"

	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/cosignature"
	"github.com/stele-log/stele/pkg/policy"
)

func TestCheckSaysWhoSigned(t *testing.T) {
	t.Parallel()
	ed, ml := logKey(t, origin, 1), cosigner(t, cosignature.MLDSA44, origin, 2)
	w1, w2, w3 := witness(t, 1), cosigner(t, cosignature.MLDSA44, "w2.example", 3), witness(t, 3)
	p := parse(t, "log "+ml.vkey, "log "+ed.vkey,
		"witness A "+w1.vkey, "witness B "+w2.vkey, "witness C "+w3.vkey, "group g 2 A B C", "quorum g")
	msg := sign(t, ed, ml, w2, w1)
	r, err := p.Check(msg)
	if err != nil {
		t.Fatal(err)
	}
	if r.Origin != origin || r.Size != 7 {
		t.Errorf("checkpoint is %+v", r.Checkpoint)
	}
	if want := []policy.Log{{Origin: origin, VKey: ml.vkey}, {Origin: origin, VKey: ed.vkey}}; !slices.Equal(r.Logs, want) {
		t.Errorf("signed by %+v", r.Logs)
	}
	want := []policy.Cosignature{
		{Witness: policy.Witness{Name: "A", VKey: w1.vkey}, Time: clock()},
		{Witness: policy.Witness{Name: "B", VKey: w2.vkey}, Time: clock()},
	}
	if !slices.Equal(r.Cosignatures, want) {
		t.Errorf("cosigned by %+v, want %+v", r.Cosignatures, want)
	}
}

func TestCheckQuorum(t *testing.T) {
	t.Parallel()
	l := logKey(t, origin, 1)
	var witnesses []key
	lines := []string{"log " + l.vkey}
	for n := range 6 {
		witnesses = append(witnesses, witness(t, n))
		lines = append(lines, fmt.Sprintf("witness %d %s", n, witnesses[n].vkey))
	}
	groups := []string{"group x 2 0 1 2", "group y any 3 4", "group z all x y", "group all all z 5"}
	tests := []struct {
		quorum string
		signed []int
		met    bool
	}{
		{"none", nil, true},
		{"0", nil, false},
		{"0", []int{1, 2, 3, 4, 5}, false},
		{"0", []int{0}, true},
		{"x", []int{0}, false},
		{"x", []int{2, 1}, true},
		{"y", []int{4}, true},
		{"z", []int{0, 1}, false},
		{"z", []int{3, 4, 0}, false},
		{"z", []int{3, 1, 0}, true},
		{"all", []int{0, 1, 3}, false},
		{"all", []int{0, 1, 3, 5}, true},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.quorum, tt.signed), func(t *testing.T) {
			t.Parallel()
			p := parse(t, slices.Concat(lines, groups, []string{"quorum " + tt.quorum})...)
			signers := []note.Signer{l}
			var names []string
			for _, n := range tt.signed {
				signers, names = append(signers, witnesses[n]), append(names, fmt.Sprint(n))
			}
			if p.MetBy(names...) != tt.met {
				t.Errorf("met by their names: %t", !tt.met)
			}
			_, err := p.Check(sign(t, signers...))
			var quorum *policy.QuorumError
			if (err == nil) != tt.met || err != nil && !errors.As(err, &quorum) {
				t.Fatalf("met: %t, error %v", tt.met, err)
			}
			if quorum != nil && (len(quorum.Signed) != len(tt.signed) || len(quorum.Signed)+len(quorum.Missing) != 6) {
				t.Errorf("signed %v, missing %v", quorum.Signed, quorum.Missing)
			}
		})
	}
}

func TestQuorumErrorNamesTheMissing(t *testing.T) {
	t.Parallel()
	l, w1 := logKey(t, origin, 1), witness(t, 1)
	p := parse(t, "log "+l.vkey, "witness A "+w1.vkey, "witness B "+witness(t, 2).vkey, "group g all A B", "quorum g")
	_, err := p.Check(sign(t, l, w1))
	wantError(t, err, `quorum "g" is not met: 1 of 2 witnesses have signed, missing: B`)
}

func TestCheckRefuses(t *testing.T) {
	t.Parallel()
	l, other := logKey(t, origin, 1), logKey(t, "log.example/two", 2)
	stranger, w1 := logKey(t, origin, 3), witness(t, 1)
	p := parse(t, "log "+l.vkey, "log "+other.vkey, "witness A "+w1.vkey, "quorum A")
	good := sign(t, l, w1)
	i := bytes.LastIndexByte(good, ' ') + 1
	b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(good[i:])))
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-1] ^= 1
	garbage := append(bytes.Clone(good[:i]), base64.StdEncoding.EncodeToString(b)+"\n"...)
	late := bytes.Clone(b)
	late[4] = 0xff
	tests := []struct {
		name, want string
		msg        []byte
	}{
		{"nothing", "this is not a checkpoint", nil},
		{"unknown origin", "this is the log log.example/six", bytes.Replace(good, []byte("one"), []byte("six"), 1)},
		{"signed by a stranger", "no valid signature of the log", sign(t, stranger, w1)},
		{"signed by the witness alone", "no valid signature of the log", sign(t, w1)},
		{"signed by another log of the policy", "no valid signature of the log", sign(t, other, w1)},
		{"garbage for a witness", "invalid signature for key w1.example", garbage},
		{"a time beyond the limit", "invalid signature for key w1.example",
			append(bytes.Clone(good[:i]), base64.StdEncoding.EncodeToString(late)+"\n"...)},
		{"good and garbage for a witness", "two signatures by the key",
			append(bytes.Clone(good), garbage[bytes.LastIndex(garbage, []byte("— w1")):]...)},
		{"cosignature of another checkpoint", "invalid signature for key w1.example", crossed(t, l, w1)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := p.Check(tt.msg)
			wantError(t, err, tt.want)
		})
	}
	if _, err := p.Check(good); err != nil {
		t.Error(err)
	}
}

// crossed returns a checkpoint with the cosignature of another size.
func crossed(t *testing.T, l, w key) []byte {
	t.Helper()
	msg := sign(t, l)
	text, _, _ := strings.Cut(string(msg), "\n\n")
	other, err := note.Sign(&note.Note{Text: strings.Replace(text, "7", "8", 1) + "\n"}, w)
	if err != nil {
		t.Fatal(err)
	}
	return append(msg, other[bytes.LastIndex(other, []byte("— ")):]...)
}

// A key that the policy knows as a witness does not sign for the log, even if
// it has the log's name.
func TestWitnessNamedAsTheLogDoesNotSignForIt(t *testing.T) {
	t.Parallel()
	l, w := logKey(t, origin, 1), cosigner(t, cosignature.MLDSA44, origin, 2)
	p := parse(t, "log "+l.vkey, "witness A "+w.vkey, "quorum A")
	_, err := p.Check(sign(t, w))
	if !errors.Is(err, checkpoint.ErrSignature) {
		t.Errorf("the error is %v", err)
	}
	if _, err := p.Check(sign(t, l, w)); err != nil {
		t.Error(err)
	}
}

// A key that is both signs once and counts as both: the policy says so.
func TestKeyThatIsLogAndWitness(t *testing.T) {
	t.Parallel()
	k := cosigner(t, cosignature.MLDSA44, origin, 2)
	p := parse(t, "log "+k.vkey, "witness A "+k.vkey, "quorum A")
	r, err := p.Check(sign(t, k))
	if err != nil || len(r.Logs) != 1 || len(r.Cosignatures) != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestForLogAndWithLogs(t *testing.T) {
	t.Parallel()
	l, other, w := logKey(t, origin, 1), logKey(t, "log.example/two", 2), witness(t, 1)
	p, err := policy.ForLog(l.vkey)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := p.Check(sign(t, l, w)); err != nil || len(r.Cosignatures) != 0 {
		t.Errorf("%+v, %v", r, err)
	}

	p = parse(t, "log "+other.vkey, "witness A "+w.vkey, "quorum A")
	narrowed, err := p.WithLogs(l.vkey)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := narrowed.Check(sign(t, l, w)); err != nil {
		t.Error(err)
	}
	var quorum *policy.QuorumError
	if _, err := narrowed.Check(sign(t, l)); !errors.As(err, &quorum) {
		t.Errorf("without the witness the error is %v", err)
	}
	if len(p.Logs()) != 1 || p.Logs()[0].VKey != other.vkey {
		t.Errorf("the policy has changed: %+v", p.Logs())
	}

	_, err = policy.ForLog(l.vkey, l.vkey)
	wantError(t, err, "same public key")
	_, err = policy.ForLog(w.vkey)
	wantError(t, err, "do not sign for a log")
	none, err := policy.ForLog()
	if err != nil {
		t.Fatal(err)
	}
	_, err = none.Check(sign(t, l))
	wantError(t, err, "no key of a log was given")
}

// Random policies over Ed25519 keys mean the same to torchwood.
func TestCheckAgreesWithTorchwood(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	l := logKey(t, origin, 1)
	var witnesses []key
	for n := range 8 {
		witnesses = append(witnesses, witness(t, n))
	}
	met := 0
	for range 300 {
		text := randomPolicy(rng, l, witnesses)
		ours, err := policy.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := torchwood.ParsePolicy([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		signers := []note.Signer{l}
		for _, w := range witnesses {
			if rng.IntN(2) == 0 {
				signers = append(signers, w)
			}
		}
		msg := sign(t, signers...)
		_, ourErr := ours.Check(msg)
		_, _, theirErr := torchwood.VerifyCheckpoint(msg, theirs)
		if (ourErr == nil) != (theirErr == nil) {
			t.Fatalf("%s\nwe say %v, torchwood says %v", text, ourErr, theirErr)
		}
		if ourErr == nil {
			met++
		}
	}
	if met < 50 || met > 250 {
		t.Errorf("%d of 300 quorums are met: the test says little", met)
	}
}

// randomPolicy groups witnesses, and groups, until one group has all.
func randomPolicy(rng *rand.Rand, l key, witnesses []key) string {
	var b strings.Builder
	fmt.Fprintf(&b, "log %s\n", l.vkey)
	var free []string
	for n, w := range witnesses {
		free = append(free, fmt.Sprintf("w%d", n))
		fmt.Fprintf(&b, "witness w%d %s\n", n, w.vkey)
	}
	for g := 0; len(free) > 1; g++ {
		rng.Shuffle(len(free), func(i, j int) { free[i], free[j] = free[j], free[i] })
		n := 1 + rng.IntN(len(free))
		k := []string{"any", "all", fmt.Sprint(1 + rng.IntN(n))}[rng.IntN(3)]
		fmt.Fprintf(&b, "group g%d %s %s\n", g, k, strings.Join(free[:n], " "))
		free = append(free[n:], fmt.Sprintf("g%d", g))
		if g > 20 {
			break
		}
	}
	fmt.Fprintf(&b, "quorum %s\n", free[len(free)-1])
	return b.String()
}

func BenchmarkCheck(b *testing.B) {
	l, w1, w2 := logKey(b, origin, 1), witness(b, 1), witness(b, 2)
	p := parse(b, "log "+l.vkey, "witness A "+w1.vkey, "witness B "+w2.vkey, "group g all A B", "quorum g")
	msg := sign(b, l, w1, w2)
	for b.Loop() {
		if _, err := p.Check(msg); err != nil {
			b.Fatal(err)
		}
	}
}
