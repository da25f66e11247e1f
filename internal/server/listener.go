package server

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"
)

// The limits of every connection. A handler that needs longer for a body or a
// reply moves the deadlines with an [http.ResponseController].
const (
	// MaxHeader is the size of the largest request line and header, in bytes.
	MaxHeader = 16 << 10

	// MaxConnections is the number of connections at a time, MaxPerAddress that of
	// those from one address, or from one IPv6 network of 64 bits. For one more, the
	// one that has been idle the longest is closed.
	MaxConnections = 10_000
	MaxPerAddress  = MaxConnections / 4

	headerTimeout = 10 * time.Second
	readTimeout   = time.Minute // of the header and the body
	writeTimeout  = 3 * time.Minute
	idleTimeout   = 2 * time.Minute

	// A silent HTTP/2 connection is pinged, and closed if it does not answer.
	pingAfter   = 30 * time.Second
	pingTimeout = 15 * time.Second
)

// ListenConfig configures a [Listener].
type ListenConfig struct {
	Address string // host and port; port 0 takes a free one

	// TLSCert and TLSKey are files in PEM, with the leaf first. They are read
	// again when they change. Without them the listener speaks plain HTTP.
	TLSCert, TLSKey string

	// ClientCA is a file in PEM with the authorities whose certificates clients may
	// present, over TLS.
	ClientCA string

	// MaxConnections and MaxPerAddress are, if they are 0, the constants of that name.
	MaxConnections, MaxPerAddress int

	Logger *slog.Logger
}

// A Listener accepts HTTP/1.1 and, over TLS, HTTP/2.
type Listener struct {
	net    *gate
	http   *http.Server
	scheme string
}

// Listen binds the address. Requests are answered once Run is called.
func Listen(cfg ListenConfig) (*Listener, error) {
	l := &Listener{scheme: "http", http: &http.Server{
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    MaxHeader - headerSlop,
		ConnState:         observe,
		HTTP2:             &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
		ErrorLog:          slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelDebug),
	}}
	if (cfg.TLSCert == "") != (cfg.TLSKey == "") {
		return nil, errors.New("TLS needs a certificate and its key: give both --tls-cert and --tls-key")
	}
	if cfg.TLSCert != "" {
		files, err := openCertificate(cfg.TLSCert, cfg.TLSKey, cfg.Logger)
		if err != nil {
			return nil, err
		}
		l.scheme = "https"
		l.http.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: files.get}
	}
	if cfg.ClientCA != "" {
		if err := l.takeCertificatesOf(cfg.ClientCA); err != nil {
			return nil, err
		}
	}
	bound, err := net.Listen("tcp", cfg.Address)
	if err != nil {
		return nil, err
	}
	l.net = newGate(bound, cmp.Or(cfg.MaxConnections, MaxConnections), cmp.Or(cfg.MaxPerAddress, MaxPerAddress))
	return l, nil
}

// takeCertificatesOf asks clients for a certificate of the authorities in a file. One that is
// presented must be good; none need be.
func (l *Listener) takeCertificatesOf(file string) error {
	if l.http.TLSConfig == nil {
		return errors.New("certificates of clients need TLS: give --tls-cert and --tls-key")
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("authorities of clients: %w", err)
	}
	l.http.TLSConfig.ClientCAs = x509.NewCertPool()
	if !l.http.TLSConfig.ClientCAs.AppendCertsFromPEM(text) {
		return fmt.Errorf("authorities of clients: there is no certificate in PEM in %s", file)
	}
	l.http.TLSConfig.ClientAuth = tls.VerifyClientCertIfGiven
	return nil
}

// headerSlop is what net/http adds to MaxHeaderBytes.
const headerSlop = 4096

// URL returns the listener's base URL, with the address and port it is bound to.
func (l *Listener) URL() string { return l.scheme + "://" + l.net.Addr().String() }

// PublicURL returns the base URL that other machines reach the listener by, if they
// can: one that is bound to all addresses is found by the machine's name.
func (l *Listener) PublicURL() string {
	tcp, ok := l.net.Addr().(*net.TCPAddr)
	name, err := os.Hostname()
	if !ok || !tcp.IP.IsUnspecified() || err != nil {
		return l.URL()
	}
	return l.scheme + "://" + net.JoinHostPort(name, strconv.Itoa(tcp.Port))
}

// TLS reports whether connections are encrypted.
func (l *Listener) TLS() bool { return l.scheme == "https" }

// Loopback reports whether the listener can be reached from this machine only.
func (l *Listener) Loopback() bool {
	tcp, ok := l.net.Addr().(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// shutdownTimeout bounds how long requests in progress may take to end.
const shutdownTimeout = 5 * time.Second

// Run answers requests until the context ends or the listener fails. When the
// context ends it calls stopping, accepts no more requests, and waits until those
// in progress are answered. Any that take longer than shutdownTimeout are cut off,
// and that is an error.
func (l *Listener) Run(ctx context.Context, h http.Handler, stopping func()) error {
	l.http.Handler = h
	failed := make(chan error, 1)
	go func() { failed <- l.serve() }()
	select {
	case err := <-failed:
		stopping()
		return errors.Join(err, l.http.Close())
	case <-ctx.Done():
	}
	stopping()
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := l.http.Shutdown(ending); err != nil {
		return errors.Join(fmt.Errorf("some requests did not end within %v", shutdownTimeout), l.http.Close())
	}
	return nil
}

func (l *Listener) serve() error {
	if l.TLS() {
		return l.http.ServeTLS(l.net, "", "")
	}
	return l.http.Serve(l.net)
}

// Close releases the address of a listener on which Run is not called. Of no listener,
// nil, there is none.
func (l *Listener) Close() error {
	if l == nil {
		return nil
	}
	return l.net.Close()
}
