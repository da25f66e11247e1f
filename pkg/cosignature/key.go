package cosignature

import (
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"time"

	"filippo.io/mldsa"

	"github.com/stele-log/stele/pkg/internal/notefmt"
)

const seedSize = 32 // bytes, of both types

// GenerateKey makes a key of the given type for the cosigner with that name,
// from 32 bytes of rand. skey is secret; vkey is what verifiers need.
func GenerateKey(rand io.Reader, typ Type, name string) (skey, vkey string, err error) {
	seed := make([]byte, seedSize)
	if _, err := io.ReadFull(rand, seed); err != nil {
		return "", "", fmt.Errorf("generate key: %w", err)
	}
	if !notefmt.ValidName(name) {
		return "", "", fmt.Errorf("generate key: %.60q cannot name a key: "+
			"want 1 to %d bytes of UTF-8 without spaces, plus and control characters", name, notefmt.MaxName)
	}
	_, public, err := typ.private(seed)
	if err != nil {
		return "", "", fmt.Errorf("generate key: %w", err)
	}
	return notefmt.FormatSKey(name, byte(typ), seed, public), notefmt.FormatVKey(name, byte(typ), public), nil
}

// private returns the function that signs with the key of that seed, and its
// public key.
func (t Type) private(seed []byte) (sign func([]byte) ([]byte, error), public []byte, err error) {
	if len(seed) != seedSize {
		return nil, nil, fmt.Errorf("private key of %d bytes, want %d", len(seed), seedSize)
	}
	switch t {
	case Ed25519:
		key := ed25519.NewKeyFromSeed(seed)
		sign := func(m []byte) ([]byte, error) { return ed25519.Sign(key, m), nil }
		return sign, key.Public().(ed25519.PublicKey), nil
	case MLDSA44:
		key, err := mldsa.NewPrivateKey(mldsa.MLDSA44(), seed)
		if err != nil {
			return nil, nil, err
		}
		sign := func(m []byte) ([]byte, error) { return key.Sign(nil, m, nil) }
		return sign, key.PublicKey().Bytes(), nil
	}
	return nil, nil, t.errNotCosigner()
}

// public returns the function that verifies signatures of a public key.
func (t Type) public(key []byte) (verify func(m, sig []byte) bool, err error) {
	switch t {
	case Ed25519:
		if len(key) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("Ed25519 key of %d bytes, want %d", len(key), ed25519.PublicKeySize)
		}
		return func(m, sig []byte) bool { return ed25519.Verify(key, m, sig) }, nil
	case MLDSA44:
		k, err := mldsa.NewPublicKey(mldsa.MLDSA44(), key)
		if err != nil {
			return nil, err
		}
		return func(m, sig []byte) bool { return mldsa.Verify(k, m, sig, nil) == nil }, nil
	}
	return nil, t.errNotCosigner()
}

func (t Type) errNotCosigner() error {
	return fmt.Errorf("keys of type 0x%02x do not cosign: want 0x%02x (Ed25519) or 0x%02x (ML-DSA-44)",
		byte(t), byte(Ed25519), byte(MLDSA44))
}

// A Signer cosigns checkpoints. It is a note.Signer.
type Signer struct {
	name string
	id   uint32
	typ  Type
	vkey string
	sign func(m []byte) ([]byte, error)
	now  func() time.Time
}

// NewSigner returns the signer of a key that [GenerateKey] has made. The clock
// gives the time that each cosignature states. Errors do not show the key.
func NewSigner(skey string, now func() time.Time) (*Signer, error) {
	k, err := notefmt.ParseSKey(skey)
	if err != nil {
		return nil, err
	}
	typ := Type(k.Type)
	sign, public, err := typ.private(k.Material)
	if err != nil {
		return nil, fmt.Errorf("signer key of %s: %w", k.Name, err)
	}
	if id := notefmt.KeyID(k.Name, k.Type, public); id != k.ID {
		return nil, fmt.Errorf("signer key of %s: its ID is %08x, not %08x: the name or the key was changed",
			k.Name, id, k.ID)
	}
	return &Signer{k.Name, k.ID, typ, notefmt.FormatVKey(k.Name, k.Type, public), sign, now}, nil
}

// Name returns the cosigner's name.
func (s *Signer) Name() string { return s.name }

// KeyHash returns the key's ID.
func (s *Signer) KeyHash() uint32 { return s.id }

// VKey returns the verifier key that belongs to the signer.
func (s *Signer) VKey() string { return s.vkey }

// Sign returns a cosignature of a checkpoint's text, as of now: the time, then
// the raw signature. It fails if the text is not a checkpoint.
func (s *Signer) Sign(text []byte) ([]byte, error) {
	// SPEC: https://c2sp.org/tlog-cosignature#format: a POSIX timestamp.
	t := s.now().Unix()
	if t <= 0 {
		return nil, fmt.Errorf("cosign as %s: the clock is before 1970", s.name)
	}
	m, err := s.typ.message(s.name, uint64(t), text)
	if err != nil {
		return nil, fmt.Errorf("cosign as %s: %w", s.name, err)
	}
	raw, err := s.sign(m)
	if err != nil {
		return nil, fmt.Errorf("cosign as %s: %w", s.name, err)
	}
	return append(binary.BigEndian.AppendUint64(nil, uint64(t)), raw...), nil
}

// A Verifier verifies cosignatures. It is a note.Verifier.
//
// An ML-DSA-44 cosignature of a checkpoint with extension lines is valid, and
// does not cover those lines: package checkpoint does not rely on it alone.
type Verifier struct {
	name   string
	id     uint32
	typ    Type
	verify func(m, sig []byte) bool
}

// NewVerifier returns the verifier of a vkey of one of the two types. It
// accepts a key in its canonical spelling only, with the ID that follows from
// its name and public key.
func NewVerifier(vkey string) (*Verifier, error) {
	k, err := notefmt.ParseVKey(vkey)
	if err != nil {
		return nil, err
	}
	verify, err := Type(k.Type).public(k.Material)
	if err != nil {
		return nil, fmt.Errorf("verifier key %.60q: %w", vkey, err)
	}
	return &Verifier{k.Name, k.ID, Type(k.Type), verify}, nil
}

// Name returns the cosigner's name.
func (v *Verifier) Name() string { return v.name }

// KeyHash returns the key's ID.
func (v *Verifier) KeyHash() uint32 { return v.id }

// Verify reports whether sig, the time and the raw signature, is a cosignature
// of a checkpoint's text. The time may be any.
func (v *Verifier) Verify(text, sig []byte) bool {
	if len(sig) != timeSize+v.typ.size() {
		return false
	}
	t := binary.BigEndian.Uint64(sig)
	if t > math.MaxInt64 {
		return false
	}
	m, err := v.typ.message(v.name, t, text)
	return err == nil && v.verify(m, sig[timeSize:])
}
