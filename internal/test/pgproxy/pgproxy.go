// Package pgproxy stands between a test and PostgreSQL. A [Proxy] fails as networks and
// hosts do: in silence, or between a commit and its reply. A [Pooler] lends sessions for
// one transaction at a time.
//
// What always holds of a Proxy:
//   - bytes pass unchanged and in order until a test asks for a fault;
//   - what the database has sent is passed on one whole message at a time, so a fault
//     falls between messages;
//   - all connections end with the test.
//
// A Proxy is safe for concurrent use.
package pgproxy

import (
	"bytes"
	"net"
	"net/url"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// A Proxy accepts connections on a port of this machine and passes them on to one
// database.
type Proxy struct {
	listener         net.Listener
	network, address string // of the database
	url              string

	mu    sync.Mutex
	links map[*link]struct{}
	gate  chan struct{} // closed while bytes pass
	down  bool          // connections are closed as soon as they are accepted
	cut   *cut          // to be made at the next statement that matches
}

// A cut is one that [Proxy.CutReply] has asked for.
type cut struct {
	tag  string
	done chan struct{}
}

// A link is one connection, on both sides of the proxy.
type link struct {
	client, server net.Conn
	abandoned      bool // the client is left in silence when the server's side ends
}

// Start starts a proxy to the database at a URL, until the end of the test.
func Start(t testing.TB, database string) *Proxy {
	t.Helper()
	config, err := pgx.ParseConfig(database)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{links: map[*link]struct{}{}, gate: make(chan struct{})}
	close(p.gate)
	p.network, p.address = pgconn.NetworkAddress(config.Host, config.Port)
	if p.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	u.Host = p.listener.Addr().String()
	query := u.Query()
	query.Del("host")
	query.Set("sslmode", "disable") // messages are read
	u.RawQuery = query.Encode()
	p.url = u.String()
	var running sync.WaitGroup
	running.Go(func() { p.accept(&running) })
	t.Cleanup(func() {
		p.close()
		running.Wait()
	})
	return p
}

// URL returns the URL of the database by way of the proxy.
func (p *Proxy) URL() string { return p.url }

// Stall lets nothing pass in either direction, on connections that are open and on
// new ones, which are still accepted: so does a host that hangs.
func (p *Proxy) Stall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gate = make(chan struct{})
}

// Down ends all connections, and each new one at once: so does a database that is
// stopped.
func (p *Proxy) Down() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = true
	p.endAll()
}

// Resume ends what Stall or Down began. What was sent during a stall passes now.
func (p *Proxy) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = false
	select {
	case <-p.gate:
	default:
		close(p.gate)
	}
}

// Abandon closes the database's side of all connections, and is silent towards the
// client: so is a network after a failover. New connections work.
func (p *Proxy) Abandon() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.abandoned = true
		l.server.Close()
	}
}

// CutReply has the connection end after the next statement that the database
// completes with this tag, such as "INSERT 0 1", and commits: the client gets no reply.
// The channel is closed when that has happened.
func (p *Proxy) CutReply(tag string) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = &cut{tag: tag, done: make(chan struct{})}
	return p.cut.done
}

// accept links each client to the database.
func (p *Proxy) accept(running *sync.WaitGroup) {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		running.Go(func() { p.link(client) })
	}
}

// link passes bytes between a client and the database until one of them closes the
// connection.
func (p *Proxy) link(client net.Conn) {
	defer client.Close()
	server, err := net.Dial(p.network, p.address)
	if err != nil {
		return
	}
	defer server.Close()
	l := &link{client: client, server: server}
	p.mu.Lock()
	down := p.down
	p.links[l] = struct{}{}
	p.mu.Unlock()
	if down {
		return
	}
	var forward sync.WaitGroup
	forward.Go(func() {
		p.forward(l)
		server.Close()
	})
	p.back(l)
	p.mu.Lock()
	if !l.abandoned {
		client.Close()
	}
	p.mu.Unlock()
	forward.Wait()
	p.mu.Lock()
	delete(p.links, l)
	p.mu.Unlock()
}

// forward passes on what the client sends, until either side has ended. A client that
// was abandoned is still read from.
func (p *Proxy) forward(l *link) {
	buf := make([]byte, 64<<10)
	for {
		n, err := l.client.Read(buf)
		if err != nil {
			return
		}
		p.pass()
		_, _ = l.server.Write(buf[:n])
	}
}

// back passes on what the database sends, one message at a time, until either side
// has ended or the reply is cut off.
func (p *Proxy) back(l *link) {
	var cutting *cut
	for {
		kind, msg, err := message(l.server)
		if err != nil {
			return
		}
		p.pass()
		if cutting == nil && kind == 'C' { // CommandComplete
			cutting = p.matches(msg[5:])
		}
		if cutting == nil {
			if _, err := l.client.Write(msg); err != nil {
				return
			}
		} else if kind == 'Z' { // ReadyForQuery: the transaction has ended
			close(cutting.done)
			return
		}
	}
}

// matches returns the cut that is to be made at a statement with this tag, or nil.
func (p *Proxy) matches(tag []byte) *cut {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cut == nil || string(bytes.TrimRight(tag, "\x00")) != p.cut.tag {
		return nil
	}
	cutting := p.cut
	p.cut = nil
	return cutting
}

// pass waits while the proxy is stalled.
func (p *Proxy) pass() {
	p.mu.Lock()
	gate := p.gate
	p.mu.Unlock()
	<-gate
}

func (p *Proxy) close() {
	p.listener.Close()
	p.Resume() // for those who wait in pass
	p.Down()
}

// endAll ends all connections. It is called with mu held.
func (p *Proxy) endAll() {
	for l := range p.links {
		l.client.Close()
		l.server.Close()
	}
}
