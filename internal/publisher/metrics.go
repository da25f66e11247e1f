package publisher

import (
	"time"

	"github.com/stele-log/stele/witness"
)

// Count returns the number of checkpoints published since New.
func (p *Publisher) Count() uint64 { return p.published.Load() }

// Unmet returns the number of checkpoints published since New that do not meet
// the policy.
func (p *Publisher) Unmet() uint64 { return p.unmet.Load() }

// Lag returns for how long a committed head has been waiting for a checkpoint
// that meets the policy; 0 if none is.
func (p *Publisher) Lag() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lagging.IsZero() {
		return 0
	}
	return time.Since(p.lagging)
}

// Witnesses returns what each witness knows of the log, in the policy's order.
func (p *Publisher) Witnesses() []witness.WitnessStats {
	if p.witnesses == nil {
		return nil
	}
	return p.witnesses.Stats()
}
