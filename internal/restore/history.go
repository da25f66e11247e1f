package restore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/heads"
	"github.com/stele-log/stele/pkg/policy"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
)

// This file gives a restored log its history of checkpoints, under their old numbers
// and byte for byte: archives of heads go on from these numbers, and a check of the
// log compares each checkpoint with the entries.

// archived returns the checkpoints of an archive, from its beginning, for
// client.Check to compare with the tree.
func archived(archive io.ReadSeeker) iter.Seq2[heads.Checkpoint, error] {
	return func(yield func(heads.Checkpoint, error) bool) {
		a, err := openArchive(archive)
		if err != nil {
			yield(heads.Checkpoint{}, err)
			return
		}
		for {
			c, err := a.Next()
			if err == io.EOF {
				return
			}
			if !yield(c, err) || err != nil {
				return
			}
		}
	}
}

// openArchive reads an archive again from its beginning.
func openArchive(archive io.ReadSeeker) (*heads.Reader, error) {
	if _, err := archive.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return heads.NewReader(archive)
}

// checkArchive verifies an archive, which must begin with checkpoint 0, and
// returns its last checkpoint.
func checkArchive(archive io.ReadSeeker, p *policy.Policy) (heads.Verified, error) {
	if _, err := archive.Seek(0, io.SeekStart); err != nil {
		return heads.Verified{}, err
	}
	report, err := heads.Verify(archive, p)
	if err == nil && report.Count > 0 && report.First.Number > 0 {
		err = fmt.Errorf("it begins with checkpoint %d; a history begins with checkpoint 0: export it without --from",
			report.First.Number)
	}
	return report.Last, err
}

// A history yields the checkpoints that a restored log shall have and lacks, one by
// one: those of the archive, then the copy's, if that has not been archived.
type history struct {
	archive *heads.Reader      // nil if there is none, and after its end
	next    storage.Checkpoint // to be stored, unless ended
	head    tree.Head          // of the copy
	note    []byte
	ended   bool
	r       *restorer
}

// openHistory returns the history at the first checkpoint that the log lacks. That
// is not the first of all if an earlier restore was stopped.
func (r *restorer) openHistory(ctx context.Context) (*history, error) {
	h := &history{head: r.head, note: r.note, r: r}
	if r.cfg.Heads != nil {
		a, err := openArchive(r.cfg.Heads)
		if err != nil {
			return nil, err
		}
		h.archive = a
	}
	last, err := r.log.LastCheckpoint(ctx)
	if errors.Is(err, storage.ErrNotFound) {
		return h, h.advance(0, nil)
	}
	if err != nil {
		return nil, err
	}
	h.r.restored.Checkpoints = last.Number + 1
	return h, h.advance(last.Number+1, &last)
}

// advance moves to the checkpoint with that number; last is the newest that the log
// has, or nil. On the way it makes sure that last is the archive's: otherwise the
// log would get a history that nobody has seen.
func (h *history) advance(number uint64, last *storage.Checkpoint) error {
	for h.archive != nil {
		c, err := h.archive.Next()
		if err == io.EOF {
			h.archive = nil
			break
		}
		if err != nil {
			return err
		}
		if last != nil && c.Number == last.Number && string(c.Note) != string(last.Note) {
			return fmt.Errorf("the log's checkpoint %d is not the one in the archive of heads", c.Number)
		}
		if c.Number == number {
			in, err := checkpoint.ParseNote(c.Note)
			h.next = storage.Checkpoint{Number: number, Size: in.Size, Note: c.Note, Published: c.Published}
			return err
		}
	}
	if last != nil && last.Size == h.head.Size {
		h.ended = true
		return nil
	}
	h.next = storage.Checkpoint{Number: number, Size: h.head.Size, Note: h.note, Published: h.r.cfg.Now().UTC().Truncate(time.Microsecond)}
	return nil
}

// due returns the size at which the log must have its next head, so that the
// checkpoint of that size can be stored. A batch ends there.
func (h *history) due() uint64 {
	if h.ended {
		return h.head.Size
	}
	return h.next.Size
}

// store stores the checkpoints of trees up to the size reached. The database
// refuses one whose head it lacks: the log was then restored without this archive
// before, and has no heads in those places.
func (h *history) store(ctx context.Context, size uint64) error {
	for !h.ended && h.next.Size <= size {
		stored := h.next
		if err := h.r.log.AddCheckpoint(ctx, stored); err != nil {
			if errors.Is(err, storage.ErrNotFound) {
				err = fmt.Errorf("%w: the log was restored in part, without this history: start again with an empty database", err)
			}
			return err
		}
		h.r.restored.Checkpoints = stored.Number + 1
		if err := h.advance(stored.Number+1, &stored); err != nil {
			return err
		}
	}
	return nil
}
