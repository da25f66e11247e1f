package proof_test

import (
	"errors"
	"io/fs"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/stele-log/stele/pkg/proof"
	"github.com/stele-log/stele/pkg/tree"
)

const largest = 600

// spread returns numbers below n: all of them up to 64, otherwise those at the
// edges, those around powers of two, and a few more.
func spread(n uint64, rng *rand.Rand) []uint64 {
	var s []uint64
	if n <= 64 {
		for i := range n {
			s = append(s, i)
		}
		return s
	}
	s = append(s, 0, 1, n/2, n-2, n-1)
	for p := uint64(4); p < n-1; p *= 2 {
		s = append(s, p-1, p, p+1)
	}
	for range 6 {
		s = append(s, rng.Uint64N(n))
	}
	slices.Sort(s)
	return slices.Compact(s)
}

func TestInclusionAgreesWithTlog(t *testing.T) {
	t.Parallel()
	l, rng := newLog(t, largest), rand.New(rand.NewPCG(1, 2))
	for size := uint64(1); size <= largest; size++ {
		head := l.head(t, size)
		for _, index := range spread(size, rng) {
			got, err := proof.Inclusion(t.Context(), l.nodes, index, size)
			if err != nil {
				t.Fatal(err)
			}
			want, err := tlog.ProveRecord(int64(size), int64(index), l)
			if err != nil {
				t.Fatal(err)
			}
			if !equal(got, want) {
				t.Fatalf("index %d of size %d: proof is %v, tlog has %v", index, size, got, want)
			}
			if err := proof.VerifyInclusion(l.nodes[0][index], index, head, got); err != nil {
				t.Fatalf("index %d of size %d: %v", index, size, err)
			}
		}
	}
}

