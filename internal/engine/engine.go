// Package engine runs the logs of one server: it makes and reads their keys, and
// gives each a sequencer, a publisher and the followers.
//
//	<dir>/logs/<name>/ed25519.key        signing key (0600)
//	<dir>/logs/<name>/mldsa44.key        second signing key, if there is one (0600)
//	<dir>/logs/<name>/head.key           for the MACs of heads, see package headmac (0600)
//	<dir>/logs/<name>/signed.checkpoint  the last checkpoint that was signed
//	<dir>/logs/<name>/published.checkpoint
//	                                     the last that was published, with its number
//	<dir>/logs/<name>/witness-policy.txt who must cosign this log's checkpoints, in
//	                                     place of the policy for all logs
//	<dir>/place.json                     which database the folder was last served with
//
// Open assembles the logs that the store has; Start runs them and waits until each
// has settled; Create adds one while they run; Wait returns when all have ended.
//
// Invariants:
//   - a log's keys exist on disk before the log does in the database, and are
//     never replaced for a log that exists;
//   - a log that cannot be opened does not keep the others from running;
//   - finding a log waits for nothing but memory: the lock that it takes is held
//     neither for a file nor for the database.
//
// An Engine is safe for concurrent use.
package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stele-log/stele/internal/follow"
	"github.com/stele-log/stele/internal/publisher"
	"github.com/stele-log/stele/storage"
	"github.com/stele-log/stele/witness"
)

var (
	// ErrUnknown is the error of a name that no log of the server has.
	ErrUnknown = errors.New("no such log")

	// ErrBadName is the error of a name or origin that no log can have.
	ErrBadName = errors.New("bad name")

	// ErrTooMany is the error of a log too many.
	ErrTooMany = errors.New("too many logs")
)

// Config configures an Engine.
type Config struct {
	Store    storage.Store
	Dir      string        // the folder of keys and records, <dir> above
	URL      string        // that other servers of the Store are told, and show, while this one writes
	Interval time.Duration // between checkpoints of a log, at least; see publisher.Config
	Cache    int           // bytes of tiles kept in memory, all logs together
	MaxQueue int           // bytes of events that may wait for one log; see sequencer.Config
	MaxLogs  int           // with as many none is created any more; 0 is no limit
	Logger   *slog.Logger
	Now      func() time.Time // the clock of entries and checkpoints

	// Followers keep up with every log.
	Followers []follow.Follower

	// Witnesses cosign for each log, unless the log has a policy of its own in its
	// folder. All witnesses are asked through one pool, so that logs share limits
	// and connections.
	Witnesses   publisher.Witnessing
	WitnessPool witness.PoolConfig
}

// An Engine holds the logs of one server. Logs are added, never removed.
type Engine struct {
	cfg       Config
	cache     *storage.Cache
	witnesses *witness.Pool
	guards    guardWatch

	// creating is held while a log is created: it has one place. mu is held only to
	// look at the fields below it, or to change them.
	creating chan struct{}

	mu      sync.RWMutex
	logs    map[string]*Log
	run     context.Context // of the logs' goroutines; nil until Start
	stopped bool            // no more logs are run
	running sync.WaitGroup
}

// Open opens every log in the store. A log that cannot be opened is kept with the
// reason in Broken; an error means that the store cannot be read, or that it and the
// folder must not be served together, see place.
func Open(ctx context.Context, cfg Config) (*Engine, error) {
	if err := takePlace(ctx, cfg.Dir, cfg.Store); err != nil {
		return nil, err
	}
	e := &Engine{cfg: cfg, cache: storage.NewCache(cfg.Cache), logs: map[string]*Log{},
		witnesses: witness.NewPool(cfg.WitnessPool), creating: make(chan struct{}, 1),
		guards: guardWatch{store: cfg.Store, logger: cfg.Logger}}
	infos, err := cfg.Store.Logs(ctx)
	if err != nil {
		return nil, fmt.Errorf("list logs: %w", err)
	}
	for _, info := range infos {
		stored, err := cfg.Store.OpenLog(ctx, info.Name)
		if err != nil {
			return nil, fmt.Errorf("open log %s: %w", info.Name, err)
		}
		e.logs[info.Name] = e.open(ctx, stored)
	}
	return e, nil
}

// Start runs all logs, and those that are created meanwhile, until the context
// ends. It returns once each log is being written to, or cannot be. It is called
// once.
//
// The database's guards are looked at first: what no commit has made is removed once a
// log is being written to.
func (e *Engine) Start(ctx context.Context) {
	if excess := e.guards.look(ctx); excess != "" {
		e.cfg.Logger.Warn("the database's user could take its guards off; serve as one who may not: see docs/operations.md", "reason", excess)
	}
	e.mu.Lock()
	e.run = ctx
	e.running.Go(func() { e.guards.run(ctx) })
	for _, l := range e.logs {
		e.running.Go(func() { l.run(ctx, e.cfg.Interval) })
	}
	e.mu.Unlock()
	var settling sync.WaitGroup
	for _, l := range e.Logs() {
		settling.Go(func() { l.settle(ctx) })
	}
	settling.Wait()
}

