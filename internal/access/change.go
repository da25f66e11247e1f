package access

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/stele-log/stele/pkg/event"
)

// This file changes the configuration: each change is one event.
//
//	ready -> check, on the newest state -> try -> append to the log -> fold

// A Change is who wants one, and for which state.
type Change struct {
	By string // the principal

	// May returns why the principal may not make changes any more, if it is not nil. It is
	// asked right before the change is made: the principal's key may have been revoked
	// while its request came.
	May func() error

	// Seen is the size of the state that the change was made for, if it is not nil: the
	// change is refused with ErrStale if the state is another by now.
	Seen *uint64
}

// A step is what a change does.
type step struct {
	kind    string // of the event
	subject string
	data    any

	// check returns why the state does not allow the step now, if it is not nil. What may
	// depend on the time, or may be judged otherwise one day, belongs here: the fold must
	// take whatever was once recorded.
	check func(*State) error

	takes bool // it takes something away, and could leave nobody who is an admin
}

// RecordLog adds a log that was made to the configuration, unless it is there.
func (c *Control) RecordLog(ctx context.Context, change Change, l Log) error {
	var known bool
	c.View(func(s *State) { known = s.logs[l.Name] != nil })
	if known {
		return nil
	}
	if err := l.LogSettings.check(defaults); err != nil {
		return err
	}
	return c.change(ctx, change, step{kind: logCreated, subject: l.Name, data: l})
}

// ChangeLog changes settings of a log; those that are empty stay as they are.
func (c *Control) ChangeLog(ctx context.Context, change Change, log string, settings LogSettings) error {
	return c.change(ctx, change, step{kind: logChanged, subject: log, data: changedLog{log, settings}})
}

// SetLimit gives a principal a limit, in place of the one that it has.
func (c *Control) SetLimit(ctx context.Context, change Change, l Limit) error {
	return c.change(ctx, change, step{kind: limitSet, subject: l.Principal, data: l})
}

// RemoveLimit takes a principal's limit away.
func (c *Control) RemoveLimit(ctx context.Context, change Change, principal string) error {
	return c.change(ctx, change, step{kind: limitRemoved, subject: principal, data: reference{Principal: principal}})
}

// AddIssuer has tokens of an issuer say who a request comes from.
func (c *Control) AddIssuer(ctx context.Context, change Change, i Issuer) error {
	return c.change(ctx, change, step{kind: issuerAdded, subject: i.Name, data: i})
}

// RemoveIssuer ends all tokens of an issuer.
func (c *Control) RemoveIssuer(ctx context.Context, change Change, name string) error {
	return c.change(ctx, change, step{kind: issuerRemoved, subject: name, data: reference{Name: name}, takes: true})
}

// CreateKey makes a key for a principal. The text is the key itself, which is not kept:
// nobody can read it again.
func (c *Control) CreateKey(ctx context.Context, change Change, k Key) (made Key, text string, err error) {
	text, k.ID = newSecret()
	k.Hash, k.Revoked, k.Rotated = hashOf(text), false, false
	k.Expires = k.Expires.UTC().Truncate(time.Second)
	return k, text, c.change(ctx, change, step{kind: keyCreated, subject: k.ID, data: k, check: func(s *State) error {
		return s.mayHaveKeys(k.Principal)
	}})
}

// mayHaveKeys fails if a name is one that issuers or certificates vouch for.
func (s *State) mayHaveKeys(principal string) error {
	prefix, _, ok := strings.Cut(principal, ":")
	_, issuer := s.issuers[prefix]
	if ok && (issuer || prefix == certificateIssuer) || principal == everyone {
		return fmt.Errorf("%w: %.200q is a name of somebody without a key", ErrInvalid, principal)
	}
	return nil
}

// RevokeKey ends a key: once it has returned, no request with the key succeeds here, and
// within a second none anywhere.
func (c *Control) RevokeKey(ctx context.Context, change Change, id string) error {
	return c.change(ctx, change, step{kind: keyRevoked, subject: id, data: reference{ID: id}, takes: true})
}

