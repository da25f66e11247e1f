package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/stele-log/stele/internal/follow"
	"github.com/stele-log/stele/internal/publisher"
	"github.com/stele-log/stele/internal/sequencer"
	"github.com/stele-log/stele/pkg/policy"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
)

const (
	// settleTime bounds how long Start and Create wait for a log.
	settleTime = 10 * time.Second

	// witnessedSettleTime is that of a log whose checkpoints wait for
	// witnesses: it must accept events while they are away.
	witnessedSettleTime = time.Second
)

// A Log is one log with all that works for it.
type Log struct {
	storage.Info
	VKeys []string // verifier keys, Ed25519 first

	Stored    storage.Log
	Reader    *storage.Reader
	Sequencer *sequencer.Sequencer
	Publisher *publisher.Publisher
	followers *follow.Runner

	// Witnessed is true if the log's checkpoints are cosigned under a policy.
	Witnessed bool

	// Broken is the reason why the log could not be opened, or nil. If it is not
	// nil, only Info and Stored can be relied on.
	Broken error
}

// open opens a stored log. Anything that keeps it from running is in Broken, so
// that it does not keep the other logs from running.
func (e *Engine) open(ctx context.Context, stored storage.Log) *Log {
	l := &Log{Info: stored.Info(), Stored: stored}
	if l.Broken = e.assemble(ctx, l); l.Broken != nil {
		e.cfg.Logger.Error("log cannot be opened", "log", l.Name, "error", l.Broken)
	}
	return l
}

// assemble builds the parts of a log around its storage. The sequencer has the
// publisher prove the head it begins with, and its commits wake the publisher and
// whatever else follows the log; the publisher ends the writing when it refuses to sign.
func (e *Engine) assemble(ctx context.Context, l *Log) error {
	dir := e.dir(l.Name)
	signers, verifiers, vkeys, err := dir.readKeys(l.Origin)
	if err != nil {
		return fmt.Errorf("keys of log %s: %w", l.Name, err)
	}
	stored, err := dir.openHeads(ctx, l.Stored)
	if err != nil {
		return fmt.Errorf("heads of log %s: %w", l.Name, err)
	}
	l.Stored = stored
	logger := e.cfg.Logger.With("log", l.Name)
	l.VKeys = vkeys
	l.Reader = storage.NewReader(l.Stored, e.cache)
	l.followers = follow.New(follow.Config{Log: l.Reader, Followers: e.cfg.Followers, Logger: logger})
	witnesses, err := e.witnessing(dir)
	if err != nil {
		return err
	}
	l.Witnessed = witnesses.Policy != nil
	l.Publisher, err = publisher.New(ctx, publisher.Config{
		Log: l.Stored, Nodes: l.Reader, Record: dir.record(), Logger: logger, Now: e.cfg.Now,
		Interval: e.cfg.Interval, Signers: signers, Verifiers: verifiers, Witnesses: witnesses,
		Pool: e.witnesses, VKeys: vkeys, Published: l.followers.Published,
		Refused: func(reason error) { l.Sequencer.Refuse(reason) },
	})
	if err != nil {
		return err
	}
	l.Sequencer = sequencer.New(sequencer.Config{
		Log: l.Stored, Reader: l.Reader, Logger: logger, Now: e.cfg.Now, MaxQueue: e.cfg.MaxQueue,
		URL:   e.cfg.URL,
		Prove: l.Publisher.Prove,
		Committed: func(head tree.Head) {
			l.Publisher.Committed(head)
			l.followers.Committed(head)
		},
	})
	return nil
}

// witnessing returns who must cosign the checkpoints of the log in a folder: the
// engine's witnesses, or those of a policy in the folder.
func (e *Engine) witnessing(dir logDir) (publisher.Witnessing, error) {
	w := e.cfg.Witnesses
	text, err := os.ReadFile(dir.path(policyFile))
	if errors.Is(err, fs.ErrNotExist) {
		return w, nil
	}
	if err != nil {
		return w, err
	}
	if w.Policy, err = policy.Parse(text); err != nil {
		return w, fmt.Errorf("%s: %w", dir.path(policyFile), err)
	}
	return w, nil
}

// run works for the log until the context ends, and then until every accepted event
// is published: the publisher is stopped only after the sequencer has emptied its
// queue.
func (l *Log) run(ctx context.Context, interval time.Duration) {
	if l.Broken != nil {
		return
	}
	publish, stop := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() { l.followers.Run(ctx) })
	wg.Go(func() { l.follow(ctx, interval) })
	wg.Go(func() { l.Publisher.Run(storage.InLane(publish, storage.Publishing)) })
	l.Sequencer.Run(storage.InLane(ctx, storage.Sequencing))
	stop()
	wg.Wait()
}

// settle waits until the log is being written to and has a checkpoint, until it is
// known that this server does not write to it, or for settleTime. For a checkpoint
// that needs witnesses it waits witnessedSettleTime only.
func (l *Log) settle(ctx context.Context) {
	if l.Broken != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	select {
	case <-l.Sequencer.Settled():
	case <-ctx.Done():
	}
	if l.Witnessed {
		ctx, cancel = context.WithTimeout(ctx, witnessedSettleTime)
		defer cancel()
	}
	if l.Sequencer.Leading() {
		_, _ = l.Publisher.Wait(ctx, 0) // it logs itself why it failed
	}
}

// follow shows the checkpoints that another server publishes, while that one writes
// to the log. There is no message between servers: the database is asked once an
// interval.
func (l *Log) follow(ctx context.Context, interval time.Duration) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if l.Sequencer.Leading() {
			continue
		}
		// An error shows in what is served: the checkpoint stays as it is.
		_ = l.Publisher.Refresh(ctx)
	}
}
