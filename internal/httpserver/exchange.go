package httpserver

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"

	"github.com/valyala/fasthttp"
	"golang.org/x/net/http/httpguts"
)

const (
	// keptReply is the size of the largest buffer that is kept for another reply,
	// in bytes.
	keptReply = 64 << 10

	// drained is how much of a body that its handler did not read is read so
	// that the connection can be kept, in bytes.
	drained = 256 << 10
)

// An exchange is a request and its reply.
type exchange struct {
	fast    *fasthttp.RequestCtx
	request http.Request
	body    body
	text    []byte // of the request's header

	header http.Header // of the reply
	status int         // of the reply; 0 until it is settled
	reply  []byte
}

func newExchange() *exchange {
	return &exchange{request: http.Request{Header: http.Header{}}, header: http.Header{}}
}

// serve has the handler answer a request.
func (s *Server) serve(c *fasthttp.RequestCtx) {
	defer s.abortOnPanic(c)
	e := s.exchanges.Get().(*exchange)
	e.fast = c
	if err := e.readRequest(s.blank); err != nil {
		refuse(c, err)
		return
	}
	s.handler.ServeHTTP(e, &e.request)
	if e.body.left < 0 || e.body.left > drained {
		c.SetConnectionClose()
		linger(c)
	}
	e.send()
	s.exchanges.Put(e)
}

// abortOnPanic closes the connection of a request whose handler panics.
func (s *Server) abortOnPanic(c *fasthttp.RequestCtx) {
	v := recover()
	if v == nil {
		return
	}
	if v != http.ErrAbortHandler {
		s.logger.Error("handler panicked", "panic", v, "stack", string(debug.Stack()))
	}
	c.HijackSetNoResponse(true)
	c.Hijack(func(net.Conn) {}) // fasthttp closes it
}

// readRequest makes the exchange's request, from a blank one.
func (e *exchange) readRequest(blank *http.Request) error {
	h := &e.fast.Request.Header
	r := &e.request
	header := r.Header
	*r = *blank
	r.Header = header
	switch string(h.Protocol()) {
	case "HTTP/1.1":
		r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/1.1", 1, 1
	case "HTTP/1.0":
		r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/1.0", 1, 0
	default:
		return errVersion
	}
	r.RequestURI = string(h.RequestURI())
	u, err := url.ParseRequestURI(r.RequestURI)
	if err != nil {
		return err
	}
	r.Method, r.URL = string(h.Method()), u
	if r.Method == http.MethodConnect {
		return errors.New("this server is not a proxy")
	}
	// SPEC: RFC 9112 section 3.2.2: what the target says counts.
	if r.Host = u.Host; r.Host == "" {
		r.Host = string(h.Host())
	}
	if !httpguts.ValidHostHeader(r.Host) {
		return fmt.Errorf("%.40q is not a host", r.Host)
	}
	r.RemoteAddr = e.fast.RemoteAddr().String()
	e.body = body{from: e.fast.RequestBodyStream()}
	if e.body.from != nil {
		r.ContentLength = int64(h.ContentLength()) // -1 in chunks
		e.body.left = r.ContentLength
	}
	r.Body = &e.body
	return e.copyFields(h)
}

// copyFields copies the fields of the request's header. All of them are one
// string, since a handler may keep any.
func (e *exchange) copyFields(from *fasthttp.RequestHeader) error {
	e.text = e.text[:0]
	n := 0
	for name, value := range from.All() {
		e.text = append(append(e.text, name...), value...)
		n++
	}
	text := string(e.text)
	values := make([]string, 0, n)
	to := e.request.Header
	clear(to)
	for k, v := range from.All() {
		name, value := text[:len(k)], text[len(k):len(k)+len(v)]
		text = text[len(k)+len(v):]
		switch before := to[name]; {
		case name == "Host", name == "Transfer-Encoding": // as in net/http
		case !httpguts.ValidHeaderFieldName(name):
			return fmt.Errorf("%.40q is not the name of a header field", name)
		case before != nil:
			to[name] = append(before, value)
		default:
			values = append(values, value)
			to[name] = values[len(values)-1 : len(values) : len(values)]
		}
	}
	return nil
}

// Header returns the reply's header.
func (e *exchange) Header() http.Header { return e.header }

// WriteHeader settles the reply's status and header.
func (e *exchange) WriteHeader(status int) {
	if e.status != 0 || status < 200 {
		return
	}
	e.status = status
	e.fast.SetStatusCode(status)
	for name, values := range e.header {
		for _, value := range values {
			e.fast.Response.Header.Add(name, value)
		}
	}
}

// Write appends to the reply's body.
func (e *exchange) Write(b []byte) (int, error) {
	e.WriteHeader(http.StatusOK)
	e.reply = append(e.reply, b...)
	return len(b), nil
}

// send hands the reply to fasthttp and makes the exchange ready for another.
func (e *exchange) send() {
	e.WriteHeader(http.StatusOK)
	if cap(e.reply) <= keptReply {
		e.fast.Response.SetBody(e.reply)
		e.reply = e.reply[:0]
	} else {
		e.fast.Response.SetBodyRaw(e.reply)
		e.reply = nil
	}
	clear(e.header)
	e.status = 0
}

// A body is that of a request.
type body struct {
	from io.Reader // nil if there is none
	left int64     // bytes; negative if it is not known
}

func (b *body) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	n, err := b.from.Read(p)
	switch {
	case b.left > 0:
		b.left -= int64(n)
		if err == io.EOF && b.left > 0 {
			err = io.ErrUnexpectedEOF
		}
	case err == io.EOF:
		b.left = 0
	}
	return n, err
}

func (b *body) Close() error { return nil }

var errVersion = errors.New("this server speaks HTTP/1.1 and HTTP/1.0")

// refuse answers what is no request, or one that comes too slowly.
func refuse(c *fasthttp.RequestCtx, err error) {
	status := http.StatusBadRequest
	var slow net.Error
	var small *fasthttp.ErrSmallBuffer
	switch {
	case errors.Is(err, errVersion):
		status = http.StatusHTTPVersionNotSupported
	case errors.As(err, &slow) && slow.Timeout():
		status = http.StatusRequestTimeout
	case errors.As(err, &small):
		status = http.StatusRequestHeaderFieldsTooLarge
		err = fmt.Errorf("the request line and the header are larger than %d bytes", MaxHeader)
	}
	c.Error(fmt.Sprintf("%s: %v\n", http.StatusText(status), err), status)
	c.Response.Header.Set("X-Content-Type-Options", "nosniff")
	c.SetConnectionClose()
	linger(c)
}

// linger has the connection linger when it is closed.
func linger(c *fasthttp.RequestCtx) {
	if conn, ok := c.Conn().(*conn); ok {
		conn.lingers.Store(true)
	}
}
