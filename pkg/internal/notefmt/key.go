// Package notefmt holds the grammar that checkpoints, cosignatures and policies
// share: note keys as strings (https://c2sp.org/signed-note) and the text of a
// checkpoint (https://c2sp.org/tlog-checkpoint).
//
// What always holds: each parser prints what it has read and compares, so there
// is one accepted spelling of everything.
package notefmt

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The types of keys that this module knows.
//
// SPEC: https://c2sp.org/signed-note#signature-types
const (
	Ed25519     = 0x01 // Ed25519 over the note's text
	CosignV1    = 0x04 // Ed25519 timestamped cosignature
	CosignMLDSA = 0x06 // ML-DSA-44 timestamped cosignature
)

const (
	// MaxName is the size of the longest name of a key or a log, in bytes: the
	// ML-DSA-44 signed message has one byte for it.
	MaxName = 255

	maxKey      = 4096 // bytes; an ML-DSA-44 vkey has 1.8 KB and a name
	skeyPrefix  = "PRIVATE+KEY+"
	keyIDDigits = 8
)

// A Key is a verifier key (vkey) or a signer key (skey) taken apart.
type Key struct {
	Name     string
	ID       uint32
	Type     byte
	Material []byte // the public key in a vkey, the private seed in an skey
}

// KeyID returns the ID of a key.
//
// SPEC: https://c2sp.org/signed-note#signatures
func KeyID(name string, typ byte, public []byte) uint32 {
	h := sha256.New()
	h.Write([]byte(name))
	h.Write([]byte{'\n', typ})
	h.Write(public)
	return binary.BigEndian.Uint32(h.Sum(nil))
}

// errPrivate refuses a signer key that was given for a verifier key: no error shows it.
var errPrivate = errors.New("this is a private key, where the public one is wanted, the verifier key: <name>+<8 hex digits>+<base64>")

// ParseVKey takes a verifier key apart and checks its ID. It does not look at
// the type, nor at the public key.
func ParseVKey(vkey string) (Key, error) {
	if strings.Contains(vkey, skeyPrefix) {
		return Key{}, errPrivate
	}
	k, err := parseKey(vkey)
	if err != nil {
		return Key{}, fmt.Errorf("verifier key %.60q: %w: want <name>+<8 hex digits>+<base64>", vkey, err)
	}
	if id := KeyID(k.Name, k.Type, k.Material); id != k.ID {
		return Key{}, fmt.Errorf("verifier key %.60q: its ID is %08x, not %08x: "+
			"the name or the key was changed", vkey, id, k.ID)
	}
	return k, nil
}

// ParseSKey takes a signer key apart. The ID is that of the public key, which
// the caller derives, and checks with [KeyID]. Errors do not show the key.
func ParseSKey(skey string) (Key, error) {
	rest, ok := strings.CutPrefix(skey, skeyPrefix)
	if !ok {
		return Key{}, fmt.Errorf("signer key does not begin with %s", skeyPrefix)
	}
	k, err := parseKey(rest)
	if err != nil {
		return Key{}, fmt.Errorf("signer key: %w: want %s<name>+<8 hex digits>+<base64>", err, skeyPrefix)
	}
	return k, nil
}

func parseKey(s string) (Key, error) {
	name, rest, _ := strings.Cut(s, "+")
	id, material, ok := strings.Cut(rest, "+")
	if !ok || len(s) > maxKey {
		return Key{}, errors.New("malformed")
	}
	if !ValidName(name) {
		return Key{}, fmt.Errorf("the name is not 1 to %d bytes of UTF-8 without spaces and control characters", MaxName)
	}
	n, err := strconv.ParseUint(id, 16, 32)
	if err != nil || len(id) != keyIDDigits {
		return Key{}, errors.New("the ID is not 8 hex digits")
	}
	b, err := DecodeBase64(material)
	if err != nil || len(b) < 2 {
		return Key{}, errors.New("the key is not in standard base64")
	}
	k := Key{Name: name, ID: uint32(n), Type: b[0], Material: b[1:]}
	if k.format() != s {
		return Key{}, errors.New("the ID is not in lower case")
	}
	return k, nil
}

func (k Key) format() string {
	b := append([]byte{k.Type}, k.Material...)
	return fmt.Sprintf("%s+%08x+%s", k.Name, k.ID, base64.StdEncoding.EncodeToString(b))
}

// FormatVKey returns the verifier key of a public key.
func FormatVKey(name string, typ byte, public []byte) string {
	return Key{name, KeyID(name, typ, public), typ, public}.format()
}

// FormatSKey returns the signer key of a private seed and its public key, in
// the convention of golang.org/x/mod/sumdb/note.
func FormatSKey(name string, typ byte, seed, public []byte) string {
	return skeyPrefix + Key{name, KeyID(name, typ, public), typ, seed}.format()
}

// ValidName reports whether a name can stand in a signature line and in the
// messages that cosigners sign.
//
// SPEC: https://c2sp.org/signed-note#format: non-empty, no Unicode spaces, no
// plus.
func ValidName(name string) bool {
	return name != "" && len(name) <= MaxName && utf8.ValidString(name) &&
		!strings.ContainsFunc(name, func(r rune) bool {
			return r == '+' || unicode.IsSpace(r) || unicode.IsControl(r)
		})
}

// DecodeBase64 decodes standard, padded base64 in its one canonical spelling.
// Go's decoder alone would skip line ends.
func DecodeBase64(s string) ([]byte, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || base64.StdEncoding.EncodeToString(b) != s {
		return nil, errors.New("not canonical standard base64")
	}
	return b, nil
}

// ParseSize parses a tree size or an index: decimal, without leading zeros, at
// most 2^63-1.
func ParseSize(s string) (uint64, bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	return uint64(n), err == nil && n >= 0 && strconv.FormatInt(n, 10) == s
}