// Wait returns once the context of Start has ended, and every event accepted by
// then is committed and published, or a few seconds later if the database is too slow
// for that. It is called after Start.
func (e *Engine) Wait() {
	<-e.run.Done()
	e.mu.Lock()
	e.stopped = true
	e.mu.Unlock()
	e.running.Wait()
	e.witnesses.Close()
}

// Log returns the log of that name, or ErrUnknown.
func (e *Engine) Log(name string) (*Log, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if l, ok := e.logs[name]; ok {
		return l, nil
	}
	return nil, fmt.Errorf("%w: %.80q", ErrUnknown, name)
}

// Logs returns all logs by name.
func (e *Engine) Logs() []*Log {
	e.mu.RLock()
	defer e.mu.RUnlock()
	logs := make([]*Log, 0, len(e.logs))
	for _, l := range e.logs {
		logs = append(logs, l)
	}
	slices.SortFunc(logs, func(a, b *Log) int { return strings.Compare(a.Name, b.Name) })
	return logs
}

// NewLog describes the log to create.
type NewLog struct {
	Name    string // in URLs: 1 to 63 of a-z, 0-9 and "-", not "-" at either end
	Origin  string // in checkpoints, for ever: best a URL without scheme that the log will be found at
	MLDSA44 bool   // sign with an ML-DSA-44 key too
	Own     bool   // the server's own log, which no limit keeps from being made

	// Record is called, if it is not nil, once there is the log, and before anybody can
	// find it. After an error nobody can before the next start.
	Record func(*Log) error
}

var (
	namePattern   = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	originPattern = regexp.MustCompile(`^[!-*,-~]{1,255}$`) // printable ASCII without space and "+"
)

func checkName(name string) error {
	if !namePattern.MatchString(name) {
		return fmt.Errorf("%w: a log's name is 1 to 63 of a-z, 0-9 and \"-\", not \"-\" at either end", ErrBadName)
	}
	return nil
}

func (n NewLog) check() error {
	if err := checkName(n.Name); err != nil {
		return err
	}
	// SPEC: https://c2sp.org/signed-note: a key name has no space and no plus.
	if !originPattern.MatchString(n.Origin) {
		return fmt.Errorf("%w: an origin is 1 to 255 printable ASCII characters, no space and no \"+\"; "+
			"best a URL without scheme, such as logs.example.com/%s", ErrBadName, n.Name)
	}
	return nil
}

// Create makes a log with new keys and runs it. One is created at a time; all else
// goes on meanwhile. The error is ErrBadName or ErrTooMany, or storage.ErrExists if the
// name or the origin is taken.
func (e *Engine) Create(ctx context.Context, n NewLog) (*Log, error) {
	if err := n.check(); err != nil {
		return nil, err
	}
	l, running, err := e.create(ctx, n)
	if err == nil && running {
		l.settle(ctx)
	}
	return l, err
}

// create makes a log, and runs it if the engine runs. The keys and the database may
// take long.
func (e *Engine) create(ctx context.Context, n NewLog) (l *Log, running bool, err error) {
	select {
	case e.creating <- struct{}{}:
		defer func() { <-e.creating }()
	case <-ctx.Done():
		return nil, false, fmt.Errorf("create log %s: %w", n.Name, ctx.Err())
	}
	if err := e.mayCreate(n); err != nil {
		return nil, false, fmt.Errorf("create log %s of origin %s: %w", n.Name, n.Origin, err)
	}
	if err := e.dir(n.Name).makeKeys(n.Origin, n.MLDSA44); err != nil {
		return nil, false, fmt.Errorf("create log %s: %w", n.Name, err)
	}
	stored, err := e.cfg.Store.CreateLog(ctx, n.Name, n.Origin)
	if err != nil {
		return nil, false, fmt.Errorf("create log %s: %w", n.Name, err)
	}
	l = e.open(ctx, stored)
	if n.Record != nil {
		if err := n.Record(l); err != nil {
			return nil, false, fmt.Errorf("log %s was made, and is shown from the next start on, since it could not be recorded: %w", n.Name, err)
		}
	}
	return l, e.add(l), nil
}

// mayCreate returns why a log cannot be created. The store would refuse a name or an
// origin that is taken, too, but keys would then be left behind.
func (e *Engine) mayCreate(n NewLog) error {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.run != nil && e.run.Err() != nil {
		return e.run.Err()
	}
	for _, l := range e.logs {
		if l.Name == n.Name || l.Origin == n.Origin {
			return storage.ErrExists
		}
	}
	if e.cfg.MaxLogs > 0 && len(e.logs) >= e.cfg.MaxLogs && !n.Own {
		return ErrTooMany
	}
	return nil
}

// add adds a log, and runs it if the engine runs.
func (e *Engine) add(l *Log) (running bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.logs[l.Name] = l
	if e.run == nil || e.stopped {
		return false
	}
	e.running.Go(func() { l.run(e.run, e.cfg.Interval) })
	return true
}
