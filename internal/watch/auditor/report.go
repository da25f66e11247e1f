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

// The kinds of reports that are not contradictions. A report of a contradiction
// has the contradiction's kind: fork, inconsistent or entry.
const (
	Rollback    = "rollback"    // a source shows a smaller tree than before
	Unproven    = "unproven"    // a signed head could not be proven or disproven
	Damaged     = "damaged"     // the tiles do not belong to the tree, the entries do
	Signature   = "signature"   // a checkpoint without a valid signature of the log
	Malformed   = "malformed"   // not a checkpoint, or one of another log
	Policy      = "policy"      // signed by the log, but the policy is not met
	Unreachable = "unreachable" // a source returns no checkpoint
	Witness     = "witness"     // a witness does not answer
	State       = "state"       // the state folder fails, or has no room for more heads
)

// A Report is one finding. Every report is logged, counted and passed to
// Config.Report; contradictions, rollbacks, and heads that stay unproven longer
// than a minute are also posted to the webhook, as this JSON
// (docs/contradiction.md#webhook).
type Report struct {
	Time   time.Time `json:"time"` // UTC
	Kind   string    `json:"kind"` // of a contradiction, or one of the constants
	Origin string    `json:"origin,omitempty"`
	Source string    `json:"source,omitempty"` // URL or witness where it was seen
	Detail string    `json:"detail"`
	File   string    `json:"contradiction,omitempty"` // file, below the state folder
	Notes  []string  `json:"notes,omitempty"`         // the signed checkpoints, whole
}

// Contradiction reports whether the report is about a contradiction.
func (r Report) Contradiction() bool {
	switch contradiction.Kind(r.Kind) {
	case contradiction.Fork, contradiction.Inconsistent, contradiction.Entry:
		return true
	}
	return false
}

// log counts a report, logs it, and passes it to Config.Report.
func (a *Auditor) log(r Report) {
	a.metrics.count(r)
	if r.Time.IsZero() {
		r.Time = a.cfg.Now().UTC()
	}
	attrs := []any{"kind", r.Kind, "origin", r.Origin, "source", r.Source, "detail", r.Detail}
	if r.Contradiction() {
		a.cfg.Logger.Error("CONTRADICTION", append(attrs, "file", r.File)...)
	} else {
		a.cfg.Logger.Warn("audit finding", attrs...)
	}
	if a.cfg.Report != nil {
		a.reporting.Lock()
		defer a.reporting.Unlock()
		a.cfg.Report(r)
	}
}

// notify is log, and also posts the report to the webhook.
func (a *Auditor) notify(ctx context.Context, r Report) {
	r.Time = a.cfg.Now().UTC()
	a.log(r)
	if a.cfg.Webhook == "" {
		return
	}
	if r.Contradiction() {
		// Another contradiction may end the run before this one is posted.
		ctx = context.WithoutCancel(ctx)
	}
	if err := a.postWithRetries(ctx, r); err != nil {
		a.metrics.failures.WithLabelValues(r.Origin, "webhook").Inc()
		a.cfg.Logger.Error("webhook not reached", "kind", r.Kind, "origin", r.Origin, "error", err)
	}
}

const (
	webhookTries   = 4
	webhookTimeout = 10 * time.Second // for one try
	webhookPause   = time.Second      // after the first try; doubles with each
)

// postWithRetries posts a report to the webhook until it is accepted, or all tries
// have failed.
func (a *Auditor) postWithRetries(ctx context.Context, r Report) error {
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

// reportContradiction verifies a contradiction as any reader of the file will,
// then writes and reports it, unless that was done before. Only then may Run end.
func (l *log) reportContradiction(ctx context.Context, c contradiction.Contradiction, source string) error {
	result, err := c.Verify(l.a.cfg.Policy)
	if err != nil {
		return fmt.Errorf("a contradiction that does not hold: %w", err)
	}
	name := contradictionName(result, c)
	l.mu.Lock()
	known, room := l.state.contradictions[name], len(l.state.contradictions) < maxContradictions
	if !known && room {
		if err := l.state.dir.write(name, c.Format()); err != nil {
			l.mu.Unlock()
			return fmt.Errorf("keep contradiction: %w", err)
		}
		l.state.contradictions[name] = true
	}
	l.mu.Unlock()
	defer l.a.found.Store(true) // may end the run: the webhook comes first
	r := Report{Kind: string(c.Kind), Origin: l.origin, Source: source, Detail: result.String(),
		Notes: []string{string(c.First.Note)}}
	if c.Kind != contradiction.Entry {
		r.Notes = append(r.Notes, string(c.Second.Note))
	}
	switch {
	case known:
	case room:
		r.File = l.folder + "/" + name
		l.a.notify(ctx, r)
	default:
		r.Detail += fmt.Sprintf("; not kept: there are %d contradiction files against this log", maxContradictions)
		l.a.log(r)
	}
	return nil
}

// contradictionName returns the path of a contradiction file, below the log's
// folder. It depends on what is proven and not on when or where it was seen, so
// the same contradiction found again has the same name.
func contradictionName(r contradiction.Result, c contradiction.Contradiction) string {
	low, high := r.First.Root.String(), r.Second.Root.String()
	if r.First.Size == r.Second.Size && high < low {
		low, high = high, low
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %s %s %d", low, high, tree.LeafHash(c.Data), r.Index))
	last := r.Second.Size
	if c.Kind == contradiction.Entry {
		last = r.Index
	}
	return fmt.Sprintf("%s/%s-%d-%d-%x.contradiction", contradictionsFolder, c.Kind, r.First.Size, last, sum[:4])
}

// reportEarlier reports each contradiction file in the log's folder.
func (l *log) reportEarlier(ctx context.Context) {
	l.mu.Lock()
	names, err := l.state.dir.list(contradictionsFolder)
	l.mu.Unlock()
	if err != nil {
		l.a.log(Report{Kind: State, Origin: l.origin, Detail: err.Error()})
	}
	for _, name := range names {
		file := l.folder + "/" + name
		c, result, err := l.readContradiction(name)
		if err != nil {
			l.a.log(Report{Kind: State, Origin: l.origin, Detail: fmt.Sprintf("%s: %v", file, err)})
			continue
		}
		l.a.notify(ctx, Report{Kind: string(c.Kind), Origin: l.origin, Source: c.First.Source, File: file,
			Detail: result.String() + "; found by an earlier run"})
	}
}

// readContradiction reads a contradiction file and verifies it.
func (l *log) readContradiction(name string) (c contradiction.Contradiction, result contradiction.Result, err error) {
	data, err := l.state.dir.read(name)
	if err != nil {
		return c, result, err
	}
	if c, err = contradiction.Parse(data); err != nil {
		return c, result, err
	}
	result, err = c.Verify(l.a.cfg.Policy)
	return c, result, err
}
