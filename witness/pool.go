package witness

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"
)

// PoolConfig configures a Pool.
type PoolConfig struct {
	Timeout    time.Duration // of one exchange with a witness; 5 s if 0
	MinBackoff time.Duration // pause after one failure; doubles with each more; 500 ms if 0
	MaxBackoff time.Duration // longest pause; 15 s if 0
	Requests   int           // at most at one time to one witness, of all logs together; 8 if 0
}

// A Pool holds the clients that any number of logs share: one for each witness,
// with its own connections and its own limit of requests, so that a slow witness
// does not delay requests to others. It is safe for concurrent use.
type Pool struct {
	cfg PoolConfig

	run    context.Context // of all exchanges
	cancel context.CancelFunc

	mu      sync.Mutex
	closed  bool
	clients map[string]*Client // by URL
	running sync.WaitGroup     // exchanges; Add under mu
}

// NewPool returns a Pool without clients.
func NewPool(cfg PoolConfig) *Pool {
	for _, d := range []struct {
		value    *time.Duration
		standard time.Duration
	}{
		{&cfg.Timeout, 5 * time.Second},
		{&cfg.MinBackoff, 500 * time.Millisecond},
		{&cfg.MaxBackoff, 15 * time.Second},
	} {
		if *d.value <= 0 {
			*d.value = d.standard
		}
	}
	p := &Pool{cfg: cfg, clients: map[string]*Client{}}
	p.run, p.cancel = context.WithCancel(context.Background())
	return p
}

// Timeout returns the longest duration of an exchange with a witness.
func (p *Pool) Timeout() time.Duration { return p.cfg.Timeout }

// client returns the client of the witness at a URL, the same each time.
func (p *Pool) client(url string) (*Client, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c, err := NewClient(ClientConfig{URL: url, Requests: p.cfg.Requests})
	if err != nil {
		return nil, err
	}
	if known, ok := p.clients[c.url]; ok {
		return known, nil
	}
	p.clients[c.url] = c
	return c, nil
}

// start runs an exchange in a goroutine, and returns false if the pool is closed.
func (p *Pool) start(exchange func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.running.Go(exchange)
	}
	return !p.closed
}

// Stats returns the counts of each witness, sorted by URL.
func (p *Pool) Stats() []ClientStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	stats := make([]ClientStats, 0, len(p.clients))
	for _, c := range p.clients {
		stats = append(stats, c.Stats())
	}
	slices.SortFunc(stats, func(a, b ClientStats) int { return strings.Compare(a.URL, b.URL) })
	return stats
}

// Close cancels all exchanges and waits for them to end.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.cancel()
	p.running.Wait()
	for _, c := range p.clients {
		c.close()
	}
}
