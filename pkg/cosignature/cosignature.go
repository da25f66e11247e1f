// Package cosignature makes and checks timestamped cosignatures of checkpoints,
// by C2SP tlog-cosignature (https://c2sp.org/tlog-cosignature): the
// statement of a witness that, as of some time, the checkpoint's tree is the
// largest it has seen of that log, and consistent with all before it. A log's
// own ML-DSA-44 key signs in the same way.
//
// There are two types. Ed25519 signs "cosignature/v1", the time and the whole
// text of the checkpoint, but not the cosigner's name: no two cosigners may
// share such a key. ML-DSA-44 signs "subtree/v1", both names, the time, the
// size and the root, but not extension lines.
//
// What always holds:
//   - a [Signer] signs what it has parsed and printed again, never the bytes it
//     was handed, and a [Verifier] accepts a signature of nothing else;
//   - a key has one spelling, and its ID follows from its name and public key.
//
// Signers and verifiers are safe for concurrent use if the signer's clock is.
package cosignature

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"time"

	"filippo.io/mldsa"
	"golang.org/x/mod/sumdb/note"

	"github.com/stele-log/stele/pkg/internal/notefmt"
)

// A Type is the type of a cosigner's key, as it stands in vkeys.
type Type byte

const (
	Ed25519 Type = notefmt.CosignV1
	MLDSA44 Type = notefmt.CosignMLDSA
)

func (t Type) String() string {
	switch t {
	case Ed25519:
		return "Ed25519"
	case MLDSA44:
		return "ML-DSA-44"
	}
	return fmt.Sprintf("type 0x%02x", byte(t))
}

// size returns the size of the raw signature, in bytes.
func (t Type) size() int {
	if t == Ed25519 {
		return ed25519.SignatureSize
	}
	return mldsa.MLDSA44SignatureSize
}

const (
	timeSize = 8 // bytes of the timestamp, before the raw signature
	idSize   = 4 // bytes of the key ID, before the timestamp
)

// message returns what a cosigner signs for a checkpoint's text at a time, in
// seconds since 1970. It fails if the text is not a checkpoint.
func (t Type) message(name string, timestamp uint64, text []byte) ([]byte, error) {
	body, err := notefmt.ParseBody(string(text))
	if err != nil {
		return nil, err
	}
	if t == MLDSA44 {
		return subtreeMessage(name, timestamp, body), nil
	}
	// SPEC: https://c2sp.org/tlog-cosignature#ed25519-signed-message
	m := append([]byte("cosignature/v1\ntime "), strconv.FormatUint(timestamp, 10)...)
	return append(m, "\n"+body.String()...), nil
}

// subtreeMessage returns the cosigned_message structure of a whole tree. Both
// names have at most 255 bytes.
//
// SPEC: https://c2sp.org/tlog-cosignature#ml-dsa-44-signed-message: start MUST
// be 0 for a checkpoint, end is the size of the tree.
func subtreeMessage(name string, timestamp uint64, body notefmt.Body) []byte {
	m := []byte("subtree/v1\n\x00")
	m = append(m, byte(len(name)))
	m = append(m, name...)
	m = binary.BigEndian.AppendUint64(m, timestamp)
	m = append(m, byte(len(body.Origin)))
	m = append(m, body.Origin...)
	m = binary.BigEndian.AppendUint64(m, 0)
	m = binary.BigEndian.AppendUint64(m, body.Size)
	return append(m, body.Root[:]...)
}

// Timestamp returns the time that a cosignature states, in whole seconds, or
// the zero Time if it states none. It does not verify anything: take sig from
// the verified signatures of a note.
func Timestamp(sig note.Signature) (time.Time, error) {
	b, err := base64.StdEncoding.DecodeString(sig.Base64)
	raw := len(b) - idSize - timeSize
	if err != nil || raw != Ed25519.size() && raw != MLDSA44.size() {
		return time.Time{}, fmt.Errorf("signature of %s is not a cosignature", sig.Name)
	}
	// SPEC: https://c2sp.org/tlog-cosignature#format: MUST NOT exceed 2^63 - 1.
	t := binary.BigEndian.Uint64(b[idSize:])
	if t > math.MaxInt64 {
		return time.Time{}, fmt.Errorf("cosignature of %s: its time, %d, is more than 2^63-1", sig.Name, t)
	}
	if t == 0 {
		return time.Time{}, nil
	}
	return time.Unix(int64(t), 0).UTC(), nil
}
