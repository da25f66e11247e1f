package checkpoint_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/cosignature"
	"github.com/stele-log/stele/pkg/tree"
)

const origin = "log.example/one"

// seed returns a private seed that is not one.
func seed(b byte) *bytes.Reader { return bytes.NewReader(bytes.Repeat([]byte{b}, 32)) }

func clock() time.Time { return time.Unix(1_700_000_000, 0) }

// A key is a key pair, as strings and ready for use.
type key struct {
	skey, vkey string
	note.Signer
	verifier note.Verifier
}

func ed25519Key(t testing.TB, name string, b byte) key {
	t.Helper()
	skey, vkey, err := checkpoint.GenerateKey(seed(b), name)
	if err != nil {
		t.Fatal(err)
	}
	return logKey(t, skey, vkey)
}

func mldsaKey(t testing.TB, name string, b byte) key {
	t.Helper()
	skey, vkey, err := cosignature.GenerateKey(seed(b), cosignature.MLDSA44, name)
	if err != nil {
		t.Fatal(err)
	}
	return logKey(t, skey, vkey)
}

func logKey(t testing.TB, skey, vkey string) key {
	t.Helper()
	s, err := checkpoint.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	v, err := checkpoint.NewVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	return key{skey, vkey, s, v}
}

func witnessKey(t testing.TB, typ cosignature.Type, name string, b byte) key {
	t.Helper()
	skey, vkey, err := cosignature.GenerateKey(seed(b), typ, name)
	if err != nil {
		t.Fatal(err)
	}
	s, err := cosignature.NewSigner(skey, clock)
	if err != nil {
		t.Fatal(err)
	}
	v, err := cosignature.NewVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	return key{skey, vkey, s, v}
}

func example() checkpoint.Checkpoint {
	return checkpoint.Checkpoint{
		Origin: origin,
		Head:   tree.Head{Size: 20852163, Root: tree.LeafHash([]byte("root"))},
	}
}

func mustSign(t testing.TB, c checkpoint.Checkpoint, signers ...note.Signer) []byte {
	t.Helper()
	msg, err := checkpoint.Sign(c, signers...)
	if err != nil {
		t.Fatal(err)
	}
	return msg
}

// rawSign signs a text as it is, even one that is no checkpoint.
func rawSign(t testing.TB, text string, signers ...note.Signer) []byte {
	t.Helper()
	msg, err := note.Sign(&note.Note{Text: text}, signers...)
	if err != nil {
		t.Fatal(err)
	}
	return msg
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

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error is %v, want one with %q", err, want)
	}
}
