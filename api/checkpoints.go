package api

import (
	"fmt"
	"net/http"
	"time"

	"github.com/stele-log/stele/internal/engine"
)

const (
	defaultPage = 100
	maxPage     = 1000
)

type checkpointPage struct {
	Checkpoints []pastCheckpoint `json:"checkpoints"`
	Next        *uint64          `json:"next,omitempty"` // first number of the next page
}

type pastCheckpoint struct {
	Number    uint64    `json:"number"`
	Size      uint64    `json:"size"`
	Published time.Time `json:"published"`
	Note      string    `json:"note"`
}

// listCheckpoints serves the history of signed heads, oldest first.
func (s *server) listCheckpoints(w http.ResponseWriter, r *http.Request, l *engine.Log) error {
	first, limit := uint64(0), uint64(defaultPage)
	var err error
	if v := r.URL.Query().Get("first"); v != "" {
		if first, err = parseNumber("first", v); err != nil {
			return err
		}
	}
	if v := r.URL.Query().Get("limit"); v != "" {
		if limit, err = parseNumber("limit", v); err != nil {
			return err
		}
		if limit == 0 || limit > maxPage {
			return badRequest(fmt.Sprintf("limit must be from 1 to %d", maxPage))
		}
	}
	// One more than asked for tells whether there is a next page.
	stored, err := l.Stored.Checkpoints(r.Context(), first, int(limit)+1)
	if err != nil {
		return err
	}
	page := checkpointPage{Checkpoints: []pastCheckpoint{}}
	for _, c := range stored {
		if len(page.Checkpoints) == int(limit) {
			page.Next = &c.Number
			w.Header().Set("Link", fmt.Sprintf(`<?first=%d&limit=%d>; rel="next"`, c.Number, limit))
			break
		}
		page.Checkpoints = append(page.Checkpoints, pastCheckpoint{c.Number, c.Size, c.Published, string(c.Note)})
	}
	return reply(w, http.StatusOK, page)
}
