package witness

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/proof"
	"github.com/stele-log/stele/pkg/tree"
)

// An AddCheckpoint is the body of a request to cosign a checkpoint.
type AddCheckpoint struct {
	Old   uint64      // size that the log believes the witness has on record, at most 2^63-1
	Proof []tree.Hash // consistency of the checkpoint with the tree of size Old; at most 63
	Note  []byte      // the signed checkpoint
}

// ParseAddCheckpoint parses the body of a request. It accepts exactly the bodies
// that [AddCheckpoint.String] prints, and does not parse the note.
//
// SPEC: https://c2sp.org/tlog-witness#add-checkpoint
func ParseAddCheckpoint(body []byte) (AddCheckpoint, error) {
	// The note has an empty line too: the first one counts.
	head, msg, ok := bytes.Cut(body, []byte("\n\n"))
	if !ok {
		return AddCheckpoint{}, errors.New("request: no empty line before the checkpoint")
	}
	lines := strings.Split(string(head), "\n")
	size, ok := strings.CutPrefix(lines[0], "old ")
	old, err := parseSize(size)
	if !ok || err != nil {
		return AddCheckpoint{}, fmt.Errorf("request: line 1 is %.60q: want old, a space and "+
			"a decimal number without leading zeros, at most 2^63-1", lines[0])
	}
	if n := len(lines) - 1; n > proof.MaxHashes {
		return AddCheckpoint{}, fmt.Errorf("request: a proof of %d hashes, want at most %d", n, proof.MaxHashes)
	}
	r := AddCheckpoint{Old: old, Note: msg}
	for i, line := range lines[1:] {
		h, err := tree.ParseHash(line)
		if err != nil {
			return AddCheckpoint{}, fmt.Errorf("request: line %d: %w", i+2, err)
		}
		r.Proof = append(r.Proof, h)
	}
	return r, nil
}

// parseSize parses a decimal number below 2^63 without leading zeros.
func parseSize(s string) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	if err == nil && strconv.FormatUint(n, 10) != s {
		return 0, strconv.ErrSyntax
	}
	return n, err
}

// String returns the body of the request.
func (r AddCheckpoint) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "old %d\n", r.Old)
	for _, h := range r.Proof {
		b.WriteString(h.String() + "\n")
	}
	b.WriteString("\n")
	b.Write(r.Note)
	return b.String()
}

// A submission is a request that is well-formed in all its parts.
type submission struct {
	AddCheckpoint
	checkpoint.Checkpoint

	// wrongEmpty is true if the checkpoint has size 0 and another root than the
	// empty tree. Root is that of the empty tree then, and the checkpoint is
	// refused like one with a bad proof, once its signature is verified.
	wrongEmpty bool
}

// maxOrigin is the size of the longest origin that a log can have, in bytes.
const maxOrigin = 255

// parseSubmission parses a request and the checkpoint in it, and verifies no
// signature. If the error is [checkpoint.ErrRepeated], all else is well-formed.
func parseSubmission(body []byte) (s submission, err error) {
	if s.AddCheckpoint, err = ParseAddCheckpoint(body); err != nil {
		return s, err
	}
	// Without an empty line there is no text, which does not parse either.
	text := string(s.Note[:bytes.LastIndex(s.Note, []byte("\n\n"))+1])
	if repaired, ok := repairEmpty(text); ok {
		s.wrongEmpty, text = true, repaired
	}
	// An origin that is too long for a log is one that no log has, not a malformed one.
	origin, rest, _ := strings.Cut(text, "\n")
	if len(origin) > maxOrigin {
		text = strings.ToValidUTF8(origin[:maxOrigin], "") + "\n" + rest
	}
	if s.Checkpoint, err = checkpoint.Parse(text); err != nil {
		return s, err
	}
	s.Origin = origin
	// The note is well-formed if all that it lacks is a signature that verifies
	// with one of no keys.
	_, _, err = checkpoint.Open(s.Note, s.Origin)
	if errors.Is(err, checkpoint.ErrSignature) {
		err = nil
	}
	return s, err
}

// verify checks that the log has signed the checkpoint, and returns the lines
// of its signatures. No ML-DSA-44 signature is valid for a wrong empty tree: its
// verifier refuses such a text itself.
func (s submission) verify(keys []note.Verifier) (lines string, err error) {
	_, n, err := checkpoint.Open(s.Note, s.Origin, keys...)
	if s.wrongEmpty && err != nil && !errors.Is(err, checkpoint.ErrSignature) {
		return "", nil // the signature is good, what it signs is not
	}
	if err != nil {
		return "", err
	}
	for _, sig := range n.Sigs {
		lines += fmt.Sprintf("— %s %s\n", sig.Name, sig.Base64)
	}
	return lines, nil
}

// checkRepeated returns an error if a line of one of the keys is not a signature of
// the text. Of a note with repeated lines, nothing else has looked at them.
func (s submission) checkRepeated(keys []note.Verifier) error {
	text, _ := splitText(s.Note)
	for line := range strings.Lines(string(s.Note[len(text)+1:])) {
		sig, raw, ok := parseSignature(line)
		for _, k := range keys {
			if ok && k.Name() == sig.Name && k.KeyHash() == sig.Hash && !k.Verify([]byte(text), raw) {
				return fmt.Errorf("a signature by the log's key %s+%08x is not valid", sig.Name, sig.Hash)
			}
		}
	}
	return nil
}

// repairEmpty returns the text of a checkpoint of size 0 with the root of the
// empty tree in place of the wrong one that it has.
func repairEmpty(text string) (string, bool) {
	lines := strings.SplitN(text, "\n", 4)
	if len(lines) < 4 || lines[1] != "0" {
		return "", false
	}
	if root, err := tree.ParseHash(lines[2]); err != nil || root == tree.EmptyRoot {
		return "", false
	}
	lines[2] = tree.EmptyRoot.String()
	return strings.Join(lines, "\n"), true
}
