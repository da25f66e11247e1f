package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strings"
)

// maxHistoryPage is the size of the largest page of checkpoints that is read,
// in bytes: 1000 checkpoints with some ML-DSA-44 cosignatures.
const maxHistoryPage = 64 << 20

// History reads the history of checkpoints that a Stele log serves below its
// prefix. A log that serves none has an empty one. The context is that of the
// requests. That none is missing is for [Check] to see.
func History(ctx context.Context, c *http.Client, prefix string) iter.Seq2[PastCheckpoint, error] {
	return func(yield func(PastCheckpoint, error) bool) {
		for first := uint64(0); ; {
			page, ok, err := readHistoryPage(ctx, c, strings.TrimSuffix(prefix, "/"), first)
			if err != nil {
				yield(PastCheckpoint{}, err)
				return
			}
			if !ok {
				return
			}
			for _, past := range page.Checkpoints {
				if !yield(PastCheckpoint{past.Number, []byte(past.Note)}, nil) {
					return
				}
			}
			if page.Next == nil || len(page.Checkpoints) == 0 {
				return
			}
			first += uint64(len(page.Checkpoints))
		}
	}
}

type historyPage struct {
	Checkpoints []struct {
		Number uint64 `json:"number"`
		Note   string `json:"note"`
	} `json:"checkpoints"`
	Next *uint64 `json:"next"`
}

func readHistoryPage(ctx context.Context, c *http.Client, prefix string, first uint64) (page historyPage, ok bool, err error) {
	url := fmt.Sprintf("%s/checkpoints?first=%d&limit=1000", prefix, first)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return page, false, err
	}
	resp, err := c.Do(req)
	if err != nil {
		return page, false, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound && first == 0 {
		return page, false, nil
	}
	if resp.StatusCode != http.StatusOK {
		return page, false, fmt.Errorf("GET %s: %s", req.URL.Redacted(), resp.Status)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxHistoryPage)).Decode(&page); err != nil {
		return page, false, fmt.Errorf("GET %s: %w", req.URL.Redacted(), err)
	}
	return page, true, nil
}
