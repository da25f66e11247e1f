package mirror

import (
	"context"
	"errors"
	"time"
)

// Run updates the copy, again and again, until the context ends. Between two
// updates it waits for the interval. It calls report after each: with an error
// the next update is another try.
//
// It returns nil when the context ends, and an [InconsistentError] at once:
// another try cannot do better.
func (m *Mirror) Run(ctx context.Context, interval time.Duration, report func(Update, error)) error {
	for {
		u, err := m.Update(ctx)
		if forked, ok := errors.AsType[*InconsistentError](err); ok {
			return forked
		}
		if err != nil && ctx.Err() != nil {
			return nil
		}
		report(u, err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(interval):
		}
	}
}