func TestConsistencyAgreesWithTlog(t *testing.T) {
	t.Parallel()
	l, rng := newLog(t, largest), rand.New(rand.NewPCG(3, 4))
	for to := uint64(1); to <= largest; to++ {
		for _, from := range append(spread(to, rng), to) {
			got, err := proof.Consistency(t.Context(), l.nodes, from, to)
			if err != nil {
				t.Fatal(err)
			}
			if from > 0 { // tlog has no proofs from size 0
				want, err := tlog.ProveTree(int64(to), int64(from), l)
				if err != nil {
					t.Fatal(err)
				}
				if !equal(got, want) {
					t.Fatalf("size %d to %d: proof is %v, tlog has %v", from, to, got, want)
				}
			}
			if err := proof.VerifyConsistency(l.head(t, from), l.head(t, to), got); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func equal[P ~[]tlog.Hash](ours []tree.Hash, theirs P) bool {
	return slices.EqualFunc(ours, theirs, func(a tree.Hash, b tlog.Hash) bool { return a == tree.Hash(b) })
}

func TestProofsOutOfBounds(t *testing.T) {
	t.Parallel()
	l := newLog(t, 8)
	_, err := proof.Inclusion(t.Context(), l.nodes, 5, 5)
	wantError(t, err, "no entry at index 5 in a tree of size 5")
	_, err = proof.Inclusion(t.Context(), l.nodes, 0, 0)
	wantError(t, err, "no entry at index 0 in a tree of size 0")
	_, err = proof.Consistency(t.Context(), l.nodes, 6, 5)
	wantError(t, err, "size 6 is larger than size 5")
	_, err = proof.Inclusion(t.Context(), l.nodes, 3, 9)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("beyond what can be read, the error is %v", err)
	}
	for _, size := range []uint64{0, 1, 5} {
		for _, from := range []uint64{0, size} {
			if got, err := proof.Consistency(t.Context(), l.nodes, from, size); err != nil || len(got) != 0 {
				t.Errorf("size %d to %d: %v, %v; want the empty proof", from, size, got, err)
			}
		}
	}
}

// Each change to a proof, or to what it is of, breaks it.
func TestVerifyRefusesWhatWasChanged(t *testing.T) {
	t.Parallel()
	l := newLog(t, 64)
	for _, size := range []uint64{1, 2, 3, 7, 8, 33, 64} {
		head := l.head(t, size)
		for index := range size {
			leaf := l.nodes[0][index]
			good, err := proof.Inclusion(t.Context(), l.nodes, index, size)
			if err != nil {
				t.Fatal(err)
			}
			for name, bad := range changes(good) {
				if proof.VerifyInclusion(leaf, index, head, bad) == nil {
					t.Errorf("index %d of size %d: accepted with %s", index, size, name)
				}
			}
			if proof.VerifyInclusion(leaf, index+1, head, good) == nil {
				t.Errorf("index %d of size %d: accepted for the next index", index, size)
			}
			if proof.VerifyInclusion(tree.LeafHash(entry(99)), index, head, good) == nil {
				t.Errorf("index %d of size %d: accepted for another entry", index, size)
			}
		}
		for from := uint64(1); from < size; from++ {
			good, err := proof.Consistency(t.Context(), l.nodes, from, size)
			if err != nil {
				t.Fatal(err)
			}
			for name, bad := range changes(good) {
				if proof.VerifyConsistency(l.head(t, from), head, bad) == nil {
					t.Errorf("size %d to %d: accepted with %s", from, size, name)
				}
			}
			for _, bad := range [][2]tree.Head{
				{flip(l.head(t, from)), head}, {l.head(t, from), flip(head)}, {head, l.head(t, from)},
			} {
				if proof.VerifyConsistency(bad[0], bad[1], good) == nil {
					t.Errorf("size %d to %d: accepted for %v", from, size, bad)
				}
			}
		}
	}
}

func flip(h tree.Head) tree.Head {
	h.Root[0] ^= 1
	return h
}

// changes returns proofs that differ from a good one.
func changes(good []tree.Hash) map[string][]tree.Hash {
	bad := map[string][]tree.Hash{
		"a hash more": append(slices.Clone(good), tree.EmptyRoot),
	}
	for i := range good {
		changed := slices.Clone(good)
		changed[i][31] ^= 1
		bad["a hash changed"] = changed
	}
	if len(good) > 0 {
		bad["a hash less"] = good[1:]
	}
	if len(good) > 1 {
		swapped := slices.Clone(good)
		swapped[0], swapped[1] = swapped[1], swapped[0]
		bad["two hashes swapped"] = swapped
	}
	return bad
}

func TestVerifyAtTheEdges(t *testing.T) {
	t.Parallel()
	l := newLog(t, 5)
	five, empty, one := l.head(t, 5), tree.Empty(), []tree.Hash{tree.EmptyRoot}
	forged := tree.Head{Size: 0, Root: five.Root}
	huge := tree.Head{Size: 1<<64 - 1, Root: five.Root}
	tests := []struct {
		name     string
		from, to tree.Head
		hashes   []tree.Hash
		want     string // empty if it is to be accepted
	}{
		{"empty to empty", empty, empty, nil, ""},
		{"empty to five", empty, five, nil, ""},
		{"five to five", five, five, nil, ""},
		{"five to empty", five, empty, nil, "larger than the second"},
		{"empty to five with a hash", empty, five, one, "proof"},
		{"empty to empty with a hash", empty, empty, one, "proof"},
		{"five to five with a hash", five, five, one, "proof"},
		{"another root of the same size", five, flip(five), nil, "leads to the root"},
		{"size 0 with a root", forged, five, nil, "root of size 0"},
		{"both of size 0 with a root", forged, forged, nil, "root of size 0"},
		{"one to five without a hash", l.head(t, 1), five, nil, "empty proof"},
		{"too many hashes", five, huge, make([]tree.Hash, 64), "64 hashes, want at most 63"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := proof.VerifyConsistency(tt.from, tt.to, tt.hashes)
			if tt.want != "" {
				wantError(t, err, tt.want)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
	leaf := l.nodes[0][0]
	wantError(t, proof.VerifyInclusion(leaf, 0, empty, nil), "index is beyond size")
	wantError(t, proof.VerifyInclusion(leaf, 5, five, nil), "index is beyond size")
	wantError(t, proof.VerifyInclusion(leaf, 0, huge, make([]tree.Hash, 64)), "want at most 63")
}

// In a tree of 2^63-1 entries the first has a sibling on each of 63 levels.
func TestTheLongestProofVerifies(t *testing.T) {
	t.Parallel()
	leaf := tree.LeafHash(entry(0))
	hashes, root := make([]tree.Hash, proof.MaxHashes), leaf
	for i := range hashes {
		hashes[i] = tree.LeafHash(entry(uint64(i)))
		root = tree.NodeHash(root, hashes[i])
	}
	head := tree.Head{Size: math.MaxInt64, Root: root}
	if err := proof.VerifyInclusion(leaf, 0, head, hashes); err != nil {
		t.Error(err)
	}
}

func FuzzVerify(f *testing.F) {
	f.Add(uint64(3), uint64(7), make([]byte, 96))
	f.Add(uint64(1)<<63, uint64(1)<<63+1, make([]byte, 63*32))
	f.Add(uint64(0), uint64(0), []byte(nil))
	l := newLog(f, 64)
	f.Fuzz(func(t *testing.T, a, b uint64, data []byte) {
		var hashes []tree.Hash
		for len(data) >= tree.HashSize {
			hashes = append(hashes, tree.Hash(data[:tree.HashSize]))
			data = data[tree.HashSize:]
		}
		root := l.head(t, 64).Root
		// No list of hashes leads to a root that is not made from it.
		if proof.VerifyInclusion(tree.LeafHash(entry(99)), a, tree.Head{Size: b, Root: root}, hashes) == nil {
			t.Fatal("an entry is included that is not")
		}
		if a > 0 && proof.VerifyConsistency(tree.Head{Size: a, Root: tree.EmptyRoot}, tree.Head{Size: b, Root: root}, hashes) == nil {
			t.Fatal("heads are consistent that are not")
		}
	})
}

func BenchmarkInclusion(b *testing.B) {
	const size = 1<<20 - 1
	leaves := make([]tree.Hash, size)
	for i := range leaves {
		leaves[i] = tree.Hash{byte(i), byte(i >> 8), byte(i >> 16)}
	}
	nodes, ctx := newRows(leaves), b.Context()
	b.ReportAllocs()
	for i := uint64(0); b.Loop(); i++ {
		if _, err := proof.Inclusion(ctx, nodes, i*7919%size, size); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifyInclusion(b *testing.B) {
	l := newLog(b, 1000)
	head := l.head(b, 1000)
	hashes, err := proof.Inclusion(b.Context(), l.nodes, 123, 1000)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := proof.VerifyInclusion(l.nodes[0][123], 123, head, hashes); err != nil {
			b.Fatal(err)
		}
	}
}
