package checkpoint_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/cosignature"
	"github.com/stele-log/stele/pkg/tree"
)

func TestOpenReturnsWhatWasSigned(t *testing.T) {
	t.Parallel()
	ed, ml := ed25519Key(t, origin, 1), mldsaKey(t, origin, 2)
	other := ed25519Key(t, origin, 3)
	w := witnessKey(t, cosignature.Ed25519, "w.example", 4)
	withExtension := example()
	withExtension.Extensions = "an extension\n"
	empty := checkpoint.Checkpoint{Origin: origin, Head: tree.Empty()}
	tests := []struct {
		name     string
		c        checkpoint.Checkpoint
		signers  []note.Signer
		keys     []note.Verifier
		verified int
	}{
		{"Ed25519", example(), []note.Signer{ed}, []note.Verifier{ed.verifier}, 1},
		{"ML-DSA-44", example(), []note.Signer{ml}, []note.Verifier{ml.verifier}, 1},
		{"both", example(), []note.Signer{ed, ml}, []note.Verifier{ed.verifier, ml.verifier}, 2},
		{"both, one known", example(), []note.Signer{ed, ml}, []note.Verifier{ml.verifier}, 1},
		{"a key that did not sign is known", example(), []note.Signer{ed}, []note.Verifier{other.verifier, ed.verifier}, 1},
		{"a witness beside", example(), []note.Signer{ed, w}, []note.Verifier{ed.verifier}, 1},
		{"empty tree", empty, []note.Signer{ed, ml}, []note.Verifier{ed.verifier, ml.verifier}, 2},
		{"extension", withExtension, []note.Signer{ed}, []note.Verifier{ed.verifier}, 1},
		{"extension, both", withExtension, []note.Signer{ml, ed}, []note.Verifier{ed.verifier, ml.verifier}, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			msg := mustSign(t, tt.c, tt.signers...)
			c, n, err := checkpoint.Open(msg, origin, tt.keys...)
			if err != nil {
				t.Fatal(err)
			}
			if c != tt.c {
				t.Errorf("opened %+v, want %+v", c, tt.c)
			}
			if len(n.Sigs) != tt.verified || len(n.Sigs)+len(n.UnverifiedSigs) != len(tt.signers) {
				t.Errorf("%d signatures verified and %d not, want %d of %d",
					len(n.Sigs), len(n.UnverifiedSigs), tt.verified, len(tt.signers))
			}
		})
	}
}

func TestSignRefuses(t *testing.T) {
	t.Parallel()
	ed, ml := ed25519Key(t, origin, 1), mldsaKey(t, origin, 2)
	other := ed25519Key(t, "log.example/other", 3)
	extended, blank, forged := example(), example(), example()
	extended.Extensions = "an extension\n"
	blank.Extensions = "\n"
	forged.Origin = "log.example/one\n7"
	tests := []struct {
		name    string
		c       checkpoint.Checkpoint
		signers []note.Signer
		want    string
	}{
		{"no signer", example(), nil, "no signer has that name"},
		{"signer of another log", example(), []note.Signer{other}, "no signer has that name"},
		{"the same signer twice", example(), []note.Signer{ed, ed}, "two signatures by the key"},
		{"extension that nobody covers", extended, []note.Signer{ml}, "do not cover"},
		{"empty extension line", blank, []note.Signer{ed}, "extension line is empty"},
		{"origin of two lines", forged, []note.Signer{ed}, "line 3"},
		{"empty tree with a root", checkpoint.Checkpoint{Origin: origin}, []note.Signer{ed}, "root of size 0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := checkpoint.Sign(tt.c, tt.signers...)
			wantError(t, err, tt.want)
		})
	}
}

// spoil returns a signed note with the last signature line changed by edit,
// which gets its base64 part.
func spoil(msg []byte, edit func(b64 string) string) []byte {
	i := bytes.LastIndexByte(msg, ' ') + 1
	b64 := strings.TrimSuffix(string(msg[i:]), "\n")
	return append(bytes.Clone(msg[:i]), edit(b64)+"\n"...)
}

// otherSignature keeps the key ID of a signature and changes the rest.
func otherSignature(b64 string) string {
	b, _ := base64.StdEncoding.DecodeString(b64)
	b[len(b)-1] ^= 1
	return base64.StdEncoding.EncodeToString(b)
}

