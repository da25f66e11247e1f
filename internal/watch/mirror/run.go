package mirror

import (
	"context"
	"errors"
	"time"
)

// Run updates the copy and then waits for the interval, until the context ends. It
// calls report after each update; after an error the next update tries again.
//
// It returns nil when the context ends, and an [*InconsistentError] as soon as an
// update fails with one, since trying again cannot help.
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
