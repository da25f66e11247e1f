// Package auditor follows logs from outside: it keeps the operator of a log
// from ever showing two histories unnoticed. It needs the log's key and nothing
// else of its operator; docs/contradiction.md says what comes of it.
//
// An Auditor asks each URL of a log, and each witness of its policy, for the
// newest checkpoint. Each signed head that it has not seen before is kept on the
// disk first, then judged: a larger one is proven to begin with the newest
// verified head, by tiles, and every entry between them is hashed; a smaller one
// is proven to be how the verified tree began. A head that cannot be judged yet
// is judged again each time.
//
//	seen -> kept as pending -> proven: verified | contradicts: contradiction
//
// What always holds:
//   - all verified heads of a log are proven consistent with each other, and
//     every entry of the newest was hashed;
//   - a signed head that was seen is verified, kept as pending, or in a file of
//     contradiction; a crash at any point loses none;
//   - nothing is believed that was not hashed up to a signed root, and contradiction
//     is verified before it is written;
//   - memory does not grow with the log, but while a head is searched for what
//     contradicts it (32 bytes for 256 entries).
//
// Tiles are read only where a proof needs them, and verified there: entries that
// hash to the signed root show that the log is whole. That all tiles that are
// served are right is for "stele check" to say.
package auditor

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/stele-log/stele/internal/durable"
	"github.com/stele-log/stele/pkg/contradiction"
	"github.com/stele-log/stele/pkg/policy"
	"github.com/stele-log/stele/pkg/tile"
)

var (
	// ErrContradiction says that there is a contradiction by a log.
	ErrContradiction = errors.New("a log contradicts itself")

	// ErrUnfinished says that something could not be read or proven.
	ErrUnfinished = errors.New("the audit could not be finished")
)

// Config is what an Auditor is made of.
type Config struct {
	// URLs are the tlog-tiles prefixes to follow, of one log or of several; a log
	// may have many. Which log is found at one, its checkpoint says.
	URLs []string

	// Policy lists the keys of the logs. Its witnesses are asked for what they
	// have cosigned, if it says where they are.
	Policy *policy.Policy

	Dir      string        // the folder that everything is kept in, made if need be
	HTTP     *http.Client  // for URLs, witnesses and webhook
	Interval time.Duration // between looks
	Webhook  string        // URL that reports are sent to; none if empty
	Continue bool          // go on after a contradiction
	Logger   *slog.Logger
	Now      func() time.Time

	// Report, if not nil, is told each [Report]. It is not called concurrently.
	Report func(Report)

	// FileSystem is what the folder is written through; durable.System if nil.
	FileSystem durable.FileSystem
}

// An Auditor follows logs. Run and Once must not be called more than once at a
// time.
type Auditor struct {
	cfg       Config
	logs      map[string]*log // by origin
	sources   []*source
	witnesses []*witness
	metrics   *metrics

	reporting sync.Mutex  // held while Report is called
	found     atomic.Bool // contradiction exists
}

// A source is a URL at which a log is found.
type source struct {
	name   string // without credentials
	reader tile.Reader
	log    atomic.Pointer[log] // nil until a checkpoint has said which
}

// A witness is one that can be asked for what it has cosigned.
type witness struct {
	name, url string
}

