package heads_test

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/cosignature"
	"github.com/stele-log/stele/pkg/heads"
	"github.com/stele-log/stele/pkg/policy"
	"github.com/stele-log/stele/pkg/tile"
)

// copyArchive reads an archive and writes it again.
func copyArchive(text []byte) ([]byte, error) {
	r, err := heads.NewReader(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w, err := heads.NewWriter(&b, r.Policy())
	if err != nil {
		return nil, err
	}
	for {
		c, err := r.Next()
		if err == io.EOF {
			err := w.Close()
			return b.Bytes(), err
		}
		if err != nil {
			return nil, err
		}
		if err := w.Add(c); err != nil {
			return nil, err
		}
	}
}

func TestGoodArchives(t *testing.T) {
	t.Parallel()
	counts := map[string]uint64{"growing.txt": 6, "from-the-empty-tree.txt": 4, "one.txt": 1, "none.txt": 0,
		"key-only.txt": 2, "mldsa.txt": 2}
	files := vectors(t, "good")
	if got, want := slices.Sorted(maps.Keys(files)), slices.Sorted(maps.Keys(counts)); !slices.Equal(got, want) {
		t.Fatalf("testdata/good has %q, want %q", got, want)
	}
	p := parse(t, string(vectors(t, "policy")["one-of-two.txt"]))
	for name, text := range files {
		report, err := heads.Verify(bytes.NewReader(text), p)
		if err != nil || report.Count != counts[name] {
			t.Errorf("%s: %d checkpoints, %v", name, report.Count, err)
		}
		if printed, err := copyArchive(text); err != nil || !bytes.Equal(printed, text) {
			t.Errorf("%s: not the same when printed again: %v", name, err)
		}
	}
}

func TestBadArchives(t *testing.T) {
	t.Parallel()
	want := map[string]string{
		"after-the-end":                  "cut short",
		"another-version":                "is this an archive of heads?",
		"checkpoint-left-out":            "checkpoint 18: it follows checkpoint 16",
		"checkpoint-left-out-renumbered": "not consistent with checkpoint 16",
		"crlf":                           "line ends are CR LF",
		"cut-short":                      "cut short",
		"empty":                          "cut short",
		"end-counts-less":                "cut short",
		"end-leading-zero":               "cut short",
		"end-not-ended":                  "cut short",
		"extra-empty-line":               "want the word checkpoint",
		"header-unknown-line":            "want the word policy",
		"line-after-the-end":             "cut short",
		"no-end":                         "cut short",
		"no-policy":                      "no quorum line",
		"no-signatures":                  "signature lines",
		"not-a-signature":                "signature lines",
		"number-gap":                     "checkpoint 18: it follows checkpoint 16",
		"number-leading-zero":            "without leading zeros",
		"number-too-large":               "want the word checkpoint, a number",
		"order-changed":                  "it is the first, and has a proof",
		"policy-comment":                 "the policy is not in its canonical spelling",
		"policy-spaces":                  "the policy is not in its canonical spelling",
		"policy-twice":                   "second quorum line",
		"proof-in-the-first":             "it is the first, and has a proof",
		"proof-missing":                  "not consistent with checkpoint 16",
		"proof-not-canonical":            "not 32 bytes in standard base64",
		"proof-too-long":                 "hashes in its proof, want at most 63",
		"proof-wrong":                    "not consistent with checkpoint 16",
		"signature-changed":              "invalid signature",
		"size-changed":                   "invalid signature",
		"size-leading-zero":              "without leading zeros",
		"time-comma":                     "canonical spelling",
		"time-not-utc":                   "is not like",
		"time-trailing-space":            "is not like",
		"time-without-fraction":          "is not like",
	}
	files := vectors(t, "bad")
	p := parse(t, string(vectors(t, "policy")["one-of-two.txt"]))
	for name, text := range files {
		says, ok := want[strings.TrimSuffix(name, ".txt")]
		if !ok {
			t.Errorf("%s: no error is expected of it", name)
			continue
		}
		delete(want, strings.TrimSuffix(name, ".txt"))
		_, err := heads.Verify(bytes.NewReader(text), p)
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: the error is %v, want one with %q", name, err, says)
		}
	}
	for name := range want {
		t.Errorf("testdata/bad/%s.txt is missing", name)
	}
}

