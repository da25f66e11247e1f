package api

import (
	"fmt"
	"net/http"
	"time"

	"github.com/stele-log/stele/internal/engine"
)

// This file serves GET /logs/{log}/checkpoints: every checkpoint the log has
// published, from the database, in pages of at most maxPage. Auditors and
// archives of heads read it; readers of the log itself need the newest only, see
// tiles.go.

const (
	defaultPage = 100 // checkpoints
	maxPage     = 1000
)

type checkpointPage struct {
	Checkpoints []pastCheckpoint `json:"checkpoints"`
	Next        *uint64          `json:"next,omitempty"` // first number of the next page
}

type pastCheckpoint struct {
	Number    uint64    `json:"number"` // from 0, without gaps
	Size      uint64    `json:"size"`   // entries
	Published time.Time `json:"published"`
	Note      string    `json:"note"` // signed; size and root in it are what counts
}

// listCheckpoints serves a page of the history, oldest first. Numbers have no
// gaps, so a number is a cursor that stays valid.
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
	memory := s.memory.claim()
	defer memory.release()
	// One more than asked for shows whether there is a next page.
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
		// The note is in the page and in the JSON of it.
		if err := memory.take(2 * len(c.Note)); err != nil {
			return err
		}
		page.Checkpoints = append(page.Checkpoints, pastCheckpoint{c.Number, c.Size, c.Published, string(c.Note)})
	}
	return reply(w, http.StatusOK, page)
}
