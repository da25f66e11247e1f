package witness

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// An Outcome is how a request to a witness ended. Its string is a metric label.
type Outcome int

// The outcomes, in the order of [ClientStats.Requests].
const (
	Answered    Outcome = iota // 200
	NotFound                   // 404: it does not follow the log, or has no checkpoint of it
	Conflict                   // 409: it has another size on record
	Refused                    // any other 4xx, and redirects
	Unavailable                // 429 and 5xx
	Failed                     // no response, or not in time
	outcomes
)

func (o Outcome) String() string {
	return [...]string{"answered", "not_found", "conflict", "refused", "unavailable", "failed"}[o]
}

func outcomeOf(status int, err error) Outcome {
	switch {
	case err != nil:
		return Failed
	case status == http.StatusOK:
		return Answered
	case status == http.StatusNotFound:
		return NotFound
	case status == http.StatusConflict:
		return Conflict
	case status == http.StatusTooManyRequests || status >= 500:
		return Unavailable
	}
	return Refused
}

type clientStats struct {
	requests [outcomes]atomic.Uint64
	latency  atomic.Int64 // nanoseconds
}

func (s *clientStats) count(o Outcome, latency time.Duration) {
	s.requests[o].Add(1)
	s.latency.Store(int64(latency))
}

// ClientStats are the counts of one witness's answers, for all logs together.
type ClientStats struct {
	URL      string
	Requests map[Outcome]uint64 // every outcome has an entry
	Latency  time.Duration      // of the last request
}

// Stats returns the counts since the client was made.
func (c *Client) Stats() ClientStats {
	s := ClientStats{c.url, map[Outcome]uint64{}, time.Duration(c.stats.latency.Load())}
	for o := range outcomes {
		s.Requests[o] = c.stats.requests[o].Load()
	}
	return s
}

var _ prometheus.Collector = (*Pool)(nil)

var (
	requestsDesc = prometheus.NewDesc("stele_witness_requests_total",
		"Requests to a witness, by how they ended.", []string{"witness", "outcome"}, nil)
	latencyDesc = prometheus.NewDesc("stele_witness_last_latency_seconds",
		"Time that the last request to a witness took.", []string{"witness"}, nil)
)

// Describe sends the descriptions of the metrics, which are the same for all pools.
func (p *Pool) Describe(ch chan<- *prometheus.Desc) {
	ch <- requestsDesc
	ch <- latencyDesc
}

// Collect sends the counts of each witness, for all logs together.
func (p *Pool) Collect(ch chan<- prometheus.Metric) {
	for _, s := range p.Stats() {
		for outcome, n := range s.Requests {
			ch <- prometheus.MustNewConstMetric(requestsDesc, prometheus.CounterValue, float64(n), s.URL, outcome.String())
		}
		ch <- prometheus.MustNewConstMetric(latencyDesc, prometheus.GaugeValue, s.Latency.Seconds(), s.URL)
	}
}
