package access

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

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

	Tokens Tokens // verifies the tokens of issuers

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

	meters meters
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

// Authenticate returns whose key or token a text is.
func (c *Control) Authenticate(ctx context.Context, text string) (Principal, error) {
	if c.behind != nil {
		return Principal{}, c.behind
	}
	url := issuerOf(text)
	c.mu.RLock()
	if url == "" {
		defer c.mu.RUnlock()
		return c.state.Authenticate(text, c.cfg.Now())
	}
	var issuers []Issuer
	for _, i := range c.state.issuers {
		if i.URL == url {
			issuers = append(issuers, i)
		}
	}
	c.mu.RUnlock()
	return c.verify(ctx, issuers, text)
}

// verify returns whom a token names, by the first of its issuers for which it is good. An
// issuer may be known by several names, with an audience each.
func (c *Control) verify(ctx context.Context, issuers []Issuer, token string) (Principal, error) {
	failed := ErrUnknownKey
	for _, i := range issuers {
		claims, ends, err := c.cfg.Tokens.Verify(ctx, i, token)
		if err == nil {
			return i.PrincipalOf(claims, ends)
		}
		if errors.Is(err, ErrUnavailable) {
			failed = err
		}
		c.cfg.Logger.Debug("token refused", "issuer", i.Name, "error", err)
	}
	return Principal{}, failed
}

// May reports whether a principal may act in one of some roles on a log; see [State.May].
func (c *Control) May(p Principal, log string, roles ...Role) Permit {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.state.May(p, log, c.cfg.Now(), roles...)
}

// Settings returns those of a log.
func (c *Control) Settings(log string) LogSettings {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.state.settings(log)
}

// Known returns the id of the key that a text may be, if there is or was such a key.
func (c *Control) Known(text string) string {
	id, _ := idOf(text)
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.state.keys[id] == nil {
		return ""
	}
	return id
}

// Ended reports whether what a principal has authenticated with has ended since.
func (c *Control) Ended(p Principal) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.state.ended(p, c.cfg.Now())
}

// Issuer returns the issuer of a name, and false if there is none.
func (c *Control) Issuer(name string) (Issuer, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	i, ok := c.state.issuers[name]
	return i, ok
}

// Knows reports whether a principal may know that there is a log.
func (c *Control) Knows(p Principal, log string) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.state.Knows(p, log, c.cfg.Now())
}

// meter returns what a principal has used of its limit; nil if it has none.
func (c *Control) meter(p Principal) *meter {
	if p.Local {
		return nil
	}
	c.mu.RLock()
	l, ok := c.state.limit(p.Name)
	c.mu.RUnlock()
	if !ok {
		return nil
	}
	return c.meters.get(p.Name, l)
}

// Enter counts a request of a principal until leave is called, or returns false if there
// are as many as there may be.
func (c *Control) Enter(p Principal) (leave func(), ok bool) {
	m := c.meter(p)
	if m == nil {
		return func() {}, true
	}
	return m.leave, m.enter()
}

// Spend takes events of a size, in bytes, off what a principal may append now. If that is
// too little it takes nothing, and returns how long to wait.
func (c *Control) Spend(p Principal, events, bytes int) time.Duration {
	m := c.meter(p)
	if m == nil {
		return 0
	}
	return m.spend(c.cfg.Now(), events, bytes)
}

// MayMake returns an error if a principal has made as many logs as it may.
func (c *Control) MayMake(p Principal) error {
	c.mu.RLock()
	defer c.mu.RUnlock()
	l, ok := c.state.limit(p.Name)
	if made := c.state.logsBy(p.Name); ok && !p.Local && l.Logs > 0 && made >= l.Logs {
		return fmt.Errorf("%w: %.200q has made %d logs, as many as it may", ErrLimit, p.Name, made)
	}
	return nil
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
