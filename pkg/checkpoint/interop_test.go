package checkpoint_test

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"testing"

	"filippo.io/mldsa"
	"filippo.io/torchwood"
	"github.com/transparency-dev/formats/log"
	fnote "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/tree"
)

// vkeyOf spells a vkey, good or not, from its parts.
func vkeyOf(t testing.TB, name string, typ byte, public []byte) string {
	t.Helper()
	b := append([]byte{typ}, public...)
	id := sha256.Sum256([]byte(name + "\n" + string(b)))
	return fmt.Sprintf("%s+%x+%s", name, id[:4], base64.StdEncoding.EncodeToString(b))
}

func TestOthersOpenOurCheckpoints(t *testing.T) {
	t.Parallel()
	ed, ml := ed25519Key(t, origin, 1), mldsaKey(t, origin, 2)
	msg := mustSign(t, example(), ed, ml)

	theirML, err := torchwood.NewCosignatureVerifier(ml.vkey)
	if err != nil {
		t.Fatal(err)
	}
	theirEd, err := note.NewVerifier(ed.vkey)
	if err != nil {
		t.Fatal(err)
	}
	policy := torchwood.ThresholdPolicy(3, torchwood.OriginPolicy(origin),
		torchwood.SingleVerifierPolicy(theirEd), torchwood.SingleVerifierPolicy(theirML))
	c, _, err := torchwood.VerifyCheckpoint(msg, policy)
	if err != nil {
		t.Fatal(err)
	}
	if c.String() != example().String() {
		t.Errorf("torchwood reads %q", c)
	}

	for _, k := range []key{ed, ml} {
		v, err := fnote.NewVerifier(k.vkey)
		if err != nil {
			t.Fatal(err)
		}
		c, rest, _, err := log.ParseCheckpoint(msg, origin, v)
		if err != nil {
			t.Fatal(err)
		}
		if c.Size != example().Size || tree.Hash(c.Hash) != example().Root || len(rest) != 0 {
			t.Errorf("formats reads %+v", c)
		}
	}
}

func TestWeOpenTheCheckpointsOfOthers(t *testing.T) {
	t.Parallel()
	ed, ml := ed25519Key(t, origin, 1), mldsaKey(t, origin, 2)
	text := torchwood.Checkpoint{
		Origin: origin,
		Tree:   tlog.Tree{N: int64(example().Size), Hash: tlog.Hash(example().Root)},
	}.String()

	private, err := mldsa.NewPrivateKey(mldsa.MLDSA44(), bytes32(2))
	if err != nil {
		t.Fatal(err)
	}
	theirML, err := torchwood.NewCosignatureSigner(origin, private)
	if err != nil {
		t.Fatal(err)
	}
	theirEd, err := note.NewSigner(ed.skey)
	if err != nil {
		t.Fatal(err)
	}
	formatsML, err := fnote.NewMLDSASigner(ml.skey)
	if err != nil {
		t.Fatal(err)
	}
	for _, signers := range [][]note.Signer{{theirEd, theirML}, {theirEd, formatsML}} {
		c, n, err := checkpoint.Open(rawSign(t, text, signers...), origin, ed.verifier, ml.verifier)
		if err != nil {
			t.Fatal(err)
		}
		if c != example() || len(n.Sigs) != 2 {
			t.Errorf("opened %+v with %d signatures", c, len(n.Sigs))
		}
	}
}

func bytes32(b byte) []byte {
	s := make([]byte, 32)
	for i := range s {
		s[i] = b
	}
	return s
}
