package access

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/stele-log/stele/pkg/event"
	"github.com/stele-log/stele/pkg/tree"
)

// Config configures a Control.
type Config struct {
	// Read calls f with the entries of the system log from start on, in order, and
	// returns the newest head that a server of the log has committed, up to which they go.
	Read func(ctx context.Context, start uint64, f func(entry []byte) error) (tree.Head, error)

	// Append appends an event to the system log, and returns once it is durable.
	Append func(context.Context, event.Event) error

	// Signed returns the size of the system log that the server has signed last, as it is on
	// record outside the database. A log that is smaller was rolled back: keys that were
	// revoked since would be valid again.
	Signed func() (uint64, error)

	Logger *slog.Logger
	Now    func() time.Time
}

// A Control has the state of access, and changes it.
type Control struct {
	cfg Config

	changing sync.Mutex // held while a change is made, or what others changed is read

	mu       sync.RWMutex
	state    *State
	behind   error          // why no key is valid, if the log was rolled back
	frontier *tree.Frontier // over the entries folded
}

// followEvery is how often what other servers have changed is looked for.
const followEvery = 500 * time.Millisecond

// Open reads the system log from its first entry on.
func Open(ctx context.Context, cfg Config) (*Control, error) {
	c := &Control{cfg: cfg}
	var err error
	if c.state, c.frontier, err = c.read(ctx, math.MaxUint64); err != nil {
		return nil, err
	}
	signed, err := cfg.Signed()
	if err != nil {
		return nil, err
	}
	if size := c.frontier.Size(); size < signed {
		c.behind = fmt.Errorf("%w: it has %d entries, and %d were signed", ErrRolledBack, size, signed)
		cfg.Logger.Error("no key is valid", "error", c.behind)
	}
	return c, nil
}

