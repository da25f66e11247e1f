package heads

import (
	"context"
	"fmt"
	"iter"
	"strconv"
	"time"
)

// A History gives the checkpoints that a log has published, from a number on.
// Nothing in it is trusted but what the policy verifies: the signed notes.
type History func(ctx context.Context, from uint64) iter.Seq2[Checkpoint, error]

// A Bound is where a period of a log's history begins or ends: at a size of the
// tree or at a time of publication. The zero Bound is none.
type Bound struct {
	sized bool // it is at size, not at time
	size  uint64
	time  time.Time
}

// AtSize returns the bound at a size of the tree.
func AtSize(size uint64) Bound { return Bound{sized: true, size: size} }

// AtTime returns the bound at a time, which is the log's.
func AtTime(t time.Time) Bound { return Bound{time: t} }

// ParseBound parses a size (42), a day (2026-10-01, at midnight UTC) or a time
// (2026-10-01T06:00:00Z). An empty string is the zero Bound.
func ParseBound(s string) (Bound, error) {
	if s == "" {
		return Bound{}, nil
	}
	if n, err := strconv.ParseUint(s, 10, 63); err == nil {
		return AtSize(n), nil
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, s); err == nil {
			return AtTime(t), nil
		}
	}
	return Bound{}, fmt.Errorf("%q is not a size (42), a day (2026-10-01) or a time (2026-10-01T06:00:00Z)", s)
}

// begins reports whether a checkpoint is in a period that begins here.
func (b Bound) begins(size uint64, published time.Time) bool {
	if b.sized {
		return size >= b.size
	}
	return b.time.IsZero() || !published.Before(b.time)
}

// ends reports whether a checkpoint is after a period that ends here.
func (b Bound) ends(size uint64, published time.Time) bool {
	if b.sized {
		return size > b.size
	}
	return !b.time.IsZero() && !published.Before(b.time)
}

// find returns the number of the first checkpoint of a period that begins at b,
// or the number after the last checkpoint if there is none. It relies on sizes
// and times growing with the numbers, and reads few of the checkpoints.
func (h History) find(ctx context.Context, b Bound) (uint64, error) {
	begun := func(number uint64) (bool, error) {
		for c, err := range h(ctx, number) {
			if err != nil {
				return false, err
			}
			head, err := c.head()
			return b.begins(head.Size, c.Published), err
		}
		return true, nil // beyond the last one
	}
	// All checkpoints below low are before the period; the one at high is not.
	low, high := uint64(0), uint64(0)
	for {
		yes, err := begun(high)
		if err != nil {
			return 0, err
		}
		if yes {
			break
		}
		low, high = high+1, 2*high+1
	}
	for low < high {
		mid := low + (high-low)/2
		yes, err := begun(mid)
		if err != nil {
			return 0, err
		}
		if yes {
			high = mid
		} else {
			low = mid + 1
		}
	}
	return low, nil
}
