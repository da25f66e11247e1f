package server_test

import (
	"bufio"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/stele-log/stele/internal/server"
)

const first = "GET /first HTTP/1.1\r\nHost: a\r\n\r\n"

// asks sends a request, and reads its answer.
func (c conn) asks() {
	c.Helper()
	c.say(first)
	c.hear(http.StatusOK)
}

// dialFrom connects from an address of the loopback network.
func dialFrom(t *testing.T, l *server.Listener, ip string) conn {
	t.Helper()
	_, address, _ := strings.Cut(l.URL(), "://")
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
	c, err := d.DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Skip("this system has one loopback address only:", err)
	}
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return conn{t, c.(*net.TCPConn), bufio.NewReader(c)}
}

// gather returns the values of a collector's metrics.
func gather(t *testing.T, c prometheus.Collector) map[string]float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(c)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, f := range families {
		values[f.GetName()] = f.GetMetric()[0].GetCounter().GetValue() + f.GetMetric()[0].GetGauge().GetValue()
	}
	return values
}

func TestTheLongestIdleConnectionMakesRoom(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]server.ListenConfig{
		"of all":         {MaxConnections: 3},
		"of the address": {MaxPerAddress: 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, _ := serve(t, cfg, echo)
			ask := func(conns ...conn) { // one is idle before the next one asks
				for _, c := range conns {
					c.asks()
					for !l.AllIdle() {
						time.Sleep(time.Millisecond)
					}
				}
			}
			a, b, c := dial(t, l), dial(t, l), dial(t, l)
			ask(b, a, c, b) // which leaves a as the longest idle
			d := dial(t, l)
			ask(d)
			a.ends()
			ask(b, c, d)
			silent := dial(t, l) // b makes room
			b.ends()
			for range 3 { // c, d and the silent one, which has never asked
				ask(dial(t, l))
			}
			silent.ends()
			want := map[string]float64{"stele_http_connections": 3, "stele_http_connections_closed_total": 5,
				"stele_http_connections_refused_total": 0}
			if got := gather(t, l); !maps.Equal(got, want) {
				t.Errorf("the metrics are %v, want %v", got, want)
			}
		})
	}
}

// TestOneAddressDoesNotKeepOthersOut has one address take all the connections that it
// may, with requests that are not answered.
func TestOneAddressDoesNotKeepOthersOut(t *testing.T) {
	t.Parallel()
	asked, answer := make(chan bool), make(chan bool)
	l, _ := serve(t, server.ListenConfig{MaxConnections: 4, MaxPerAddress: 3}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/next" {
			asked <- true
			<-answer
		}
		fmt.Fprint(w, "answered")
	}))
	var waiting []conn
	for range 3 {
		c := dialFrom(t, l, "127.0.0.1")
		c.say(next)
		<-asked
		waiting = append(waiting, c)
	}
	c := dialFrom(t, l, "127.0.0.1")
	c.say(first)
	c.ends()
	dialFrom(t, l, "127.0.0.2").asks()
	close(answer)
	for _, c := range waiting {
		c.hear(http.StatusOK)
	}
	dialFrom(t, l, "127.0.0.1").asks()
}

func TestWhatCountsAsOneAddress(t *testing.T) {
	t.Parallel()
	for ip, want := range map[string]string{
		"192.0.2.7":               "192.0.2.7/32",
		"::ffff:192.0.2.7":        "192.0.2.7/32",
		"2001:db8:1:2:3:4:5:6":    "2001:db8:1:2::/64",
		"fe80::1%eth0":            "fe80::/64",
		"2001:db8:1:2:ffff::beef": "2001:db8:1:2::/64",
	} {
		addr := net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(ip), 1))
		if got := server.SenderOf(addr).String(); got != want {
			t.Errorf("%s counts as %s, want %s", ip, got, want)
		}
	}
}
