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

const (
	// readAhead is how many bytes of a stream are read at once.
	readAhead = 64 << 10

	// maxLine is the size of the longest line of a stream, in bytes. An entry is
	// smaller, but white space between JSON tokens does not count there.
	maxLine = 256 << 10
)

// A lineReader reads whole lines, as many at a time as have come.
type lineReader struct {
	from    *deadlineReader
	buf     []byte // read; buf[done:] is not given out
	done    int
	skips   bool // the rest of a line that is too long
	failure error
}

// partial reports whether the beginning of a line has come.
func (l *lineReader) partial() bool { return l.done < len(l.buf) || l.skips }

// next returns the next lines, with their ends. They are the caller's until it
// calls next again. With the last lines, of which the last may have no end, comes
// io.EOF; a partial line before any other error is dropped. For a line that is
// too long it returns an [*event.Error], and then goes on.
func (l *lineReader) next() ([]byte, error) {
	l.buf = l.buf[:copy(l.buf, l.buf[l.done:])]
	l.done = 0
	if lines := l.whole(0); lines != nil {
		return lines, nil // behind a line that was too long
	}
	for l.failure == nil {
		if len(l.buf) >= maxLine {
			l.buf, l.skips = l.buf[:0], true
		}
		start := len(l.buf)
		if cap(l.buf)-start < readAhead/2 {
			l.buf = append(make([]byte, 0, 2*cap(l.buf)+readAhead), l.buf...)
		}
		var n int
		n, l.failure = l.from.read(l.buf[start:cap(l.buf)], l.partial())
		l.buf = l.buf[:start+n]
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
		l.buf = rest // partial says that there was one
		return nil, l.failure
	case l.skips:
		l.skips = false
		return nil, errTooLong()
	}
	return rest, io.EOF
}

// whole gives out what was read up to the last end of a line in buf[start:], or
// nil if there is none.
func (l *lineReader) whole(start int) []byte {
	end := bytes.LastIndexByte(l.buf[start:], '\n')
	if end < 0 {
		return nil
	}
	l.done = start + end + 1
	return l.buf[:l.done]
}

// skip drops what was read up to the end of the line, and reports whether the
// end has come.
func (l *lineReader) skip() bool {
	end := bytes.IndexByte(l.buf, '\n')
	if end < 0 {
		l.buf = l.buf[:0]
		return false
	}
	l.done, l.skips = end+1, false
	return true
}

func errTooLong() error {
	return &event.Error{Item: -1, Offset: -1, TooLarge: true,
		Reason: fmt.Sprintf("the line is longer than %d bytes; an entry has at most %d", maxLine, event.MaxEntry)}
}

// A deadlineReader reads a request's body, whose sender must not stall.
type deadlineReader struct {
	from    io.Reader
	control *http.ResponseController

	mu      sync.Mutex
	stopped bool
}

// read reads what comes. The rest of a line must come soon, the next one may
// take its time.
func (d *deadlineReader) read(p []byte, partial bool) (int, error) {
	limit := maxIdle
	if partial {
		limit = maxStall
	}
	d.extend(time.Now().Add(limit))
	return d.from.Read(p)
}

func (d *deadlineReader) extend(until time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.stopped {
		_ = d.control.SetReadDeadline(until) // if it fails so does reading
	}
}

// stop ends reading, now and for ever.
func (d *deadlineReader) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopped = true
	_ = d.control.SetReadDeadline(time.Unix(1, 0))
}

// parseFrom checks the events on lines of which the first is line n of a stream.
func parseFrom(lines []byte, n int) []event.Item {
	items := event.ParseLines(lines, anonymous)
	for i := range items {
		if bad, ok := errors.AsType[*event.Error](items[i].Err); ok {
			bad.Item = -1
			bad.Line += n - 1
		}
	}
	return items
}

func countLines(text []byte) int { return bytes.Count(text, []byte{'\n'}) }
