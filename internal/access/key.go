package access

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/hex"
	"regexp"
	"strings"
	"time"
)

// A Key lets whoever has its secret act as a principal.
type Key struct {
	ID        string            `json:"id"`
	Principal string            `json:"principal"`
	Hash      string            `json:"sha256"` // of the whole key, in hexadecimal
	Claims    map[string]string `json:"claims,omitempty"`
	Expires   time.Time         `json:"expires,omitzero"` // zero is never
	Created   time.Time         `json:"created,omitzero"`
	Revoked   bool              `json:"revoked,omitempty"`
	Rotated   bool              `json:"rotated,omitempty"` // another takes its place
}

// Live reports whether the key can be used.
func (k Key) Live(now time.Time) bool {
	return !k.Revoked && (k.Expires.IsZero() || now.Before(k.Expires))
}

// A key's text is "stele_", its id, "_" and 256 random bits in hexadecimal: scanners for
// secrets know it by its beginning, and a double click selects all of it.
var keyPattern = regexp.MustCompile(`^stele_([a-z2-7]{10})_[0-9a-f]{64}$`)

var lowerBase32 = base32.StdEncoding.WithPadding(base32.NoPadding)

// newID returns 50 random bits as 10 characters.
func newID() string {
	random := make([]byte, 7)
	_, _ = rand.Read(random) // never fails
	return strings.ToLower(lowerBase32.EncodeToString(random))[:10]
}

// newSecret returns the text of a new key and its id.
func newSecret() (text, id string) {
	id = newID()
	random := make([]byte, 32)
	_, _ = rand.Read(random) // never fails
	return "stele_" + id + "_" + hex.EncodeToString(random), id
}

// idOf returns the id in the text of a key, and false if it is none.
func idOf(text string) (string, bool) {
	match := keyPattern.FindStringSubmatch(text)
	if match == nil {
		return "", false
	}
	return match[1], true
}

// hashOf returns what is kept of a key. A key is random, so a slow hash would protect
// nothing.
func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// is reports whether a text is this key's, in a time that does not depend on it.
func (k Key) is(text string) bool {
	return subtle.ConstantTimeCompare([]byte(k.Hash), []byte(hashOf(text))) == 1
}
