package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"
)

// ErrClosed says that a [Handler] takes no more records.
var ErrClosed = errors.New("log handler is closed")

// HandlerConfig is what a Handler is made of. Only Client must be set.
type HandlerConfig struct {
	Client *Client

	// Level is the least level that is logged; [slog.LevelInfo] if nil.
	Level slog.Leveler

	// Source is the source of the events, a URI-reference; the sender's name, set
	// by the server, if empty.
	Source string

	// Queue is how many records may wait to be in the log, sent or not; 10,000 if
	// 0.
	Queue int

	// Wait is how long logging blocks, at most, while the queue is full; a second
	// if 0. Then the record is lost.
	Wait time.Duration

	// OnError is told of each record that is lost, and of delays. It may be
	// called from any goroutine and must not log to the Handler. If nil, errors
	// are written to standard error.
	OnError func(error)
}

// A Handler is a [slog.Handler] that appends records to a log as events.
//
// The event's type is log.debug, log.info, log.warn or log.error, its time the
// record's, and its data an object of level, msg and the attributes, written as
// [slog.JSONHandler] does. Where that would give an object two members of one
// name, the second is called name_2, and so on.
//
// Records are queued and sent in order from another goroutine, as
// [Client.Stream] sends them. While the server does not answer they stay in the
// queue. When the queue is full,
// logging blocks for a limited time; what is lost then, and what the server
// refuses, is reported and counted. Close the Handler before the program ends.
type Handler struct {
	cfg   HandlerConfig
	queue *queue
	with  []func(slog.Handler) slog.Handler // WithAttrs and WithGroup, in order
}

var _ slog.Handler = (*Handler)(nil)

// NewHandler returns a Handler that is running.
func NewHandler(cfg HandlerConfig) *Handler {
	if cfg.Level == nil {
		cfg.Level = slog.LevelInfo
	}
	if cfg.Queue <= 0 {
		cfg.Queue = 10_000
	}
	if cfg.Wait <= 0 {
		cfg.Wait = time.Second
	}
	if cfg.OnError == nil {
		cfg.OnError = func(err error) { fmt.Fprintln(os.Stderr, err) }
	}
	return &Handler{cfg: cfg, queue: newQueue(cfg)}
}

// Enabled implements slog.Handler.
func (h *Handler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.cfg.Level.Level()
}

// WithAttrs implements slog.Handler.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return h.and(func(inner slog.Handler) slog.Handler { return inner.WithAttrs(attrs) })
}

// WithGroup implements slog.Handler.
func (h *Handler) WithGroup(name string) slog.Handler {
	return h.and(func(inner slog.Handler) slog.Handler { return inner.WithGroup(name) })
}

func (h *Handler) and(with func(slog.Handler) slog.Handler) slog.Handler {
	derived := *h
	derived.with = append(h.with[:len(h.with):len(h.with)], with)
	return &derived
}

// Handle implements slog.Handler. It returns as soon as the record is queued;
// the error says why it is lost.
func (h *Handler) Handle(ctx context.Context, r slog.Record) error {
	text, err := h.event(ctx, r)
	if err != nil {
		return h.queue.lose(1, err)
	}
	return h.queue.put(ctx, text)
}

// Flush waits until what was logged before is in the log or reported as lost.
// After Close it returns ErrClosed.
func (h *Handler) Flush(ctx context.Context) error { return h.queue.flush(ctx) }

// Close sends what is queued and ends the Handler. When the context ends before
// that is done, what is left is lost, and the error says so.
func (h *Handler) Close(ctx context.Context) error { return h.queue.close(ctx) }

// Lost returns how many records were lost.
func (h *Handler) Lost() uint64 { return h.queue.lost.Load() }

// event returns the event for a record, as JSON.
func (h *Handler) event(ctx context.Context, r slog.Record) ([]byte, error) {
	e := Event{Source: h.cfg.Source, Type: typeOf(r.Level), Time: r.Time}
	r.Time = time.Time{}
	var data bytes.Buffer
	var inner slog.Handler = slog.NewJSONHandler(&data, nil)
	for _, with := range h.with {
		inner = with(inner)
	}
	if err := inner.Handle(ctx, r); err != nil {
		return nil, err
	}
	unique, err := withUniqueNames(data.Bytes())
	if err != nil {
		return nil, err
	}
	e.Data = unique
	return e.json()
}

func typeOf(level slog.Level) string {
	switch {
	case level < slog.LevelInfo:
		return "log.debug"
	case level < slog.LevelWarn:
		return "log.info"
	case level < slog.LevelError:
		return "log.warn"
	}
	return "log.error"
}
