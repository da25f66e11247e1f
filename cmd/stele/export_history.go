package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// A bound is where a period begins or ends: a size, a time, or nowhere.
type bound struct {
	given, bySize bool
	size          uint64
	time          time.Time
}

// parseBound parses a size, a day or a time.
func parseBound(flag, s string) (bound, error) {
	if s == "" {
		return bound{}, nil
	}
	if n, err := strconv.ParseUint(s, 10, 63); err == nil {
		return bound{given: true, bySize: true, size: n}, nil
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, s); err == nil {
			return bound{given: true, time: t}, nil
		}
	}
	return bound{}, fmt.Errorf("%s %q is not a size (42), a day (2026-10-01) or a time (2026-10-01T06:00:00Z)", flag, s)
}

// reached reports whether a checkpoint is in a period that begins here.
func (b bound) reached(c pastCheckpoint) bool {
	switch {
	case !b.given:
		return true
	case b.bySize:
		return c.Size >= b.size
	}
	return !c.Published.Before(b.time)
}

// passed reports whether a checkpoint is after a period that ends here.
func (b bound) passed(c pastCheckpoint) bool {
	switch {
	case !b.given:
		return false
	case b.bySize:
		return c.Size > b.size
	}
	return !c.Published.Before(b.time)
}

// A history is a log's history of checkpoints, as its server has it.
type history struct {
	client *http.Client
	prefix string
}

// A pastCheckpoint is one of the history: all but the note is the server's word.
type pastCheckpoint struct {
	Number    uint64    `json:"number"`
	Size      uint64    `json:"size"`
	Published time.Time `json:"published"`
	Note      string    `json:"note"`
}

const (
	historyPage     = 1000
	maxHistoryBytes = 64 << 20 // of a page: 1000 checkpoints with some ML-DSA-44 cosignatures
)

func newHistory(c *http.Client, prefix string) *history {
	return &history{c, strings.TrimSuffix(prefix, "/")}
}

// page returns up to limit checkpoints from a number on.
func (h *history) page(ctx context.Context, first uint64, limit int) ([]pastCheckpoint, error) {
	url := fmt.Sprintf("%s/checkpoints?first=%d&limit=%d", h.prefix, first, limit)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := h.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound {
		return nil, errors.New("the log serves no history of checkpoints, of which an archive is made")
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s: %s", req.URL.Redacted(), resp.Status)
	}
	var page struct {
		Checkpoints []pastCheckpoint `json:"checkpoints"`
	}
	err = json.NewDecoder(io.LimitReader(resp.Body, maxHistoryBytes)).Decode(&page)
	if err != nil {
		return nil, fmt.Errorf("GET %s: %w", req.URL.Redacted(), err)
	}
	for i, c := range page.Checkpoints {
		if c.Number != first+uint64(i) {
			return nil, fmt.Errorf("GET %s: checkpoint %d is missing", req.URL.Redacted(), first+uint64(i))
		}
	}
	return page.Checkpoints, nil
}

// from returns the checkpoints from a number on.
func (h *history) from(ctx context.Context, number uint64) iter.Seq2[pastCheckpoint, error] {
	return func(yield func(pastCheckpoint, error) bool) {
		for {
			page, err := h.page(ctx, number, historyPage)
			if err != nil {
				yield(pastCheckpoint{}, err)
				return
			}
			for _, c := range page {
				if !yield(c, nil) {
					return
				}
			}
			if len(page) == 0 {
				return
			}
			number += uint64(len(page))
		}
	}
}

// find returns the number of the first checkpoint that has reached a bound, or
// that of the next checkpoint if none has. It takes sizes and times to grow with
// the numbers.
func (h *history) find(ctx context.Context, b bound) (uint64, error) {
	if !b.given {
		return 0, nil
	}
	reached := func(n uint64) (bool, error) {
		page, err := h.page(ctx, n, 1)
		return len(page) == 0 || b.reached(page[0]), err
	}
	// All below low have not reached it; high has, or is beyond the end.
	low, high := uint64(0), uint64(1)
	for {
		yes, err := reached(high)
		if err != nil {
			return 0, err
		}
		if yes {
			break
		}
		low, high = high+1, 2*high
	}
	for low < high {
		mid := low + (high-low)/2
		yes, err := reached(mid)
		if err != nil {
			return 0, err
		}
		if yes {
			high = mid
		} else {
			low = mid + 1
		}
	}
	return low, nil
}
