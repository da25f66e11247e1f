// Package load is the client that all servers are measured with: one request at
// a time over a connection of HTTP/1.1, without net/http's client, which would
// cost as much as the servers that are measured beside it.
package load

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"net/url"
	"strconv"
	"time"
)

// A Conn is a connection to a server. It is not safe for concurrent use.
type Conn struct {
	conn  net.Conn
	in    *bufio.Reader
	host  string
	token string // sent as bearer token, unless it is empty
	out   []byte // the request
	reply bytes.Buffer
}

// timeout is that of a request.
const timeout = time.Minute

// Dial connects to the server at a URL, of which only the host counts.
func Dial(ctx context.Context, server string) (*Conn, error) {
	u, err := url.Parse(server)
	if err != nil {
		return nil, err
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return nil, err
	}
	return &Conn{conn: conn, in: bufio.NewReaderSize(conn, 16<<10), host: u.Host}, nil
}

// Close closes the connection.
func (c *Conn) Close() { c.conn.Close() }

// Post sends a body and returns the status and the body of the reply, which is
// valid until the next request.
func (c *Conn) Post(path, contentType string, body []byte) (status int, reply []byte, err error) {
	c.begin("POST", path)
	c.out = append(append(c.out, "Content-Type: "...), contentType...)
	c.out = strconv.AppendInt(append(c.out, "\r\nContent-Length: "...), int64(len(body)), 10)
	c.out = append(append(c.out, "\r\n\r\n"...), body...)
	return c.roundTrip()
}

// Get returns the status and the body of what is at a path, valid until the next
// request.
func (c *Conn) Get(path string) (status int, reply []byte, err error) {
	c.begin("GET", path)
	c.out = append(c.out, "\r\n"...)
	return c.roundTrip()
}

func (c *Conn) begin(method, path string) {
	c.out = append(append(append(c.out[:0], method...), ' '), path...)
	c.out = append(append(append(c.out, " HTTP/1.1\r\nHost: "...), c.host...), "\r\n"...)
	if c.token != "" {
		c.out = append(append(append(c.out, "Authorization: Bearer "...), c.token...), "\r\n"...)
	}
}

// Authorize has requests sent with a bearer token.
func (c *Conn) Authorize(token string) { c.token = token }

func (c *Conn) roundTrip() (status int, reply []byte, err error) {
	if err := c.conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return 0, nil, err
	}
	if _, err := c.conn.Write(c.out); err != nil {
		return 0, nil, err
	}
	status, length, err := c.readHead()
	if err != nil {
		return 0, nil, fmt.Errorf("read the head of a reply: %w", err)
	}
	c.reply.Reset()
	if length >= 0 {
		_, err = io.CopyN(&c.reply, c.in, length)
	} else {
		err = c.readChunks()
	}
	return status, c.reply.Bytes(), err
}

var (
	contentLength    = []byte("Content-Length")
	transferEncoding = []byte("Transfer-Encoding")
)

// readHead reads up to the body and returns its length, or -1 if it comes in
// chunks.
func (c *Conn) readHead() (status int, length int64, err error) {
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return 0, 0, err
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return 0, 0, fmt.Errorf("%.40q is no status line", line)
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, 0, fmt.Errorf("%.40q is no status line", line)
	}
	for {
		if line, err = c.in.ReadSlice('\n'); err != nil {
			return 0, 0, err
		}
		if len(bytes.TrimSpace(line)) == 0 {
			return status, length, nil
		}
		name, value, _ := bytes.Cut(line, []byte{':'})
		switch {
		case bytes.EqualFold(name, contentLength):
			length, err = strconv.ParseInt(string(bytes.TrimSpace(value)), 10, 64)
		case bytes.EqualFold(name, transferEncoding):
			length = -1
		}
		if err != nil {
			return 0, 0, err
		}
	}
}

// readChunks reads a body in chunks, and the empty trailer after it.
func (c *Conn) readChunks() error {
	if _, err := io.Copy(&c.reply, httputil.NewChunkedReader(c.in)); err != nil {
		return err
	}
	_, err := c.in.ReadSlice('\n')
	return err
}