func TestTrustComesFromThePolicyGiven(t *testing.T) {
	t.Parallel()
	s := newSigned(t)
	_, other, err := checkpoint.GenerateKey(seed(9), origin)
	if err != nil {
		t.Fatal(err)
	}
	_, otherWitness, err := cosignature.GenerateKey(seed(9), cosignature.Ed25519, "w0.example")
	if err != nil {
		t.Fatal(err)
	}
	keyOnly, err := policy.ForLog(s.vkey)
	if err != nil {
		t.Fatal(err)
	}
	witnessed := s.archive(t, s.policy(t), 4, 10, 20)
	s.witnesses = nil
	alone := s.archive(t, keyOnly, 4, 10, 20)
	cases := []struct {
		name    string
		archive []byte
		policy  *policy.Policy
		want    string // error; empty for none
	}{
		{"the same policy", witnessed, s.policy(t), ""},
		{"less than the archive's", witnessed, keyOnly, ""},
		{"more than the archive's, and not met", alone, s.policy(t), `quorum "one" is not met`},
		{"another key", alone, parse(t, "log "+other+"\nquorum none\n"), "its key for " + origin},
		{"one more key of the log", alone, parse(t, "log "+s.vkey+"\nlog "+other+"\nquorum none\n"), "its key for " + origin},
		{"another witness's key", witnessed, parse(t, "log "+s.vkey+"\nwitness w "+otherWitness+"\nquorum none\n"), "its key for w0.example"},
		{"a witness that the archive does not know", alone, parse(t, "log "+s.vkey+"\nwitness w "+otherWitness+"\nquorum none\n"), ""},
	}
	for _, c := range cases {
		_, err := heads.Verify(bytes.NewReader(c.archive), c.policy)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: the error is %v, want %q", c.name, err, c.want)
		}
	}
}

func TestVerifySaysWhatItHasProven(t *testing.T) {
	t.Parallel()
	s := newSigned(t)
	report, err := heads.Verify(bytes.NewReader(s.archive(t, s.policy(t), 4, 10, 20, 20)), s.policy(t))
	if err != nil {
		t.Fatal(err)
	}
	first := clock().Truncate(time.Second)
	if want := []heads.Witness{{"w0", 3, first, first}, {"w1", 3, first, first}}; !slices.EqualFunc(report.Witnesses, want, sameWitness) {
		t.Errorf("the witnesses are %+v, want %+v", report.Witnesses, want)
	}
	if report.Count != 3 || report.First.Size != 10 || report.Last.Number != 6 || len(report.Last.Cosignatures) != 2 {
		t.Errorf("the report is %+v", report)
	}
}

func sameWitness(a, b heads.Witness) bool {
	return a.Name == b.Name && a.Cosigned == b.Cosigned && a.First.Equal(b.First) && a.Last.Equal(b.Last)
}

func TestWriterRefusesWhatReadersWould(t *testing.T) {
	t.Parallel()
	s := newSigned(t)
	good := s.checkpoint(t, 3, 5, 5)
	change := func(f func(*heads.Checkpoint)) heads.Checkpoint {
		c := good
		f(&c)
		return c
	}
	cases := map[string]heads.Checkpoint{
		"not a note":     change(func(c *heads.Checkpoint) { c.Note = []byte("x") }),
		"no signature":   change(func(c *heads.Checkpoint) { c.Note = bytes.SplitAfter(c.Note, []byte("\n\n"))[0] }),
		"not ended":      change(func(c *heads.Checkpoint) { c.Note = bytes.TrimSuffix(c.Note, []byte("\n")) }),
		"another number": change(func(c *heads.Checkpoint) { c.Number = 4 }),
		"smaller":        s.checkpoint(t, 3, 4, 4),
		"year 10000":     change(func(c *heads.Checkpoint) { c.Published = c.Published.AddDate(9000, 0, 0) }),
		"in the future of numbers": change(func(c *heads.Checkpoint) {
			c.Number = 1 << 63
		}),
	}
	for name, c := range cases {
		w, err := heads.NewWriter(io.Discard, s.policy(t))
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Add(s.checkpoint(t, 2, 5, 5)); err != nil {
			t.Fatal(err)
		}
		if err := w.Add(c); err == nil {
			t.Errorf("%s: it was written", name)
		}
		if err := w.Add(good); err != nil {
			t.Errorf("after %s: %v", name, err)
		}
	}
}

