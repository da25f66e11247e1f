package witness

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/stele-log/stele/pkg/cosignature"
	"github.com/stele-log/stele/pkg/policy"
	"github.com/stele-log/stele/pkg/proof"
	"github.com/stele-log/stele/pkg/tree"
)

// A ContradictionError says that a witness knows another history of the log
// than this server, or more of it: the database was rolled back or rewritten,
// another server signs with the same key, or the witness does not tell the
// truth. Nothing more may be signed before a person has found out which.
type ContradictionError struct {
	Witness string    // names in the policy, and URL
	Ours    tree.Head // that the witness was asked to cosign
	Size    uint64    // that the witness has on record
	Reason  string
}

func (e *ContradictionError) Error() string {
	return fmt.Sprintf("witness %s contradicts this server: %s; it has size %d on record, ours is %v",
		e.Witness, e.Reason, e.Size, e.Ours)
}

// Larger reports whether the witness has a larger size on record than ours.
// Then ours may just be late.
func (e *ContradictionError) Larger() bool { return e.Size > e.Ours.Size }

// A round is one checkpoint that witnesses are asked to cosign.
type round struct {
	head tree.Head
	text string
	msg  []byte // with the log's own signatures alone
}

// A vote is what came of asking a witness.
type vote struct {
	from  *asker
	sigs  []note.Signature
	err   error
	again time.Time // when it may be asked again, if err is not nil
}

// An asker asks one witness about one log, once at a time. Two lines of a
// policy with the same URL are one witness with two keys.
type asker struct {
	g      *Gatherer
	client *Client
	names  string // in the policy
	keys   []*cosignature.Verifier

	seen atomic.Uint64 // size the witness has on record, as far as is known

	turn chan struct{}    // holds a token while an exchange is under way, which owns:
	size uint64           // that the witness has on record; 0 to find out
	text string           // cosigned last
	sigs []note.Signature // of text

	failures int
	failed   error
	again    time.Time // not to be asked before
}

var errNoAnswer = errors.New("no answer yet")

// addWitness makes the asker of a witness, or gives another key to the one that
// asks at the same URL.
func (g *Gatherer) addWitness(w policy.Witness) error {
	if w.URL == "" {
		return errors.New("no URL to ask it at; write it after the key")
	}
	key, err := cosignature.NewVerifier(w.VKey)
	if err != nil {
		return err
	}
	c, err := g.cfg.Pool.client(w.URL)
	if err != nil {
		return err
	}
	for _, a := range g.askers {
		if a.client == c {
			a.names += "+" + w.Name
			a.keys = append(a.keys, key)
			return nil
		}
	}
	g.askers = append(g.askers, &asker{g: g, client: c, names: w.Name,
		keys: []*cosignature.Verifier{key}, turn: make(chan struct{}, 1)})
	return nil
}

// ask has the witness cosign a checkpoint. The context bounds how long it waits
// for its turn; an exchange that has begun goes on to its end.
func (a *asker) ask(ctx context.Context, r round) vote {
	select {
	case a.turn <- struct{}{}:
		defer func() { <-a.turn }()
	case <-ctx.Done():
		return vote{from: a, err: errNoAnswer, again: time.Now()}
	}
	// A round that is over may have been overtaken: were it sent now, the witness
	// would rightly know a larger tree.
	if ctx.Err() != nil {
		return vote{from: a, err: errNoAnswer, again: time.Now()}
	}
	if a.text == r.text {
		return vote{from: a, sigs: a.sigs}
	}
	if time.Now().Before(a.again) {
		return vote{from: a, err: a.failed, again: a.again}
	}
	release, err := a.client.acquire(ctx)
	if err != nil {
		return vote{from: a, err: err, again: time.Now()}
	}
	defer release()
	if ctx.Err() != nil {
		return vote{from: a, err: errNoAnswer, again: time.Now()}
	}
	ctx, cancel := context.WithTimeout(a.g.cfg.Pool.run, a.g.cfg.Pool.cfg.Timeout)
	defer cancel()
	sigs, err := a.exchange(ctx, r)
	if err != nil {
		a.fail(err)
		return vote{from: a, err: err, again: a.again}
	}
	a.failures, a.failed, a.again = 0, nil, time.Time{}
	a.text, a.sigs = r.text, sigs
	return vote{from: a, sigs: sigs}
}

