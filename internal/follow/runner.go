package follow

import (
	"context"
	"log/slog"
	"sync"

	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
)

// Config configures a Runner.
type Config struct {
	Log       *storage.Reader
	Followers []Follower
	Logger    *slog.Logger
}

// A Runner has followers keep up with one log.
type Runner struct{ loops []*loop }

// New returns a Runner whose followers see the log once it runs.
func New(cfg Config) *Runner {
	r := &Runner{}
	for _, f := range cfg.Followers {
		r.loops = append(r.loops, &loop{
			follower: f, log: cfg.Log, logger: cfg.Logger.With("follower", f.Name()), wake: make(chan struct{}, 1),
		})
	}
	return r
}

// Committed tells the followers of committed entries that this server has brought
// the log to a head. It does not block.
func (r *Runner) Committed(head tree.Head) { r.tell(Committed, head) }

// Published tells the followers of published entries that a checkpoint of a head is
// public. It does not block.
func (r *Runner) Published(head tree.Head) { r.tell(Published, head) }

func (r *Runner) tell(scope Scope, head tree.Head) {
	for _, l := range r.loops {
		if l.follower.Upto() == scope {
			l.grow(head.Size)
		}
	}
}

// Run follows the log until the context ends.
func (r *Runner) Run(ctx context.Context) {
	var running sync.WaitGroup
	for _, l := range r.loops {
		running.Go(func() { l.run(ctx) })
	}
	running.Wait()
}
