package inspect_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/stele-log/stele/internal/engine"
	"github.com/stele-log/stele/internal/inspect"
	"github.com/stele-log/stele/internal/test/dbtest"
	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/policy"
	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
	"github.com/stele-log/stele/storage/storagetest"
)

// A rig is a log in a database, and the data folder of its server.
type rig struct {
	log    storage.Log
	signer note.Signer
	dir    string
	next   uint64 // number of the next checkpoint
	config inspect.Config
}

// key returns what signs for an origin, and the policy that trusts it.
func key(t *testing.T, origin string) (note.Signer, *policy.Policy) {
	t.Helper()
	skey, vkey, err := checkpoint.GenerateKey(bytes.NewReader(make([]byte, 32)), origin)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := checkpoint.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	p, err := policy.ForLog(vkey)
	if err != nil {
		t.Fatal(err)
	}
	return signer, p
}

func newRig(t *testing.T, store storage.Store) *rig {
	t.Helper()
	l, err := store.CreateLog(t.Context(), "one", "log.example/one")
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{log: l, dir: t.TempDir()}
	var p *policy.Policy
	r.signer, p = key(t, "log.example/one")
	r.config = inspect.Config{Store: store, Name: "one", Dir: r.dir, Policies: []*policy.Policy{p}}
	r.makeFolder(t, "one")
	return r
}

func (r *rig) makeFolder(t *testing.T, name string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(r.dir, "logs", name), 0o700); err != nil {
		t.Fatal(err)
	}
}

// sign puts a checkpoint of a head on record as signed.
func (r *rig) sign(t *testing.T, name string, head tree.Head, signer note.Signer) []byte {
	t.Helper()
	msg, err := checkpoint.Sign(checkpoint.Checkpoint{Origin: signer.Name(), Head: head}, signer)
	if err == nil {
		err = engine.RecordOf(r.dir, name).Store(msg)
	}
	if err != nil {
		t.Fatal(err)
	}
	return msg
}

// publish signs, stores and records a checkpoint.
func (r *rig) publish(t *testing.T, head tree.Head) {
	t.Helper()
	c := storage.Checkpoint{Number: r.next, Size: head.Size, Note: r.sign(t, "one", head, r.signer), Published: time.Now()}
	err := r.log.AddCheckpoint(t.Context(), c)
	if err == nil {
		err = engine.RecordOf(r.dir, "one").StorePublished(c)
	}
	if err != nil {
		t.Fatal(err)
	}
	r.next++
}

func TestLogIsComparedWithAllThatIsKept(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, open func() storage.Store) {
		r := newRig(t, open())
		for _, n := range []int{10, 300} {
			r.publish(t, storagetest.Grow(t, r.log, n))
		}
		r.makeFolder(t, "unused")
		// Signed, while witnesses are waited for, and committed since.
		r.sign(t, "one", storagetest.Grow(t, r.log, 40), r.signer)
		storagetest.Grow(t, r.log, 2)
		report, err := inspect.Log(t.Context(), r.config)
		if err != nil || report.Size != 310 || report.Past != 2 || report.Uncovered != 42 ||
			*report.Signed != 350 || *report.Published != 1 || !slices.Equal(report.Unused, []string{"unused"}) {
			t.Errorf("%+v, %v", report, err)
		}
		r.config.Dir = ""
		report, err = inspect.Log(t.Context(), r.config)
		if err != nil || report.Past != 2 || report.Signed != nil || report.Published != nil || report.Unused != nil {
			t.Errorf("without the folder %+v, %v", report, err)
		}
	})
}

func TestWhatIsNotKnownIsNotHeldAgainstTheLog(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, open func() storage.Store) {
		store := open()
		r := newRig(t, store)
		other, _ := key(t, "log.example/other")
		for _, test := range []struct {
			name      string
			change    func()
			unchecked bool
			says      string
		}{
			{"nothing published", func() { storagetest.Grow(t, r.log, 10) }, true, "published no checkpoint yet"},
			{"signed, and not published", func() { r.sign(t, "one", storagetest.Grow(t, r.log, 10), r.signer) }, true, "published no checkpoint yet"},
			{"another log's folder", func() { r.sign(t, "one", tree.Empty(), other) }, true, "this is the log log.example/other"},
			{"a log that is lost beside it", func() {
				r.publish(t, storagetest.Grow(t, r.log, 10))
				r.makeFolder(t, "lost")
				r.sign(t, "lost", tree.Empty(), other)
			}, false, "log lost: it has signed checkpoints"},
			{"no such log", func() {
				_ = os.RemoveAll(filepath.Join(r.dir, "logs", "lost"))
				r.config.Name = "two"
			}, true, "not found"},
			{"a database that is closed", func() {
				r.config.Name = "one"
				_ = store.Close()
			}, true, ""},
		} {
			test.change()
			_, err := inspect.Log(t.Context(), r.config)
			if err == nil || errors.Is(err, tile.ErrUnchecked) != test.unchecked || !strings.Contains(err.Error(), test.says) {
				t.Errorf("%s: the error is %v, and wraps ErrUnchecked: %t", test.name, err, errors.Is(err, tile.ErrUnchecked))
			}
		}
	})
}