// exchange sends the checkpoint with the proof from the size that the witness
// is known to have on record. If it has another, it learns that and tries once
// more.
func (a *asker) exchange(ctx context.Context, r round) ([]note.Signature, error) {
	for try := 0; ; try++ {
		sigs, err := a.send(ctx, r)
		if err == nil {
			a.learn(r.head.Size)
			return sigs, nil
		}
		size, told := errors.AsType[*SizeError](err)
		if !told {
			return nil, a.judge(r, err)
		}
		// SPEC: https://c2sp.org/tlog-witness#add-checkpoint
		if size.Size > r.head.Size {
			return nil, a.contradict(r.head, size.Size, "it knows a larger tree: "+
				"this log's database was rolled back or restored, or another server signs with its key")
		}
		if try > 0 {
			a.learn(0)
			return nil, fmt.Errorf("it does not stay with one size: asked to go on from what it said, %w", err)
		}
		a.learn(size.Size)
	}
}

func (a *asker) send(ctx context.Context, r round) ([]note.Signature, error) {
	hashes, err := proof.Consistency(ctx, a.g.cfg.Nodes, a.size, r.head.Size)
	if err != nil {
		return nil, err
	}
	return a.client.AddCheckpoint(ctx, a.size, hashes, r.msg, a.keys)
}

// judge says whether a response that is no cosignature means that the witness
// has another history on record. It has if it rejects a proof (422) from the
// size it has: it would have told (409) if that were another.
//
// Witnesses that were deployed before 422 was said of the same size with
// another root answer 409 there, and tell no size with it.
func (a *asker) judge(r round, err error) error {
	status, ok := errors.AsType[*StatusError](err)
	if !ok || a.size == 0 {
		return err
	}
	switch {
	case status.Status == http.StatusUnprocessableEntity,
		status.Status == http.StatusConflict && a.size == r.head.Size:
		return a.contradict(r.head, a.size, "the tree that it knows is not a part of ours: "+status.Error())
	case status.Status == http.StatusConflict:
		a.learn(0)
	}
	return err
}

func (a *asker) contradict(ours tree.Head, size uint64, reason string) error {
	a.seen.Store(size)
	e := &ContradictionError{fmt.Sprintf("%s (%s)", a.names, a.client.url), ours, size, reason}
	if a.g.cfg.Contradicted != nil {
		a.g.cfg.Contradicted(e)
	}
	return e
}

func (a *asker) learn(size uint64) {
	a.size = size
	if size > 0 {
		a.seen.Store(size)
	}
}

// fail takes down that the witness did not cosign, and when to ask it again.
func (a *asker) fail(err error) {
	cfg := a.g.cfg.Pool.cfg
	wait := cfg.MaxBackoff
	if a.failures < 16 {
		wait = min(wait, cfg.MinBackoff<<a.failures)
	}
	a.failures++
	// Logs that failed together should not come back together.
	wait = wait/2 + rand.N(wait/2+1)
	if status, ok := errors.AsType[*StatusError](err); ok {
		wait = max(wait, status.RetryAfter)
	}
	a.failed, a.again = err, time.Now().Add(wait)
}

// probe returns an error if the witness has cosigned what is not of the history
// with that head.
func (a *asker) probe(ctx context.Context, head tree.Head) error {
	ctx, cancel := context.WithTimeout(ctx, a.g.cfg.Pool.cfg.Timeout)
	defer cancel()
	stop := context.AfterFunc(a.g.cfg.Pool.run, cancel)
	defer stop()
	release, err := a.client.acquire(ctx)
	if err != nil {
		return nil
	}
	defer release()
	seen, err := a.client.Checkpoint(ctx, a.g.origin, a.g.verifiers, a.keys)
	if err != nil {
		return nil // it cannot tell, which most witnesses cannot
	}
	if seen.Size > head.Size {
		return a.contradict(head, seen.Size, "it has cosigned a larger tree, signed by this log's key: "+
			"this log's database was rolled back or restored, or another server signs with its key")
	}
	hashes, err := proof.Consistency(ctx, a.g.cfg.Nodes, seen.Size, head.Size)
	if err != nil {
		return err
	}
	if err := proof.VerifyConsistency(seen.Head, head, hashes); err != nil {
		return a.contradict(head, seen.Size, "it has cosigned a tree, signed by this log's key, "+
			"that is not a part of ours: "+err.Error())
	}
	return nil
}
