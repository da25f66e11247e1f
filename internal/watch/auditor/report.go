package auditor

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/stele-log/stele/pkg/contradiction"
	"github.com/stele-log/stele/pkg/tree"
)

// The kinds of reports that are not contradictions; those are the kinds of
// contradiction.
const (
	Rollback    = "rollback"    // a source shows a smaller tree than before
	Unproven    = "unproven"    // a signed head could not be judged
	Damaged     = "damaged"     // tiles are not those of the tree, its entries are
	Signature   = "signature"   // a checkpoint without valid signature of the log
	Malformed   = "malformed"   // not a checkpoint, or one of another log
	Policy      = "policy"      // signed by the log, and not as the policy asks
	Unreachable = "unreachable" // a source shows no checkpoint
	Witness     = "witness"     // a witness does not answer
	State       = "state"       // the auditor's own disk, or no more room for heads
)

// A Report is something to tell. Contradictions, rollbacks and what stays
// unproven also go to the webhook, as JSON.
type Report struct {
	Time   time.Time `json:"time"`
	Kind   string    `json:"kind"` // fork, inconsistent, entry, or one of the constants
	Origin string    `json:"origin,omitempty"`
	Source string    `json:"source,omitempty"` // where it was seen
	Detail string    `json:"detail"`
	File   string    `json:"contradiction,omitempty"` // file, below the state folder
	Notes  []string  `json:"notes,omitempty"`         // the signed checkpoints, whole
}

// Contradiction reports whether the report is of one.
func (r Report) Contradiction() bool {
	switch contradiction.Kind(r.Kind) {
	case contradiction.Fork, contradiction.Inconsistent, contradiction.Entry:
		return true
	}
	return false
}

// trouble counts a report and tells it here.
func (a *Auditor) trouble(r Report) {
	a.metrics.count(r)
	if r.Time.IsZero() {
		r.Time = a.cfg.Now().UTC()
	}
	attrs := []any{"kind", r.Kind, "origin", r.Origin, "source", r.Source, "detail", r.Detail}
	if r.Contradiction() {
		a.cfg.Logger.Error("CONTRADICTION", append(attrs, "file", r.File)...)
	} else {
		a.cfg.Logger.Warn("audit trouble", attrs...)
	}
	if a.cfg.Report != nil {
		a.reporting.Lock()
		defer a.reporting.Unlock()
		a.cfg.Report(r)
	}
}

// report counts a report and tells it here and to the webhook.
func (a *Auditor) report(ctx context.Context, r Report) {
	r.Time = a.cfg.Now().UTC()
	a.trouble(r)
	if a.cfg.Webhook == "" {
		return
	}
	if r.Contradiction() {
		// The run may end because of another one meanwhile.
		ctx = context.WithoutCancel(ctx)
	}
	if err := a.call(ctx, r); err != nil {
		a.metrics.failures.WithLabelValues(r.Origin, "webhook").Inc()
		a.cfg.Logger.Error("webhook not reached", "kind", r.Kind, "origin", r.Origin, "error", err)
	}
}

const (
	webhookTries   = 4
	webhookTimeout = 10 * time.Second // of one try
	webhookPause   = time.Second      // after the first; doubled after each
)

// call sends a report to the webhook: a few times if it must.
func (a *Auditor) call(ctx context.Context, r Report) error {
	body, err := json.Marshal(r)
	if err != nil {
		return err
	}
	pause := webhookPause
	for try := 1; ; try++ {
		if err = a.post(ctx, body); err == nil || try == webhookTries {
			return err
		}
		select {
		case <-time.After(pause):
			pause *= 2
		case <-ctx.Done():
			return err
		}
	}
}

func (a *Auditor) post(ctx context.Context, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, webhookTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.cfg.Webhook, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := a.cfg.HTTP.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<16))
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("POST %s: %s", req.URL.Redacted(), resp.Status)
	}
	return nil
}

// contradict deals with a pending head that contradicts another. It is pending
// no more once the contradiction is kept and told.
func (l *log) contradict(ctx context.Context, seen sighting, e contradiction.Contradiction) error {
	if err := l.accuse(ctx, e, seen.Source); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state.refuted[seen.key()] = seen.head
	return l.state.removePending(seen)
}

// accuse verifies a contradiction, keeps it and tells it, unless it was before.
func (l *log) accuse(ctx context.Context, e contradiction.Contradiction, source string) error {
	result, err := e.Verify(l.a.cfg.Policy)
	if err != nil {
		return fmt.Errorf("a contradiction that does not hold: %w", err)
	}
	name := contradictionName(result, e)
	l.mu.Lock()
	known, room := l.state.contradictions[name], len(l.state.contradictions) < maxContradictions
	if !known && room {
		if err := l.state.dir.write(name, e.Format()); err != nil {
			l.mu.Unlock()
			return fmt.Errorf("keep contradiction: %w", err)
		}
		l.state.contradictions[name] = true
	}
	l.mu.Unlock()
	defer l.a.found.Store(true) // may end the run: the webhook comes first
	r := Report{Kind: string(e.Kind), Origin: l.origin, Source: source, Detail: result.String(),
		Notes: []string{string(e.First.Note)}}
	if e.Kind != contradiction.Entry {
		r.Notes = append(r.Notes, string(e.Second.Note))
	}
	switch {
	case known:
	case room:
		r.File = l.folder + "/" + name
		l.a.report(ctx, r)
	default:
		r.Detail += fmt.Sprintf("; not kept: there are %d contradiction files against this log", maxContradictions)
		l.a.trouble(r)
	}
	return nil
}

// contradictionName returns a name that depends on what is proven, and not on when
// and where it was seen.
func contradictionName(r contradiction.Result, e contradiction.Contradiction) string {
	low, high := r.First.Root.String(), r.Second.Root.String()
	if r.First.Size == r.Second.Size && high < low {
		low, high = high, low
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %s %s %d", low, high, tree.LeafHash(e.Data), r.Index))
	last := r.Second.Size
	if e.Kind == contradiction.Entry {
		last = r.Index
	}
	return fmt.Sprintf("%s/%s-%d-%d-%x.contradiction", contradictionsFolder, e.Kind, r.First.Size, last, sum[:4])
}

// remind tells the contradiction that is on the disk.
func (l *log) remind(ctx context.Context) {
	l.mu.Lock()
	names, err := l.state.dir.list(contradictionsFolder)
	l.mu.Unlock()
	if err != nil {
		l.a.trouble(Report{Kind: State, Origin: l.origin, Detail: err.Error()})
	}
	for _, name := range names {
		l.remindOf(ctx, name)
	}
}

func (l *log) remindOf(ctx context.Context, name string) {
	file := l.folder + "/" + name
	data, err := l.state.dir.read(name)
	var e contradiction.Contradiction
	var result contradiction.Result
	if err == nil {
		e, err = contradiction.Parse(data)
	}
	if err == nil {
		result, err = e.Verify(l.a.cfg.Policy)
	}
	if err != nil {
		l.a.trouble(Report{Kind: State, Origin: l.origin, Detail: fmt.Sprintf("%s: %v", file, err)})
		return
	}
	l.a.report(ctx, Report{Kind: string(e.Kind), Origin: l.origin, Source: e.First.Source, File: file,
		Detail: result.String() + "; found by an earlier run"})
}
