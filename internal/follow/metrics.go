package follow

import "github.com/prometheus/client_golang/prometheus"

var _ prometheus.Collector = (*Runner)(nil)

// metrics are read off a follower's loop when they are asked for.
var metrics = []struct {
	desc  *prometheus.Desc
	typ   prometheus.ValueType
	value func(*loop) uint64
}{
	{desc("lag_entries", "Entries that the follower may see and has not applied."), prometheus.GaugeValue, (*loop).lag},
	{desc("batches_total", "Batches of entries applied since the start."),
		prometheus.CounterValue, func(l *loop) uint64 { return l.batches.Load() }},
	{desc("failures_total", "Attempts since the start that ended with an error, and were made again."),
		prometheus.CounterValue, func(l *loop) uint64 { return l.failures.Load() }},
	{desc("rebuilds_total", "Times since the start that the follower's state was dropped, to be built again."),
		prometheus.CounterValue, func(l *loop) uint64 { return l.rebuilds.Load() }},
}

func desc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("stele_follower_"+name, help, []string{"follower", "log"}, nil)
}

// Describe sends what is collected, of any Runner.
func (r *Runner) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range metrics {
		ch <- m.desc
	}
}

// Collect sends the metrics of each follower under its name and the log's.
func (r *Runner) Collect(ch chan<- prometheus.Metric) {
	for _, l := range r.loops {
		for _, m := range metrics {
			ch <- prometheus.MustNewConstMetric(m.desc, m.typ, float64(m.value(l)), l.follower.Name(), l.log.Log().Info().Name)
		}
	}
}
