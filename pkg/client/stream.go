package client

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"mime"
	"net/http"
	"sync"
	"time"
)

const (
	// A stream holds at most this many events without an answer, and about this
	// many bytes of them.
	maxUnanswered      = 8192
	maxUnansweredBytes = 4 << 20

	// maxSilence is how long a server may send nothing. While it lives, it sends a
	// heartbeat far more often than that.
	maxSilence = time.Minute

	// maxHeaderWait is how long a server may take to begin its answer. A proxy
	// that waits for the end of a request before it passes it on never begins one.
	maxHeaderWait = 10 * time.Second

	// maxAnswer is the size of the longest line of an answer, in bytes.
	maxAnswer = 1 << 20
)

// Stream appends events as they come, each as [Client.AppendJSON] would, and
// yields a Result for each, in order, as soon as it is in the log or refused.
//
// The events go over one request that stays open, and results come back on it
// while other events are sent. A slow server slows the events down. If the
// request fails, the events that have no result are sent again, for as long as
// [Config].RetryFor; each is stored once.
//
// An error ends the sequence: the events that have no result by then may or may
// not be in the log. It is the context's error if the context ends.
//
// Another goroutine ranges over events, up to a few thousand ahead of the results.
// When the loop over the results ends early, that goroutine ends at the next
// event. If a proxy holds answers back until a request ends, the events go in
// batches instead, one request after the other. So do those of a client that waits
// for receipts, see [Client.WithReceipts].
func (c *Client) Stream(ctx context.Context, events iter.Seq[[]byte]) iter.Seq2[Result, error] {
	return func(yield func(Result, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		s := &stream{client: c, yield: yield, slow: c.receipts, more: make(chan struct{}, 1),
			room: make(chan struct{}, 1), refused: make(chan struct{}, 1)}
		go s.pull(ctx, events)
		if err := s.run(ctx); err != nil && !s.left {
			yield(Result{}, fmt.Errorf("append: %w", err))
		}
	}
}

// A stream is one call of Stream. An event goes from waiting to sent, and out when
// its result is yielded; restart puts it back if the request fails. Four
// goroutines meet here: pull adds events, the transport takes them through the
// streamBody, readAnswers reads lines, and run, which is the caller's, handles them
// and yields results.
type stream struct {
	client *Client
	yield  func(Result, error) bool
	left   bool // the caller wants no more results
	slow   bool // send batches: a stream does not get through, or receipts are waited for

	more    chan struct{} // holds a token if waiting or ended may have changed
	room    chan struct{} // holds a token if events were answered
	refused chan struct{} // holds a token if an invalid event was put

	mu      sync.Mutex // guards the fields below
	waiting []streamed // not sent in this try
	sent    []streamed // sent in this try, not answered
	bytes   int        // of both
	ended   bool       // no more events come
	try     *streamBody
}

// run sends events and yields results, in as many requests as it takes. A request
// that brings any answer starts the time for retries again.
func (s *stream) run(ctx context.Context) error {
	backoff := s.client.newBackoff()
	for {
		if done, err := s.await(ctx); done || err != nil {
			return err
		}
		answered, err := s.exchange(ctx)
		if s.left || ctx.Err() != nil {
			return ctx.Err()
		}
		if answered {
			backoff = s.client.newBackoff()
		}
		if err == nil {
			continue
		}
		if !mayPass(err) {
			return err
		}
		if err := backoff.pause(ctx, err); err != nil {
			return err
		}
	}
}

// await waits until there is an event to send; no request is open meanwhile. done
// is true once all events are answered.
func (s *stream) await(ctx context.Context) (done bool, err error) {
	for {
		if !s.yieldRefused() {
			return true, nil
		}
		s.mu.Lock()
		some, ended := len(s.waiting)+len(s.sent) > 0, s.ended
		s.mu.Unlock()
		if some || ended {
			return !some, nil
		}
		select {
		case <-s.more:
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}

// exchange sends one request and reads its answer until that ends. It reports
// whether any event was answered. The error is nil if another request may follow
// at once.
func (s *stream) exchange(ctx context.Context) (some bool, err error) {
	s.restart()
	if s.slow {
		return s.batch(ctx)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// The transport waits for its read of the body, which waits for events.
	try := s.try
	defer context.AfterFunc(ctx, func() { _ = try.Close() })()
	silence := time.AfterFunc(maxHeaderWait, func() { cancel(errSilent) })
	defer silence.Stop()
	resp, err := s.open(ctx)
	if errors.Is(context.Cause(ctx), errSilent) || errors.Is(err, errNoStream) {
		s.slow = true
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	lines := make(chan answered, answersAhead)
	go readAnswers(ctx, resp.Body, lines)
	for {
		silence.Reset(maxSilence)
		var err error
		select {
		case a := <-lines:
			if a.err == io.EOF {
				return some, s.checkEnd()
			}
			if err = a.err; err == nil {
				err = s.answer(a.text)
				some = some || err == nil
			}
		case <-s.refused:
			s.yieldRefused()
		case <-ctx.Done():
			err = ctx.Err()
		}
		switch {
		case errors.Is(err, errIdle) && some:
			return some, nil
		case errors.Is(context.Cause(ctx), errSilent):
			return some, fmt.Errorf("the server has not answered for %v", maxSilence)
		case err != nil || s.left:
			return some, err
		}
	}
}

// answersAhead is the number of lines of an answer that are read ahead.
const answersAhead = 64

// An answered is a line of an answer or, after the last one, the error that ended
// it.
type answered struct {
	text []byte
	err  error
}

// readAnswers reads the lines of an answer until it or the context ends. It has a
// goroutine of its own, so that exchange can yield refused events meanwhile.
func readAnswers(ctx context.Context, body io.Reader, to chan<- answered) {
	lines := bufio.NewReaderSize(body, 64<<10)
	for {
		text, err := readAnswer(lines)
		select {
		case to <- answered{text, err}:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

var (
	errSilent   = errors.New("silent")
	errNoStream = errors.New("not answered as a stream")
	errIdle     = errors.New("no event was sent for a long time")
)

// open begins a request whose body is the waiting events and those still to come.
// It returns when the server begins its answer, which is before the body ends.
func (s *stream) open(ctx context.Context) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.client.base+s.client.path("/events"), s.try)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", linesType)
	req.Header.Set("Accept", linesType)
	req.Header.Set("User-Agent", "stele-client")
	resp, err := s.client.streaming.Do(req)
	if err != nil {
		return nil, err
	}
	contentType, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch {
	case resp.StatusCode == http.StatusOK && contentType == linesType:
		return resp, nil
	case resp.StatusCode/100 == 2:
		err = errNoStream
	default:
		body, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
		err = problemIn(resp, body)
	}
	return nil, errors.Join(err, resp.Body.Close())
}

// readAnswer reads a line of an answer, without its line end. At the end of the
// answer it returns io.EOF.
func readAnswer(lines *bufio.Reader) ([]byte, error) {
	var text []byte
	for {
		part, err := lines.ReadSlice('\n')
		text = append(text, part...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull) && len(text) <= maxAnswer:
			continue
		case errors.Is(err, bufio.ErrBufferFull):
			return nil, fmt.Errorf("a line of the answer has more than %d bytes", maxAnswer)
		case errors.Is(err, io.EOF) && len(text) > 0:
			return nil, io.ErrUnexpectedEOF
		case err != nil:
			return nil, err
		}
		return bytes.TrimSuffix(text, []byte{'\n'}), nil
	}
}

// An answerLine is a line of an answer: the outcome of an event, a heartbeat, or
// the reason for which the server ends the stream.
type answerLine struct {
	outcome
	Heartbeat string   `json:"heartbeat"`
	End       *Problem `json:"end"`
}

// answer handles one line of the server's answer. Answers come in the order of the
// events, so an outcome is that of the first event sent and not answered.
func (s *stream) answer(text []byte) error {
	var a answerLine
	if err := unmarshal(text, &a); err != nil {
		return err
	}
	switch {
	case a.End != nil && a.End.Status == http.StatusRequestTimeout:
		return errIdle
	case a.End != nil:
		return a.End
	case a.Heartbeat != "":
		s.yieldRefused()
		return nil
	}
	if !s.yieldRefused() {
		return nil
	}
	s.mu.Lock()
	if len(s.sent) == 0 {
		s.mu.Unlock()
		return errors.New("the server answered for an event that was not sent (is this a Stele server?)")
	}
	e := s.sent[0]
	s.mu.Unlock()
	r := Result{ID: e.id}
	if err := a.note(&r, ""); err != nil {
		return err
	}
	s.answered(1)
	s.left = !s.yield(r, nil)
	return nil
}

// checkEnd is called when the server has ended its answer. It fails if results are
// missing.
func (s *stream) checkEnd() error {
	s.yieldRefused()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.sent) > 0 {
		return fmt.Errorf("the server ended its answer without %d of its results", len(s.sent))
	}
	return nil
}

// batch sends waiting events, as many as fit, in a request that is not a stream.
func (s *stream) batch(ctx context.Context) (answered bool, err error) {
	var b batch
	s.mu.Lock()
	n := 0
	for ; n < len(s.waiting) && s.waiting[n].err == nil && !b.isFull(s.client, s.waiting[n].line); n++ {
		l := s.waiting[n].line
		l.text = bytes.TrimSuffix(l.text, []byte{'\n'})
		b.add(n, l)
	}
	s.sent, s.waiting = s.waiting[:n:n], s.waiting[n:]
	results := make([]Result, n)
	for i, e := range s.sent {
		results[i].ID = e.id
	}
	s.mu.Unlock()
	if err := s.client.send(ctx, b, results); err != nil {
		return false, err
	}
	s.answered(n)
	for _, r := range results {
		if s.left = s.left || !s.yield(r, nil); s.left {
			break
		}
	}
	return true, nil
}
