package server

import (
	"crypto/tls"
	"maps"
	"math"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A gate lets connections in, up to a number of them in all and from one address.
// Beyond it, the connection that has been idle the longest is closed for a new one, of
// the same address where that has too many. If none is idle the new one is closed: a
// client then knows at once, and the address cannot keep others out. It is safe for
// concurrent use.
type gate struct {
	net.Listener
	max, maxPerAddress int

	mu    sync.Mutex
	conns map[netip.Prefix]map[*conn]struct{}
	count int

	closed, refused atomic.Uint64 // idle connections that made room, and new ones without room
}

// A conn is a connection that a gate has let in.
type conn struct {
	*net.TCPConn
	gate *gate
	from netip.Prefix
	idle atomic.Int64 // since when, in nanoseconds of the Unix epoch; 0 while a request is answered
}

func newGate(l net.Listener, max, maxPerAddress int) *gate {
	return &gate{Listener: l, max: max, maxPerAddress: maxPerAddress, conns: map[netip.Prefix]map[*conn]struct{}{}}
}

// Accept returns the next connection for which there is room.
func (g *gate) Accept() (net.Conn, error) {
	for {
		accepted, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &conn{TCPConn: accepted.(*net.TCPConn), gate: g, from: senderOf(accepted.RemoteAddr())}
		c.idle.Store(time.Now().UnixNano())
		leaves, ok := g.admit(c)
		if leaves != nil {
			g.closed.Add(1)
			leaves.TCPConn.Close()
		}
		if ok {
			return c, nil
		}
		g.refused.Add(1)
		accepted.Close()
	}
}

// senderOf returns what counts as one address: for IPv6 the network of 64 bits, of
// which one machine can have all addresses.
func senderOf(addr net.Addr) netip.Prefix {
	ip := addr.(*net.TCPAddr).AddrPort().Addr().Unmap()
	bits := ip.BitLen()
	if ip.Is6() {
		bits = 64
	}
	p, _ := ip.WithZone("").Prefix(bits) // there are that many bits
	return p
}

// admit makes room for a connection, and takes it in. It returns the connection that
// has to leave for it, if one does; ok is false if there is no room.
func (g *gate) admit(c *conn) (leaves *conn, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case len(g.conns[c.from]) >= g.maxPerAddress:
		leaves = longestIdle(g.conns[c.from])
	case g.count >= g.max:
		leaves = longestIdle(slices.Collect(maps.Values(g.conns))...)
	default:
		g.add(c)
		return nil, true
	}
	if leaves == nil {
		return nil, false
	}
	g.remove(leaves)
	g.add(c)
	return leaves, true
}

// longestIdle returns the connection that has been idle the longest; nil if none is.
func longestIdle(addresses ...map[*conn]struct{}) (longest *conn) {
	first := int64(math.MaxInt64)
	for _, conns := range addresses {
		for c := range conns {
			if since := c.idle.Load(); since != 0 && since < first {
				longest, first = c, since
			}
		}
	}
	return longest
}

func (g *gate) add(c *conn) {
	if g.conns[c.from] == nil {
		g.conns[c.from] = map[*conn]struct{}{}
	}
	g.conns[c.from][c] = struct{}{}
	g.count++
}

// remove forgets a connection, if it is known.
func (g *gate) remove(c *conn) {
	conns := g.conns[c.from]
	if _, ok := conns[c]; !ok {
		return
	}
	delete(conns, c)
	if len(conns) == 0 {
		delete(g.conns, c.from)
	}
	g.count--
}

// open returns the number of connections.
func (g *gate) open() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.count
}

func (c *conn) Close() error {
	c.gate.mu.Lock()
	c.gate.remove(c)
	c.gate.mu.Unlock()
	return c.TCPConn.Close()
}

// observe notes since when a connection is idle. It is the ConnState of the server. A
// new connection counts as idle, since its client may never ask for anything.
func observe(c net.Conn, state http.ConnState) {
	if encrypted, ok := c.(*tls.Conn); ok {
		c = encrypted.NetConn()
	}
	switch state {
	case http.StateActive:
		c.(*conn).idle.Store(0)
	case http.StateIdle:
		c.(*conn).idle.Store(time.Now().UnixNano())
	}
}

var (
	connectionsDesc = prometheus.NewDesc("stele_http_connections", "Connections that are open.", nil, nil)
	closedDesc      = prometheus.NewDesc("stele_http_connections_closed_total", "Idle connections that were closed to make room.", nil, nil)
	refusedDesc     = prometheus.NewDesc("stele_http_connections_refused_total", "Connections for which there was no room.", nil, nil)
)

var _ prometheus.Collector = (*Listener)(nil)

// Describe sends what is collected, of any Listener.
func (l *Listener) Describe(ch chan<- *prometheus.Desc) {
	ch <- connectionsDesc
	ch <- closedDesc
	ch <- refusedDesc
}

// Collect sends the metrics of the listener's connections.
func (l *Listener) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.MustNewConstMetric(connectionsDesc, prometheus.GaugeValue, float64(l.net.open()))
	ch <- prometheus.MustNewConstMetric(closedDesc, prometheus.CounterValue, float64(l.net.closed.Load()))
	ch <- prometheus.MustNewConstMetric(refusedDesc, prometheus.CounterValue, float64(l.net.refused.Load()))
}
