package publisher_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stele-log/stele/internal/publisher"
	"github.com/stele-log/stele/storage"
)

// lastPublished returns what is on record as published last, nil if nothing is.
func lastPublished(t *testing.T, r publisher.Record) *storage.Checkpoint {
	t.Helper()
	c, err := r.LoadPublished()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestNumberOfTheNewestCheckpointIsOnRecord(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		if c := lastPublished(t, r.config.Record); c != nil {
			t.Fatalf("before anything is published there is %+v", c)
		}
		for want := range uint64(3) {
			p, stop := r.start(t)
			head := r.grow(t, p, 10)
			r.wait(t, p, head.Size)
			stop()
			latest, err := p.Latest()
			if err != nil {
				t.Fatal(err)
			}
			c := lastPublished(t, r.config.Record)
			if c == nil || c.Number != latest.Number || c.Number < want || !publisher.SameHead(c.Note, latest.Note) {
				t.Errorf("on record is %+v, published was number %d", c, latest.Number)
			}
		}
	})
}

// TestLostCheckpointStaysOnRecord: one that another log's history has under its number is
// not the one that was published.
func TestLostCheckpointStaysOnRecord(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		p, stop := r.start(t)
		r.wait(t, p, 0)
		stop()
		lost := storage.Checkpoint{Number: 40, Note: []byte("a lost one\n")}
		for _, lost.Number = range []uint64{40, 0} {
			if err := r.config.Record.StorePublished(lost); err != nil {
				t.Fatal(err)
			}
			p, stop := r.start(t)
			head := r.grow(t, p, 10)
			r.wait(t, p, head.Size)
			stop()
			if c := lastPublished(t, r.config.Record); c.Number != lost.Number || string(c.Note) != string(lost.Note) {
				t.Errorf("on record is %+v, want the lost one to stay", c)
			}
		}
	})
}

func TestDamagedNumberIsAnError(t *testing.T) {
	t.Parallel()
	r := publisher.Record(t.TempDir() + "/signed.checkpoint")
	for _, text := range []string{"", "40\n\nnote", "number x\n\nnote", "number -1\n\nnote"} {
		if err := os.WriteFile(r.PublishedPath(), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if c, err := r.LoadPublished(); err == nil || !strings.Contains(err.Error(), "number of a checkpoint") {
			t.Errorf("%q is read as %+v, %v", text, c, err)
		}
	}
}

func TestHeadIsTheSameWhoeverHasCosigned(t *testing.T) {
	t.Parallel()
	if !publisher.SameHead([]byte("text\n\n— a x\n"), []byte("text\n\n— a x\n— b y\n")) {
		t.Error("a note with a cosignature more is taken for another")
	}
	if publisher.SameHead([]byte("text\n\n— a x\n"), []byte("other\n\n— a x\n")) {
		t.Error("two notes are taken for one")
	}
}
