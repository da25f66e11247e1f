package auditor

import (
	"cmp"
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

// Every checkpoint enters here, from a source or from a witness. It ends as a
// pending head of its log, or as a report of why it was not accepted.

// observeTimeout bounds the requests of one call of observe together.
const observeTimeout = 20 * time.Second

// observe reads the newest checkpoint of all sources, and then those that the
// witnesses have of the logs found there, and records their heads. It reports
// whether all sources returned an acceptable one; witnesses may fail.
func (a *Auditor) observe(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, observeTimeout)
	defer cancel()
	var running sync.WaitGroup
	var missing atomic.Bool
	for _, s := range a.sources {
		running.Go(func() {
			if err := a.readSource(ctx, s); err != nil {
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
			running.Go(func() { a.readWitness(ctx, w, l) })
		}
	}
	running.Wait()
	return !missing.Load()
}

// readSource receives the newest checkpoint of a source. It reports any error
// before it returns it.
func (a *Auditor) readSource(ctx context.Context, s *source) error {
	msg, err := s.reader.ReadCheckpoint(ctx)
	if errors.Is(err, context.Canceled) {
		return err
	}
	if err != nil {
		a.log(Report{Kind: Unreachable, Origin: s.origin(), Source: s.name, Detail: err.Error()})
		return err
	}
	var unmet error
	err = a.receive(s.name, msg, func(l *log) error {
		if !s.log.CompareAndSwap(nil, l) && s.log.Load() != l {
			return fmt.Errorf("it serves the log %s now, and has served %s before", l.origin, s.log.Load().origin)
		}
		// The log's signature alone commits the log to the head, so a policy that is
		// not met is reported and the head is recorded all the same.
		if _, unmet = a.cfg.Policy.Check(msg); unmet != nil {
			a.log(Report{Kind: Policy, Origin: l.origin, Source: s.name, Detail: unmet.Error(), Notes: []string{string(msg)}})
		}
		return nil
	})
	return cmp.Or(err, unmet)
}

// origin returns the origin of the source's log, or "" if that is not known yet.
func (s *source) origin() string {
	if l := s.log.Load(); l != nil {
		return l.origin
	}
	return ""
}

// readWitness receives the newest checkpoint of a log that a witness has
// cosigned. Not all witnesses serve them, so a 404 is no failure.
func (a *Auditor) readWitness(ctx context.Context, w *witness, l *log) {
	// SPEC: https://c2sp.org/tlog-witness#monitoring
	url := strings.TrimSuffix(w.url, "/") + "/" + originHash(l.origin) + "/checkpoint"
	msg, err := a.get(ctx, url)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, context.Canceled) {
		return
	}
	if err != nil {
		a.log(Report{Kind: Witness, Origin: l.origin, Source: w.name, Detail: err.Error()})
		return
	}
	name, err := checkURL(url)
	if err != nil {
		return // cannot be: New has checked the witness's URL
	}
	_ = a.receive(name, msg, func(shown *log) error {
		if shown != l {
			return fmt.Errorf("the checkpoint is of the log %s, not of %s", shown.origin, l.origin)
		}
		return nil
	})
}

// get returns the body at a URL, cut one byte above the size of the largest
// checkpoint. The error is fs.ErrNotExist if the status is 404.
func (a *Auditor) get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
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
	return nil, fmt.Errorf("GET %s: %d %s", resp.Request.URL.Redacted(), resp.StatusCode, http.StatusText(resp.StatusCode))
}

// receive records the head of a note from a source or witness of that name, if a
// log of the policy has signed it and accept returns no error for that log. It
// reports any error before it returns it.
func (a *Auditor) receive(name string, msg []byte, accept func(*log) error) error {
	c, err := contradiction.Open(msg, a.cfg.Policy)
	if err != nil {
		kind := Malformed
		if errors.Is(err, checkpoint.ErrSignature) {
			kind = Signature
		}
		// Nobody has signed the origin in this note. As a label of the metrics only
		// those of the policy will do: others could be any number.
		origin := contradiction.Origin(msg)
		if a.logs[origin] == nil {
			origin = ""
		}
		a.log(Report{Kind: kind, Origin: origin, Source: name, Detail: err.Error()})
		return err
	}
	l := a.logs[c.Origin]
	if err := accept(l); err != nil {
		a.log(Report{Kind: Malformed, Origin: c.Origin, Source: name, Detail: err.Error()})
		return err
	}
	seen := sighting{contradiction.Sighting{Note: msg, Source: name, Time: a.cfg.Now().UTC().Truncate(time.Second)}, c.Head}
	if err := l.record(seen); err != nil {
		a.log(Report{Kind: State, Origin: c.Origin, Source: name, Detail: err.Error(), Notes: []string{string(msg)}})
		return err
	}
	return nil
}
