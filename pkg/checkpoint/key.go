package checkpoint

import (
	"crypto/ed25519"
	"fmt"
	"io"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/stele-log/stele/pkg/cosignature"
	"github.com/stele-log/stele/pkg/internal/notefmt"
)

// GenerateKey makes an Ed25519 key for the log with that origin, from
// 32 bytes of rand. For an ML-DSA-44 key, to sign beside it, see
// [cosignature.GenerateKey].
//
// skey is secret. vkey is what readers of the log need.
func GenerateKey(rand io.Reader, origin string) (skey, vkey string, err error) {
	if !notefmt.ValidName(origin) {
		return "", "", fmt.Errorf("generate key: the origin %.60q cannot name a key: "+
			"want 1 to %d bytes of UTF-8 without spaces, plus and control characters", origin, notefmt.MaxName)
	}
	seed := make([]byte, ed25519.SeedSize)
	if _, err := io.ReadFull(rand, seed); err != nil {
		return "", "", fmt.Errorf("generate key: %w", err)
	}
	public := publicKey(seed)
	return notefmt.FormatSKey(origin, notefmt.Ed25519, seed, public),
		notefmt.FormatVKey(origin, notefmt.Ed25519, public), nil
}

// NewSigner returns the signer of a log's key, Ed25519 or ML-DSA-44. The latter
// signs the time too, by the system's clock; [cosignature.NewSigner] takes
// another. Errors do not show the key.
func NewSigner(skey string) (note.Signer, error) {
	k, err := notefmt.ParseSKey(skey)
	if err != nil {
		return nil, err
	}
	switch k.Type {
	case notefmt.Ed25519:
		s, err := note.NewSigner(skey)
		if err != nil {
			return nil, fmt.Errorf("signer key of %s: %w", k.Name, err)
		}
		return s, nil
	case notefmt.CosignMLDSA:
		return cosignature.NewSigner(skey, time.Now)
	default:
		return nil, fmt.Errorf("signer key of %s: %w", k.Name, errNotLogKey(k.Type))
	}
}

// NewVerifier returns the verifier of a log's key, Ed25519 or ML-DSA-44. It
// accepts a key in its canonical spelling only, with the ID that follows from
// its name and public key.
func NewVerifier(vkey string) (note.Verifier, error) {
	k, err := notefmt.ParseVKey(vkey)
	if err != nil {
		return nil, err
	}
	switch k.Type {
	case notefmt.Ed25519:
		v, err := note.NewVerifier(vkey)
		if err != nil {
			return nil, fmt.Errorf("verifier key %.60q: %w", vkey, err)
		}
		return v, nil
	case notefmt.CosignMLDSA:
		return cosignature.NewVerifier(vkey)
	default:
		return nil, fmt.Errorf("verifier key %.60q: %w", vkey, errNotLogKey(k.Type))
	}
}

// VKey returns the verifier key of a log's signer key. Errors do not show the
// key.
func VKey(skey string) (string, error) {
	s, err := NewSigner(skey)
	if err != nil {
		return "", err
	}
	if c, ok := s.(*cosignature.Signer); ok {
		return c.VKey(), nil
	}
	k, err := notefmt.ParseSKey(skey)
	if err != nil {
		return "", err
	}
	return notefmt.FormatVKey(k.Name, k.Type, publicKey(k.Material)), nil
}

func publicKey(seed []byte) ed25519.PublicKey {
	return ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
}

// errNotLogKey is the error for a key of a type with which a log does not sign. A
// cosignature by Ed25519 does not cover the name of the cosigner.
func errNotLogKey(typ byte) error {
	return fmt.Errorf("keys of type 0x%02x do not sign for a log: want 0x%02x (Ed25519) or 0x%02x (ML-DSA-44)",
		typ, notefmt.Ed25519, notefmt.CosignMLDSA)
}
