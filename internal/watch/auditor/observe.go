package auditor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/contradiction"
)

// lookTimeout is how long one source or witness may take to show a checkpoint.
const lookTimeout = 20 * time.Second

// observe asks all sources, and then the witnesses of the logs found there, for
// their newest checkpoints, and keeps the heads that are new. It reports whether
// all sources have shown one.
func (a *Auditor) observe(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	var running sync.WaitGroup
	var missing atomic.Bool
	for _, s := range a.sources {
		running.Go(func() {
			if err := a.look(ctx, s); err != nil {
				missing.Store(true)
			}
		})
	}
	running.Wait()
	followed := map[*log]bool{}
	for _, s := range a.sources {
		if l := s.log.Load(); l != nil {
			followed[l] = true
		}
	}
	for l := range followed {
		for _, w := range a.witnesses {
			running.Go(func() { a.ask(ctx, w, l) })
		}
	}
	running.Wait()
	return !missing.Load()
}

// look reads the checkpoint at a source. An error is reported already.
func (a *Auditor) look(ctx context.Context, s *source) error {
	msg, err := s.reader.ReadCheckpoint(ctx)
	if errors.Is(err, context.Canceled) {
		return err
	}
	if err != nil {
		a.trouble(Report{Kind: Unreachable, Origin: s.origin(), Source: s.name, Detail: err.Error()})
		return err
	}
	return a.take(s.name, msg, func(l *log) error {
		if !s.log.CompareAndSwap(nil, l) && s.log.Load() != l {
			return fmt.Errorf("it shows the log %s now, and did show %s", l.origin, s.log.Load().origin)
		}
		// Signed by the log is enough to hold the log to it. That it is not what
		// the policy asks for is worth knowing.
		if _, err := a.cfg.Policy.Check(msg); err != nil {
			a.trouble(Report{Kind: Policy, Origin: l.origin, Source: s.name, Detail: err.Error(), Notes: []string{string(msg)}})
		}
		return nil
	})
}

func (s *source) origin() string {
	if l := s.log.Load(); l != nil {
		return l.origin
	}
	return ""
}

// ask reads what a witness has cosigned last of a log. A witness that cannot
// say is no trouble of the log.
func (a *Auditor) ask(ctx context.Context, w *witness, l *log) {
	// SPEC: https://c2sp.org/tlog-witness#monitoring
	place := strings.TrimSuffix(w.url, "/") + "/" + originHash(l.origin) + "/checkpoint"
	msg, err := a.get(ctx, place)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, context.Canceled) {
		return
	}
	if err != nil {
		a.trouble(Report{Kind: Witness, Origin: l.origin, Source: w.name, Detail: err.Error()})
		return
	}
	name, err := checkURL(place)
	if err != nil {
		return // New has checked what it is made of
	}
	_ = a.take(name, msg, func(shown *log) error {
		if shown != l {
			return fmt.Errorf("it is of the log %s, not of %s", shown.origin, l.origin)
		}
		return nil
	})
}

func (a *Auditor) get(ctx context.Context, place string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, place, nil)
	if err != nil {
		return nil, err
	}
	resp, err := a.cfg.HTTP.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		return io.ReadAll(io.LimitReader(resp.Body, checkpoint.MaxSize+1))
	case http.StatusNotFound:
		return nil, fs.ErrNotExist
	}
	return nil, fmt.Errorf("GET %s: %s", req.URL.Redacted(), resp.Status)
}

// take keeps the head of a note if it is signed by a log, which accept must
// agree with. An error is reported already.
func (a *Auditor) take(name string, msg []byte, accept func(*log) error) error {
	c, err := contradiction.Open(msg, a.cfg.Policy)
	if err != nil {
		kind := Malformed
		if errors.Is(err, checkpoint.ErrSignature) {
			kind = Signature
		}
		// The note may say to be of any log: only of those that are known is
		// there something to count.
		origin := contradiction.Origin(msg)
		if a.logs[origin] == nil {
			origin = ""
		}
		a.trouble(Report{Kind: kind, Origin: origin, Source: name, Detail: err.Error()})
		return err
	}
	l := a.logs[c.Origin]
	if err := accept(l); err != nil {
		a.trouble(Report{Kind: Malformed, Origin: c.Origin, Source: name, Detail: err.Error()})
		return err
	}
	seen := sighting{contradiction.Sighting{Note: msg, Source: name, Time: a.cfg.Now().UTC().Truncate(time.Second)}, c.Head}
	if err := l.keep(seen); err != nil {
		a.trouble(Report{Kind: State, Origin: c.Origin, Source: name, Detail: err.Error(), Notes: []string{string(msg)}})
		return err
	}
	return nil
}
