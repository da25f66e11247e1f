package policy

import (
	"errors"

	"golang.org/x/mod/sumdb/note"
)

// A Past decides whether to trust the checkpoints of a log's history, each by the policy
// of its time. It is given them in the order in which they were published.
//
// The history does not tell when a policy came into force. So one is in force from the
// first checkpoint that meets it, unless those before it are met still, up to the first
// that only a later one meets. Checkpoints from before the first policy was in force are
// judged by the log's key alone. A checkpoint that meets no policy from the one of its
// time on is refused if there are several policies. A single one is that of today, of
// which the past need not have known: then the log's key decides as well.
type Past struct {
	policies []*Policy // oldest first
	current  int       // index of the policy in force, if any is
	begun    bool      // one is in force

	// Before is the number of checkpoints so far from before any policy was in force,
	// and Unmet that of later ones that do not meet the only policy.
	Before, Unmet uint64
}

// NewPast returns a Past for policies in the order of time, the newest last. There must
// be one at least.
func NewPast(policies ...*Policy) *Past { return &Past{policies: policies} }

// Check decides on the next checkpoint. The error is that of [Policy.Check], by the
// policy of its time. Met reports whether the checkpoint meets a policy, and is not
// trusted by the log's key alone.
func (p *Past) Check(msg []byte) (r Result, met bool, err error) {
	for i, in := range p.policies[p.current:] {
		r, failed := in.Check(msg)
		if failed == nil {
			p.current, p.begun = p.current+i, true
			return r, true, nil
		}
		// A wrong signature of a key that any of them has refuses the checkpoint whole.
		var wrong *note.InvalidSignatureError
		if errors.As(failed, &wrong) {
			return Result{}, false, failed
		}
		if i == 0 {
			err = failed
		}
	}
	var unmet *QuorumError
	if !errors.As(err, &unmet) || p.begun && len(p.policies) > 1 {
		return Result{}, false, err
	}
	byKey := *p.policies[p.current]
	byKey.quorum = none
	if r, err = byKey.Check(msg); err != nil {
		return Result{}, false, err
	}
	if p.begun {
		p.Unmet++
	} else {
		p.Before++
	}
	return r, false, nil
}
