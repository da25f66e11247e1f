// Package httpserver serves an http.Handler over HTTP/1.1 with fasthttp's
// server, on which one that does nothing answers a third to a half more requests
// than on net/http's (docs/performance.md).
//
// A handler meets what net/http promises it, but for this:
//   - a reply is sent when its handler has returned: there is no Flusher and no
//     Hijacker, and trailers are dropped;
//   - the request's context ends when the server is closed, not when the client
//     goes away: a handler that waits sets a limit of its own;
//   - the request and its header are the handler's until it returns. The strings
//     in them may be kept.
package httpserver

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

// What a client can take of the server.
const (
	// MaxHeader is the size of the largest request line and header, in bytes.
	MaxHeader = 16 << 10

	// MaxConnections is the number of connections served at a time. One more is
	// answered 503 and closed.
	MaxConnections = 10_000

	headerTimeout = 10 * time.Second
	bodyTimeout   = 5 * time.Minute
	writeTimeout  = 5 * time.Minute
	idleTimeout   = 2 * time.Minute
)

// A Server serves one handler.
type Server struct {
	fast    fasthttp.Server
	handler http.Handler
	logger  *slog.Logger

	blank     *http.Request // what requests are made of: it has their context
	end       context.CancelFunc
	exchanges sync.Pool
}

// New returns a server that logs what it cannot tell the client.
func New(h http.Handler, logger *slog.Logger) *Server {
	ctx, end := context.WithCancel(context.Background())
	s := &Server{handler: h, logger: logger, end: end, blank: new(http.Request).WithContext(ctx)}
	s.exchanges.New = func() any { return newExchange() }
	s.fast = fasthttp.Server{
		Handler:      s.serve,
		ErrorHandler: refuse,
		HeaderReceived: func(*fasthttp.RequestHeader) fasthttp.RequestConfig {
			return fasthttp.RequestConfig{ReadTimeout: bodyTimeout}
		},
		Logger:                       debugLogger{logger},
		Concurrency:                  MaxConnections,
		ReadBufferSize:               MaxHeader,
		ReadTimeout:                  headerTimeout,
		WriteTimeout:                 writeTimeout,
		IdleTimeout:                  idleTimeout,
		StreamRequestBody:            true, // the handler says how large a body may be
		DisablePreParseMultipartForm: true,
		NoDefaultServerHeader:        true,
		NoDefaultContentType:         true,
		SecureErrorLogMessage:        true,
		CloseOnShutdown:              true,
	}
	return s
}

// Serve serves what connects to the listener, until it fails or Shutdown is
// called; then it returns nil.
func (s *Server) Serve(l net.Listener) error { return s.fast.Serve(listener{l}) }

// Shutdown stops to listen and waits until each connection has had the answers
// that it waits for, or the context has ended, which is an error.
func (s *Server) Shutdown(ctx context.Context) error { return s.fast.ShutdownWithContext(ctx) }

// Close ends the context of the requests that are still being answered.
func (s *Server) Close() { s.end() }

type debugLogger struct{ *slog.Logger }

func (l debugLogger) Printf(format string, args ...any) { l.Debug(fmt.Sprintf(format, args...)) }
