package main

import (
	"io"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
)

// A progress shows how far work has come, one piece of work after the other, if w
// is a terminal. It is safe for concurrent use.
type progress struct {
	w    io.Writer
	unit string // what is counted; "" for bytes

	mu   sync.Mutex
	what string // the piece of work that the bar is for
	bar  *progressbar.ProgressBar
}

// set shows how much of a piece of work is done. A total of 0 is unknown.
func (p *progress) set(what string, done, total uint64) {
	if !isTerminal(p.w) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar == nil || p.what != what {
		p.end()
		p.what, p.bar = what, p.newBar(what)
	}
	if total > 0 {
		p.bar.ChangeMax64(int64(total))
	}
	_ = p.bar.Set64(int64(done))
}

func (p *progress) newBar(what string) *progressbar.ProgressBar {
	options := []progressbar.Option{
		progressbar.OptionSetWriter(p.w),
		progressbar.OptionSetDescription(what),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionThrottle(100 * time.Millisecond),
		progressbar.OptionClearOnFinish(),
	}
	if p.unit == "" {
		options = append(options, progressbar.OptionShowBytes(true))
	} else {
		options = append(options, progressbar.OptionSetItsString(p.unit), progressbar.OptionShowIts(), progressbar.OptionShowCount())
	}
	return progressbar.NewOptions64(-1, options...)
}

// clear makes room for a line.
func (p *progress) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil {
		_ = p.bar.Clear()
	}
}

// finish removes the bar.
func (p *progress) finish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end()
}

func (p *progress) end() {
	if p.bar != nil {
		_ = p.bar.Finish()
		p.bar = nil
	}
}
