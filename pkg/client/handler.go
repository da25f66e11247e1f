package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"time"
)

// ErrClosed is the error for records that come after a [Handler] was closed.
var ErrClosed = errors.New("log handler is closed")

// HandlerConfig configures a Handler. Only Client must be set.
type HandlerConfig struct {
	Client *Client

	// Level is the lowest level that is logged; [slog.LevelInfo] if nil.
	Level slog.Leveler

	// Source is the source of the events, a URI-reference; the sender's name, set
	// by the server, if empty.
	Source string

	// Queue is the number of records that may be on their way to the log, sent or
	// not; 10,000 if 0. It bounds the memory that the Handler takes.
	Queue int

	// Wait is the longest time for which logging blocks while the queue is full; a
	// second if 0. After it the record is lost.
	Wait time.Duration

	// OnError is called when records are lost or delayed. It may be called from any
	// goroutine, several at once, and must not log to the Handler. If nil, errors
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
// Records are queued, and sent in order from another goroutine, as [Client.Stream]
// sends events. While the server does not answer they stay in the queue. When the
// queue is full, logging blocks for a limited time. Records that are lost after
// that, and records that the server refuses, are reported and counted.
//
// Close the Handler before the program ends, with a context that is still good: queued
// records are only in memory, and a program that ends cannot report them. A Handler
// that is garbage without having been closed is reported, and its records are sent.
type Handler struct {
	cfg   HandlerConfig
	queue *queue
	with  []func(slog.Handler) slog.Handler // WithAttrs and WithGroup, in order
	use   *use
}

// A use is what a Handler and those derived from it share: once it is garbage nobody
// can log to the queue, or close it.
type use struct{ _ byte }

var _ slog.Handler = (*Handler)(nil)

// NewHandler returns a Handler whose goroutine is running: it must be closed.
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
	h := &Handler{cfg: cfg, queue: newQueue(cfg), use: &use{}}
	runtime.AddCleanup(h.use, (*queue).abandon, h.queue)
	return h
}

// Enabled reports whether records of this level are logged.
func (h *Handler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.cfg.Level.Level()
}

// WithAttrs returns a Handler that adds the attributes to each record. It shares
// the queue of h, and closing either closes both.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return h.and(func(inner slog.Handler) slog.Handler { return inner.WithAttrs(attrs) })
}

// WithGroup returns a Handler that puts the attributes that follow into a group. It
// shares the queue of h, as with WithAttrs.
func (h *Handler) WithGroup(name string) slog.Handler {
	return h.and(func(inner slog.Handler) slog.Handler { return inner.WithGroup(name) })
}

// and returns a Handler that also applies with to the JSON handler of each record.
func (h *Handler) and(with func(slog.Handler) slog.Handler) slog.Handler {
	derived := *h
	derived.with = append(h.with[:len(h.with):len(h.with)], with)
	return &derived
}

// Handle queues a record and does not wait until it is in the log. If it returns
// an error, the record is lost, and was reported and counted.
func (h *Handler) Handle(ctx context.Context, r slog.Record) error {
	defer runtime.KeepAlive(h.use)
	text, err := h.event(ctx, r)
	if err != nil {
		return h.queue.lose(1, err)
	}
	return h.queue.put(ctx, text)
}

// Flush waits until all records logged before are in the log or reported as lost.
// After Close it returns ErrClosed.
func (h *Handler) Flush(ctx context.Context) error { return h.queue.flush(ctx) }

// Close sends the queued records and ends the Handler. If the context ends first,
// the records that are left are lost; the error has their number. So the context must
// not be one that a signal has ended; give it a time of its own.
func (h *Handler) Close(ctx context.Context) error { return h.queue.close(ctx) }

// Lost returns the number of records lost so far, refused ones included.
func (h *Handler) Lost() uint64 { return h.queue.lost.Load() }

// event returns the event for a record, as JSON. The data are written by a
// [slog.JSONHandler] of their own: WithAttrs and WithGroup are played back on it.
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
