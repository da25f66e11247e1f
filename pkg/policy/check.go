package policy

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/cosignature"
	"github.com/stele-log/stele/pkg/tile"
)

// A Result is a checkpoint that a policy trusts, with the signatures that
// count.
type Result struct {
	checkpoint.Checkpoint

	// Logs are the keys of the log that have signed, in the policy's order: one
	// at least.
	Logs []Log

	// Cosignatures are those of all witnesses of the policy that have signed,
	// in its order, whether or not the quorum needs them.
	Cosignatures []Cosignature
}

// A Cosignature is the verified cosignature of a witness.
type Cosignature struct {
	Witness Witness
	Time    time.Time // whole seconds; the zero Time if the cosignature states none
}

// A QuorumError is the error for a checkpoint that is signed by its log, but not
// cosigned by enough witnesses. Gathering more cosignatures may help.
type QuorumError struct {
	Origin  string
	Quorum  string   // name of the witness or group that the policy asks for
	Signed  []string // names of the witnesses that have signed, in the policy's order
	Missing []string // names of those that have not
}

func (e *QuorumError) Error() string {
	return fmt.Sprintf("checkpoint of %s: quorum %q is not met: %d of %d witnesses have signed, missing: %s",
		e.Origin, e.Quorum, len(e.Signed), len(e.Signed)+len(e.Missing), strings.Join(e.Missing, ", "))
}

// An UnknownLogError is the error for bytes that are not the checkpoint of any log that
// the policy lists. If they are that of another log they show nothing about those: then
// it wraps [tile.ErrUnchecked].
type UnknownLogError struct {
	Origin string   // of the checkpoint; empty if the bytes are not one
	Listed []string // the origins that the policy lists
}

func (e *UnknownLogError) Error() string {
	listed := strings.Join(e.Listed, ", ")
	switch {
	case e.Origin == "":
		return "this is not a checkpoint, of the log " + listed + " or any other"
	case listed == "":
		return fmt.Sprintf("this is the log %s, and no key of a log was given", e.Origin)
	}
	return fmt.Sprintf("this is the log %s; the keys that were given are for %s", e.Origin, listed)
}

func (e *UnknownLogError) Unwrap() error {
	if e.Origin == "" {
		return nil
	}
	return tile.ErrUnchecked
}

// unknownLog returns the error for a note whose first line no key of p is for. Of
// bytes that may be anything, it tells nothing but an origin.
func (p *Policy) unknownLog(msg []byte) *UnknownLogError {
	e := &UnknownLogError{}
	for _, l := range p.logs {
		if !slices.Contains(e.Listed, l.Origin) {
			e.Listed = append(e.Listed, l.Origin)
		}
	}
	if c, err := checkpoint.ParseNote(msg); err == nil {
		e.Origin = c.Origin
	}
	return e
}

// Check decides whether to trust a signed checkpoint, given as the bytes of its
// note, and returns it. It does not judge the checkpoint's age: the times of
// cosignatures are in the Result.
//
// The error is a [*QuorumError] if cosignatures are missing, wraps
// [checkpoint.ErrSignature] if a signature of the log is missing or wrong, and is an
// [*UnknownLogError] if it is not a checkpoint of any log that the policy lists.
func (p *Policy) Check(msg []byte) (Result, error) {
	// Which keys to try depends on the origin; Open then checks it.
	first, _, _ := bytes.Cut(msg, []byte("\n"))
	origin := string(first)
	var keys []note.Verifier
	for _, l := range p.logs {
		if l.Origin == origin {
			keys = append(keys, l.verifier)
		}
	}
	if len(keys) == 0 {
		return Result{}, p.unknownLog(msg)
	}
	c, n, err := checkpoint.Open(msg, origin, keys...)
	if err != nil {
		return Result{}, err
	}
	r := Result{Checkpoint: c}
	for _, l := range p.logs {
		if _, ok := find(n.Sigs, l.verifier); ok {
			r.Logs = append(r.Logs, l.Log)
		}
	}
	if r.Cosignatures, err = p.cosignatures(n); err != nil {
		return Result{}, fmt.Errorf("checkpoint of %s: %w", origin, err)
	}
	if err := p.checkQuorum(origin, r.Cosignatures); err != nil {
		return Result{}, err
	}
	return r, nil
}

// cosignatures verifies the cosignatures of the policy's witnesses in a note.
func (p *Policy) cosignatures(n *note.Note) ([]Cosignature, error) {
	sigs := slices.Concat(n.Sigs, n.UnverifiedSigs)
	var found []Cosignature
	for _, w := range p.witnesses {
		sig, ok := find(sigs, w.verifier)
		if !ok {
			continue
		}
		// The first four bytes are the key's ID.
		raw, err := base64.StdEncoding.DecodeString(sig.Base64)
		if err != nil || !w.verifier.Verify([]byte(n.Text), raw[4:]) {
			return nil, &note.InvalidSignatureError{Name: sig.Name, Hash: sig.Hash}
		}
		t, err := cosignature.Timestamp(sig)
		if err != nil {
			return nil, err
		}
		found = append(found, Cosignature{Witness: w.Witness, Time: t})
	}
	return found, nil
}

func find(sigs []note.Signature, v note.Verifier) (note.Signature, bool) {
	i := slices.IndexFunc(sigs, func(s note.Signature) bool { return s.Name == v.Name() && s.Hash == v.KeyHash() })
	if i < 0 {
		return note.Signature{}, false
	}
	return sigs[i], true
}

// checkQuorum returns a [*QuorumError] if the cosignatures are not enough.
func (p *Policy) checkQuorum(origin string, cosignatures []Cosignature) error {
	var signed []string
	for _, c := range cosignatures {
		signed = append(signed, c.Witness.Name)
	}
	if p.MetBy(signed...) {
		return nil
	}
	e := &QuorumError{Origin: origin, Quorum: p.quorum, Signed: signed}
	for _, w := range p.witnesses {
		if !slices.Contains(signed, w.Name) {
			e.Missing = append(e.Missing, w.Name)
		}
	}
	return e
}

// MetBy reports whether the witnesses of those names are enough for the policy. It
// decides group by group, in their order: members come before the groups that have them.
func (p *Policy) MetBy(names ...string) bool {
	met := map[string]bool{none: true}
	for _, name := range names {
		met[name] = true
	}
	for _, g := range p.groups {
		n := 0
		for _, m := range g.members {
			if met[m] {
				n++
			}
		}
		met[g.name] = n >= g.k
	}
	return met[p.quorum]
}
