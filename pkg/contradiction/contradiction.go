// Package contradiction is the file that shows that a log has contradicted itself,
// as docs/contradiction.md says: signed checkpoints, and what proves that no log can
// have had both. Anyone who has the log's key can verify it offline.
//
// What always holds:
//   - an Contradiction has one text, and [Parse] accepts no other spelling of it;
//   - what [Contradiction.Verify] accepts as [Fork] or [Inconsistent] could not have
//     been made without the log's key, nor by a log that only ever grew. Nobody's
//     word is needed: not the auditor's, not the log's;
//   - an [Entry] shows that bytes are not those that were signed, and does not
//     show who said that they were.
//
// All functions are safe for concurrent use.
package contradiction

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/policy"
	"github.com/stele-log/stele/pkg/proof"
	"github.com/stele-log/stele/pkg/tree"
)

// A Kind says what an Contradiction proves.
type Kind string

const (
	// Fork is two signed heads of the same size with different roots. The notes
	// alone prove it.
	Fork Kind = "fork"

	// Inconsistent is two signed heads of different sizes, where the smaller
	// tree is not how the larger one began.
	Inconsistent Kind = "inconsistent"

	// Entry is one signed head, and bytes that were handed out as an entry of
	// its tree and are not.
	Entry Kind = "entry"
)

// A Contradiction is what a contradiction file holds.
type Contradiction struct {
	Kind Kind

	// First and Second are the checkpoints, the smaller one first. An Entry has
	// only the first.
	First, Second Sighting

	// Prefix is, for Inconsistent, the root of the tree of Second as it was at
	// the size of First.
	Prefix tree.Hash

	// Index, Leaf and Data are, for Entry, an index, the leaf hash that the tree
	// has there, and the bytes that were handed out. Data has at most 65535.
	Index uint64
	Leaf  tree.Hash
	Data  []byte

	// Hashes prove, for Inconsistent, that Prefix is the root of a prefix of the
	// tree of Second (a consistency proof), and for Entry, that Leaf is in that
	// of First (an inclusion proof).
	Hashes []tree.Hash
}

// A Sighting is a signed checkpoint as it was seen. Where and when are the word
// of whoever wrote the contradiction, and prove nothing.
type Sighting struct {
	Note   []byte    // whole, with all its signatures
	Source string    // where, such as a URL: 1 to 512 bytes of printable ASCII without space
	Time   time.Time // when, in whole seconds
}

// A Result says what a contradiction has proven.
type Result struct {
	Kind          Kind
	Origin        string
	First, Second tree.Head
	Prefix        tree.Hash // for Inconsistent, as in Contradiction
	Index         uint64    // for Entry, as in Contradiction
}

// String says it in one sentence.
func (r Result) String() string {
	switch r.Kind {
	case Fork:
		return fmt.Sprintf("the log %s has signed two different trees of %d entries: roots %s and %s",
			r.Origin, r.First.Size, r.First.Root, r.Second.Root)
	case Inconsistent:
		return fmt.Sprintf("the log %s has signed a tree of %d entries with root %s, and one of %d entries "+
			"of which the first %d have root %s: its history was rewritten, or it has two",
			r.Origin, r.First.Size, r.First.Root, r.Second.Size, r.First.Size, r.Prefix)
	default:
		return fmt.Sprintf("bytes handed out as entry %d of the log %s are not the entry in its signed tree of %d entries",
			r.Index, r.Origin, r.First.Size)
	}
}

// Verify checks that the checkpoints are signed by keys of one log that the
// policy lists, and that they contradict each other, or the bytes. Witnesses do
// not matter for that, and neither does the policy's quorum.
func (e Contradiction) Verify(p *policy.Policy) (Result, error) {
	r, err := e.verify(p)
	if err != nil {
		return Result{}, fmt.Errorf("contradiction: %w", err)
	}
	return r, nil
}

func (e Contradiction) verify(p *policy.Policy) (r Result, err error) {
	first, err := Open(e.First.Note, p)
	if err != nil {
		return r, fmt.Errorf("first note: %w", err)
	}
	r = Result{Kind: e.Kind, Origin: first.Origin, First: first.Head}
	if e.Kind == Entry {
		r.Index = e.Index
		return r, e.verifyEntry(first.Head)
	}
	second, err := Open(e.Second.Note, p)
	if err != nil {
		return r, fmt.Errorf("second note: %w", err)
	}
	if second.Origin != first.Origin {
		return r, fmt.Errorf("the notes are of two logs, %q and %q", first.Origin, second.Origin)
	}
	r.Second, r.Prefix = second.Head, e.Prefix
	switch e.Kind {
	case Fork:
		return r, verifyFork(first.Head, second.Head)
	case Inconsistent:
		return r, e.verifyInconsistent(first.Head, second.Head)
	}
	return r, fmt.Errorf("unknown kind %.60q", string(e.Kind))
}

func verifyFork(first, second tree.Head) error {
	if first.Size != second.Size {
		return fmt.Errorf("kind fork: the sizes differ, %d and %d: this alone shows nothing", first.Size, second.Size)
	}
	if first.Root == second.Root {
		return errors.New("kind fork: the two heads are the same: they contradict nothing")
	}
	return nil
}

// verifyInconsistent relies on SHA-256 having no known collisions: then there
// is one root of size first.Size that can be proven consistent with second.
func (e Contradiction) verifyInconsistent(first, second tree.Head) error {
	if first.Size >= second.Size {
		return fmt.Errorf("kind inconsistent: the first size is %d, want less than the second, %d", first.Size, second.Size)
	}
	if first.Size == 0 {
		return errors.New("kind inconsistent: every tree begins with the empty one")
	}
	if e.Prefix == first.Root {
		return errors.New("kind inconsistent: the larger tree begins with the smaller one: they contradict nothing")
	}
	prefix := tree.Head{Size: first.Size, Root: e.Prefix}
	return proof.VerifyConsistency(prefix, second, e.Hashes)
}

func (e Contradiction) verifyEntry(head tree.Head) error {
	if tree.LeafHash(e.Data) == e.Leaf {
		return errors.New("kind entry: the bytes are the entry in the tree: they contradict nothing")
	}
	return proof.VerifyInclusion(e.Leaf, e.Index, head, e.Hashes)
}

// Open checks that a note is a checkpoint signed by a key of a log that the
// policy lists, and returns it. It leaves out of account who has cosigned.
//
// The error wraps [checkpoint.ErrSignature] if a signature of the log is
// missing or wrong.
func Open(msg []byte, p *policy.Policy) (checkpoint.Checkpoint, error) {
	origin := Origin(msg)
	var keys []note.Verifier
	for _, l := range p.Logs() {
		if l.Origin != origin {
			continue
		}
		v, err := checkpoint.NewVerifier(l.VKey)
		if err != nil {
			return checkpoint.Checkpoint{}, err
		}
		keys = append(keys, v)
	}
	if len(keys) == 0 {
		return checkpoint.Checkpoint{}, fmt.Errorf("no key is given for a log with the origin %.60q", origin)
	}
	c, _, err := checkpoint.Open(msg, origin, keys...)
	return c, err
}
