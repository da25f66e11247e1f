// Package inspect checks a log where a server keeps it: in a database, with a record
// outside of it. It needs no server, and disturbs none that is running.
//
// [client.Check] compares entries, tiles and checkpoints with what is signed. To that
// this package adds what only the one who keeps the log has:
//
//   - heads: each commit has left one, up to the newest, which may be of more entries than
//     any checkpoint covers. They must form one line, and each be that of the entries, and
//     carry the MAC of a server of the log, whose key is in the log's folder;
//   - the record of what was signed last: the database must contain it;
//   - the record of what was published last: the history of checkpoints must have it, under
//     its number;
//   - the folders of logs: a log that has signed something must be in the database.
//
// All is read once, what is outside the database first: a server that writes meanwhile
// is only ever ahead of what it is compared with. Functions are safe for concurrent use.
package inspect

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"

	"github.com/stele-log/stele/internal/engine"
	"github.com/stele-log/stele/internal/headmac"
	"github.com/stele-log/stele/internal/publisher"
	"github.com/stele-log/stele/pkg/client"
	"github.com/stele-log/stele/pkg/heads"
	"github.com/stele-log/stele/pkg/policy"
	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
)

// Config configures the check of one log.
type Config struct {
	Store storage.Store
	Name  string // of the log

	// Dir is the server's data folder, with the records of its logs; empty if it is not
	// at hand.
	Dir string

	// Policies are what is trusted, in the order of time: the last is for the newest
	// checkpoint.
	Policies []*policy.Policy

	Known    []client.KnownHead       // heads that somebody has kept
	Progress func(done, total uint64) // as in [client.CheckOptions]; may be nil
}

// A Report is the result of a check that has found no fault.
type Report struct {
	client.Report

	// Signed is the size that the record has as signed last, nil without a record, and
	// Published the number on record of the checkpoint published last, nil if there is
	// none.
	Signed, Published *uint64

	HeadMACs bool // whether each head is known to be from a server of the log, by the key in its folder

	Unused []string // folders of logs that have signed nothing and are not in the database

	Guards *[]string // of the database: a sentence for each that is missing
}

// cacheSize is that of the checked log's tile cache, in bytes: each tile is read once.
const cacheSize = 1 << 20

// Log checks a log. The error names the first place that does not fit; or it wraps
// [tile.ErrUnchecked], and shows nothing about the log.
func Log(ctx context.Context, cfg Config) (Report, error) {
	in := &inspection{Config: cfg}
	if err := in.readFolder(ctx); err != nil {
		return Report{}, err
	}
	if err := in.check(ctx); err != nil {
		return Report{}, err
	}
	if in.missing != nil {
		return Report{}, in.missing
	}
	guards, err := cfg.Store.Guards(ctx)
	if err != nil {
		return Report{}, tile.Unchecked(err)
	}
	in.report.Guards = new(append([]string{}, guards.Missing...))
	return in.report, nil
}

// An inspection is one check under way.
type inspection struct {
	Config
	record    publisher.Record
	published *storage.Checkpoint // on record; nil if there is none
	missing   error               // names logs that the database has lost
	report    Report
}

func (in *inspection) check(ctx context.Context) error {
	l, err := in.Store.OpenLog(ctx, in.Name)
	if err != nil && in.missing != nil {
		return in.missing
	}
	if err != nil {
		return tile.Unchecked(err)
	}
	newest := len(in.Policies) - 1
	reader := storage.NewReader(l, storage.NewCache(cacheSize))
	options := client.CheckOptions{Earlier: in.Policies[:newest], Known: in.Known, Progress: in.Progress,
		History: in.history(storage.History(ctx, l)), Heads: storage.Heads(ctx, l),
		Committed: func(ctx context.Context) (tree.Head, error) { return newestHead(ctx, l) }}
	in.report.Report, err = client.Check(ctx, reader, in.Policies[newest], options)
	if err != nil {
		return in.judge(err, l.Info().Origin)
	}
	if origin := l.Info().Origin; in.report.Origin != origin {
		return fmt.Errorf("the database has the log as %s, and its checkpoints are those of %s", origin, in.report.Origin)
	}
	return in.checkMACs(ctx, l)
}

// newestHead returns the log's newest head.
func newestHead(ctx context.Context, l storage.Log) (tree.Head, error) {
	head, err := l.Head(ctx)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return head.Head, errors.New("the log has no head, not even that of the empty tree: they were deleted")
	case err != nil && !errors.Is(err, storage.ErrDamaged):
		return head.Head, tile.Unchecked(err)
	}
	return head.Head, err
}

// checkMACs has the MAC of each head checked if the data folder has the key for them.
func (in *inspection) checkMACs(ctx context.Context, l storage.Log) error {
	if in.Dir == "" {
		return nil
	}
	key, err := engine.HeadKeyOf(in.Dir, in.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return tile.Unchecked(err)
	}
	for _, err := range storage.Heads(ctx, headmac.Open(l, key)) {
		if err != nil {
			return err
		}
	}
	in.report.HeadMACs = true
	return nil
}

// judge returns the error of a check. What is no checkpoint of the log, or none at all,
// may be so in another place, but not in the log's own row of the database.
func (in *inspection) judge(err error, origin string) error {
	var other *policy.UnknownLogError
	switch {
	case errors.As(err, &other) && (in.trusts(origin) || in.report.Signed != nil):
		return fmt.Errorf("newest checkpoint of the log %s, stored as %s: %v", in.Name, origin, err)
	case errors.Is(err, client.ErrNoLog) && (in.published != nil || slices.ContainsFunc(in.Known, wasPublished)):
		return errors.New("the log has published checkpoints, and the database has none: they were deleted")
	case errors.Is(err, client.ErrNoLog):
		return tile.Unchecked(errors.New("the log has published no checkpoint yet, so there is nothing to check it against"))
	}
	return err
}

func wasPublished(k client.KnownHead) bool { return !k.Unpublished }

// trusts reports whether a policy has a key of the log with that origin.
func (in *inspection) trusts(origin string) bool {
	return slices.ContainsFunc(in.Policies, func(p *policy.Policy) bool {
		return slices.ContainsFunc(p.Logs(), func(l policy.Log) bool { return l.Origin == origin })
	})
}

// history yields the checkpoints of the database, and an error unless the one published
// last is among them.
func (in *inspection) history(stored iter.Seq2[heads.Checkpoint, error]) iter.Seq2[heads.Checkpoint, error] {
	if in.published == nil {
		return stored
	}
	return func(yield func(heads.Checkpoint, error) bool) {
		next := uint64(0)
		for c, err := range stored {
			if err == nil && c.Number == in.published.Number && !publisher.SameHead(c.Note, in.published.Note) {
				err = fmt.Errorf("checkpoint %d is not the one that was published under this number, which is in %s",
					c.Number, in.record.PublishedPath())
			}
			if !yield(c, err) || err != nil {
				return
			}
			next = c.Number + 1
		}
		if next <= in.published.Number {
			yield(heads.Checkpoint{}, fmt.Errorf("checkpoint %d is missing: %s has number %d as published",
				next, in.record.PublishedPath(), in.published.Number))
		}
	}
}
