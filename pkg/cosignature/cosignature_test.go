package cosignature_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"math"
	"strings"
	"testing"
	"time"

	"filippo.io/mldsa"
	"golang.org/x/mod/sumdb/note"

	"github.com/stele-log/stele/pkg/cosignature"
)

const (
	name = "witness.example/w1"
	now  = 1679315147

	// text is the example of tlog-cosignature.
	text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
)

var types = []cosignature.Type{cosignature.Ed25519, cosignature.MLDSA44}

func clock() time.Time { return time.Unix(now, 999) }

func secret(b byte) []byte { return bytes.Repeat([]byte{b}, 32) }

func pair(t testing.TB, typ cosignature.Type, name string, b byte) (*cosignature.Signer, *cosignature.Verifier) {
	t.Helper()
	skey, vkey, err := cosignature.GenerateKey(bytes.NewReader(secret(b)), typ, name)
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
	if s.VKey() != vkey || s.Name() != name || v.Name() != name || s.KeyHash() != v.KeyHash() {
		t.Fatalf("signer %s+%08x and verifier %s+%08x do not match", s.Name(), s.KeyHash(), v.Name(), v.KeyHash())
	}
	return s, v
}

func sign(t testing.TB, s note.Signer, text string) []byte {
	t.Helper()
	sig, err := s.Sign([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

func TestVerifierAcceptsOnlyTheCosignedText(t *testing.T) {
	t.Parallel()
	for _, typ := range types {
		t.Run(typ.String(), func(t *testing.T) {
			t.Parallel()
			s, v := pair(t, typ, name, 1)
			sig := sign(t, s, text)
			if !v.Verify([]byte(text), sig) {
				t.Error("the cosigned text is refused")
			}
			for _, other := range []string{
				"",
				strings.Replace(text, "sofa", "door", 1),
				strings.Replace(text, "20852163", "20852164", 1),
				strings.Replace(text, "20852163", "020852163", 1),
				strings.Replace(text, "CsUY", "DsUY", 1),
				strings.TrimSuffix(text, "\n"),
			} {
				if v.Verify([]byte(other), sig) {
					t.Errorf("%q is accepted", other)
				}
			}
			for i := 0; i < len(sig); i += 7 {
				bad := bytes.Clone(sig)
				bad[i] ^= 1
				if v.Verify([]byte(text), bad) {
					t.Errorf("a signature with byte %d changed is accepted", i)
				}
			}
			for _, bad := range [][]byte{nil, sig[:8], sig[:len(sig)-1], append(bytes.Clone(sig), 0)} {
				if v.Verify([]byte(text), bad) {
					t.Errorf("a signature of %d bytes is accepted", len(bad))
				}
			}
			if _, other := pair(t, typ, name, 2); other.Verify([]byte(text), sig) {
				t.Error("another key accepts")
			}
		})
	}
}

// An Ed25519 cosignature binds extension lines and not the cosigner's name, an
// ML-DSA-44 one the reverse.
func TestWhatCosignaturesBind(t *testing.T) {
	t.Parallel()
	for _, typ := range types {
		s, v := pair(t, typ, name, 1)
		_, renamed := pair(t, typ, "witness.example/w2", 1)
		sig := sign(t, s, text)
		isEd := typ == cosignature.Ed25519
		if got := v.Verify([]byte(text+"added\n"), sig); got == isEd {
			t.Errorf("%s: with an added extension line: %t", typ, got)
		}
		if got := renamed.Verify([]byte(text), sig); got != isEd {
			t.Errorf("%s: under another name: %t", typ, got)
		}
		if !v.Verify([]byte(text+"ext\n"), sign(t, s, text+"ext\n")) {
			t.Errorf("%s: a checkpoint with extension lines cannot be cosigned", typ)
		}
	}
}

func TestEd25519MessageIsThatOfTheSpec(t *testing.T) {
	t.Parallel()
	s, _ := pair(t, cosignature.Ed25519, name, 1)
	sig := sign(t, s, text)
	public := ed25519.NewKeyFromSeed(secret(1)).Public().(ed25519.PublicKey)
	message := "cosignature/v1\ntime 1679315147\n" + text
	if len(sig) != 72 || binary.BigEndian.Uint64(sig) != now || !ed25519.Verify(public, []byte(message), sig[8:]) {
		t.Errorf("%x is not the time and a signature of %q", sig, message)
	}
}

func TestMLDSAMessageIsThatOfTheSpec(t *testing.T) {
	t.Parallel()
	s, _ := pair(t, cosignature.MLDSA44, name, 1)
	sig := sign(t, s, text)
	key, err := mldsa.NewPrivateKey(mldsa.MLDSA44(), secret(1))
	if err != nil {
		t.Fatal(err)
	}
	root, _ := base64.StdEncoding.DecodeString("CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=")
	message := "subtree/v1\n\x00" +
		"\x12witness.example/w1" + "\x00\x00\x00\x00\x64\x18\x50\xcb" +
		"\x1bexample.com/behind-the-sofa" +
		"\x00\x00\x00\x00\x00\x00\x00\x00" + "\x00\x00\x00\x00\x01\x3e\x2d\xc3" + string(root)
	if len(sig) != 2428 || binary.BigEndian.Uint64(sig) != now {
		t.Errorf("signature of %d bytes begins with %x", len(sig), sig[:8])
	}
	if err := mldsa.Verify(key.PublicKey(), []byte(message), sig[8:], nil); err != nil {
		t.Error(err)
	}
}

func TestSignerRefuses(t *testing.T) {
	t.Parallel()
	for _, typ := range types {
		s, _ := pair(t, typ, name, 1)
		for _, bad := range []string{"", "hello\n", text[:len(text)-1], strings.Replace(text, "\n2", "\n02", 1)} {
			if _, err := s.Sign([]byte(bad)); err == nil {
				t.Errorf("%s: cosigned %q", typ, bad)
			}
		}
		skey, _, err := cosignature.GenerateKey(bytes.NewReader(secret(1)), typ, name)
		if err != nil {
			t.Fatal(err)
		}
		// A time of 0 would state none.
		for _, at := range []time.Time{{}, time.Unix(0, 0)} {
			early, err := cosignature.NewSigner(skey, func() time.Time { return at })
			if err != nil {
				t.Fatal(err)
			}
			if _, err := early.Sign([]byte(text)); err == nil || !strings.Contains(err.Error(), "before 1970") {
				t.Errorf("%s: with a clock at %v the error is %v", typ, at, err)
			}
		}
	}
}

func TestTimestamp(t *testing.T) {
	t.Parallel()
	at := func(t uint64, size int) note.Signature {
		b := binary.BigEndian.AppendUint64([]byte("\x01\x02\x03\x04"), t)
		return note.Signature{Name: name, Base64: base64.StdEncoding.EncodeToString(append(b, make([]byte, size)...))}
	}
	tests := []struct {
		name string
		sig  note.Signature
		want time.Time
		ok   bool
	}{
		{"Ed25519", at(now, 64), time.Unix(now, 0), true},
		{"ML-DSA-44", at(now, 2420), time.Unix(now, 0), true},
		{"none stated", at(0, 2420), time.Time{}, true},
		{"largest", at(math.MaxInt64, 64), time.Unix(math.MaxInt64, 0), true},
		{"too large", at(math.MaxInt64+1, 64), time.Time{}, false},
		{"signature of a log", at(now, 56), time.Time{}, false},
		{"empty", note.Signature{}, time.Time{}, false},
		{"not base64", note.Signature{Base64: "?"}, time.Time{}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := cosignature.Timestamp(tt.sig)
			if !got.Equal(tt.want) || (err == nil) != tt.ok {
				t.Errorf("%v, %v; want %v", got, err, tt.want)
			}
		})
	}
}

func TestVerifierRefusesATimeBeyondTheLimit(t *testing.T) {
	t.Parallel()
	_, v := pair(t, cosignature.Ed25519, name, 1)
	key := ed25519.NewKeyFromSeed(secret(1))
	for timestamp, want := range map[uint64]bool{math.MaxInt64: true, math.MaxInt64 + 1: false} {
		stated := map[uint64]string{math.MaxInt64: "9223372036854775807", math.MaxInt64 + 1: "9223372036854775808"}
		message := "cosignature/v1\ntime " + stated[timestamp] + "\n" + text
		sig := binary.BigEndian.AppendUint64(nil, timestamp)
		sig = append(sig, ed25519.Sign(key, []byte(message))...)
		if v.Verify([]byte(text), sig) != want {
			t.Errorf("time %d is accepted: %t", timestamp, !want)
		}
	}
}

func TestKeysOfOtherTypesAreRefused(t *testing.T) {
	t.Parallel()
	skey, vkey, err := note.GenerateKey(bytes.NewReader(secret(1)), name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cosignature.NewSigner(skey, clock); err == nil || !strings.Contains(err.Error(), "type 0x01 do not cosign") {
		t.Errorf("the error is %v", err)
	}
	if _, err := cosignature.NewVerifier(vkey); err == nil || !strings.Contains(err.Error(), "type 0x01 do not cosign") {
		t.Errorf("the error is %v", err)
	}
	if _, _, err := cosignature.GenerateKey(bytes.NewReader(secret(1)), 1, name); err == nil {
		t.Error("made a key of type 0x01")
	}
	if _, _, err := cosignature.GenerateKey(bytes.NewReader(secret(1)), cosignature.MLDSA44, "a b"); err == nil {
		t.Error("made a key named \"a b\"")
	}
}

func FuzzKeys(f *testing.F) {
	for _, typ := range types {
		skey, vkey, err := cosignature.GenerateKey(bytes.NewReader(secret(1)), typ, name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(skey)
		f.Add(vkey)
	}
	f.Fuzz(func(t *testing.T, key string) {
		if v, err := cosignature.NewVerifier(key); err == nil && !strings.HasPrefix(key, v.Name()+"+") {
			t.Fatalf("%q has the name %q", key, v.Name())
		}
		s, err := cosignature.NewSigner(key, clock)
		if err != nil {
			return
		}
		v, err := cosignature.NewVerifier(s.VKey())
		if err != nil || !v.Verify([]byte(text), sign(t, s, text)) {
			t.Fatalf("what %q signs does not verify (%v)", key, err)
		}
	})
}

func FuzzVerify(f *testing.F) {
	var verifiers []*cosignature.Verifier
	for _, typ := range types {
		s, v := pair(f, typ, name, 1)
		verifiers = append(verifiers, v)
		f.Add([]byte(text), sign(f, s, text))
	}
	f.Fuzz(func(t *testing.T, msg, sig []byte) {
		for _, v := range verifiers {
			if v.Verify(msg, sig) && !bytes.HasPrefix(msg, []byte(text)) {
				t.Fatalf("%q is accepted", msg)
			}
		}
	})
}

func BenchmarkSign(b *testing.B) {
	for _, typ := range types {
		s, _ := pair(b, typ, name, 1)
		b.Run(typ.String(), func(b *testing.B) {
			for b.Loop() {
				sign(b, s, text)
			}
		})
	}
}
