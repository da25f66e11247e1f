package publisher

import (
	"math"
	"time"

	"github.com/stele-log/stele/pkg/tree"
)

// This file decides, and does nothing: next is a pure function of a state and the
// time, tested without a database.

// An urgency is the next thing to do for a log, in the order of how soon it should
// be done.
type urgency int

const (
	idle      urgency = iota // nothing
	recosign                 // ask the missing witnesses again about the newest head, which is public
	scheduled                // publish the newest head once the interval is over
	immediate                // publish it now: somebody waits for it
)

// forever is how long there is nothing to do while the state stays as it is.
const forever = time.Duration(math.MaxInt64)

// A state is everything that the schedule of a log depends on. A head that does not
// exist is the zero Head, which is not that of the empty tree.
type state struct {
	interval time.Duration // from one checkpoint to the next, if nobody waits

	committed tree.Head // newest; none while another server writes to the log
	public    tree.Head // of the newest checkpoint
	cosigned  tree.Head // of the newest checkpoint that meets the policy
	waiting   bool      // somebody waits for a checkpoint that is not there yet
	refused   bool      // nothing more is signed

	began    time.Time // when the last attempt to publish began
	retry    time.Time // of the next attempt, after one that failed
	askAgain time.Time // when to ask witnesses again about a head that is public
}

// urgency returns what there is to do, whether or not it must wait.
func (s state) urgency() urgency {
	switch {
	case s.refused || s.committed == tree.Head{}:
		return idle
	case s.committed == s.cosigned:
		return idle
	case s.committed == s.public:
		return recosign
	case s.waiting:
		return immediate
	}
	return scheduled
}

// next is the schedule: it returns what there is to do and how long to wait
// before, 0 if it is to be done now and forever if there is nothing to do.
func next(now time.Time, s state) (urgency, time.Duration) {
	u, at := s.urgency(), s.retry
	switch u {
	case idle:
		return idle, forever
	case recosign:
		at = later(at, s.askAgain)
	case scheduled:
		at = later(at, s.began.Add(s.interval))
	}
	return u, max(0, at.Sub(now))
}

// later returns the later of two times.
func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// failed puts off the next attempt, at the same thing, to a time. Witnesses
// that are missing for a public head do not hold back the next one.
func (s *state) failed(u urgency, again time.Time) {
	if u == recosign {
		s.askAgain = again
	} else {
		s.retry = again
	}
}

// lags reports whether a committed head lacks a checkpoint that meets the
// policy.
func (s state) lags() bool { return s.committed != tree.Head{} && s.committed != s.cosigned }
