// Package auditor follows logs from outside, and detects split views and
// rewritten histories. It needs the log's public key and nothing else from its
// operator. docs/contradiction.md specifies the files it writes and what they
// prove.
//
// An [Auditor] asks each URL of a log, and each witness of its policy, for the
// newest checkpoint. Every signed head that is new is written to the disk before
// anything else is done with it, and then verified against the newest head that
// was verified before. This is the way of one head:
//
//	Auditor.observe             every interval: read all newest checkpoints
//	  Auditor.receive           check the log's signature
//	    log.record              write the head to pending/
//	log.verifyPending           every interval: the pending heads, largest first
//	  log.verify                one of
//	    same size, other root     a fork: no tiles are needed
//	    log.verifyLarger          does its tree begin with the verified one?
//	                              Then hash every entry in between
//	    log.verifySmaller         does the verified tree begin with it?
//
// and it ends in one of
//
//	log.acceptNewest            proven, and the newest: written to verified
//	log.acceptOlder             proven, and smaller: written to heads/
//	log.refute                  disproven: written to contradictions/ and reported
//	log.reportUnproven          neither, since a server failed: the head stays
//	                            in pending/ and is verified again next time
//
// What always holds:
//   - all verified heads of a log are proven consistent with each other, and
//     every entry of the newest was hashed;
//   - a signed head that was seen is verified, pending, or part of a
//     contradiction file; a crash at any point loses none;
//   - nothing is believed that does not hash to a signed root, and a
//     contradiction is verified before it is written;
//   - memory does not grow with the log, except while all of its entries are
//     hashed to prove a contradiction (32 bytes for 256 entries).
//
// Tiles are read only where a proof needs them, and verified there: if the
// entries hash to the signed root, the log is whole. "stele check" verifies all
// tiles that a log serves.
//
// Sources and witnesses are asked concurrently, and logs are verified
// concurrently, so that a slow one does not delay the others.
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
	// ErrContradiction means that a log has signed a contradiction, in this run or
	// in an earlier one whose file is still in the state folder.
	ErrContradiction = errors.New("a log contradicts itself")

	// ErrUnfinished means that a source could not be read, or a head not proven.
	ErrUnfinished = errors.New("the audit could not be finished")
)

// Config configures an Auditor.
type Config struct {
	// URLs are the tlog-tiles prefixes to follow. They may belong to several logs,
	// and a log may have several: the origin in a URL's checkpoint tells which log
	// it is.
	URLs []string

	// Policy lists the keys of the logs. Its witnesses are asked for their newest
	// cosigned checkpoint if they have URLs.
	Policy *policy.Policy

	Dir      string           // the state folder, made if missing
	HTTP     *http.Client     // for URLs, witnesses and webhook
	Interval time.Duration    // between requests to one source
	Webhook  string           // URL that notifications are posted to; none if empty
	Continue bool             // whether Run goes on after a contradiction
	Logger   *slog.Logger     // gets every report
	Now      func() time.Time // stamps reports and sightings

	// Report, if not nil, is called with each [Report], by one goroutine at a time.
	Report func(Report)

	// FileSystem writes the state folder; durable.System if nil.
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
	found     atomic.Bool // there is a contradiction, of this run or an earlier one
}

// A source is a URL that serves a log.
type source struct {
	name   string // the URL without its password
	reader tile.Reader
	log    atomic.Pointer[log] // nil until its first checkpoint was read
}

// A witness is one of the policy that may serve the checkpoints it has cosigned.
type witness struct {
	name, url string
}

// New returns an Auditor with the state of earlier runs. A damaged file in the
// state folder is an error: without it, a contradiction might go unnoticed.
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

// originHash returns the spelling of an origin in paths and URLs.
//
// SPEC: https://c2sp.org/tlog-witness#monitoring: lowercase hex SHA-256 of the
// origin.
func originHash(origin string) string {
	sum := sha256.Sum256([]byte(origin))
	return hex.EncodeToString(sum[:])
}

// checkURL returns the URL without its password, as it may appear in reports and
// contradiction files. The error is about URLs that cannot.
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

// Run follows all logs, with one request a source every interval, until the
// context ends. Unless Config.Continue is set, it returns ErrContradiction once
// there is a contradiction, even of an earlier run. Heads that cannot be read or
// proven are reported, and do not end it.
func (a *Auditor) Run(ctx context.Context) error {
	a.reportEarlier(ctx)
	ctx, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	ticker := time.NewTicker(a.cfg.Interval)
	defer ticker.Stop()
	finished := make(chan struct{}, 1) // holds a token once a log's pending heads were tried
	for {
		if a.found.Load() && !a.cfg.Continue {
			return ErrContradiction
		}
		a.observe(ctx)
		for _, l := range a.logs {
			// A log that takes long must not keep the others waiting.
			if !l.verifying.TryLock() {
				continue
			}
			running.Go(func() {
				defer l.verifying.Unlock()
				l.verifyPending(ctx)
				select {
				case finished <- struct{}{}:
				default:
				}
			})
		}
	wait:
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-finished:
				if a.found.Load() && !a.cfg.Continue {
					return ErrContradiction
				}
			case <-ticker.C:
				break wait
			}
		}
	}
}

// Once reads the newest checkpoints of all logs and verifies their heads. If
// something could not be read or proven it tries once more after an interval: a
// witness may cosign a head a moment before the log publishes it.
//
// The error is ErrContradiction if there is a contradiction, even of an earlier
// run, and ErrUnfinished if the second try did not finish either.
func (a *Auditor) Once(ctx context.Context) error {
	a.reportEarlier(ctx)
	finished := a.tryOnce(ctx)
	if !finished && !a.found.Load() {
		select {
		case <-time.After(a.cfg.Interval):
		case <-ctx.Done():
		}
		finished = a.tryOnce(ctx)
	}
	switch {
	case a.found.Load():
		return ErrContradiction
	case !finished || ctx.Err() != nil:
		return ErrUnfinished
	}
	return nil
}

// tryOnce reads and verifies all logs, and reports whether every source was read
// and every head was proven.
func (a *Auditor) tryOnce(ctx context.Context) bool {
	finished := a.observe(ctx)
	for _, l := range a.logs {
		l.verifying.Lock()
		if !l.verifyPending(ctx) {
			finished = false
		}
		l.verifying.Unlock()
	}
	return finished
}

// reportEarlier reports the contradictions of earlier runs: a run may have ended
// after it wrote the file and before it sent the report.
func (a *Auditor) reportEarlier(ctx context.Context) {
	for _, l := range a.logs {
		l.reportEarlier(ctx)
	}
}
