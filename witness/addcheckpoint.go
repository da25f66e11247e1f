package witness

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"net/http"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/proof"
	"github.com/stele-log/stele/pkg/tree"
)

// pausedRetry is when to ask again about a log that is paused, which only the
// operator can end.
const pausedRetry = 5 * time.Minute

// addCheckpoint answers the body of a request.
//
// SPEC: https://c2sp.org/tlog-witness#add-checkpoint
func (s *Server) addCheckpoint(ctx context.Context, body []byte) answer {
	sub, err := parseSubmission(body)
	if err != nil {
		return refuse(http.StatusBadRequest, "%v", err)
	}
	l, err := s.cfg.Store.Log(ctx, sub.Origin)
	if err != nil {
		return s.unread(sub.Origin, err)
	}
	keys, err := verifiers(l.VKeys)
	if err != nil {
		return s.internal("read the log's keys", err, "origin", sub.Origin)
	}
	// SPEC: if none of the signatures verify against a trusted public key, the
	// witness MUST respond with 403.
	logLines, err := sub.verify(keys)
	if err != nil {
		return refuse(http.StatusForbidden, "%v", err)
	}
	unlock, err := s.origins.lock(ctx, sub.Origin)
	if err != nil {
		return refuseFor(time.Second, http.StatusServiceUnavailable, "other requests for that origin are not answered yet")
	}
	defer unlock()
	return s.advance(ctx, sub, logLines)
}

// advance answers a submission that the log has signed. It is called for one of
// an origin at a time, so that the times of cosignatures grow with the trees.
func (s *Server) advance(ctx context.Context, sub submission, logLines string) answer {
	l, err := s.cfg.Store.Log(ctx, sub.Origin)
	if err != nil {
		return s.unread(sub.Origin, err)
	}
	now := s.cfg.Now()
	if a, ok := sub.check(l, now); !ok {
		return a
	}
	lines, err := s.cosign(sub.Checkpoint)
	if err != nil {
		return s.internal("cosign", err, "origin", sub.Origin)
	}
	signed := Signed{Head: sub.Head, Note: []byte(sub.Checkpoint.String() + "\n" + logLines + lines), Time: now}
	// SPEC: the witness MUST persist the new checkpoint before it responds, and
	// the check and the update MUST be atomic.
	err = s.cfg.Store.Advance(ctx, sub.Origin, l.Head, signed)
	switch {
	case errors.Is(err, ErrStale):
		// Another server of this witness was quicker, or the operator.
		if l, err = s.cfg.Store.Log(ctx, sub.Origin); err != nil {
			return s.unread(sub.Origin, err)
		}
		if a, ok := sub.check(l, now); !ok {
			return a
		}
		return refuseFor(time.Second, http.StatusServiceUnavailable, "the log's state has just changed")
	case err != nil:
		return s.internal("record the checkpoint, which may be done or not", err, "origin", sub.Origin)
	}
	s.cfg.Logger.Debug("cosigned", "origin", sub.Origin, "tree_size", sub.Size)
	return answer{status: http.StatusOK, body: lines}
}

// unread returns the answer if the store has not returned a log.
func (s *Server) unread(origin string, err error) answer {
	if errors.Is(err, ErrUnknownLog) {
		return refuse(http.StatusNotFound, "the witness does not follow a log of the origin %q", origin)
	}
	return s.internal("read the log's state", err, "origin", origin)
}

// check compares a submission with what is known of its log. It returns false
// and the answer if it must not be signed.
func (s submission) check(l Log, now time.Time) (answer, bool) {
	switch {
	case l.Paused:
		return refuseFor(pausedRetry, http.StatusServiceUnavailable,
			"the witness's operator has paused the log of the origin %q", l.Origin), false
	case s.Old > s.Size:
		return refuse(http.StatusBadRequest, "old size %d is larger than that of the checkpoint, %d", s.Old, s.Size), false
	case s.Old != l.Size:
		return answer{status: http.StatusConflict, body: fmt.Sprintf("%d\n", l.Size), contentType: textSize}, false
	}
	if err := s.checkTree(l.Head); err != nil {
		return refuse(http.StatusUnprocessableEntity, "%v", err), false
	}
	if day := Day(now); l.usedUp(day) {
		return refuseFor(untilNext(now), http.StatusTooManyRequests,
			"the %d checkpoints a day that the witness signs for this log are used up", l.QPD), false
	}
	return answer{}, true
}

// checkTree checks that the checkpoint's tree has grown out of the one with
// head known, which has the size Old.
func (s submission) checkTree(known tree.Head) error {
	switch {
	case s.wrongEmpty:
		return errors.New("the root of a checkpoint of size 0 is not that of the empty tree")
	case s.Old == 0 && len(s.Proof) > 0:
		return errors.New("a proof that a tree has grown out of the empty one must be empty")
	case s.Old == s.Size && s.Root != known.Root:
		return fmt.Errorf("another checkpoint of size %d was signed before: its root is %s", known.Size, known.Root)
	}
	return proof.VerifyConsistency(known, s.Head, s.Proof)
}

// cosign returns the witness's signature lines for a checkpoint.
//
// SPEC: https://c2sp.org/tlog-cosignature: a checkpoint has start 0, end its
// size, and a timestamp that is not 0.
func (s *Server) cosign(c checkpoint.Checkpoint) (lines string, err error) {
	signers := []note.Signer{s.cfg.Ed25519, s.cfg.MLDSA44}
	if c.Extensions != "" {
		signers = signers[:1] // the only one that covers extension lines
	}
	text := c.String()
	msg, err := note.Sign(&note.Note{Text: text}, signers...)
	return strings.TrimPrefix(string(msg), text+"\n"), err
}

func verifiers(vkeys []string) ([]note.Verifier, error) {
	keys := make([]note.Verifier, len(vkeys))
	for i, vkey := range vkeys {
		var err error
		if keys[i], err = checkpoint.NewVerifier(vkey); err != nil {
			return nil, err
		}
	}
	return keys, nil
}

// untilNext returns the time to the next UTC day, in whole seconds.
func untilNext(now time.Time) time.Duration {
	return time.Duration((Day(now)+1)*24*3600-now.Unix()) * time.Second
}

// originLocks let one request of an origin be worked on at a time. Origins can
// share a lock.
type originLocks struct {
	seed  maphash.Seed
	locks [1024]chan struct{}
}

func newOriginLocks() originLocks {
	o := originLocks{seed: maphash.MakeSeed()}
	for i := range o.locks {
		o.locks[i] = make(chan struct{}, 1)
	}
	return o
}

// lock waits for the origin's lock to the end of the context.
func (o *originLocks) lock(ctx context.Context, origin string) (unlock func(), err error) {
	lock := o.locks[maphash.String(o.seed, origin)%uint64(len(o.locks))]
	select {
	case lock <- struct{}{}:
		return func() { <-lock }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
