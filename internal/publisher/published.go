package publisher

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/stele-log/stele/internal/durable"
	"github.com/stele-log/stele/storage"
)

// PublishedPath returns the file that holds the checkpoint published last, with its
// number, beside the record of what was signed. It is outside the database too, so that
// checkpoints that are deleted there, and whose numbers are then given again, are missed.
func (r Record) PublishedPath() string {
	return filepath.Join(filepath.Dir(string(r)), "published.checkpoint")
}

// LoadPublished returns the number and the note of the checkpoint published last, or nil
// if there is no such file.
func (r Record) LoadPublished() (*storage.Checkpoint, error) {
	text, err := os.ReadFile(r.PublishedPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	first, note, _ := bytes.Cut(text, []byte("\n\n"))
	digits, ok := bytes.CutPrefix(first, []byte("number "))
	number, err := strconv.ParseUint(string(digits), 10, 63)
	if !ok || err != nil {
		return nil, fmt.Errorf("%s does not begin with the number of a checkpoint", r.PublishedPath())
	}
	return &storage.Checkpoint{Number: number, Note: note}, nil
}

// StorePublished replaces the checkpoint published last, durably.
func (r Record) StorePublished(c storage.Checkpoint) error {
	text := fmt.Appendf(nil, "number %d\n\n%s", c.Number, c.Note)
	return durable.Replace(durable.System, r.PublishedPath(), text, 0o600)
}

// SameHead reports whether two notes sign one text, whoever has cosigned them.
func SameHead(a, b []byte) bool {
	textA, _, _ := bytes.Cut(a, []byte("\n\n"))
	textB, _, _ := bytes.Cut(b, []byte("\n\n"))
	return bytes.Equal(textA, textB)
}

// rememberTimeout bounds how long a publisher that ends takes for its last number.
const rememberTimeout = time.Second

// remember puts a published checkpoint on record, also while the publisher ends. If the
// history does not have the one on record any more, that one stays there, for "stele
// check" to find.
func (p *Publisher) remember(ctx context.Context, c storage.Checkpoint) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rememberTimeout)
	defer cancel()
	last, err := p.cfg.Record.LoadPublished()
	if err == nil && last != nil {
		err = p.isStored(ctx, *last)
	}
	if err == nil {
		err = p.cfg.Record.StorePublished(c)
	}
	if err != nil {
		p.cfg.Logger.Error("the number of the checkpoint is not on record", "number", c.Number, "error", err)
	}
}

// isStored returns an error unless the history has a checkpoint of that number and head.
func (p *Publisher) isStored(ctx context.Context, c storage.Checkpoint) error {
	page, err := p.cfg.Log.Checkpoints(ctx, c.Number, 1)
	if err != nil {
		return err
	}
	if len(page) == 0 || page[0].Number != c.Number || !SameHead(page[0].Note, c.Note) {
		return fmt.Errorf("checkpoint %d was published, and the database has it no more: run \"stele check\"", c.Number)
	}
	return nil
}