// read folds the first entries of the log, as it reads and verifies all of them. What
// cannot be folded is most often what was changed, which is named first.
func (c *Control) read(ctx context.Context, size uint64) (*State, *tree.Frontier, error) {
	s, f := NewState(), &tree.Frontier{}
	var failed error
	leaves := make([]tree.Hash, 0, 4096)
	head, err := c.cfg.Read(ctx, 0, func(entry []byte) error {
		if leaves = append(leaves, tree.LeafHash(entry)); len(leaves) == cap(leaves) {
			f.Append(leaves)
			leaves = leaves[:0]
		}
		if failed == nil && s.size < size {
			failed = s.Fold(entry)
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	f.Append(leaves)
	return s, f, cmp.Or(verify(f, head), failed)
}

// verify fails unless the entries that were read are those of the log's head.
func verify(read *tree.Frontier, head tree.Head) error {
	if read.Head() != head {
		return fmt.Errorf("the entries of the log %s have %v, and its head is %v: it was changed in the database", SystemLog, read.Head(), head)
	}
	return nil
}

// Run follows what other servers change, until the context ends. It asks the database by
// itself: the loop of package follow leaves committed entries to the server that writes
// them, and shows others what is published, for which a revoked key must not wait.
func (c *Control) Run(ctx context.Context) {
	var failing error
	ticker := time.NewTicker(followEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		c.changing.Lock()
		err := c.refresh(ctx)
		c.changing.Unlock()
		if err != nil && failing == nil && ctx.Err() == nil {
			c.cfg.Logger.Error("the log of the configuration cannot be read: keys and grants stay as they are", "error", err)
		}
		failing = err
	}
}

// refresh folds the entries that were appended since. They are verified first: with those
// before, they must have the root of the newest head.
func (c *Control) refresh(ctx context.Context) error {
	var entries [][]byte
	var leaves []tree.Hash
	head, err := c.cfg.Read(ctx, c.state.size, func(entry []byte) error {
		entries = append(entries, append([]byte(nil), entry...))
		leaves = append(leaves, tree.LeafHash(entry))
		return nil
	})
	if err != nil || len(entries) == 0 && head == c.frontier.Head() {
		return err
	}
	frontier := c.frontier.Clone()
	frontier.Append(leaves)
	if err := verify(frontier, head); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, entry := range entries {
		if err := c.state.Fold(entry); err != nil {
			c.frontier.Append(leaves[:i])
			return err
		}
	}
	c.frontier = frontier
	return nil
}

// Authenticate returns whose key a text is.
func (c *Control) Authenticate(text string) (Principal, error) {
	if c.behind != nil {
		return Principal{}, c.behind
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.state.Authenticate(text, c.cfg.Now())
}

// May reports whether a principal may act in one of some roles on a log; see [State.May].
func (c *Control) May(p Principal, log string, roles ...Role) Permit {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.state.May(p, log, c.cfg.Now(), roles...)
}

// HasAdmin reports whether a key that can be used has the role admin, for good.
func (c *Control) HasAdmin() bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.state.hasAdmin(c.cfg.Now())
}

// View calls f with the state, which is f's until it returns.
func (c *Control) View(f func(*State)) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	f(c.state)
}

// At returns the state as the first size entries of the log make it.
func (c *Control) At(ctx context.Context, size uint64) (*State, error) {
	s, _, err := c.read(ctx, size)
	if err != nil {
		return nil, err
	}
	if s.size < size {
		return nil, fmt.Errorf("the log %s has %d entries: %w", SystemLog, s.size, ErrNotFound)
	}
	return s, nil
}

// A Change is who wants one, and for which state.
type Change struct {
	By string // the principal

	// Seen is the size of the state that the change was made for, if it is not nil: the
	// change is refused with ErrStale if the state is another by now.
	Seen *uint64
}

// CreateKey makes a key for a principal. The text is the key itself, which is not kept:
// nobody can read it again.
func (c *Control) CreateKey(ctx context.Context, change Change, k Key) (made Key, text string, err error) {
	text, k.ID = newSecret()
	k.Hash, k.Revoked = hashOf(text), false
	k.Expires = k.Expires.UTC().Truncate(time.Second)
	return k, text, c.change(ctx, change, keyCreated, k.ID, k, false)
}

// RevokeKey ends a key: once it has returned, no request with the key succeeds here, and
// within a second none anywhere.
func (c *Control) RevokeKey(ctx context.Context, change Change, id string) error {
	return c.change(ctx, change, keyRevoked, id, reference{id}, true)
}

// AddGrant gives a principal a role.
func (c *Control) AddGrant(ctx context.Context, change Change, g Grant) (Grant, error) {
	g.ID = newID()
	g.Until = g.Until.UTC().Truncate(time.Second)
	if err := g.check(); err != nil {
		return g, err
	}
	return g, c.change(ctx, change, grantAdded, g.ID, g, false)
}

// RemoveGrant takes a grant back.
func (c *Control) RemoveGrant(ctx context.Context, change Change, id string) error {
	return c.change(ctx, change, grantRemoved, id, reference{id}, true)
}

// change tries a change on the newest state, appends it to the log and folds it. Only one
// that takes something away can leave nobody who is an admin.
func (c *Control) change(ctx context.Context, change Change, kind, subject string, data any, takes bool) error {
	text, err := json.Marshal(data)
	if err != nil {
		return err
	}
	c.changing.Lock()
	defer c.changing.Unlock()
	if err := c.refresh(ctx); err != nil {
		return err
	}
	if change.Seen != nil && *change.Seen != c.state.size {
		return fmt.Errorf("%w: it was made for %d entries of the log %s, which has %d", ErrStale, *change.Seen, SystemLog, c.state.size)
	}
	tried := c.state.clone()
	if err := tried.apply(kind, text); err != nil {
		return err
	}
	if now := c.cfg.Now(); takes && c.state.hasAdmin(now) && !tried.hasAdmin(now) {
		return ErrLastAdmin
	}
	e, err := newEvent(change.By, kind, subject, text)
	if err != nil {
		return err
	}
	if err := c.cfg.Append(ctx, e); err != nil {
		return err
	}
	return c.refresh(ctx)
}

// newEvent makes the event of a change.
func newEvent(by, kind, subject string, data []byte) (event.Event, error) {
	text, err := json.Marshal(struct {
		Type    string         `json:"type"`
		Source  string         `json:"source"`
		Subject string         `json:"subject"`
		Data    jsontext.Value `json:"data"`
	}{kind, "stele", subject, data})
	if err != nil {
		return event.Event{}, err
	}
	return event.Parse(text, event.Sender{Name: by, Authenticated: true})
}
