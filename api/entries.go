package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strconv"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/stele-log/stele/internal/access"
	"github.com/stele-log/stele/internal/engine"
	"github.com/stele-log/stele/internal/publisher"
	"github.com/stele-log/stele/pkg/proof"
)

// This file serves GET /logs/{log}/events/{index}, the entry, and .../receipt
// below it. Entries come from the reader, which caches; receipts are built from
// the tree's tiles on each request, and are stored nowhere. Only receipts can make
// a request wait, for at most MaxWait.

// immutable is the Cache-Control of whatever never changes: entries, full and
// partial tiles, and bundles. The age is a week, in seconds.
const immutable = "public, max-age=604800, immutable"

// getEvent serves an entry, published or not: its exact bytes, so that hashing the
// body gives the leaf hash.
func (s *server) getEvent(w http.ResponseWriter, r *http.Request, l *engine.Log, p access.Permit) error {
	index, err := parseNumber("index", chi.URLParam(r, "index"))
	if err != nil {
		return err
	}
	entry, err := readEntry(r.Context(), l, index, p)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/cloudevents+json")
	w.Header().Set("Cache-Control", s.caching(r, l, access.Reader))
	sendBytes(w, http.StatusOK, entry)
	return nil
}

// readEntry reads an entry. For somebody who may not see it, it is not there.
func readEntry(ctx context.Context, l *engine.Log, index uint64, p access.Permit) ([]byte, error) {
	entry, err := l.Reader.ReadEntry(ctx, index)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, noEntry(index)
	}
	if err == nil && !p.Lets(entry) {
		return nil, hiddenError{noEntry(index)}
	}
	return entry, err
}

// getReceipt serves the receipt of an entry under the newest checkpoint that
// meets the log's witness policy.
func (s *server) getReceipt(w http.ResponseWriter, r *http.Request, l *engine.Log, p access.Permit) error {
	index, err := parseNumber("index", chi.URLParam(r, "index"))
	if err != nil {
		return err
	}
	wait, err := waitTime(r)
	if err != nil {
		return err
	}
	if p.Narrowed {
		if _, err := readEntry(r.Context(), l, index, p); err != nil {
			return err
		}
	}
	published, err := s.covering(r.Context(), l, index, wait)
	if err != nil {
		return err
	}
	if wait > 0 { // the key may have ended meanwhile
		if _, err := s.demand(r, l.Name, access.Reader, access.Auditor); err != nil {
			return err
		}
	}
	receipt, err := proofOf(r.Context(), l, index, published)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", plainText)
	w.Header().Set("Content-Disposition", `attachment; filename="`+l.Name+"-"+strconv.FormatUint(index, 10)+`.tlog-proof"`)
	sendBytes(w, http.StatusOK, append(receipt, published.Note...))
	return nil
}

// covering returns the newest checkpoint that meets the log's witness policy if
// it covers an entry, or else waits for one that does. With no wait, the error
// explains what is missing: the entry, a checkpoint, or cosignatures.
func (s *server) covering(ctx context.Context, l *engine.Log, index uint64, wait time.Duration) (*publisher.Published, error) {
	if published, err := l.Publisher.LatestCosigned(); err == nil && index < published.Size {
		return published, nil
	}
	head, err := l.Stored.Head(ctx)
	if err != nil {
		return nil, err
	}
	if index >= head.Size {
		return nil, noEntry(index)
	}
	if err := l.Publisher.Refusal(); err != nil {
		return nil, err
	}
	if stalled := l.Publisher.Stalled(); wait == 0 && stalled != nil {
		return nil, statusError{http.StatusNotFound, fmt.Sprintf("entry %d is stored, but no checkpoint that "+
			"enough witnesses have cosigned covers it yet; ask again later: %s", index, publicText(stalled))}
	}
	if wait == 0 {
		return nil, statusError{http.StatusNotFound, fmt.Sprintf(
			"entry %d is stored, but no checkpoint covers it yet; ask again in a second, or with ?wait=published", index)}
	}
	ctx, cancel := s.waiting(ctx, wait)
	defer cancel()
	return l.Publisher.Wait(ctx, index+1)
}

func noEntry(index uint64) error {
	return statusError{http.StatusNotFound, fmt.Sprintf("there is no entry %d: the log is not that long", index)}
}

// proofOf returns the receipt of an entry up to the checkpoint, which covers it and
// has to follow.
//
// SPEC: https://c2sp.org/tlog-proof
func proofOf(ctx context.Context, l *engine.Log, index uint64, p *publisher.Published) ([]byte, error) {
	hashes, err := proof.Inclusion(ctx, l.Reader, index, p.Size)
	if err != nil {
		return nil, err
	}
	return proof.Receipt{Index: index, Hashes: hashes}.Format(), nil
}

// parseNumber parses an index, a size or another number: decimal, without sign or
// leading zeros, so that each has one spelling, and at most 2^63-1, the largest
// that the database holds. name is for the error.
func parseNumber(name, s string) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil || strconv.FormatUint(n, 10) != s {
		return 0, badRequest(fmt.Sprintf("%s %.40q is not a number from 0 to 2^63-1, in decimal without leading zeros", name, s))
	}
	return n, nil
}
