package access

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/stele-log/stele/pkg/event"
)

// The types of events in the access log. Their data is a sum of facts.
const (
	Used     = "stele.access.used"     // requests with a key, token or certificate that was good
	SignedIn = "stele.access.signedin" // sessions begun
	Refused  = "stele.access.refused"  // requests without the right
	Read     = "stele.access.read"     // entries, receipts and proofs that were given out
)

// A Fact is something that somebody did, or was refused. Equal facts are summed.
type Fact struct {
	Kind      string `json:"-"` // Used, SignedIn, Refused or Read
	Principal string `json:"principal,omitempty"`
	Key       string `json:"key,omitempty"`    // the id of the key that was used
	Issuer    string `json:"issuer,omitempty"` // of the token that was used
	Address   string `json:"address,omitempty"`
	Log       string `json:"log,omitempty"`
	Role      Role   `json:"role,omitempty"`   // that was used, or was missing
	Filter    string `json:"filter,omitempty"` // that narrowed what was read
	What      string `json:"what,omitempty"`   // method and route of the request
	Reason    string `json:"reason,omitempty"` // of a refusal
}

// A sum is a fact that has happened some number of times.
type sum struct {
	Fact
	Count   int       `json:"count"`
	First   time.Time `json:"first"` // when
	Last    time.Time `json:"last"`
	Entries *span     `json:"entries,omitzero"` // that were read
	Size    uint64    `json:"size,omitzero"`    // of the tree of the newest checkpoint when it was last read
	Kinds   int       `json:"kinds,omitzero"`   // of facts that are summed here, if there were too many to keep apart
}

// A span is the lowest and the highest index of some entries, of which not all may be in it.
type span struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
}

const (
	// For how long facts are summed before they are recorded: what principals do and are
	// refused; what strangers are, which anybody can have happen; and what every request
	// makes, together with the reading of the access log, which would else make it grow for
	// ever.
	soon     = time.Second
	sometime = time.Minute
	later    = time.Hour

	// Facts are kept apart until they are recorded: so many of principals, and of
	// strangers. Then those of a principal are summed, and those of all strangers.
	maxSums      = 1000
	maxStrangers = 100

	// appendTimeout bounds the recording of facts at the end.
	appendTimeout = 3 * time.Second
)

// A Journal records facts in the access log. Facts of the last second are in memory only.
// If the log cannot be written to they stay there, in sums, until it can be.
//
// A Journal is safe for concurrent use.
type Journal struct {
	append func(context.Context, []event.Event) error
	logger *slog.Logger
	now    func() time.Time

	pending []event.Event // that could not be appended yet; of Run alone

	mu       sync.Mutex
	sums     map[Fact]*sum
	strange  int                  // of the sums, those of strangers
	lastUsed map[string]time.Time // by key

	waiting  prometheus.Gauge
	recorded prometheus.Counter
}

// NewJournal returns a journal that appends to the access log.
func NewJournal(append func(context.Context, []event.Event) error, logger *slog.Logger, now func() time.Time) *Journal {
	return &Journal{append: append, logger: logger, now: now, sums: map[Fact]*sum{}, lastUsed: map[string]time.Time{},
		waiting: prometheus.NewGauge(prometheus.GaugeOpts{Name: "stele_access_facts_waiting",
			Help: "Sums of facts that are not yet in the log named access."}),
		recorded: prometheus.NewCounter(prometheus.CounterOpts{Name: "stele_access_facts_total",
			Help: "Facts, such as refusals, that were recorded in the log named access."})}
}

// Note takes in a fact.
func (j *Journal) Note(f Fact) { j.note(f, nil, 0) }

// NoteRead takes in that entries were read, from first to last, while the newest
// checkpoint was of a tree of some size.
func (j *Journal) NoteRead(f Fact, first, last, size uint64) { j.note(f, &span{first, last}, size) }

func (j *Journal) note(f Fact, entries *span, size uint64) {
	now := j.now().UTC()
	j.mu.Lock()
	defer j.mu.Unlock()
	if f.Kind == Used && f.Key != "" {
		j.lastUsed[f.Key] = now
	}
	s := j.sumOf(f, now)
	s.Count++
	s.Last = now
	s.Size = max(s.Size, size)
	if entries != nil && s.Entries != nil {
		entries = &span{min(entries.First, s.Entries.First), max(entries.Last, s.Entries.Last)}
	}
	s.Entries = cmp.Or(entries, s.Entries)
	j.waiting.Set(float64(len(j.sums)))
}

