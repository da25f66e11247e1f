package httpserver

import (
	"io"
	"net"
	"sync/atomic"
	"time"
)

// lingerTime is how long a client that is still sending has to read the reply.
const lingerTime = 500 * time.Millisecond

// A listener accepts connections that can linger.
type listener struct{ net.Listener }

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if tcp, ok := c.(*net.TCPConn); ok {
		return &conn{TCPConn: tcp}, nil
	}
	return c, err
}

// A conn closes in two steps if it lingers: where bytes arrive that nobody
// reads, the kernel resets the connection, and the client may lose the reply.
//
// SPEC: RFC 9112 section 9.6.
type conn struct {
	*net.TCPConn
	lingers atomic.Bool
}

func (c *conn) Close() error {
	if c.lingers.Load() {
		_ = c.CloseWrite()
		_ = c.SetReadDeadline(time.Now().Add(lingerTime))
		_, _ = io.Copy(io.Discard, c.TCPConn)
	}
	return c.TCPConn.Close()
}
