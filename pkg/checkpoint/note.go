package checkpoint

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/stele-log/stele/pkg/internal/notefmt"
)

// MaxSize is the size of the largest signed checkpoint that [Open] reads, in
// bytes. 16 ML-DSA-44 signatures need 52 KiB.
const MaxSize = 1 << 20

// ErrSignature is the error for a well-formed note that is not signed by a key of
// the log, or in which the signature of such a key is wrong.
var ErrSignature = errors.New("no valid signature of the log")

// ErrRepeated is the error for a note with two signature lines of one key, whatever
// they are worth.
var ErrRepeated = errors.New("two signatures by the key")

const (
	signaturePrefix = "— "
	keyIDSize       = 4 // bytes
)

// Sign returns the checkpoint as a note with the signatures of signers, in
// their order. It refuses what [Open] would refuse: at least one signer must be
// a key of the log, named by its origin.
func Sign(c Checkpoint, signers ...note.Signer) ([]byte, error) {
	// Sign what was read back, so that nothing can be signed that parses as
	// something else.
	c, err := Parse(c.String())
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	msg, err := note.Sign(&note.Note{Text: c.String()}, signers...)
	if err != nil {
		return nil, fmt.Errorf("sign checkpoint of %s: %w", c.Origin, err)
	}
	sigs, err := readSignatures(msg)
	if err != nil {
		return nil, fmt.Errorf("sign checkpoint of %s: %w", c.Origin, err)
	}
	sigs = slices.DeleteFunc(sigs, func(s signature) bool { return s.name != c.Origin })
	if len(sigs) == 0 {
		return nil, fmt.Errorf("sign checkpoint of %s: no signer has that name", c.Origin)
	}
	if c.Extensions != "" && !slices.ContainsFunc(sigs, signature.coversExtensions) {
		return nil, fmt.Errorf("sign checkpoint of %s: %w", c.Origin, errUncovered)
	}
	return msg, nil
}

// Open checks that msg is a checkpoint of the log with that origin, signed by
// one of its keys, and returns it. The note's Sigs are the signatures of those
// keys; cosignatures of witnesses are among its UnverifiedSigs.
//
// Keys are made by [NewVerifier] and have the origin as their name. The error
// is [ErrSignature] if the note is well-formed, and not signed as it must be, and
// [ErrRepeated] if a key has two lines.
func Open(msg []byte, origin string, keys ...note.Verifier) (Checkpoint, *note.Note, error) {
	c, n, err := open(msg, origin, keys)
	if err != nil {
		return Checkpoint{}, nil, fmt.Errorf("open checkpoint of %s: %w", origin, err)
	}
	return c, n, nil
}

func open(msg []byte, origin string, keys []note.Verifier) (c Checkpoint, n *note.Note, err error) {
	for _, k := range keys {
		if k.Name() != origin {
			return c, nil, fmt.Errorf("key %s+%08x is not the log's: its name is not the origin",
				k.Name(), k.KeyHash())
		}
	}
	sigs, err := readSignatures(msg)
	if err != nil {
		return c, nil, err
	}
	// The signature comes first: a text is not parsed before it is known to be
	// the log's.
	n, err = note.Open(msg, note.VerifierList(keys...))
	var unverified *note.UnverifiedNoteError
	var invalid *note.InvalidSignatureError
	switch {
	case errors.As(err, &unverified), errors.As(err, &invalid):
		return c, nil, fmt.Errorf("%w: %w", ErrSignature, err)
	case err != nil:
		return c, nil, err
	}
	c, err = Parse(n.Text)
	if err != nil {
		return c, nil, err
	}
	if c.Origin != origin {
		return c, nil, fmt.Errorf("the log has signed a checkpoint of another origin, %q", c.Origin)
	}
	if c.Extensions != "" && !slices.ContainsFunc(sigs, func(s signature) bool {
		return s.coversExtensions() && s.isAmong(n.Sigs)
	}) {
		return c, nil, errUncovered
	}
	return c, n, nil
}

// SPEC: https://c2sp.org/tlog-cosignature#ml-dsa-44-signed-message: extension
// lines are not included in the signed message, and no statement is made about
// them. Anyone could have added them.
var errUncovered = errors.New("extension lines, and only ML-DSA-44 signatures, which do not cover them: " +
	"an Ed25519 key of the log must sign as well")

// A signature is one signature line of a note.
type signature struct {
	name string
	id   uint32
	size int // of what follows the key's ID, in bytes
}

// coversExtensions reports whether the signature, if valid, is over the whole
// text: of the types that a log's key can have, that is Ed25519.
func (s signature) coversExtensions() bool { return s.size == ed25519.SignatureSize }

func (s signature) isAmong(sigs []note.Signature) bool {
	return slices.ContainsFunc(sigs, func(o note.Signature) bool { return o.Name == s.name && o.Hash == s.id })
}

// readSignatures reads the signature lines of a note and checks what note.Open
// lets pass: the note's size, that signatures are in canonical base64, and that
// no two are by the same key.
func readSignatures(msg []byte) ([]signature, error) {
	if len(msg) > MaxSize {
		return nil, fmt.Errorf("note of %d bytes, want at most %d", len(msg), MaxSize)
	}
	split := bytes.LastIndex(msg, []byte("\n\n"))
	if split < 0 {
		return nil, errors.New("not a signed note: no empty line before the signatures")
	}
	type key struct {
		name string
		id   uint32
	}
	seen := map[key]bool{}
	var sigs []signature
	for line := range strings.Lines(string(msg[split+2:])) {
		line, ended := strings.CutSuffix(line, "\n")
		rest, ok := strings.CutPrefix(line, signaturePrefix)
		name, b64, _ := strings.Cut(rest, " ")
		sig, err := notefmt.DecodeBase64(b64)
		if !ended || !ok || err != nil || len(sig) <= keyIDSize {
			return nil, fmt.Errorf("signature line %.60q is malformed: want an em dash, a name and canonical base64", line)
		}
		k := key{name, binary.BigEndian.Uint32(sig)}
		if seen[k] {
			return nil, fmt.Errorf("%w %s+%08x", ErrRepeated, k.name, k.id)
		}
		seen[k] = true
		sigs = append(sigs, signature{k.name, k.id, len(sig) - keyIDSize})
	}
	return sigs, nil
}