func lastLine(msg []byte) []byte {
	lines := bytes.SplitAfter(msg, []byte("\n"))
	return lines[len(lines)-2]
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	ed, ml := ed25519Key(t, origin, 1), mldsaKey(t, origin, 2)
	stranger := ed25519Key(t, origin, 3)
	w := witnessKey(t, cosignature.Ed25519, "w.example", 4)
	good := mustSign(t, example(), ed)
	goodBoth := mustSign(t, example(), ed, ml)
	cosigned := mustSign(t, example(), ed, w)
	text := example().String()
	const signature = "no valid signature of the log"
	tests := []struct {
		name string
		msg  []byte
		want string
	}{
		{"signed by a stranger", mustSign(t, example(), stranger), signature},
		{"signed by a witness alone", rawSign(t, text, w), signature},
		{"another size", bytes.Replace(good, []byte("20852163"), []byte("20852164"), 1), signature},
		{"poisoned line beside a good one", append(bytes.Clone(good), lastLine(spoil(goodBoth, otherSignature))...), signature},
		{"signature of another text", append([]byte(text+"\n"), lastLine(rawSign(t, "x\n", ed))...), signature},
		{"another origin of the same key", rawSign(t, strings.Replace(text, "one", "two", 1), ed), "another origin"},
		{"not a checkpoint", rawSign(t, "hello\n", ed), "want at least 3"},
		{"leading zero", rawSign(t, strings.Replace(text, "\n2", "\n02", 1), ed), "line 2: size"},
		{"CRLF", bytes.ReplaceAll(good, []byte("\n"), []byte("\r\n")), "no empty line"},
		{"CRLF in a signature", spoil(good, func(s string) string { return s + "\r" }), "malformed"},
		{"line end in base64", spoil(good, func(s string) string { return s[:8] + "\r" + s[8:] }), "malformed"},
		{"trailing bits in base64", spoil(good, func(s string) string { return s[:len(s)-3] + "B==" }), "malformed"},
		{"trailing bits in a stranger's base64", spoil(cosigned, func(s string) string { return s[:len(s)-2] + "B=" }), "malformed"},
		{"signature without a key ID", spoil(good, func(string) string { return "AAAA" }), "malformed"},
		{"signature that is a key ID only", spoil(good, func(string) string { return "AAAAAA==" }), "want an em dash"},
		{"no text", append([]byte("\n\n"), lastLine(good)...), signature},
		{"same line twice", append(bytes.Clone(good), lastLine(good)...), "two signatures by the key"},
		{"two signatures of a stranger", append(bytes.Clone(cosigned), lastLine(spoil(cosigned, otherSignature))...), "two signatures by the key"},
		{"not ended", good[:len(good)-1], "malformed"},
		{"no signature", []byte(text + "\n"), "malformed"},
		{"text only", []byte(text), "no empty line"},
		{"empty", nil, "no empty line"},
		{"too large", append(bytes.Repeat([]byte("x\n"), checkpoint.MaxSize/2), good...), "bytes, want at most"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, _, err := checkpoint.Open(tt.msg, origin, ed.verifier, ml.verifier)
			wantError(t, err, tt.want)
			if errors.Is(err, checkpoint.ErrSignature) != (tt.want == signature) {
				t.Errorf("is ErrSignature: %t", tt.want != signature)
			}
		})
	}
}

func TestTheLargestNoteIsSignedAndOpened(t *testing.T) {
	t.Parallel()
	ed, c := ed25519Key(t, origin, 1), example()
	c.Extensions = "x\n"
	room := checkpoint.MaxSize - len(mustSign(t, c, ed))
	c.Extensions = strings.Repeat("x", room) + c.Extensions
	if _, _, err := checkpoint.Open(mustSign(t, c, ed), origin, ed.verifier); err != nil {
		t.Error(err)
	}
	c.Extensions = "x" + c.Extensions
	_, err := checkpoint.Sign(c, ed)
	wantError(t, err, "note of 1048577 bytes, want at most 1048576")
	_, _, err = checkpoint.Open(rawSign(t, c.String(), ed), origin, ed.verifier)
	wantError(t, err, "note of 1048577 bytes, want at most 1048576")
}