// RotateKey makes a key in the place of another, which ends after a while. The new one has
// the other's principal and claims, and lives as long as that was to.
func (c *Control) RotateKey(ctx context.Context, change Change, id string, overlap time.Duration) (made Key, text string, err error) {
	now := c.cfg.Now()
	text, made.ID = newSecret()
	made.Hash = hashOf(text)
	r := &rotation{ID: id, Ends: now.Add(overlap).UTC()}
	err = c.change(ctx, change, step{kind: keyRotated, subject: id, data: r, takes: true, check: func(s *State) error {
		old := s.keys[id]
		if old == nil || !old.Live(now) {
			return fmt.Errorf("key %.40q: %w", id, ErrNotFound)
		}
		if old.Rotated {
			return fmt.Errorf("%w: key %s was rotated before; rotate the one that was made in its place", ErrInvalid, id)
		}
		made.Principal, made.Claims = old.Principal, old.Claims
		if !old.Expires.IsZero() {
			made.Expires = now.Add(old.Expires.Sub(old.Created)).UTC().Truncate(time.Second)
		}
		r.New = made
		return nil
	}})
	return made, text, err
}

// AddGrant gives a principal a role. The error is ErrExists if it has that very grant.
func (c *Control) AddGrant(ctx context.Context, change Change, g Grant) (Grant, error) {
	g.ID = newID()
	g.Until = g.Until.UTC().Truncate(time.Second)
	if err := g.Check(); err != nil {
		return g, err
	}
	return g, c.change(ctx, change, step{kind: grantAdded, subject: g.ID, data: g, check: func(s *State) error {
		if s.has(g, c.cfg.Now()) {
			return fmt.Errorf("this grant %w", ErrExists)
		}
		return nil
	}})
}

// RemoveGrant takes a grant back.
func (c *Control) RemoveGrant(ctx context.Context, change Change, id string) error {
	return c.change(ctx, change, step{kind: grantRemoved, subject: id, data: reference{ID: id}, takes: true})
}

// change checks and tries a step on the newest state, appends it to the log and folds it.
func (c *Control) change(ctx context.Context, change Change, st step) error {
	c.changing.Lock()
	defer c.changing.Unlock()
	if err := c.ready(ctx, change); err != nil {
		return err
	}
	if st.check != nil {
		if err := st.check(c.state); err != nil {
			return err
		}
	}
	text, err := json.Marshal(st.data)
	if err != nil {
		return err
	}
	tried := c.state.clone()
	now := c.cfg.Now()
	if err := tried.apply(st.kind, text, origin{change.By, now}); err != nil {
		return err
	}
	if st.takes && c.state.hasAdmin(now) && !tried.hasAdmin(now) {
		return ErrLastAdmin
	}
	e, err := newEvent(change.By, st.kind, st.subject, jsontext.Value(text))
	if err != nil {
		return err
	}
	if err := c.cfg.Append(ctx, e); err != nil {
		return err
	}
	return c.refresh(ctx)
}

// MayChange returns why a change cannot be made now, whatever it is: the log cannot be read,
// the principal may not any more, or the change is for another state.
func (c *Control) MayChange(ctx context.Context, change Change) error {
	c.changing.Lock()
	defer c.changing.Unlock()
	return c.ready(ctx, change)
}

// ready brings the state up to date, and returns why a change cannot be made on it.
func (c *Control) ready(ctx context.Context, change Change) error {
	if err := c.refresh(ctx); err != nil {
		return err
	}
	if change.May != nil {
		if err := change.May(); err != nil {
			return err
		}
	}
	if change.Seen != nil && *change.Seen != c.state.size {
		return fmt.Errorf("%w: it was made for %d entries of the log %s, which has %d", ErrStale, *change.Seen, SystemLog, c.state.size)
	}
	return nil
}

// newEvent makes an event of the server's own.
func newEvent(by, kind, subject string, data any) (event.Event, error) {
	text, err := json.Marshal(struct {
		Type    string `json:"type"`
		Source  string `json:"source"`
		Subject string `json:"subject,omitempty"`
		Data    any    `json:"data"`
	}{kind, "stele", subject, data})
	if err != nil {
		return event.Event{}, err
	}
	return event.Parse(text, event.Sender{Name: by, Authenticated: true})
}
