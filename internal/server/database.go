package server

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/stele-log/stele/storage"
)

// A databaseCollector collects how many connections a store has to its database.
type databaseCollector struct{ store storage.Store }

var _ prometheus.Collector = databaseCollector{}

var (
	databaseConnections = prometheus.NewDesc("stele_database_connections", "Connections to the database.", []string{"state"}, nil)
	databaseMax         = prometheus.NewDesc("stele_database_connections_max", "Connections to the database that there may be.", nil, nil)
	databaseWaits       = prometheus.NewDesc("stele_database_waits_total", "Times that a connection to the database was wanted and none was free.", nil, nil)
	databaseWaited      = prometheus.NewDesc("stele_database_wait_seconds_total", "Time spent waiting for a free connection to the database.", nil, nil)
)

func (databaseCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{databaseConnections, databaseMax, databaseWaits, databaseWaited} {
		ch <- desc
	}
}

func (d databaseCollector) Collect(ch chan<- prometheus.Metric) {
	c := d.store.Connections()
	ch <- prometheus.MustNewConstMetric(databaseConnections, prometheus.GaugeValue, float64(c.InUse), "in_use")
	ch <- prometheus.MustNewConstMetric(databaseConnections, prometheus.GaugeValue, float64(c.Idle), "idle")
	ch <- prometheus.MustNewConstMetric(databaseMax, prometheus.GaugeValue, float64(c.Max))
	ch <- prometheus.MustNewConstMetric(databaseWaits, prometheus.CounterValue, float64(c.Waits))
	ch <- prometheus.MustNewConstMetric(databaseWaited, prometheus.CounterValue, c.Waited.Seconds())
}
