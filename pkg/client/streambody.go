package client

import (
	"bytes"
	"context"
	"io"
	"iter"
	"net/http"
	"sync"
)

// A streamed event is one that is not answered, in order. If err is set it is
// none, and is not sent.
type streamed struct {
	line
	err error
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// pull takes events from the caller as long as there is room for them.
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

// put adds an event, if there is room.
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

// restart makes what was sent before wait again.
func (s *stream) restart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = append(s.sent, s.waiting...)
	s.sent = nil
	s.try = &streamBody{stream: s, closed: make(chan struct{})}
}

// answered forgets events that were answered.
func (s *stream) answered(n int) {
	s.mu.Lock()
	for _, e := range s.sent[:n] {
		s.bytes -= len(e.text)
	}
	s.sent = s.sent[n:]
	s.mu.Unlock()
	signal(s.room)
}

// yieldRefused yields the results of those that come next and are no events. It
// reports whether the caller wants more.
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

// A streamBody is the body of one request of a stream.
type streamBody struct {
	stream *stream
	rest   []byte // of the line being sent

	close  sync.Once
	closed chan struct{}
}

var _ io.ReadCloser = (*streamBody)(nil)

// Read returns as many lines as there are. It waits for one at least.
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

// next returns the next line. If there is none now it waits for one, or returns
// nothing.
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

// take returns the next line to send in a try, if there is one now. The error is
// io.EOF if there will be none.
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

// Close ends reading.
func (b *streamBody) Close() error {
	b.close.Do(func() { close(b.closed) })
	return nil
}
