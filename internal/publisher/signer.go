package publisher

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/mod/sumdb/note"

	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/proof"
	"github.com/stele-log/stele/pkg/tree"
)

// A signer holds a log's keys, and signs no head that has not grown out of the
// one on record and out of the newest that is public. It keeps nothing in memory: the
// record is read before each signature.
type signer struct {
	origin    string
	nodes     tree.NodeReader
	record    Record
	signers   []note.Signer
	verifiers []note.Verifier
}

// A RefusalError gives the reason why a head must not be signed. The refusal lasts
// until the server is started again. Its text is shown to clients, and names no path.
type RefusalError struct {
	Signed, Head tree.Head // last signed, and refused
	Reason       error
}

func (e *RefusalError) Error() string {
	return fmt.Sprintf("refusing to sign %v: the last signed head is %v: %v", e.Head, e.Signed, e.Reason)
}

func (e *RefusalError) Unwrap() error { return e.Reason }

var errRolledBack = errors.New("the log has fewer entries than were signed: its database was rolled back or restored")

// sign proves a head consistent with what is on record, signs it, and puts it
// on record. last is the newest published checkpoint, or nil. The error is a
// [*RefusalError] if the head must not be signed.
func (s *signer) sign(ctx context.Context, head tree.Head, last *Published) ([]byte, error) {
	if err := s.mayFollow(ctx, head, last); err != nil {
		return nil, err
	}
	msg, err := checkpoint.Sign(checkpoint.Checkpoint{Origin: s.origin, Head: head}, s.signers...)
	if err != nil {
		return nil, fmt.Errorf("sign checkpoint: %w", err)
	}
	if err := s.record.Store(msg); err != nil {
		return nil, fmt.Errorf("record what was signed: %w", err)
	}
	return msg, nil
}

// mayFollow returns nil if the head may be signed after what is on record and after
// the newest published checkpoint, which is another one if another server has signed
// since.
//
// SPEC: https://c2sp.org/tlog-checkpoint: a log MUST NOT sign two inconsistent
// checkpoints.
func (s *signer) mayFollow(ctx context.Context, head tree.Head, last *Published) error {
	signed, err := s.lastSigned(last)
	if err != nil {
		return &RefusalError{Signed: signed, Head: head, Reason: err}
	}
	err = s.continues(ctx, head, signed)
	if err == nil && last != nil && last.Head != signed {
		err = s.continues(ctx, head, last.Head)
	}
	return err
}

// continues proves that a head has grown out of one that was signed.
func (s *signer) continues(ctx context.Context, head, signed tree.Head) error {
	if head.Size < signed.Size {
		return &RefusalError{Signed: signed, Head: head, Reason: errRolledBack}
	}
	path, err := proof.Consistency(ctx, s.nodes, signed.Size, head.Size)
	if err != nil {
		return fmt.Errorf("prove the new head consistent: %w", err)
	}
	if err := proof.VerifyConsistency(signed, head, path); err != nil {
		return &RefusalError{Signed: signed, Head: head, Reason: fmt.Errorf(
			"the log's history is not the one that was signed: %w", err)}
	}
	return nil
}

// lastSigned returns the head on record. A log without checkpoints has none,
// which counts as the empty head.
func (s *signer) lastSigned(last *Published) (tree.Head, error) {
	msg, err := s.record.Load()
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		err = path.Err
	}
	if err != nil {
		return tree.Empty(), fmt.Errorf("read %s, which records what was signed last: %w", s.record.name(), err)
	}
	if msg == nil {
		if last != nil {
			return last.Head, fmt.Errorf("%s is missing, which records what was signed last; if the database is "+
				"known to be whole, put the newest checkpoint that anybody has seen there", s.record.name())
		}
		return tree.Empty(), nil
	}
	c, _, err := checkpoint.Open(msg, s.origin, s.verifiers...)
	if err != nil {
		return tree.Empty(), fmt.Errorf("%s, which records what was signed last: %w", s.record.name(), err)
	}
	return c.Head, nil
}
