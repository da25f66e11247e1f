package api

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/stele-log/stele/pkg/event"
)

// This file reads a stream's lines: deadlineReader bounds how long the client may
// take, lineReader cuts what has arrived at its last newline, and parseFrom turns
// whole lines into events with their line numbers. A buffer is bounded by maxLine
// and readAhead, whatever the client sends, and the memory of all streams by the
// budget in memory.go.

const (
	// readAhead is how many bytes of a busy stream are read at once, and readFirst of one
	// that is quiet: most of those that are open at a time are.
	readAhead = 64 << 10
	readFirst = 4 << 10

	// maxLine is the size of the longest line of a stream, in bytes. An entry is
	// smaller, but white space between JSON tokens does not count there.
	maxLine = 256 << 10
)

// A lineReader reads whole lines, as many at a time as have arrived, so that they
// are parsed and committed together. It belongs to one goroutine.
type lineReader struct {
	from    *deadlineReader
	memory  *claim
	buf     []byte // read; buf[done:] has not been returned
	done    int
	quiet   bool  // little has arrived last time
	skips   bool  // the rest of a line that is too long
	failure error // of reading; returned once buf is used up
}

// partial reports whether the beginning of a line has arrived, and its end has not.
func (l *lineReader) partial() bool { return l.done < len(l.buf) || l.skips }

// next returns the next lines, with their newlines. They are valid until next is
// called again. The last lines, of which the last may lack its newline, are
// returned together with io.EOF; a partial line before any other error is
// dropped. For a line that is too long the error is an [*event.Error], after which
// next can be called for the lines that follow.
func (l *lineReader) next() ([]byte, error) {
	l.buf = l.buf[:copy(l.buf, l.buf[l.done:])]
	l.done = 0
	if lines := l.whole(0); lines != nil {
		return lines, nil // after a line that was too long
	}
	for l.failure == nil {
		if len(l.buf) >= maxLine {
			l.buf, l.skips = l.buf[:0], true
		}
		if l.failure = l.makeRoom(); l.failure != nil {
			break
		}
		start := len(l.buf)
		var n int
		n, l.failure = l.from.read(l.buf[start:cap(l.buf)], l.partial())
		l.buf = l.buf[:start+n]
		l.quiet = n < readFirst
		if l.skips {
			if l.skip() {
				return nil, errTooLong()
			}
			continue
		}
		if lines := l.whole(start); lines != nil {
			return lines, nil
		}
	}
	rest := l.buf
	l.buf = nil
	switch {
	case !errors.Is(l.failure, io.EOF):
		l.buf = rest // for partial
		return nil, l.failure
	case l.skips:
		l.skips = false
		return nil, errTooLong()
	}
	return rest, io.EOF
}

// makeRoom makes the buffer large enough to read into. While little arrives an empty one
// is small.
func (l *lineReader) makeRoom() error {
	size := cap(l.buf)
	switch {
	case len(l.buf) == 0 && (l.quiet || size == 0):
		size = readFirst
	case size < readAhead && !l.quiet:
		size = readAhead
	case size-len(l.buf) < min(readAhead/2, size/2):
		size = 2*size + readAhead
	}
	if size == cap(l.buf) {
		return nil
	}
	if err := l.memory.take(size); err != nil {
		return err
	}
	l.memory.give(cap(l.buf))
	l.buf = append(make([]byte, 0, size), l.buf...)
	return nil
}

// whole returns everything up to the last newline in buf[start:], or nil if there
// is no newline. What lies before start is known to have none.
func (l *lineReader) whole(start int) []byte {
	end := bytes.LastIndexByte(l.buf[start:], '\n')
	if end < 0 {
		return nil
	}
	l.done = start + end + 1
	return l.buf[:l.done]
}

// skip drops what was read up to the end of a line that is too long, and reports
// whether its newline has arrived.
func (l *lineReader) skip() bool {
	end := bytes.IndexByte(l.buf, '\n')
	if end < 0 {
		l.buf = l.buf[:0]
		return false
	}
	l.done, l.skips = end+1, false
	return true
}

// errTooLong returns a new error for each line, since the caller sets its number.
func errTooLong() error {
	return &event.Error{Item: -1, Offset: -1, TooLarge: true,
		Reason: fmt.Sprintf("the line is longer than %d bytes; an entry has at most %d", maxLine, event.MaxEntry)}
}

// A deadlineReader reads a request's body, whose sender must not stall. stop may
// be called from any goroutine while another reads; no deadline is set after it.
type deadlineReader struct {
	from    io.Reader
	control *http.ResponseController
	began   time.Time // of the line that is not complete; zero if there is none

	mu      sync.Mutex
	stopped bool
}

// read reads what has arrived. It waits up to maxStall for the rest of a line that
// has begun, and up to maxIdle for the next line.
func (d *deadlineReader) read(p []byte, partial bool) (int, error) {
	now := time.Now()
	switch {
	case !partial:
		d.began = time.Time{}
		d.extend(now.Add(maxIdle))
	case d.began.IsZero():
		d.began = now
		fallthrough
	default:
		d.extend(d.began.Add(maxStall))
	}
	return d.from.Read(p)
}

// extend moves the deadline, unless reading was stopped.
func (d *deadlineReader) extend(until time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.stopped {
		_ = d.control.SetReadDeadline(until) // if it fails so does reading
	}
}

// stop ends reading, now and for good: a deadline in the past also ends a read
// that is under way.
func (d *deadlineReader) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopped = true
	_ = d.control.SetReadDeadline(time.Unix(1, 0))
}

// parseFrom parses the events on lines, of which the first is line n of a stream.
// Errors have that line number and no item: a stream is one long list, and its
// lines are what a client can count.
func parseFrom(lines []byte, n int, from event.Sender) []event.Item {
	items := event.ParseLines(lines, from)
	for i := range items {
		if bad, ok := errors.AsType[*event.Error](items[i].Err); ok {
			bad.Item = -1
			bad.Line += n - 1
		}
	}
	return items
}

// memoryOf returns the bytes to claim for the events on lines. No line with an event is
// shorter than two bytes.
func memoryOf(lines []byte) int {
	return len(lines) + (min(countLines(lines), len(lines)/2)+1)*eventMemory
}

func countLines(text []byte) int { return bytes.Count(text, []byte{'\n'}) }
