package access

import (
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// A Limit is how much a principal may ask for. What is 0 is not limited.
type Limit struct {
	Principal string  `json:"principal"`         // or * for each that has no limit of its own
	Events    float64 `json:"events,omitzero"`   // appended a second
	Bytes     float64 `json:"bytes,omitzero"`    // of events appended a second
	Requests  int     `json:"requests,omitzero"` // at a time, streams too
	Logs      int     `json:"logs,omitzero"`     // made by it, in all
}

// everyone is the principal of the limit for those that have none of their own.
const everyone = "*"

// Check fails unless the limit can be set.
func (l Limit) Check() error {
	if l.Principal != everyone {
		if err := checkPrincipal(l.Principal); err != nil {
			return err
		}
	}
	if l.Events < 0 || l.Bytes < 0 || l.Requests < 0 || l.Logs < 0 {
		return fmt.Errorf("%w: a limit is not negative", ErrInvalid)
	}
	if l == (Limit{Principal: l.Principal}) {
		return fmt.Errorf("%w: limit at least one of events, bytes, requests and logs", ErrInvalid)
	}
	return nil
}

// leastBurst is what of the bytes may come at once, at least.
const leastBurst = 64 << 10

// A meter is what a principal has used of its limit on this server.
type meter struct {
	limit         Limit
	events, bytes *rate.Limiter

	mu       sync.Mutex
	requests int
}

func newMeter(l Limit) *meter {
	return &meter{limit: l,
		events: rate.NewLimiter(perSecond(l.Events), max(int(l.Events), 1)),
		bytes:  rate.NewLimiter(perSecond(l.Bytes), max(int(l.Bytes), leastBurst))}
}

func perSecond(n float64) rate.Limit {
	if n == 0 {
		return rate.Inf
	}
	return rate.Limit(n)
}

// spend takes events of a size off what may be appended now. If that is too little it
// takes nothing, and returns how long to wait. A batch passes once a second's worth is
// there, however large it is, and what comes after it waits until it is paid for.
func (m *meter) spend(now time.Time, events, bytes int) time.Duration {
	e := m.events.ReserveN(now, min(events, m.events.Burst()))
	b := m.bytes.ReserveN(now, min(bytes, m.bytes.Burst()))
	if wait := max(e.DelayFrom(now), b.DelayFrom(now)); wait > 0 {
		e.CancelAt(now)
		b.CancelAt(now)
		return wait
	}
	owe(m.events, now, events)
	owe(m.bytes, now, bytes)
	return 0
}

// owe takes from a limiter what it cannot give at once, besides what it has given.
func owe(l *rate.Limiter, now time.Time, n int) {
	if l.Limit() == rate.Inf {
		return
	}
	for n -= l.Burst(); n > 0; n -= l.Burst() {
		l.ReserveN(now, min(n, l.Burst()))
	}
}

// enter counts a request, unless there are as many as there may be.
func (m *meter) enter() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.limit.Requests > 0 && m.requests >= m.limit.Requests {
		return false
	}
	m.requests++
	return true
}

func (m *meter) leave() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.requests--
}

// idle reports whether no request is under way.
func (m *meter) idle() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.requests == 0
}

// maxMeters is the number of meters from which on those without a request are forgotten:
// issuers may have any number of users.
const maxMeters = 10_000

// meters are those of all principals that have a limit and have used it.
type meters struct {
	mu sync.Mutex
	of map[string]*meter
}

// get returns the meter of a principal with a limit. After a change of the limit it
// begins again, but for the requests that are under way.
func (m *meters) get(principal string, l Limit) *meter {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.of == nil {
		m.of = map[string]*meter{}
	}
	have := m.of[principal]
	if have == nil && len(m.of) >= maxMeters {
		for name, other := range m.of {
			if other.idle() {
				delete(m.of, name)
			}
		}
	}
	if have == nil || have.limit != l {
		fresh := newMeter(l)
		m.of[principal] = fresh
		return fresh
	}
	return have
}
