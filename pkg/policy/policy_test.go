package policy_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/cosignature"
	"github.com/stele-log/stele/pkg/policy"
	"github.com/stele-log/stele/pkg/tree"
)

const origin = "log.example/one"

func clock() time.Time { return time.Unix(1_700_000_000, 0).UTC() }

func seed(n int) *bytes.Reader {
	return bytes.NewReader(binary.BigEndian.AppendUint64(make([]byte, 24), uint64(n)))
}

// A key is a vkey and the signer that belongs to it.
type key struct {
	vkey string
	note.Signer
}

func logKey(t testing.TB, origin string, n int) key {
	t.Helper()
	skey, vkey, err := checkpoint.GenerateKey(seed(n), origin)
	if err != nil {
		t.Fatal(err)
	}
	s, err := checkpoint.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	return key{vkey, s}
}

func cosigner(t testing.TB, typ cosignature.Type, name string, n int) key {
	t.Helper()
	skey, vkey, err := cosignature.GenerateKey(seed(n), typ, name)
	if err != nil {
		t.Fatal(err)
	}
	s, err := cosignature.NewSigner(skey, clock)
	if err != nil {
		t.Fatal(err)
	}
	return key{vkey, s}
}

func witness(t testing.TB, n int) key {
	return cosigner(t, cosignature.Ed25519, fmt.Sprintf("w%d.example", n), 100+n)
}

func parse(t testing.TB, lines ...string) *policy.Policy {
	t.Helper()
	p, err := policy.Parse([]byte(strings.Join(lines, "\n") + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func sign(t testing.TB, signers ...note.Signer) []byte {
	t.Helper()
	c := checkpoint.Checkpoint{Origin: origin, Head: tree.Head{Size: 7, Root: tree.LeafHash(nil)}}
	msg, err := note.Sign(&note.Note{Text: c.String()}, signers...)
	if err != nil {
		t.Fatal(err)
	}
	return msg
}

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error is %v, want one with %q", err, want)
	}
}

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
