package witness

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/stele-log/stele/pkg/cosignature"
	"github.com/stele-log/stele/pkg/policy"
	"github.com/stele-log/stele/pkg/proof"
	"github.com/stele-log/stele/pkg/tree"
)

// A request is one checkpoint to be cosigned.
type request struct {
	head tree.Head
	text string
	msg  []byte // with the log's own signatures alone
}

// A response is the result of asking one witness: its signatures, or an error.
type response struct {
	from  *witnessClient
	sigs  []note.Signature
	err   error
	again time.Time // when it may be asked again; set if err is
}

// A witnessClient has the checkpoints of one log cosigned by one witness, one at a
// time, and remembers what the witness has on record, so that most exchanges are
// one request. Two lines of a policy with the same URL are one witness with two
// keys.
type witnessClient struct {
	g      *Gatherer
	client *Client
	names  []string // in the policy
	keys   []*cosignature.Verifier

	seen  atomic.Uint64              // size that the witness has on record, for Stats; 0 if unknown
	claim atomic.Pointer[ClaimError] // its last answer, for Stats, if that was a claim

	turn chan struct{}    // holds a token while an exchange is under way; it guards:
	size uint64           // that the witness has on record; 0 if unknown
	text string           // of the checkpoint that was cosigned last
	sigs []note.Signature // of text

	failures int       // since the last success
	failed   error     // the last failure
	again    time.Time // when the witness may be asked again
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
			known.names = append(known.names, w.Name)
			known.keys = append(known.keys, key)
			return nil
		}
	}
	g.clients = append(g.clients, &witnessClient{g: g, client: client, names: []string{w.Name},
		keys: []*cosignature.Verifier{key}, turn: make(chan struct{}, 1)})
	return nil
}

func (w *witnessClient) String() string {
	return fmt.Sprintf("%s (%s)", strings.Join(w.names, "+"), w.client.url)
}

// ask returns the witness's cosignatures of a checkpoint: those it remembers, or
// those of a new exchange. The context bounds the wait for earlier exchanges; the
// exchange itself is bounded by the pool's timeout.
func (w *witnessClient) ask(ctx context.Context, r request) response {
	select {
	case w.turn <- struct{}{}:
		defer func() { <-w.turn }()
	case <-ctx.Done():
		return response{from: w, err: errNoAnswer, again: time.Now()}
	}
	// If the request has ended meanwhile, a later one may have been sent before it,
	// and a larger tree that the witness knows would be no contradiction.
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
	claim, _ := errors.AsType[*ClaimError](err)
	w.claim.Store(claim)
	if claim != nil && w.g.cfg.Claimed != nil {
		w.g.cfg.Claimed(claim)
	}
	if err != nil {
		w.fail(err)
		return response{from: w, err: err, again: w.again}
	}
	w.failures, w.failed, w.again = 0, nil, time.Time{}
	w.text, w.sigs = r.text, sigs
	return response{from: w, sigs: sigs}
}

// exchange sends the checkpoint with a proof from the size that the witness is
// believed to have on record. If it answers with another size, the checkpoint is
// sent once more, with a proof from that.
func (w *witnessClient) exchange(ctx context.Context, r request) ([]note.Signature, error) {
	for try := 0; ; try++ {
		sigs, err := w.send(ctx, r)
		if err == nil {
			w.setSize(r.head.Size)
			return sigs, nil
		}
		size, ok := errors.AsType[*SizeError](err)
		if !ok {
			return nil, w.explainRefusal(ctx, r, err)
		}
		// SPEC: https://c2sp.org/tlog-witness#add-checkpoint
		if size.Size > r.head.Size {
			return nil, w.dispute(ctx, r.head, size.Size, "it knows a larger tree")
		}
		if try > 0 {
			w.setSize(0)
			return nil, fmt.Errorf("it answers with another size each time: asked to continue from its own, %w", err)
		}
		w.setSize(size.Size)
	}
}

func (w *witnessClient) send(ctx context.Context, r request) ([]note.Signature, error) {
	hashes, err := proof.Consistency(ctx, w.g.cfg.Nodes, w.size, r.head.Size)
	if err != nil {
		return nil, err
	}
	return w.client.AddCheckpoint(ctx, w.size, hashes, r.msg, w.keys)
}

// explainRefusal returns the error of a dispute if an error means that the witness
// has another history on record, or else the error itself. It means that if the
// witness rejects a proof (422) from the size that it has on record: for any other
// size it would have answered 409.
//
// Older witnesses answer 409 without a size where the document requires 422 now,
// to another root of the same size.
func (w *witnessClient) explainRefusal(ctx context.Context, r request, err error) error {
	status, ok := errors.AsType[*StatusError](err)
	if !ok || w.size == 0 {
		return err
	}
	switch {
	case status.Status == http.StatusUnprocessableEntity,
		status.Status == http.StatusConflict && w.size == r.head.Size:
		return w.dispute(ctx, r.head, w.size, "the tree that it knows is not a part of ours ("+status.Error()+")")
	case status.Status == http.StatusConflict:
		w.setSize(0)
	}
	return err
}

// setSize records the size that the witness has on record, or 0 to find out.
func (w *witnessClient) setSize(size uint64) {
	w.size = size
	if size > 0 {
		w.seen.Store(size)
	}
}

// fail records a failure, and when the witness may be asked again.
func (w *witnessClient) fail(err error) {
	cfg := w.g.cfg.Pool.cfg
	wait := cfg.MaxBackoff
	if w.failures < 16 {
		wait = min(wait, cfg.MinBackoff<<w.failures)
	}
	w.failures++
	// Logs that failed at one time should not try again at one time.
	wait = wait/2 + rand.N(wait/2+1)
	if status, ok := errors.AsType[*StatusError](err); ok {
		wait = max(wait, status.RetryAfter)
	}
	w.failed, w.again = err, time.Now().Add(wait)
}

// probed is the result of probing one witness.
type probed struct {
	agreed []string // the witness's names, if it knows the history
	err    error
}

// probe compares the newest checkpoint that the witness has cosigned with a head. It
// returns neither error nor names if the witness cannot be asked.
func (w *witnessClient) probe(ctx context.Context, head tree.Head) probed {
	ctx, cancel := context.WithTimeout(ctx, w.g.cfg.Pool.cfg.Timeout)
	defer cancel()
	stop := context.AfterFunc(w.g.cfg.Pool.run, cancel)
	defer stop()
	release, err := w.client.acquire(ctx)
	if err != nil {
		return probed{}
	}
	defer release()
	err = w.compare(ctx, head)
	if errors.Is(err, errNotServed) {
		return probed{}
	}
	if err != nil {
		return probed{err: err}
	}
	return probed{agreed: w.names}
}
