package heads_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/cosignature"
	"github.com/stele-log/stele/pkg/heads"
	"github.com/stele-log/stele/pkg/policy"
	"github.com/stele-log/stele/pkg/proof"
	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
)

const origin = "log.example/one"

func clock() time.Time { return time.Unix(1_700_000_000, 123_456_000).UTC() }

func seed(b byte) *bytes.Reader { return bytes.NewReader(bytes.Repeat([]byte{b}, 32)) }

// A signed is what the tests make archives of: a log and two witnesses.
type signed struct {
	log        note.Signer
	witnesses  []note.Signer
	vkey       string
	text       string // of a policy that asks for one of the witnesses
	leafHashes []tree.Hash
}

func newSigned(t testing.TB) *signed {
	t.Helper()
	s := &signed{}
	skey, vkey, err := checkpoint.GenerateKey(seed(1), origin)
	if err != nil {
		t.Fatal(err)
	}
	if s.log, err = checkpoint.NewSigner(skey); err != nil {
		t.Fatal(err)
	}
	s.vkey = vkey
	s.text = "log " + vkey + "\n"
	for i, typ := range []cosignature.Type{cosignature.Ed25519, cosignature.MLDSA44} {
		skey, vkey, err := cosignature.GenerateKey(seed(byte(2+i)), typ, fmt.Sprintf("w%d.example", i))
		if err != nil {
			t.Fatal(err)
		}
		w, err := cosignature.NewSigner(skey, clock)
		if err != nil {
			t.Fatal(err)
		}
		s.witnesses = append(s.witnesses, w)
		s.text += fmt.Sprintf("witness w%d %s\n", i, vkey)
	}
	s.text += "group one 1 w0 w1\nquorum one\n"
	for i := range 600 {
		s.leafHashes = append(s.leafHashes, tree.LeafHash(fmt.Append(nil, i)))
	}
	return s
}

func (s *signed) policy(t testing.TB) *policy.Policy { return parse(t, s.text) }

func parse(t testing.TB, text string) *policy.Policy {
	t.Helper()
	p, err := policy.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (s *signed) head(size uint64) tree.Head {
	var f tree.Frontier
	f.Append(s.leafHashes[:size])
	return f.Head()
}

// ReadNodes returns the nodes of a tile.
func (s *signed) ReadNodes(_ context.Context, t tile.Tile) (*tree.Nodes, error) {
	hashes := s.leafHashes[t.Start():]
	if t.Level == 1 {
		var above []tree.Hash
		for full := range slices.Chunk(hashes[:t.Width*tile.Width], tile.Width) {
			above = append(above, tree.TileRoot(full))
		}
		hashes = above
	}
	return tree.NewNodes(hashes[:t.Width]), nil
}

// checkpoint returns checkpoint number n, of that size, after one of size
// before.
func (s *signed) checkpoint(t testing.TB, n, before, size uint64) heads.Checkpoint {
	t.Helper()
	hashes, err := proof.Consistency(t.Context(), s, before, size)
	if err != nil {
		t.Fatal(err)
	}
	return heads.Checkpoint{Number: n, Published: clock().Add(time.Duration(n) * time.Minute), Proof: hashes,
		Note: s.sign(t, checkpoint.Checkpoint{Origin: origin, Head: s.head(size)}, s.witnesses...)}
}

func (s *signed) sign(t testing.TB, c checkpoint.Checkpoint, witnesses ...note.Signer) []byte {
	t.Helper()
	msg, err := checkpoint.Sign(c, append([]note.Signer{s.log}, witnesses...)...)
	if err != nil {
		t.Fatal(err)
	}
	return msg
}

// archive returns the archive of checkpoints of those sizes, from number first
// on.
func (s *signed) archive(t testing.TB, p *policy.Policy, first uint64, sizes ...uint64) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := heads.NewWriter(&b, p)
	if err != nil {
		t.Fatal(err)
	}
	for i, size := range sizes {
		c := s.checkpoint(t, first+uint64(i), sizes[max(i, 1)-1], size)
		if err := w.Add(c); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// vectors returns the files of a folder in testdata, by name.
func vectors(t testing.TB, folder string) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", folder, "*"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no vectors in testdata/%s (%v)", folder, err)
	}
	files := map[string][]byte{}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.Base(path)] = b
	}
	return files
}