// sumOf returns the sum of a fact, or, if there are too many facts to keep apart, one that
// it is added to: that of its principal, or of all.
func (j *Journal) sumOf(f Fact, now time.Time) *sum {
	const many = "too many kinds to keep apart"
	wider := []Fact{f, {Kind: f.Kind, Principal: f.Principal, Reason: many}, {Kind: f.Kind, Reason: many}}
	for i, f := range wider {
		s := j.sums[f]
		if s == nil && (i == len(wider)-1 || j.hasRoom(f, i)) {
			s = &sum{Fact: f, First: now}
			j.sums[f] = s
			if f.Principal == "" {
				j.strange++
			}
		}
		if s != nil {
			s.Kinds += min(i, 1)
			return s
		}
	}
	return nil // the last has always room
}

// hasRoom reports whether there is room for a sum, which is wider than a fact or not.
func (j *Journal) hasRoom(f Fact, wider int) bool {
	if f.Principal == "" {
		return j.strange < maxStrangers
	}
	return len(j.sums)-j.strange < maxSums*(1+wider)
}

// waits returns for how long a fact is summed.
func (f Fact) waits() time.Duration {
	switch {
	case f.Kind == Used || f.Kind == Read && f.Log == AccessLog:
		return later
	case f.Principal == "":
		return sometime
	}
	return soon
}

// LastUsed returns when a key was last used on this server, or, as far as that is recalled,
// on any; or zero.
func (j *Journal) LastUsed(key string) time.Time {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.lastUsed[key]
}

// Recall takes in an entry of the access log from before, for when keys were last used. What
// it does not understand says nothing of that.
func (j *Journal) Recall(entry []byte) {
	var e struct {
		Type string `json:"type"`
		Data sum    `json:"data"`
	}
	if json.Unmarshal(entry, &e) != nil || e.Type != Used || e.Data.Key == "" {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if e.Data.Last.After(j.lastUsed[e.Data.Key]) {
		j.lastUsed[e.Data.Key] = e.Data.Last
	}
}

// Run records facts until the context ends, and then those that are left.
func (j *Journal) Run(ctx context.Context) {
	ticker := time.NewTicker(soon)
	defer ticker.Stop()
	var failing bool
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-ticker.C:
			err := j.record(ctx, false)
			if err != nil && !failing && ctx.Err() == nil {
				j.logger.Warn("what was asked for and refused cannot be recorded in the log access yet, and is kept in memory", "error", err)
			}
			failing = err != nil
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), appendTimeout)
	defer cancel()
	if err := j.record(last, true); err != nil {
		j.logger.Error("what was asked for and refused last is not in the log access, and follows", "error", err)
		for _, e := range j.pending {
			j.logger.Error("not in the log access", "event", string(e.AppendEntry(nil, j.now())))
		}
	}
}

// record appends the sums that are due, or all. Events that could not be appended are
// tried again as they are, so that none is recorded twice.
func (j *Journal) record(ctx context.Context, all bool) error {
	if len(j.pending) > 0 {
		if err := j.append(ctx, j.pending); err != nil {
			return err
		}
		j.pending = nil
	}
	for _, s := range j.take(all) {
		e, err := newEvent(LocalName, s.Kind, s.Principal, s)
		if err != nil {
			j.logger.Error("a fact cannot be recorded in the log access", "kind", s.Kind, "error", err)
			continue
		}
		j.pending = append(j.pending, e)
		j.recorded.Add(float64(s.Count))
	}
	if len(j.pending) == 0 {
		return nil
	}
	err := j.append(ctx, j.pending)
	if err == nil {
		j.pending = nil
	}
	return err
}

// take returns the sums that are due, in order of time, and forgets them.
func (j *Journal) take(all bool) (due []*sum) {
	now := j.now()
	j.mu.Lock()
	defer j.mu.Unlock()
	for f, s := range j.sums {
		if all || now.Sub(s.First) >= f.waits() {
			due = append(due, s)
			delete(j.sums, f)
			if f.Principal == "" {
				j.strange--
			}
		}
	}
	j.waiting.Set(float64(len(j.sums)))
	slices.SortFunc(due, func(a, b *sum) int { return a.First.Compare(b.First) })
	return due
}

var _ prometheus.Collector = (*Journal)(nil)

// Describe sends what is collected, of any Journal.
func (j *Journal) Describe(ch chan<- *prometheus.Desc) {
	j.waiting.Describe(ch)
	j.recorded.Describe(ch)
}

// Collect sends the journal's metrics.
func (j *Journal) Collect(ch chan<- prometheus.Metric) {
	j.waiting.Collect(ch)
	j.recorded.Collect(ch)
}