// New returns an Auditor that knows what was kept in its folder.
func New(ctx context.Context, cfg Config) (*Auditor, error) {
	if cfg.FileSystem == nil {
		cfg.FileSystem = durable.System
	}
	a := &Auditor{cfg: cfg, logs: map[string]*log{}}
	a.metrics = newMetrics(a)
	for _, l := range cfg.Policy.Logs() {
		if a.logs[l.Origin] != nil {
			continue
		}
		id := originHash(l.Origin)
		s, err := loadState(ctx, stateDir{cfg.FileSystem, filepath.Join(cfg.Dir, id)}, cfg.Policy)
		if err != nil {
			return nil, fmt.Errorf("log %s, in %s: %w", l.Origin, id, err)
		}
		a.logs[l.Origin] = newLog(a, l.Origin, id, s)
		if len(s.contradictions) > 0 {
			a.found.Store(true)
		}
	}
	for _, u := range cfg.URLs {
		name, err := checkURL(u)
		if err != nil {
			return nil, err
		}
		a.sources = append(a.sources, &source{name: name, reader: tile.HTTP(cfg.HTTP, u)})
	}
	for _, w := range cfg.Policy.Witnesses() {
		if w.URL == "" {
			continue
		}
		if _, err := checkURL(w.URL); err != nil {
			return nil, fmt.Errorf("witness %s: %w", w.Name, err)
		}
		a.witnesses = append(a.witnesses, &witness{w.Name, w.URL})
	}
	if cfg.Webhook != "" {
		if _, err := checkURL(cfg.Webhook); err != nil {
			return nil, fmt.Errorf("webhook: %w", err)
		}
	}
	return a, nil
}

// originHash returns how an origin is spelled in paths.
//
// SPEC: https://c2sp.org/tlog-witness#monitoring: lowercase hex SHA-256 of the
// origin.
func originHash(origin string) string {
	sum := sha256.Sum256([]byte(origin))
	return hex.EncodeToString(sum[:])
}

// checkURL returns the URL without its password.
func checkURL(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil {
		return "", err
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || !contradiction.ValidSource(u.Redacted()) {
		return "", fmt.Errorf("URL %.200q: want one like https://logs.example.com/logs/default", u.Redacted())
	}
	return u.Redacted(), nil
}

// Metrics returns the metrics of all logs.
func (a *Auditor) Metrics() prometheus.Gatherer { return a.metrics.registry }

// Run looks at all logs every interval until the context ends. Unless told to
// continue, it returns ErrContradiction once there is a contradiction, even of an
// earlier run.
func (a *Auditor) Run(ctx context.Context) error {
	a.remind(ctx)
	ctx, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	ticker := time.NewTicker(a.cfg.Interval)
	defer ticker.Stop()
	looked := make(chan struct{}, 1) // holds a token once a log was looked at
	for {
		if a.found.Load() && !a.cfg.Continue {
			return ErrContradiction
		}
		a.observe(ctx)
		for _, l := range a.logs {
			// A log that takes long must not keep the others waiting.
			if !l.working.TryLock() {
				continue
			}
			running.Go(func() {
				defer l.working.Unlock()
				l.settle(ctx)
				select {
				case looked <- struct{}{}:
				default:
				}
			})
		}
	wait:
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-looked:
				if a.found.Load() && !a.cfg.Continue {
					return ErrContradiction
				}
			case <-ticker.C:
				break wait
			}
		}
	}
}

// Once looks at all logs, to the end. A head that a witness has seen before the
// log has published it is given one more interval. The error is
// ErrContradiction if there is a contradiction, even of an earlier run, and
// ErrUnfinished if something could not be read or proven.
func (a *Auditor) Once(ctx context.Context) error {
	a.remind(ctx)
	finished := a.pass(ctx)
	if !finished && !a.found.Load() {
		select {
		case <-time.After(a.cfg.Interval):
		case <-ctx.Done():
		}
		finished = a.pass(ctx)
	}
	switch {
	case a.found.Load():
		return ErrContradiction
	case !finished || ctx.Err() != nil:
		return ErrUnfinished
	}
	return nil
}

// pass looks at all logs and reports whether all of them were read and proven.
func (a *Auditor) pass(ctx context.Context) bool {
	finished := a.observe(ctx)
	for _, l := range a.logs {
		l.working.Lock()
		if !l.settle(ctx) {
			finished = false
		}
		l.working.Unlock()
	}
	return finished
}

// remind reports the contradictions of earlier runs: the one that wrote it may have
// ended before it could.
func (a *Auditor) remind(ctx context.Context) {
	for _, l := range a.logs {
		l.remind(ctx)
	}
}
