package client

import (
	"bytes"
	"context"
	"io"
	"iter"
	"net/http"
	"sync"
)

// A streamed is an event of a stream that has no result yet. If err is set, the
// event is not valid and not sent; it keeps its place, as results come in order.
type streamed struct {
	line
	err error
}

// signal puts a token into c, unless there is one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// pull takes events from the caller, as far as there is room for them, and checks
// them.
func (s *stream) pull(ctx context.Context, events iter.Seq[[]byte]) {
	for text := range events {
		l, err := newLine(text)
		l.text = append(bytes.Clone(l.text), '\n')
		for !s.put(streamed{l, err}) {
			select {
			case <-s.room:
			case <-ctx.Done():
				return
			}
		}
		if ctx.Err() != nil {
			return
		}
	}
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	signal(s.more)
}

// put adds an event to those waiting, and returns false if there is no room.
func (s *stream) put(e streamed) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting)+len(s.sent) >= maxUnanswered || s.bytes >= maxUnansweredBytes {
		return false
	}
	s.waiting = append(s.waiting, e)
	s.bytes += len(e.text)
	signal(s.more)
	if e.err != nil {
		signal(s.refused)
	}
	return true
}

// restart puts the events that were sent without an answer back in front of those
// waiting, and begins another try. The body of an earlier one gets nothing more.
func (s *stream) restart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = append(s.sent, s.waiting...)
	s.sent = nil
	s.try = &streamBody{stream: s, closed: make(chan struct{})}
}

// answered removes the first n events that were sent.
func (s *stream) answered(n int) {
	s.mu.Lock()
	for _, e := range s.sent[:n] {
		s.bytes -= len(e.text)
	}
	s.sent = s.sent[n:]
	s.mu.Unlock()
	signal(s.room)
}

// yieldRefused yields the results of invalid events, as far as they are next in
// order. It reports whether the caller wants more.
func (s *stream) yieldRefused() bool {
	for !s.left {
		s.mu.Lock()
		next := &s.sent
		if len(s.sent) == 0 {
			next = &s.waiting
		}
		if len(*next) == 0 || (*next)[0].err == nil {
			s.mu.Unlock()
			return true
		}
		e := (*next)[0]
		*next = (*next)[1:]
		s.bytes -= len(e.text)
		s.mu.Unlock()
		signal(s.room)
		s.left = !s.yield(Result{Err: e.err}, nil)
	}
	return false
}

// A streamBody is the body of one request of a stream: the lines of its events. It
// is read by the transport, which may still do so after the request has failed.
type streamBody struct {
	stream *stream
	rest   []byte // unread part of the current line

	close  sync.Once
	closed chan struct{}
}

var _ io.ReadCloser = (*streamBody)(nil)

// Read fills p with the lines that are there, so that events which wait together
// are sent together. It waits only if there is none.
func (b *streamBody) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if len(b.rest) == 0 {
			if b.rest, err = b.next(n == 0); len(b.rest) == 0 {
				break
			}
		}
		sent := copy(p[n:], b.rest)
		n, b.rest = n+sent, b.rest[sent:]
	}
	if n > 0 {
		return n, nil
	}
	return 0, err
}

// next returns the next line. If there is none now, it waits for one if wait is
// true, and returns nil otherwise.
func (b *streamBody) next(wait bool) ([]byte, error) {
	for {
		text, err := b.stream.take(b)
		if err == http.ErrBodyReadAfterClose {
			signal(b.stream.more) // it may have been for the try after this one
		}
		if text != nil || err != nil || !wait {
			return text, err
		}
		select {
		case <-b.stream.more:
		case <-b.closed:
			return nil, http.ErrBodyReadAfterClose
		}
	}
}

// take moves the next event from waiting to sent and returns its line, or nil if
// there is none now. The error is io.EOF if there will be none, and
// http.ErrBodyReadAfterClose if another try has begun.
func (s *stream) take(b *streamBody) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.try != b {
		return nil, http.ErrBodyReadAfterClose
	}
	for len(s.waiting) > 0 {
		e := s.waiting[0]
		s.sent, s.waiting = append(s.sent, e), s.waiting[1:]
		if e.err == nil {
			return e.text, nil
		}
	}
	if s.ended {
		return nil, io.EOF
	}
	return nil, nil
}

// Close ends a Read that waits.
func (b *streamBody) Close() error {
	b.close.Do(func() { close(b.closed) })
	return nil
}
