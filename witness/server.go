package witness

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/stele-log/stele/pkg/cosignature"
)

const (
	// MaxRequest is the size of the largest request that a [Server] reads, in
	// bytes. 16 ML-DSA-44 signatures need 52 KiB.
	MaxRequest = 256 << 10

	defaultMaxRequests = 256
	storeTimeout       = 10 * time.Second

	textPlain = "text/plain; charset=utf-8"
	textSize  = "text/x.tlog.size"
)

// ServerConfig configures a [Server].
type ServerConfig struct {
	// Ed25519 and MLDSA44 are the witness's keys. They have the same name, and no
	// other witness, log or mirror uses them.
	Ed25519, MLDSA44 *cosignature.Signer

	Store       Store
	MaxRequests int // handled at one time, 256 if 0; more are answered 503
	Logger      *slog.Logger
	Now         func() time.Time // the signers should have the same clock
}

// A Server is a witness: an http.Handler that serves add-checkpoint, the newest
// checkpoint of each log for monitors, /healthz and /metrics.
type Server struct {
	cfg     ServerConfig
	mux     *http.ServeMux
	metrics *serverMetrics
	working chan struct{} // holds a token for each request being handled
	origins originLocks
}

// NewServer returns a server. The error is about keys that have different names or
// are not of the type of their field.
func NewServer(cfg ServerConfig) (*Server, error) {
	if err := checkSigners(cfg.Ed25519, cfg.MLDSA44); err != nil {
		return nil, err
	}
	if cfg.MaxRequests == 0 {
		cfg.MaxRequests = defaultMaxRequests
	}
	s := &Server{
		cfg: cfg, mux: http.NewServeMux(), metrics: newServerMetrics(cfg.Store, cfg.Now),
		working: make(chan struct{}, cfg.MaxRequests), origins: newOriginLocks(),
	}
	s.mux.HandleFunc("POST /add-checkpoint", s.handleAddCheckpoint)
	s.mux.HandleFunc("GET /{hash}/checkpoint", s.handleCheckpoint)
	s.mux.HandleFunc("GET /healthz", s.handleHealth)
	s.mux.Handle("GET /metrics", s.metrics.handler())
	return s, nil
}

func checkSigners(ed25519, mldsa44 *cosignature.Signer) error {
	if ed25519.Name() != mldsa44.Name() {
		return fmt.Errorf("the witness's keys have two names, %q and %q", ed25519.Name(), mldsa44.Name())
	}
	for want, signer := range map[cosignature.Type]*cosignature.Signer{
		cosignature.Ed25519: ed25519, cosignature.MLDSA44: mldsa44,
	} {
		parts := strings.SplitN(signer.VKey(), "+", 3) // name, ID, type and key
		key, err := base64.StdEncoding.DecodeString(parts[2])
		if err != nil || cosignature.Type(key[0]) != want {
			return fmt.Errorf("the witness's key %s+%s is not of the type %s", parts[0], parts[1], want)
		}
	}
	return nil
}

// VKeys returns the witness's verifier keys, Ed25519 first.
func (s *Server) VKeys() []string { return []string{s.cfg.Ed25519.VKey(), s.cfg.MLDSA44.VKey()} }

var _ http.Handler = (*Server)(nil)

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// An answer is the response to a request.
type answer struct {
	status      int
	body        string
	contentType string        // text/plain if empty
	retryAfter  time.Duration // in whole seconds; 0 if it makes no difference
}

// refuse returns an answer whose body is the reason, in one line.
func refuse(status int, format string, args ...any) answer {
	reason := strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", " ")
	return answer{status: status, body: reason + "\n"}
}

// refuseFor is refuse with a Retry-After.
func refuseFor(d time.Duration, status int, format string, args ...any) answer {
	a := refuse(status, format, args...)
	a.retryAfter = d
	return a
}

func (a answer) write(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", textPlain)
	if a.contentType != "" {
		h.Set("Content-Type", a.contentType)
	}
	if a.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(a.retryAfter/time.Second)))
	}
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(a.status)
	_, _ = io.WriteString(w, a.body)
}

func (s *Server) handleAddCheckpoint(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	a := s.readAndAdd(w, r)
	s.metrics.observe(a.status, time.Since(start))
	a.write(w)
}

func (s *Server) readAndAdd(w http.ResponseWriter, r *http.Request) answer {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxRequest))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return refuse(http.StatusRequestEntityTooLarge, "the request has more than %d bytes", MaxRequest)
	case err != nil:
		return refuse(http.StatusBadRequest, "read request: %v", err)
	}
	select {
	case s.working <- struct{}{}:
		defer func() { <-s.working }()
	default:
		return refuseFor(time.Second, http.StatusServiceUnavailable, "the witness is busy with other requests")
	}
	// The request is handled to the end even if the client leaves, so that the
	// outcome of the store's transaction is known and logged.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), storeTimeout)
	defer cancel()
	return s.addCheckpoint(ctx, body)
}

// handleCheckpoint serves the newest checkpoint of an origin to monitors.
//
// SPEC: https://c2sp.org/tlog-witness: the latest cosigned checkpoint, with the
// signatures of the log and the witness.
func (s *Server) handleCheckpoint(w http.ResponseWriter, r *http.Request) {
	msg, err := s.cfg.Store.Checkpoint(r.Context(), r.PathValue("hash"))
	switch {
	case errors.Is(err, ErrUnknownLog):
		refuse(http.StatusNotFound, "the witness has signed no checkpoint of an origin with that SHA-256, in lower-case hex").write(w)
	case err != nil:
		s.internal("read checkpoint", err).write(w)
	default:
		answer{status: http.StatusOK, body: string(msg)}.write(w)
	}
}

func (s *Server) handleHealth(w http.ResponseWriter, r *http.Request) {
	if err := s.cfg.Store.Ping(r.Context()); err != nil {
		s.internal("ping", err).write(w)
		return
	}
	answer{status: http.StatusOK, body: "ok\n"}.write(w)
}

// internal returns a 500 without details, and logs the error.
func (s *Server) internal(doing string, err error, args ...any) answer {
	s.cfg.Logger.Error(doing, append(args, "error", err)...)
	return refuse(http.StatusInternalServerError, "%s: internal error", doing)
}
