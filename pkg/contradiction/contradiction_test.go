package contradiction_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/contradiction"
	"github.com/stele-log/stele/pkg/cosignature"
	"github.com/stele-log/stele/pkg/policy"
	"github.com/stele-log/stele/pkg/proof"
	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
)

const origin = "log.example/one"

// A key is a log's, with the policy that trusts it.
type key struct {
	signer note.Signer
	vkey   string
	policy *policy.Policy
}

func newKey(t testing.TB, origin string, seed byte) key {
	t.Helper()
	skey, vkey, err := checkpoint.GenerateKey(bytes.NewReader(bytes.Repeat([]byte{seed}, 32)), origin)
	if err != nil {
		t.Fatal(err)
	}
	s, err := checkpoint.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	p, err := policy.ForLog(vkey)
	if err != nil {
		t.Fatal(err)
	}
	return key{s, vkey, p}
}

// witness is a signer that no policy here knows.
func witness(t testing.TB) note.Signer {
	t.Helper()
	skey, _, err := cosignature.GenerateKey(bytes.NewReader(bytes.Repeat([]byte{9}, 32)), cosignature.Ed25519, "w.example")
	if err != nil {
		t.Fatal(err)
	}
	s, err := cosignature.NewSigner(skey, func() time.Time { return time.Unix(1_700_000_000, 0) })
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (k key) see(t testing.TB, head tree.Head) contradiction.Sighting {
	t.Helper()
	msg, err := checkpoint.Sign(checkpoint.Checkpoint{Origin: k.signer.Name(), Head: head}, k.signer, witness(t))
	if err != nil {
		t.Fatal(err)
	}
	return contradiction.Sighting{Note: msg, Source: "https://log.example/one", Time: time.Unix(1_700_000_000, 0).UTC()}
}

// history is a log whose entries from fork on are others than those of history 0.
type history struct{ fork, other uint64 }

func (h history) entry(i uint64) []byte {
	if i < h.fork {
		return binary.BigEndian.AppendUint64(nil, i)
	}
	return binary.BigEndian.AppendUint64([]byte{byte(h.other)}, i)
}

func (h history) head(size uint64) tree.Head {
	var f tree.Frontier
	for i := range size {
		f.Append([]tree.Hash{tree.LeafHash(h.entry(i))})
	}
	return f.Head()
}

// ReadTile serves the level 0 tile of a history of at most 256 entries.
func (h history) ReadTile(_ context.Context, t tile.Tile) ([]byte, error) {
	if t.Level != 0 {
		return nil, fs.ErrNotExist
	}
	var data []byte
	for i := range uint64(t.Width) {
		leaf := tree.LeafHash(h.entry(i))
		data = append(data, leaf[:]...)
	}
	return data, nil
}

func (h history) ReadCheckpoint(context.Context) ([]byte, error) { return nil, fs.ErrNotExist }

func (h history) consistency(t testing.TB, from, to uint64) []tree.Hash {
	t.Helper()
	hashes, err := proof.Consistency(t.Context(), tree.TileNodes(h, to), from, to)
	if err != nil {
		t.Fatal(err)
	}
	return hashes
}

func fork(t testing.TB) (contradiction.Contradiction, key) {
	k := newKey(t, origin, 1)
	return contradiction.Contradiction{Kind: contradiction.Fork,
		First: k.see(t, history{5, 1}.head(9)), Second: k.see(t, history{5, 2}.head(9))}, k
}

// inconsistent is a tree of from entries, and one of to that parted at entry 2.
func inconsistent(t testing.TB, from, to uint64) (contradiction.Contradiction, key) {
	k := newKey(t, origin, 1)
	h := history{2, 2}
	return contradiction.Contradiction{Kind: contradiction.Inconsistent,
		First: k.see(t, history{2, 1}.head(from)), Second: k.see(t, h.head(to)),
		Prefix: h.head(from).Root, Hashes: h.consistency(t, from, to)}, k
}

func wrongEntry(t testing.TB) (contradiction.Contradiction, key) {
	k := newKey(t, origin, 1)
	h := history{9, 1}
	hashes, err := proof.Inclusion(t.Context(), tree.TileNodes(h, 9), 6, 9)
	if err != nil {
		t.Fatal(err)
	}
	return contradiction.Contradiction{Kind: contradiction.Entry, First: k.see(t, h.head(9)),
		Index: 6, Leaf: tree.LeafHash(h.entry(6)), Data: []byte("another\nentry"), Hashes: hashes}, k
}

// kinds makes a contradiction of each kind.
var kinds = map[contradiction.Kind]func(testing.TB) (contradiction.Contradiction, key){
	contradiction.Fork:         fork,
	contradiction.Inconsistent: func(t testing.TB) (contradiction.Contradiction, key) { return inconsistent(t, 5, 9) },
	contradiction.Entry:        wrongEntry,
}

func TestContradictionHolds(t *testing.T) {
	t.Parallel()
	for kind, sample := range kinds {
		e, k := sample(t)
		read, err := contradiction.Parse(e.Format())
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		r, err := read.Verify(k.policy)
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		if r.Kind != kind || r.Origin != origin || r.First.Size == 0 || !strings.Contains(r.String(), origin) {
			t.Errorf("%s: %+v", kind, r)
		}
	}
}

func TestEveryPairOfSizesCanBeShownInconsistent(t *testing.T) {
	t.Parallel()
	for to := uint64(4); to < 20; to++ {
		for from := uint64(3); from < to; from++ {
			e, k := inconsistent(t, from, to)
			if _, err := e.Verify(k.policy); err != nil {
				t.Errorf("%d and %d: %v", from, to, err)
			}
		}
	}
}

func TestAnyByteThatIsAlteredShows(t *testing.T) {
	t.Parallel()
	for kind, sample := range kinds {
		e, k := sample(t)
		text := e.Format()
		for i := range text {
			for _, change := range []byte{1, 0x20, 0x80} {
				altered := bytes.Clone(text)
				altered[i] ^= change
				read, err := contradiction.Parse(altered)
				if err == nil {
					_, err = read.Verify(k.policy)
				}
				if err == nil {
					t.Fatalf("%s: byte %d of %q, changed by %#x, does not show", kind, i, text, change)
				}
			}
		}
		for n := range text {
			if _, err := contradiction.Parse(text[:n]); err == nil {
				t.Fatalf("%s: the first %d bytes parse", kind, n)
			}
		}
	}
}

func TestContradictionOfNothingFails(t *testing.T) {
	t.Parallel()
	k, h := newKey(t, origin, 1), history{2, 2}
	other, stranger := newKey(t, "log.example/two", 2), newKey(t, origin, 3)
	five, nine := k.see(t, h.head(5)), k.see(t, h.head(9))
	past := h.consistency(t, 5, 9)
	bad, _ := inconsistent(t, 5, 9)
	badHash := bad
	badHash.Hashes = append([]tree.Hash{{1}}, bad.Hashes[1:]...)
	badPrefix := bad
	badPrefix.Prefix = tree.Hash{1}
	swapped := bad
	swapped.First, swapped.Second = bad.Second, bad.First
	rightEntry, _ := wrongEntry(t)
	rightEntry.Data = history{9, 1}.entry(6)
	otherIndex, _ := wrongEntry(t)
	otherIndex.Index = 5
	both, err := k.policy.WithLogs(k.vkey, other.vkey)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		e    contradiction.Contradiction
		want string
	}{
		{"the same head twice", contradiction.Contradiction{Kind: contradiction.Fork, First: nine, Second: nine}, "are the same"},
		{"two sizes called a fork", contradiction.Contradiction{Kind: contradiction.Fork, First: five, Second: nine}, "the sizes differ"},
		{"two consistent heads", contradiction.Contradiction{Kind: contradiction.Inconsistent, First: five, Second: nine,
			Prefix: h.head(5).Root, Hashes: past}, "begins with the smaller one"},
		{"two consistent heads, another prefix", contradiction.Contradiction{Kind: contradiction.Inconsistent, First: five, Second: nine,
			Prefix: tree.Hash{1}, Hashes: past}, "consistency proof"},
		{"the empty tree", contradiction.Contradiction{Kind: contradiction.Inconsistent, First: k.see(t, tree.Empty()), Second: nine,
			Prefix: tree.Hash{1}}, "begins with the empty one"},
		{"a wrong hash", badHash, "consistency proof"},
		{"a wrong prefix", badPrefix, "consistency proof"},
		{"larger first", swapped, "want less than the second"},
		{"two logs", contradiction.Contradiction{Kind: contradiction.Fork, First: nine, Second: other.see(t, history{5, 1}.head(9))}, "two logs"},
		{"a stranger's key", contradiction.Contradiction{Kind: contradiction.Fork, First: nine, Second: stranger.see(t, history{5, 1}.head(9))},
			"no valid signature"},
		{"the right entry", rightEntry, "are the entry in the tree"},
		{"the entry of another index", otherIndex, "inclusion proof"},
		{"no kind", contradiction.Contradiction{First: five, Second: nine}, "unknown kind"},
	}
	for _, tt := range tests {
		_, err := tt.e.Verify(both)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error is %v, want one with %q", tt.name, err, tt.want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	e, _ := fork(t)
	text := string(e.Format())
	tests := []struct{ name, old, new, want string }{
		{"another header", "stele-contradiction@v1", "stele-contradiction@v2", "line 1: it is"},
		{"another kind", "kind fork", "kind knife", "line 2: kind is"},
		{"no kind", "kind fork\n", "", "line 2: it is"},
		{"a note that is too long", "note ", "note 9", "line 3: note of 9"},
		{"a note of no length", "note ", "note x", "line 3:"},
		{"a leading zero", "note ", "note 0", "the file was changed"},
		{"another time", "seen 2023", "seen 2024", "the file was changed"},
		{"no time", "seen 2023", "seen x", "is not a time"},
		{"a local time", "20Z https", "20+01:00 https", "the file was changed"},
		{"no source", "https://log.example/one", "", "is not a source"},
		{"a source with space", "https://log.example/one", "a b", "is not a source"},
		{"more after the end", "\nend ", "\nmore\nend ", "want the word end"},
		{"a hash that a fork has not", "note ", "hash " + tree.EmptyRoot.String() + "\nnote ", "want the word note"},
	}
	for _, tt := range tests {
		if !strings.Contains(text, tt.old) {
			t.Fatalf("%s: there is no %q in %s", tt.name, tt.old, text)
		}
		altered := strings.Replace(text, tt.old, tt.new, 1)
		_, err := contradiction.Parse([]byte(altered))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error is %v, want one with %q", tt.name, err, tt.want)
		}
	}
	for _, text := range []string{"", "\n", text + "\n", text + text, strings.Repeat("a", 4<<20)} {
		if _, err := contradiction.Parse([]byte(text)); err == nil {
			t.Errorf("%.60q parses", text)
		}
	}
	many, _ := inconsistent(t, 5, 9)
	many.Hashes = make([]tree.Hash, proof.MaxHashes+1)
	if _, err := contradiction.Parse(many.Format()); err == nil || !strings.Contains(err.Error(), "more than 63 hashes") {
		t.Errorf("64 hashes: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, sample := range kinds {
		e, _ := sample(f)
		f.Add(e.Format())
	}
	f.Add([]byte(fmt.Sprintf("stele-contradiction@v1\nkind fork\nnote %d\n", uint64(1)<<62)))
	k := newKey(f, origin, 1)
	f.Fuzz(func(t *testing.T, text []byte) {
		// With a last line that is right, what stands before it decides.
		body := text[:max(0, bytes.LastIndex(text, []byte("end ")))]
		for _, text := range [][]byte{text, fmt.Appendf(body[:len(body):len(body)], "end %s\n", tree.Hash(sha256.Sum256(body)))} {
			e, err := contradiction.Parse(text)
			if err != nil {
				continue
			}
			if !bytes.Equal(e.Format(), text) {
				t.Fatalf("%q parses, and prints as %q", text, e.Format())
			}
			_, _ = e.Verify(k.policy)
		}
	})
}
