package publisher

import (
	"testing"
	"time"

	"github.com/stele-log/stele/pkg/tree"
)

func TestSchedule(t *testing.T) {
	t.Parallel()
	const interval = 10 * time.Second
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	empty, one, two := tree.Empty(), tree.Head{Size: 1}, tree.Head{Size: 2}
	started := state{committed: two}
	published := state{committed: two, public: two, cosigned: two}
	behind := state{committed: two, public: one, cosigned: one}
	unmet := state{committed: two, public: two, cosigned: one}
	following := state{public: one, cosigned: one}

	waiting := func(s state) state { s.waiting = true; return s }
	refused := func(s state) state { s.refused = true; return s }
	began := func(s state, ago time.Duration) state { s.began = now.Add(-ago); return s }
	retry := func(s state, in time.Duration) state { s.retry = now.Add(in); return s }
	askAgain := func(s state, in time.Duration) state { s.askAgain = now.Add(in); return s }

	for _, c := range []struct {
		name  string
		state state
		want  urgency
		wait  time.Duration
	}{
		{"another server writes", following, idle, forever},
		{"another server writes, and a caller waits", waiting(following), idle, forever},
		{"nothing is signed any more", waiting(refused(behind)), idle, forever},
		{"nothing was signed from the start", refused(started), idle, forever},

		{"the empty tree is published too", state{committed: empty}, scheduled, 0},
		{"all is published", published, idle, forever},
		{"all is published, and a caller waits for more", waiting(published), idle, forever},

		{"a head long after the last", began(behind, time.Hour), scheduled, 0},
		{"a head when the interval is just over", began(behind, interval), scheduled, 0},
		{"a head just before the interval is over", began(behind, interval-1), scheduled, 1},
		{"a head within the interval, and a caller waits", waiting(began(behind, time.Second)), immediate, 0},

		{"after a failure", retry(behind, time.Second), scheduled, time.Second},
		{"after a failure within the interval", retry(began(behind, time.Second), time.Second), scheduled, interval - time.Second},
		{"after a failure for longer than the interval", retry(began(behind, time.Second), time.Minute), scheduled, time.Minute},
		{"after a failure, and a caller waits", waiting(retry(behind, time.Second)), immediate, time.Second},
		{"long after a failure, and a caller waits", waiting(retry(behind, -time.Hour)), immediate, 0},

		{"the policy is not met", began(unmet, time.Second), recosign, 0},
		{"the policy was never met", state{committed: two, public: two}, recosign, 0},
		{"the policy is not met, witnesses back off", askAgain(unmet, time.Minute), recosign, time.Minute},
		{"the policy is not met, witnesses back off, and a caller waits", waiting(askAgain(unmet, time.Minute)), recosign, time.Minute},
		{"the policy is not met, after a failure", retry(askAgain(unmet, time.Second), time.Minute), recosign, time.Minute},
		{"witnesses that back off do not delay the next head", askAgain(behind, time.Minute), scheduled, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.state.interval = interval
			if got, wait := next(now, c.state); got != c.want || wait != c.wait {
				t.Errorf("got urgency %d in %v, want %d in %v", got, wait, c.want, c.wait)
			}
		})
	}
}

func TestFailureDelaysWhatFailed(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	public := tree.Head{Size: 1}
	for _, c := range []struct {
		failed         urgency
		same, nextHead time.Duration // that the public head, and one after it, wait
	}{
		{recosign, time.Minute, 0},
		{scheduled, time.Minute, time.Minute},
		{immediate, time.Minute, time.Minute},
	} {
		s := state{committed: public, public: public}
		s.failed(c.failed, now.Add(time.Minute))
		if _, wait := next(now, s); wait != c.same {
			t.Errorf("after urgency %d failed, the public head waits %v, want %v", c.failed, wait, c.same)
		}
		s.committed = tree.Head{Size: 2}
		if _, wait := next(now, s); wait != c.nextHead {
			t.Errorf("after urgency %d failed, the next head waits %v, want %v", c.failed, wait, c.nextHead)
		}
	}
}
