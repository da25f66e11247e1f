package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/http"
	"strings"
	"time"

	"github.com/stele-log/stele/pkg/heads"
	"github.com/stele-log/stele/pkg/tile"
)

const (
	// maxPage is the number of checkpoints on the largest page that is asked for.
	maxPage = 1000

	// maxPageBytes is the size of the largest page that is read, in bytes. It has
	// room for 1000 checkpoints with several ML-DSA-44 cosignatures.
	maxPageBytes = 64 << 20
)

// History reads the history of checkpoints that a Stele log serves below its
// prefix, page by page, oldest first, from a number on, without their proofs. A
// log that serves none has an empty history. The context is used for the requests.
// An error is the last that is yielded.
//
// It verifies nothing, not even that no checkpoint is missing: see [Check] and
// [heads.Export]. It stays on the prefix's host, see [tile.StayOnHost]. An error wraps
// [tile.ErrUnchecked]: whatever an answer is that cannot be read, it is no checkpoint.
//
// [heads.Export]: https://pkg.go.dev/github.com/stele-log/stele/pkg/heads#Export
// [tile.StayOnHost]: https://pkg.go.dev/github.com/stele-log/stele/pkg/tile#StayOnHost
// [tile.ErrUnchecked]: https://pkg.go.dev/github.com/stele-log/stele/pkg/tile#ErrUnchecked
func History(ctx context.Context, c *http.Client, prefix string, from uint64) iter.Seq2[heads.Checkpoint, error] {
	c, prefix = tile.StayOnHost(c), strings.TrimSuffix(prefix, "/")
	return func(yield func(heads.Checkpoint, error) bool) {
		// A small page first, for callers that look for a single checkpoint.
		for next, limit := from, 1; ; limit = min(32*limit, maxPage) {
			page, err := readPage(ctx, c, fmt.Sprintf("%s/checkpoints?first=%d&limit=%d", prefix, next, limit))
			if errors.Is(err, fs.ErrNotExist) && next == from {
				return // the log serves no history
			}
			if err != nil {
				yield(heads.Checkpoint{}, tile.Unchecked(err))
				return
			}
			for _, past := range page.Checkpoints {
				if !yield(heads.Checkpoint{Number: past.Number, Published: past.Published, Note: []byte(past.Note)}, nil) {
					return
				}
			}
			if page.Next == nil || len(page.Checkpoints) == 0 {
				return
			}
			next += uint64(len(page.Checkpoints))
		}
	}
}

// A page is the server's answer: some checkpoints, and the number of the next one
// if there is any.
type page struct {
	Checkpoints []struct {
		Number    uint64    `json:"number"`
		Published time.Time `json:"published"`
		Note      string    `json:"note"`
	} `json:"checkpoints"`
	Next *uint64 `json:"next"`
}

// readPage reads the page at a URL. The error is fs.ErrNotExist if there is none.
func readPage(ctx context.Context, c *http.Client, url string) (p page, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return p, err
	}
	resp, err := c.Do(req)
	if err != nil {
		return p, err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		err = json.NewDecoder(io.LimitReader(resp.Body, maxPageBytes)).Decode(&p)
	case http.StatusNotFound:
		err = fmt.Errorf("%w: 404 Not Found", fs.ErrNotExist)
	default:
		err = fmt.Errorf("%d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	}
	if err != nil {
		return p, fmt.Errorf("GET %s: %w", resp.Request.URL.Redacted(), err)
	}
	return p, nil
}
