package checkpoint_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/cosignature"
)

func TestGenerateKeyAgreesWithNote(t *testing.T) {
	t.Parallel()
	skey, vkey, err := checkpoint.GenerateKey(seed(1), origin)
	if err != nil {
		t.Fatal(err)
	}
	s, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	v, err := note.NewVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := note.Open(rawSign(t, "text\n", s), note.VerifierList(v)); err != nil {
		t.Error(err)
	}
}

func TestVKeyFollowsFromTheSignerKey(t *testing.T) {
	t.Parallel()
	for _, k := range []key{ed25519Key(t, origin, 1), mldsaKey(t, origin, 2)} {
		if got, err := checkpoint.VKey(k.skey); err != nil || got != k.vkey {
			t.Errorf("vkey is %.60q (%v), want %.60q", got, err, k.vkey)
		}
	}
	_, err := checkpoint.VKey("no key")
	wantError(t, err, "signer key does not begin with")
}

func TestGenerateKeyRefuses(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "a b", "a+b", "a\nb", "a\u2003b", "a\x7fb", "\xff", strings.Repeat("n", 256)} {
		if _, _, err := checkpoint.GenerateKey(seed(1), name); err == nil {
			t.Errorf("made a key for %q", name)
		}
	}
	_, _, err := checkpoint.GenerateKey(strings.NewReader("short"), origin)
	wantError(t, err, "generate key: unexpected EOF")
}

func TestNewVerifierRefuses(t *testing.T) {
	t.Parallel()
	good := ed25519Key(t, origin, 1).vkey
	name, rest, _ := strings.Cut(good, "+")
	id, b64, _ := strings.Cut(rest, "+")
	witness := witnessKey(t, cosignature.Ed25519, "w.example", 4).vkey
	tests := []struct{ name, vkey, want string }{
		{"empty", "", "malformed"},
		{"no key", name + "+" + id, "malformed"},
		{"no name", "+" + id + "+" + b64, "the name is not"},
		{"name with a space", "a b+" + id + "+" + b64, "the name is not"},
		{"another name", "log.example/two+" + id + "+" + b64, "its ID is"},
		{"another ID", name + "+00000000+" + b64, "its ID is"},
		{"ID in upper case", name + "+" + strings.ToUpper(id) + "+" + b64, "lower case"},
		{"short ID", name + "+" + id[1:] + "+" + b64, "8 hex digits"},
		{"ID with a sign", name + "++" + id[1:] + "+" + b64, "8 hex digits"},
		{"line end at the end", good + "\n", "base64"},
		{"trailing bits", good[:len(good)-2] + string(good[len(good)-2]+1) + "=", "base64"},
		{"no type", name + "+" + id + "+", "base64"},
		{"key of a witness", witness, "keys of type 0x04 do not sign for a log"},
		{"short public key", vkeyOf(t, origin, 1, make([]byte, 31)), "malformed"},
		{"short ML-DSA-44 key", vkeyOf(t, origin, 6, make([]byte, 32)), "verifier key"},
		{"unknown type", vkeyOf(t, origin, 0xff, make([]byte, 32)), "keys of type 0xff"},
		{"too long", vkeyOf(t, origin, 6, make([]byte, 4096)), "malformed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := checkpoint.NewVerifier(tt.vkey)
			wantError(t, err, tt.want)
		})
	}
}

func TestNewSignerRefusesAndKeepsTheSecret(t *testing.T) {
	t.Parallel()
	good := ed25519Key(t, origin, 1).skey
	ml := mldsaKey(t, origin, 2).skey
	witness := witnessKey(t, cosignature.Ed25519, "w.example", 4).skey
	tests := []struct{ name, skey, want string }{
		{"empty", "", "does not begin with"},
		{"vkey", ed25519Key(t, origin, 1).vkey, "does not begin with"},
		{"another name", strings.Replace(good, "one", "two", 1), "signer key of log.example/two"},
		{"another name, ML-DSA-44", strings.Replace(ml, "one", "two", 1), "its ID is"},
		{"key of a witness", witness, "keys of type 0x04 do not sign for a log"},
		{"line end at the end", good + "\n", "base64"},
		{"cut", good[:len(good)-8], "signer key"},
		{"ML-DSA-44, cut", ml[:len(ml)-8], "private key of"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := checkpoint.NewSigner(tt.skey)
			wantError(t, err, tt.want)
			if parts := strings.SplitN(tt.skey, "+", 5); len(parts) == 5 && strings.Contains(err.Error(), parts[4][:8]) {
				t.Errorf("the error shows the key: %v", err)
			}
		})
	}
}

func FuzzNewVerifier(f *testing.F) {
	f.Add(ed25519Key(f, origin, 1).vkey)
	f.Add(mldsaKey(f, origin, 2).vkey)
	f.Add(witnessKey(f, cosignature.Ed25519, "w.example", 4).vkey)
	f.Add("log.example/one+00000000+AQ==")
	f.Fuzz(func(t *testing.T, vkey string) {
		v, err := checkpoint.NewVerifier(vkey)
		if err != nil {
			return
		}
		material := strings.SplitN(vkey, "+", 3)[2]
		b, err := base64.StdEncoding.DecodeString(material)
		if err != nil || vkeyOf(t, v.Name(), b[0], b[1:]) != vkey {
			t.Fatalf("%q is not in its canonical spelling", vkey)
		}
	})
}

func FuzzNewSigner(f *testing.F) {
	f.Add(ed25519Key(f, origin, 1).skey)
	f.Add(mldsaKey(f, origin, 2).skey)
	f.Add("PRIVATE+KEY+log.example/one+00000000+AQ==")
	f.Fuzz(func(t *testing.T, skey string) {
		s, err := checkpoint.NewSigner(skey)
		if err != nil {
			return
		}
		vkey, err := checkpoint.VKey(skey)
		if err != nil {
			t.Fatal(err)
		}
		v, err := checkpoint.NewVerifier(vkey)
		if err != nil || v.Name() != s.Name() || v.KeyHash() != s.KeyHash() {
			t.Fatalf("signer %s+%08x has the vkey %q", s.Name(), s.KeyHash(), vkey)
		}
	})
}