func TestReaderHoldsNoMoreThanAPart(t *testing.T) {
	t.Parallel()
	s := newSigned(t)
	text := string(s.archive(t, s.policy(t), 1, 10))
	for name, endless := range map[string]io.Reader{
		"a line":        io.MultiReader(strings.NewReader(strings.TrimSuffix(text, "end 1\n")), &repeat{text: "x"}),
		"lines":         io.MultiReader(strings.NewReader(strings.TrimSuffix(text, "end 1\n")), &repeat{text: "x\n"}),
		"header's line": io.MultiReader(strings.NewReader("stele-heads@v1\npolicy "), &repeat{text: "x"}),
	} {
		if _, err := heads.Verify(endless, s.policy(t)); err == nil || !strings.Contains(err.Error(), "too large") {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
}

// repeat reads a text again and again.
type repeat struct{ text string }

func (r *repeat) Read(b []byte) (int, error) {
	n := 0
	for n+len(r.text) <= len(b) {
		n += copy(b[n:], r.text)
	}
	return n, nil
}

func FuzzReader(f *testing.F) {
	for _, folder := range []string{"good", "bad"} {
		for _, text := range vectors(f, folder) {
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		printed, err := copyArchive(text)
		if err == nil && !bytes.Equal(printed, text) {
			t.Errorf("accepted %.2000q, printed %.2000q", text, printed)
		}
	})
}

// TestArchiveSpansPolicies has a log that gets witnesses after its first checkpoints.
func TestArchiveSpansPolicies(t *testing.T) {
	t.Parallel()
	s := newSigned(t)
	keyOnly, err := policy.ForLog(s.vkey)
	if err != nil {
		t.Fatal(err)
	}
	witnesses := s.witnesses
	write := func(witnessed ...bool) []byte {
		var b bytes.Buffer
		w, err := heads.NewWriter(&b, s.policy(t))
		if err != nil {
			t.Fatal(err)
		}
		before := uint64(10)
		for i, by := range witnessed {
			if s.witnesses = nil; by {
				s.witnesses = witnesses
			}
			size := 10 * uint64(i+1)
			if err := w.Add(s.checkpoint(t, uint64(i), before, size)); err != nil {
				t.Fatal(err)
			}
			before = size
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	for _, test := range []struct {
		archive       []byte
		policies      []*policy.Policy
		before, unmet uint64
		want          string // error; empty for none
	}{
		{write(false, false, true), []*policy.Policy{s.policy(t)}, 2, 0, ""},
		{write(false, true, false, true), []*policy.Policy{s.policy(t)}, 1, 1, ""},
		{write(false, true), []*policy.Policy{keyOnly, s.policy(t)}, 0, 0, ""},
		{write(false, true, false), []*policy.Policy{s.policy(t)}, 0, 0, `checkpoint 2, the last: *quorum "one" is not met*give the policy or the key of its time`},
		{write(false, false), []*policy.Policy{s.policy(t)}, 0, 0, "checkpoint 1, the last"},
		{write(false, false), []*policy.Policy{keyOnly}, 0, 0, ""},
		{write(true, false), []*policy.Policy{s.policy(t), keyOnly}, 0, 0, ""},
	} {
		report, err := heads.Verify(bytes.NewReader(test.archive), test.policies...)
		if test.want == "" && (err != nil || report.Before != test.before || report.Unmet != test.unmet) {
			t.Errorf("%+v, %v; want %d before, %d unmet", report, err, test.before, test.unmet)
		}
		if test.want == "" {
			continue
		}
		for part := range strings.SplitSeq(test.want, "*") {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("the error is %v, want %q", err, test.want)
			}
		}
	}
}

// TestArchiveThatCannotBeReadShowsNothing, unlike one that was cut short.
func TestArchiveThatCannotBeReadShowsNothing(t *testing.T) {
	t.Parallel()
	s := newSigned(t)
	archive := s.archive(t, s.policy(t), 0, 10, 20)
	broken := errors.New("the disk broke off")
	_, err := heads.Verify(io.MultiReader(bytes.NewReader(archive[:len(archive)-20]), iotest.ErrReader(broken)), s.policy(t))
	if !errors.Is(err, tile.ErrUnchecked) {
		t.Errorf("the error is %v", err)
	}
	if _, err := heads.Verify(bytes.NewReader(archive[:len(archive)-20]), s.policy(t)); err == nil || errors.Is(err, tile.ErrUnchecked) {
		t.Errorf("of one that is cut the error is %v", err)
	}
}
