// Package headmac lets a server tell the heads that it has committed from those that
// somebody else has put into its database.
//
// Whoever owns a database can add chunks, tiles and a head to it that fit together as
// well as a server's own. So each head carries a MAC, under a key that is kept with the
// log's signing key and never in the database: HMAC-SHA256 (RFC 2104) over
//
//	"stele head mac v1\n" || origin || "\n" || base || size || root
//
// with the size of the head that it builds on and its own as 8 bytes, big-endian, and the
// root as its 32 bytes. The servers of one log have one key. A [Log] adds the MAC to
// what is committed, and returns no head without it.
//
// A MAC covers all entries of a tree, but not that it is the newest: whoever owns the
// database can remove heads from the end. What was signed is on record elsewhere, see
// package publisher.
//
// All is safe for concurrent use.
package headmac

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/stele-log/stele/pkg/tree"
)

// A Key makes and checks the MACs of one log's heads. The zero Key is one that everybody
// knows.
type Key struct {
	secret [32]byte
	since  uint64
}

// Generate makes a new key, for a log whose heads up to the size since were committed
// before it had one.
func Generate(since uint64) Key {
	k := Key{since: since}
	_, _ = rand.Read(k.secret[:]) // never fails
	return k
}

// prefix is what the text of a key begins with.
const prefix = "stele-head-mac/v1"

// Text returns what Parse reads: a line, which is secret.
func (k Key) Text() string {
	return fmt.Sprintf("%s %d %s\n", prefix, k.since, base64.StdEncoding.EncodeToString(k.secret[:]))
}

// Parse reads a key. Its errors do not quote it.
func Parse(text string) (Key, error) {
	var k Key
	fields := strings.Fields(text)
	if len(fields) != 3 || fields[0] != prefix {
		return k, fmt.Errorf("this is not a key for the MACs of heads: it must be one line that begins with %q", prefix)
	}
	since, err := strconv.ParseUint(fields[1], 10, 63)
	if err != nil {
		return k, fmt.Errorf("key for the MACs of heads: the second word must be a size")
	}
	secret, err := base64.StdEncoding.Strict().DecodeString(fields[2])
	if err != nil || len(secret) != len(k.secret) {
		return k, fmt.Errorf("key for the MACs of heads: the third word must be %d bytes in base64", len(k.secret))
	}
	k.since = since
	copy(k.secret[:], secret)
	return k, nil
}

// String keeps the secret out of what is printed.
func (k Key) String() string { return fmt.Sprintf("headmac.Key since %d", k.since) }

// Sum returns the MAC, 32 bytes, of a head of the log with that origin, which builds on the
// head of size base.
func (k Key) Sum(origin string, base uint64, head tree.Head) []byte {
	msg := []byte("stele head mac v1\n" + origin + "\n")
	msg = binary.BigEndian.AppendUint64(msg, base)
	msg = binary.BigEndian.AppendUint64(msg, head.Size)
	msg = append(msg, head.Root[:]...)
	h := hmac.New(sha256.New, k.secret[:])
	h.Write(msg)
	return h.Sum(nil)
}
