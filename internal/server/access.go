package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"

	"github.com/stele-log/stele/internal/access"
	"github.com/stele-log/stele/internal/access/openid"
	"github.com/stele-log/stele/internal/durable"
	"github.com/stele-log/stele/internal/engine"
	"github.com/stele-log/stele/pkg/event"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
)

// This file opens access control on the system log, and makes the first key.

// adminKeyFile is where the first admin's key is, in the data folder.
const adminKeyFile = "admin.key"

// ownLog returns one of the server's own logs, and creates it if there is none.
func ownLog(ctx context.Context, e *engine.Engine, name, originPrefix string) (*engine.Log, error) {
	l, err := e.Log(name)
	if errors.Is(err, engine.ErrUnknown) {
		l, err = e.Create(ctx, engine.NewLog{Name: name, Origin: originPrefix + "/" + name, Own: true})
	}
	if err == nil {
		err = l.Broken
	}
	if err != nil {
		return nil, fmt.Errorf("access control needs the log %s: %w; a second server needs the folder logs/%[1]s of the first", name, err)
	}
	return l, nil
}

// controls are what access control consists of while a server runs.
type controls struct {
	*access.Control
	tokens  *openid.Verifier
	journal *access.Journal
}

// openControls opens access control on the server's own logs.
func openControls(ctx context.Context, e *engine.Engine, cfg Config) (*controls, error) {
	system, err := ownLog(ctx, e, access.SystemLog, cfg.OriginPrefix)
	if err != nil {
		return nil, err
	}
	facts, err := ownLog(ctx, e, access.AccessLog, cfg.OriginPrefix)
	if err != nil {
		return nil, err
	}
	tokens := openid.New(http.DefaultTransport, filepath.Join(cfg.Engine.Dir, "secrets"), cfg.Engine.Now)
	control, err := openAccess(ctx, system, tokens, cfg)
	if err != nil {
		return nil, err
	}
	journal := access.NewJournal(func(ctx context.Context, events []event.Event) error {
		_, err := facts.Sequencer.Append(ctx, events)
		return err
	}, cfg.Logger, cfg.Engine.Now)
	if err := recall(ctx, facts, journal); err != nil {
		cfg.Logger.Warn("when keys were last used is not known from before", "error", err)
	}
	return &controls{control, tokens, journal}, nil
}

// recalled is the number of entries at the end of the access log that are read for when
// keys were last used.
const recalled = 10_000

// recall reads the end of the access log.
func recall(ctx context.Context, l *engine.Log, j *access.Journal) error {
	head, err := l.Stored.Head(ctx)
	if err != nil {
		return err
	}
	start := head.Size - min(head.Size, recalled)
	return eachEntry(ctx, l.Stored, start, head.Size, func(entry []byte) error {
		j.Recall(entry)
		return nil
	})
}

// recordLogs adds logs that the configuration does not have to it: those that were made
// without access control, and those whose recording failed. What the latter were to be is
// not known: of one without entries nothing is public, once others were recorded.
func recordLogs(ctx context.Context, c *access.Control, e *engine.Engine) error {
	var known []access.Log
	c.View(func(s *access.State) { known = s.Logs() })
	others := slices.ContainsFunc(known, func(l access.Log) bool { return !access.IsOwn(l.Name) })
	for _, l := range e.Logs() {
		if l.Broken != nil || slices.ContainsFunc(known, func(k access.Log) bool { return k.Name == l.Name }) {
			continue
		}
		recorded := access.Log{Name: l.Name, Origin: l.Origin, VKeys: l.VKeys}
		head, err := l.Stored.Head(ctx)
		if err == nil && head.Size == 0 && others {
			recorded.Public = access.PublicNothing
		}
		if err == nil {
			err = c.RecordLog(ctx, access.Change{By: access.LocalName}, recorded)
		}
		if err != nil {
			return fmt.Errorf("record the log %s: %w", l.Name, err)
		}
	}
	return nil
}

// openAccess reads the system log.
func openAccess(ctx context.Context, l *engine.Log, tokens access.Tokens, cfg Config) (*access.Control, error) {
	return access.Open(ctx, access.Config{
		Logger: cfg.Logger, Now: cfg.Engine.Now, Tokens: tokens,
		Read: func(ctx context.Context, start uint64, f func([]byte) error) (tree.Head, error) {
			head, err := l.Stored.Head(ctx)
			if err != nil || head.Size <= start {
				return head.Head, err
			}
			return head.Head, eachEntry(ctx, l.Stored, start, head.Size, f)
		},
		Signed: func() (uint64, error) { return engine.RecordOf(cfg.Engine.Dir, l.Name).Size() },
		Append: func(ctx context.Context, e event.Event) error {
			_, err := l.Sequencer.Append(ctx, []event.Event{e})
			return err
		},
	})
}

// eachEntry calls f with the entries from start up to but not including end.
func eachEntry(ctx context.Context, l storage.Log, start, end uint64, f func([]byte) error) error {
	return l.EachChunk(ctx, start, end, func(c storage.Chunk) error {
		entries, err := c.Entries()
		if err != nil {
			return err
		}
		for i, entry := range entries {
			if index := c.Start + uint64(i); index < start || index >= end {
				continue
			}
			if err := f(entry); err != nil {
				return err
			}
		}
		return nil
	})
}

// makeAdmin makes the first key, unless there is an admin, and writes it to a file that
// only the server's user can read. It is granted the role only once it is there: a crash
// leaves a key that may do nothing, or that somebody has.
func makeAdmin(ctx context.Context, c *access.Control, cfg Config) error {
	if c.HasAdmin() {
		return nil
	}
	const principal = "admin"
	change := access.Change{By: access.LocalName}
	_, text, err := c.CreateKey(ctx, change, access.Key{Principal: principal})
	if err != nil {
		return fmt.Errorf("make the first key: %w", err)
	}
	path := filepath.Join(cfg.Engine.Dir, adminKeyFile)
	if err := durable.Replace(durable.System, path, []byte(text+"\n"), 0o600); err != nil {
		return fmt.Errorf("make the first key: %w", err)
	}
	if _, err := c.AddGrant(ctx, change, access.Grant{Principal: principal, Role: access.Admin, Log: "*"}); err != nil {
		return fmt.Errorf("make the first admin: %w", err)
	}
	cfg.Logger.Info("the first key was made, which has the role admin: keep a copy of it in a safe place", "file", path)
	return nil
}
