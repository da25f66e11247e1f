// Package contradiction reads, writes and verifies contradiction files. Such a file
// proves that a log has contradicted itself: it holds checkpoints that the log has
// signed, and the hashes that show that no log which only grows can have signed
// both. Anyone who has the log's key can verify it offline. docs/contradiction.md
// specifies the format.
//
// An auditor that finds a contradiction fills in a [Contradiction] and writes it
// with Format. [Parse] reads the file back, and [Contradiction.Verify] decides.
//
// What always holds:
//   - a Contradiction has one text, and [Parse] accepts no other spelling of it;
//   - a [Fork] or [Inconsistent] that [Contradiction.Verify] accepts could not have
//     been made without the log's key, nor against a log that only ever grew. It
//     takes nobody's word, neither the auditor's nor the log's;
//   - an [Entry] that it accepts shows that some bytes are not the entry in the
//     signed tree. It does not show who handed them out.
//
// All functions are safe for concurrent use.
package contradiction

import (
	"errors"
	"fmt"
	"time"

	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/policy"
	"github.com/stele-log/stele/pkg/proof"
	"github.com/stele-log/stele/pkg/tree"
)

// A Kind is the kind of a contradiction, which determines what it proves.
type Kind string

const (
	// Fork is two signed heads of the same size with different roots. The two
	// notes alone prove it.
	Fork Kind = "fork"

	// Inconsistent is two signed heads of different sizes, where the larger tree
	// does not begin with the smaller one.
	Inconsistent Kind = "inconsistent"

	// Entry is one signed head, and bytes that were handed out as an entry of its
	// tree and are not that entry.
	Entry Kind = "entry"
)

// A Contradiction is the content of a contradiction file. Nothing about it is
// verified before Verify.
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

	// Hashes are, for Inconsistent, the consistency proof from Prefix, at the size
	// of First, to Second; and for Entry, the inclusion proof of Leaf in First. A
	// Fork has none.
	Hashes []tree.Hash
}

// A Sighting is a signed checkpoint, with the place and time at which it was seen.
// Place and time are on the word of whoever wrote the file, and prove nothing.
type Sighting struct {
	Note   []byte    // whole, with all its signatures; at most 1 MiB
	Source string    // where, such as a URL: 1 to 512 bytes of printable ASCII without space
	Time   time.Time // when, in whole seconds
}

// A Result is what a contradiction has proven.
type Result struct {
	Kind          Kind
	Origin        string
	First, Second tree.Head
	Prefix        tree.Hash // for Inconsistent, as in Contradiction
	Index         uint64    // for Entry, as in Contradiction
}

// String returns the result as one sentence, for people.
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
// policy lists, and that they contradict each other, or contradict the bytes of an
// Entry. Cosignatures and the policy's quorum do not matter: a log must not sign
// two histories, whether or not witnesses have signed along.
func (c Contradiction) Verify(p *policy.Policy) (Result, error) {
	r, err := c.verify(p)
	if err != nil {
		return Result{}, fmt.Errorf("contradiction: %w", err)
	}
	return r, nil
}

func (c Contradiction) verify(p *policy.Policy) (r Result, err error) {
	first, err := Open(c.First.Note, p)
	if err != nil {
		return r, fmt.Errorf("first note: %w", err)
	}
	r = Result{Kind: c.Kind, Origin: first.Origin, First: first.Head}
	if c.Kind == Entry {
		r.Index = c.Index
		return r, c.verifyEntry(first.Head)
	}
	second, err := Open(c.Second.Note, p)
	if err != nil {
		return r, fmt.Errorf("second note: %w", err)
	}
	if second.Origin != first.Origin {
		return r, fmt.Errorf("the notes are of two logs, %q and %q", first.Origin, second.Origin)
	}
	r.Second, r.Prefix = second.Head, c.Prefix
	switch c.Kind {
	case Fork:
		return r, verifyFork(first.Head, second.Head)
	case Inconsistent:
		return r, c.verifyInconsistent(first.Head, second.Head)
	}
	return r, fmt.Errorf("unknown kind %.60q", string(c.Kind))
}

func verifyFork(first, second tree.Head) error {
	if first.Size != second.Size {
		return fmt.Errorf("kind fork: the sizes differ, %d and %d, which alone is no contradiction", first.Size, second.Size)
	}
	if first.Root == second.Root {
		return errors.New("kind fork: no contradiction: the two heads are the same")
	}
	return nil
}

// verifyInconsistent relies on SHA-256 having no known collisions: then only one
// root of size first.Size can be proven consistent with second, and a signed root
// that differs from it is a contradiction.
func (c Contradiction) verifyInconsistent(first, second tree.Head) error {
	if first.Size >= second.Size {
		return fmt.Errorf("kind inconsistent: the first size is %d, want less than the second, %d", first.Size, second.Size)
	}
	if first.Size == 0 {
		return errors.New("kind inconsistent: no contradiction: every tree begins with the empty one")
	}
	if c.Prefix == first.Root {
		return errors.New("kind inconsistent: no contradiction: the larger tree begins with the smaller one")
	}
	prefix := tree.Head{Size: first.Size, Root: c.Prefix}
	return proof.VerifyConsistency(prefix, second, c.Hashes)
}

func (c Contradiction) verifyEntry(head tree.Head) error {
	if tree.LeafHash(c.Data) == c.Leaf {
		return errors.New("kind entry: no contradiction: the bytes are the entry in the tree")
	}
	return proof.VerifyInclusion(c.Leaf, c.Index, head, c.Hashes)
}

// Open checks that a note is a checkpoint signed by a key of a log that the
// policy lists, and returns it. It ignores cosignatures and the quorum.
//
// The error wraps [checkpoint.ErrSignature] if a signature of the log is
// missing or wrong, and is a [*policy.UnknownLogError] if the note is not of such a log.
func Open(msg []byte, p *policy.Policy) (checkpoint.Checkpoint, error) {
	r, err := p.WithoutWitnesses().Check(msg)
	return r.Checkpoint, err
}
