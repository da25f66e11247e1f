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

// pausedRetry is the Retry-After for a log that is paused, since only the operator
// can end that.
const pausedRetry = 5 * time.Minute

// addCheckpoint returns the answer to the body of a request: it parses the request,
// verifies the log's signature, and waits for the lock of the origin.
//
// SPEC: https://c2sp.org/tlog-witness#add-checkpoint
func (s *Server) addCheckpoint(ctx context.Context, body []byte) answer {
	sub, malformed := parseSubmission(body)
	if malformed != nil && !errors.Is(malformed, checkpoint.ErrRepeated) {
		return refuse(http.StatusBadRequest, "%v", malformed)
	}
	l, err := s.cfg.Store.Log(ctx, sub.Origin)
	if err != nil {
		return s.readFailed(sub.Origin, err)
	}
	keys, err := verifiers(l.VKeys)
	if err != nil {
		return s.internal("read the log's keys", err, "origin", sub.Origin)
	}
	// SPEC: if none of the signatures verify against a trusted public key, the
	// witness MUST respond with 403. So it does if any signature of such a key fails.
	if malformed != nil {
		if err := sub.checkRepeated(keys); err != nil {
			return refuse(http.StatusForbidden, "%v", err)
		}
		return refuse(http.StatusBadRequest, "%v", malformed)
	}
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

// advance checks, signs and records a submission that the log has signed. It is
// called for one submission of an origin at a time, so that a larger tree never
// has an earlier cosignature.
func (s *Server) advance(ctx context.Context, sub submission, logLines string) answer {
	l, err := s.cfg.Store.Log(ctx, sub.Origin)
	if err != nil {
		return s.readFailed(sub.Origin, err)
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
		// Another server of this witness has advanced the log meanwhile, or the
		// operator has paused it. The answer is the one for the new state.
		if l, err = s.cfg.Store.Log(ctx, sub.Origin); err != nil {
			return s.readFailed(sub.Origin, err)
		}
		if a, ok := sub.check(l, now); !ok {
			return a
		}
		return refuseFor(time.Second, http.StatusServiceUnavailable, "the log's state has just changed")
	case err != nil:
		return s.internal("record the checkpoint, with unknown outcome", err, "origin", sub.Origin)
	}
	s.cfg.Logger.Debug("cosigned", "origin", sub.Origin, "tree_size", sub.Size)
	return answer{status: http.StatusOK, body: lines}
}

// readFailed returns the answer after the store has returned an error and no log.
func (s *Server) readFailed(origin string, err error) answer {
	if errors.Is(err, ErrUnknownLog) {
		return refuse(http.StatusNotFound, "the witness does not follow a log of the origin %.255q", origin)
	}
	return s.internal("read the log's state", err, "origin", origin)
}

// check checks a submission against the recorded state of its log. It returns
// false and the answer if the checkpoint must not be signed.
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

// checkTree checks that the checkpoint's tree has grown out of the recorded one,
// whose size is Old.
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

// verifiers returns the verifiers of a log's keys. The store holds only valid keys,
// so an error is one of the store.
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

// untilNext returns the time until the next UTC day begins, in whole seconds.
func untilNext(now time.Time) time.Duration {
	return time.Duration((Day(now)+1)*24*3600-now.Unix()) * time.Second
}

// originLocks serialize the requests of each origin. Their number is fixed, so
// that requests cannot use up memory; origins can share a lock.
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

// lock acquires the origin's lock, and waits for it until the context ends.
func (o *originLocks) lock(ctx context.Context, origin string) (unlock func(), err error) {
	lock := o.locks[maphash.String(o.seed, origin)%uint64(len(o.locks))]
	select {
	case lock <- struct{}{}:
		return func() { <-lock }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
