package tree_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
)

func TestHashesAgreeWithTlog(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 31, 510, 511, 512, 513, 1024, 65535} {
		e := bytes.Repeat([]byte{7}, size)
		if got := tree.LeafHash(e); got != tree.Hash(tlog.RecordHash(e)) {
			t.Errorf("leaf hash of %d bytes is %s", size, got)
		}
	}
	a, b := tree.LeafHash([]byte("a")), tree.LeafHash([]byte("b"))
	if got := tree.NodeHash(a, b); got != tree.Hash(tlog.NodeHash(tlog.Hash(a), tlog.Hash(b))) {
		t.Errorf("node hash is %s", got)
	}
	if got := tree.Empty(); got.Root.String() != "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=" || got.Size != 0 {
		t.Errorf("head of the empty tree is %s", got)
	}
}

func TestBundlesAreHashedEntryByEntry(t *testing.T) {
	t.Parallel()
	var bundle []byte
	var want []tree.Hash
	for _, size := range []int{511, 0, 510, 65535, 1, 512, 300} {
		e := bytes.Repeat([]byte{7}, size)
		want = append(want, tree.LeafHash(e))
		bundle, _ = tile.AppendEntry(bundle, e)
	}
	got, err := tree.LeafHashes(bundle, len(want))
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	for _, bad := range []struct {
		bundle []byte
		width  int
	}{
		{bundle, len(want) - 1}, {bundle, len(want) + 1}, {bundle[:len(bundle)-1], len(want)}, {append(bundle, 0), len(want)},
		{nil, 1}, {[]byte{0, 0}, 0},
	} {
		want := tile.CheckBundle(bad.bundle, bad.width)
		if hashes, err := tree.LeafHashes(bad.bundle, bad.width); hashes != nil || err == nil || err.Error() != want.Error() {
			t.Errorf("%d bytes, width %d: %d hashes, error %v, want %v", len(bad.bundle), bad.width, len(hashes), err, want)
		}
	}
}

func TestHashHasOneSpelling(t *testing.T) {
	t.Parallel()
	h := tree.LeafHash(nil)
	if got, err := tree.ParseHash(h.String()); err != nil || got != h {
		t.Errorf("%s parses as %s (%v)", h, got, err)
	}
	s := h.String()
	for _, bad := range []string{
		"", s[:43], s + "=", s + "\n", "\r" + s, s[:20] + "\n" + s[20:], s[:42] + "1=", " " + s, "AAAA",
		strings.Repeat("A", 44), strings.Repeat("_", 43) + "=", strings.Repeat("A", 1000),
	} {
		if got, err := tree.ParseHash(bad); err == nil {
			t.Errorf("%q is taken for %s", bad, got)
		}
	}
}

func TestHashInJSON(t *testing.T) {
	t.Parallel()
	h := tree.LeafHash(nil)
	b, err := json.Marshal(h)
	if err != nil || string(b) != `"`+h.String()+`"` {
		t.Fatalf("%s, %v", b, err)
	}
	var got tree.Hash
	if err := json.Unmarshal(b, &got); err != nil || got != h {
		t.Errorf("%s, %v", got, err)
	}
	if err := json.Unmarshal([]byte(`"AAAA"`), &got); err == nil {
		t.Error("a short hash is accepted")
	}
}

func FuzzParseHash(f *testing.F) {
	f.Add(tree.EmptyRoot.String())
	f.Add(strings.Repeat("A", 44))
	f.Fuzz(func(t *testing.T, s string) {
		if h, err := tree.ParseHash(s); err == nil && h.String() != s {
			t.Fatalf("%q parses, and prints as %s", s, h)
		}
	})
}

func BenchmarkLeafHash(b *testing.B) {
	e := make([]byte, 300)
	b.SetBytes(int64(len(e)))
	for b.Loop() {
		tree.LeafHash(e)
	}
}
