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

// A request is one checkpoint that witnesses are asked to cosign.
type request struct {
	head tree.Head
	text string
	msg  []byte // with the log's own signatures alone
}

// A response is a witness's to a request: its signatures, or why there are none.
type response struct {
	from  *witnessClient
	sigs  []note.Signature
	err   error
	again time.Time // when it may be asked again, if err is not nil
}

// A witnessClient asks one witness about one log, once at a time. Two lines of a
// policy with the same URL are one witness with two keys.
type witnessClient struct {
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

// addWitness adds a client of a witness, or another key to the client of the same
// URL.
func (g *Gatherer) addWitness(w policy.Witness) error {
	if w.URL == "" {
		return errors.New("no URL to ask it at; write it after the key")
	}
	key, err := cosignature.NewVerifier(w.VKey)
	if err != nil {
		return err
	}
	client, err := g.cfg.Pool.client(w.URL)
	if err != nil {
		return err
	}
	for _, known := range g.clients {
		if known.client == client {
			known.names += "+" + w.Name
			known.keys = append(known.keys, key)
			return nil
		}
	}
	g.clients = append(g.clients, &witnessClient{g: g, client: client, names: w.Name,
		keys: []*cosignature.Verifier{key}, turn: make(chan struct{}, 1)})
	return nil
}

// ask has the witness cosign a checkpoint. The context bounds how long it waits
// for its turn; an exchange that has begun goes on to its end.
func (w *witnessClient) ask(ctx context.Context, r request) response {
	select {
	case w.turn <- struct{}{}:
		defer func() { <-w.turn }()
	case <-ctx.Done():
		return response{from: w, err: errNoAnswer, again: time.Now()}
	}
	// A request that is over may have been overtaken: were it sent now, the witness
	// would rightly know a larger tree.
	if ctx.Err() != nil {
		return response{from: w, err: errNoAnswer, again: time.Now()}
	}
	if w.text == r.text {
		return response{from: w, sigs: w.sigs}
	}
	if time.Now().Before(w.again) {
		return response{from: w, err: w.failed, again: w.again}
	}
	release, err := w.client.acquire(ctx)
	if err != nil {
		return response{from: w, err: err, again: time.Now()}
	}
	defer release()
	if ctx.Err() != nil {
		return response{from: w, err: errNoAnswer, again: time.Now()}
	}
	ctx, cancel := context.WithTimeout(w.g.cfg.Pool.run, w.g.cfg.Pool.cfg.Timeout)
	defer cancel()
	sigs, err := w.exchange(ctx, r)
	if err != nil {
		w.fail(err)
		return response{from: w, err: err, again: w.again}
	}
	w.failures, w.failed, w.again = 0, nil, time.Time{}
	w.text, w.sigs = r.text, sigs
	return response{from: w, sigs: sigs}
}

// exchange sends the checkpoint with the proof from the size that the witness
// is known to have on record. If it has another, it learns that and tries once
// more.
func (w *witnessClient) exchange(ctx context.Context, r request) ([]note.Signature, error) {
	for try := 0; ; try++ {
		sigs, err := w.send(ctx, r)
		if err == nil {
			w.learn(r.head.Size)
			return sigs, nil
		}
		size, told := errors.AsType[*SizeError](err)
		if !told {
			return nil, w.judge(r, err)
		}
		// SPEC: https://c2sp.org/tlog-witness#add-checkpoint
		if size.Size > r.head.Size {
			return nil, w.contradict(r.head, size.Size, "it knows a larger tree: "+
				"this log's database was rolled back or restored, or another server signs with its key")
		}
		if try > 0 {
			w.learn(0)
			return nil, fmt.Errorf("it does not stay with one size: asked to go on from what it said, %w", err)
		}
		w.learn(size.Size)
	}
}

func (w *witnessClient) send(ctx context.Context, r request) ([]note.Signature, error) {
	hashes, err := proof.Consistency(ctx, w.g.cfg.Nodes, w.size, r.head.Size)
	if err != nil {
		return nil, err
	}
	return w.client.AddCheckpoint(ctx, w.size, hashes, r.msg, w.keys)
}

// judge returns a [*ContradictionError] if an answer that is no cosignature means
// that the witness has another history on record, or else the error it was given.
// The witness has another if it rejects a proof (422) from the size it has: it
// would have answered 409 with the size if that were another.
//
// Older witnesses answer 409 without a size where 422 is asked for by now: to
// another root of the same size.
func (w *witnessClient) judge(r request, err error) error {
	status, ok := errors.AsType[*StatusError](err)
	if !ok || w.size == 0 {
		return err
	}
	switch {
	case status.Status == http.StatusUnprocessableEntity,
		status.Status == http.StatusConflict && w.size == r.head.Size:
		return w.contradict(r.head, w.size, "the tree that it knows is not a part of ours: "+status.Error())
	case status.Status == http.StatusConflict:
		w.learn(0)
	}
	return err
}

func (w *witnessClient) contradict(ours tree.Head, size uint64, reason string) error {
	w.seen.Store(size)
	e := &ContradictionError{fmt.Sprintf("%s (%s)", w.names, w.client.url), ours, size, reason}
	if w.g.cfg.Contradicted != nil {
		w.g.cfg.Contradicted(e)
	}
	return e
}

func (w *witnessClient) learn(size uint64) {
	w.size = size
	if size > 0 {
		w.seen.Store(size)
	}
}

// fail records that the witness did not cosign, and when to ask it again.
func (w *witnessClient) fail(err error) {
	cfg := w.g.cfg.Pool.cfg
	wait := cfg.MaxBackoff
	if w.failures < 16 {
		wait = min(wait, cfg.MinBackoff<<w.failures)
	}
	w.failures++
	// Logs that failed together should not come back together.
	wait = wait/2 + rand.N(wait/2+1)
	if status, ok := errors.AsType[*StatusError](err); ok {
		wait = max(wait, status.RetryAfter)
	}
	w.failed, w.again = err, time.Now().Add(wait)
}

// probe returns an error if the witness has cosigned what is not of the history
// with that head.
func (w *witnessClient) probe(ctx context.Context, head tree.Head) error {
	ctx, cancel := context.WithTimeout(ctx, w.g.cfg.Pool.cfg.Timeout)
	defer cancel()
	stop := context.AfterFunc(w.g.cfg.Pool.run, cancel)
	defer stop()
	release, err := w.client.acquire(ctx)
	if err != nil {
		return nil
	}
	defer release()
	seen, err := w.client.Checkpoint(ctx, w.g.origin, w.g.verifiers, w.keys)
	if err != nil {
		return nil // it cannot tell, which most witnesses cannot
	}
	if seen.Size > head.Size {
		return w.contradict(head, seen.Size, "it has cosigned a larger tree, signed by this log's key: "+
			"this log's database was rolled back or restored, or another server signs with its key")
	}
	hashes, err := proof.Consistency(ctx, w.g.cfg.Nodes, seen.Size, head.Size)
	if err != nil {
		return err
	}
	if err := proof.VerifyConsistency(seen.Head, head, hashes); err != nil {
		return w.contradict(head, seen.Size, "it has cosigned a tree, signed by this log's key, "+
			"that is not a part of ours: "+err.Error())
	}
	return nil
}
