package witness

import (
	"context"
	"errors"
	"fmt"

	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/proof"
	"github.com/stele-log/stele/pkg/tree"
)

// This file decides what follows when a witness seems to know another history of the
// log. Its answer to a request, a status and perhaps a number, is not signed: a
// witness that lies, or anybody between it and the log, can send one. What counts is
// the checkpoint that it serves at its monitoring endpoint, which the log itself must
// have signed. Without that there is only a claim, and the witness has failed.

// A ContradictionError means that a witness has cosigned another history of the log
// than this server's, or a larger tree, and shows the checkpoint, which this log's own
// key has signed: the database was rolled back or rewritten, or another server signs
// with the same key. Nothing more may be signed before a person has found out which.
type ContradictionError struct {
	Witness string    // names in the policy, and URL
	Ours    tree.Head // the head that the witness's was compared with
	Seen    tree.Head // that of the witness's checkpoint
	Note    []byte    // the witness's checkpoint: the proof
	Reason  string
}

func (e *ContradictionError) Error() string {
	return fmt.Sprintf("witness %s contradicts this server: %s; it has cosigned %v, ours is %v",
		e.Witness, e.Reason, e.Seen, e.Ours)
}

// Larger reports whether the witness has cosigned a larger tree than ours. Then
// ours may only be out of date: another server of this log may have signed more.
func (e *ContradictionError) Larger() bool { return e.Seen.Size > e.Ours.Size }

// A ClaimError means that a witness answers as if it knew another history of the log,
// or a larger tree, and shows no checkpoint that proves it. It counts as failed.
type ClaimError struct {
	Witness string    // names in the policy, and URL
	Ours    tree.Head // the head that the witness was asked to cosign
	Size    uint64    // of the tree that it claims to know
	Reason  string
	Missing error // why there is no proof
}

func (e *ClaimError) Error() string {
	return fmt.Sprintf("witness %s claims, without proof, that %s: its size is %d, ours is %v; %v",
		e.Witness, e.Reason, e.Size, e.Ours, e.Missing)
}

// Larger reports whether the witness claims to know a larger tree than ours.
func (e *ClaimError) Larger() bool { return e.Size > e.Ours.Size }

var (
	errNotServed = errors.New("it serves no checkpoint that shows it")
	errAgrees    = errors.New("the checkpoint that it serves is of this log's history")
)

// dispute returns the error of an answer that the witness cannot have given if it
// knows a part of our history: a [*ContradictionError] if that is proven, or else a
// [*ClaimError].
func (w *witnessClient) dispute(ctx context.Context, ours tree.Head, size uint64, reason string) error {
	w.setSize(0)
	err := w.compare(ctx, ours)
	if contradiction, ok := errors.AsType[*ContradictionError](err); ok {
		return contradiction
	}
	if err == nil {
		err = errAgrees
	}
	return &ClaimError{w.String(), ours, size, reason, err}
}

// compare reads the newest checkpoint that the witness has cosigned. The error is a
// [*ContradictionError] if that is not of the history with our head, and errNotServed
// if there is none: most witnesses have no monitoring endpoint.
func (w *witnessClient) compare(ctx context.Context, ours tree.Head) error {
	seen, msg, err := w.client.Checkpoint(ctx, w.g.origin, w.g.verifiers, w.keys)
	if err != nil {
		return fmt.Errorf("%w: %w", errNotServed, err)
	}
	if seen.Size > ours.Size {
		return w.contradiction(ours, seen, msg, "it has cosigned a larger tree, signed by this log's key: "+
			"this log's database was rolled back or restored, or another server signs with its key")
	}
	hashes, err := proof.Consistency(ctx, w.g.cfg.Nodes, seen.Size, ours.Size)
	if err != nil {
		return err
	}
	if err := proof.VerifyConsistency(seen.Head, ours, hashes); err != nil {
		return w.contradiction(ours, seen, msg, "it has cosigned a tree, signed by this log's key, "+
			"that is not a part of ours: "+err.Error())
	}
	return nil
}

// contradiction calls the Gatherer's Contradicted, and returns the error.
func (w *witnessClient) contradiction(ours tree.Head, seen checkpoint.Checkpoint, msg []byte, reason string) error {
	w.seen.Store(seen.Size)
	e := &ContradictionError{w.String(), ours, seen.Head, msg, reason}
	if w.g.cfg.Contradicted != nil {
		w.g.cfg.Contradicted(e)
	}
	return e
}