func TestOpenRefusesKeysThatAreNotTheLogs(t *testing.T) {
	t.Parallel()
	ed := ed25519Key(t, origin, 1)
	w := witnessKey(t, cosignature.MLDSA44, "w.example", 4)
	_, _, err := checkpoint.Open(mustSign(t, example(), ed), origin, ed.verifier, w.verifier)
	wantError(t, err, "w.example")
	_, _, err = checkpoint.Open(mustSign(t, example(), ed), origin)
	if !errors.Is(err, checkpoint.ErrSignature) {
		t.Errorf("without keys the error is %v", err)
	}
}

func TestOpenRefusesExtensionsThatNoSignatureCovers(t *testing.T) {
	t.Parallel()
	ed, ml := ed25519Key(t, origin, 1), mldsaKey(t, origin, 2)
	// The ML-DSA-44 signature stays valid with lines that anyone has added.
	signed := mustSign(t, example(), ml)
	injected := bytes.Replace(signed, []byte("\n\n"), []byte("\nadded\n\n"), 1)
	_, _, err := checkpoint.Open(injected, origin, ml.verifier)
	wantError(t, err, "do not cover")

	extended := example()
	extended.Extensions = "an extension\n"
	both := mustSign(t, extended, ed, ml)
	_, _, err = checkpoint.Open(both, origin, ml.verifier)
	wantError(t, err, "do not cover")
	if _, _, err := checkpoint.Open(both, origin, ed.verifier); err != nil {
		t.Error(err)
	}
	// Added to what both have signed, the Ed25519 signature breaks.
	injected = bytes.Replace(both, []byte("\n\n"), []byte("\nadded\n\n"), 1)
	_, _, err = checkpoint.Open(injected, origin, ed.verifier, ml.verifier)
	wantError(t, err, "no valid signature")
}

// The vectors are signed by the keys in vkeys.txt.
func TestOpenVectors(t *testing.T) {
	t.Parallel()
	var keys []note.Verifier
	vkeys, err := os.ReadFile("testdata/note/vkeys.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, vkey := range strings.Fields(string(vkeys)) {
		v, err := checkpoint.NewVerifier(vkey)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, v)
	}
	for name, msg := range vectors(t, "note/good") {
		if _, _, err := checkpoint.Open(msg, origin, keys...); err != nil {
			t.Errorf("good/%s: %v", name, err)
		}
	}
	for name, msg := range vectors(t, "note/bad") {
		if c, _, err := checkpoint.Open(msg, origin, keys...); err == nil {
			t.Errorf("bad/%s: opened as %+v", name, c)
		}
	}
}

func FuzzOpen(f *testing.F) {
	ed, ml := ed25519Key(f, origin, 1), mldsaKey(f, origin, 2)
	for _, folder := range []string{"note/good", "note/bad"} {
		for _, msg := range vectors(f, folder) {
			f.Add(msg)
		}
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		c, n, err := checkpoint.Open(msg, origin, ed.verifier, ml.verifier)
		if err != nil {
			return
		}
		if c.String() != n.Text || !bytes.HasPrefix(msg, []byte(n.Text+"\n")) || len(n.Sigs) == 0 {
			t.Fatalf("%q opens as %+v with %d signatures", msg, c, len(n.Sigs))
		}
	})
}

func BenchmarkSign(b *testing.B) {
	ed, ml := ed25519Key(b, origin, 1), mldsaKey(b, origin, 2)
	for _, bb := range []struct {
		name    string
		signers []note.Signer
	}{
		{"Ed25519", []note.Signer{ed}},
		{"both", []note.Signer{ed, ml}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			for b.Loop() {
				mustSign(b, example(), bb.signers...)
			}
		})
	}
}

func BenchmarkOpen(b *testing.B) {
	ed, ml := ed25519Key(b, origin, 1), mldsaKey(b, origin, 2)
	msg := mustSign(b, example(), ed, ml)
	for b.Loop() {
		if _, _, err := checkpoint.Open(msg, origin, ed.verifier, ml.verifier); err != nil {
			b.Fatal(err)
		}
	}
}
