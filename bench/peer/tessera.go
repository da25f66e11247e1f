package peer

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
)

// Batching says when Tessera integrates: once a batch has so many entries, or
// is so old.
type Batching struct {
	Size uint
	Age  time.Duration
}

// A Tessera is a log of Tessera's POSIX driver, without its deduplication.
type Tessera struct {
	appender *tessera.Appender
	shutdown func(context.Context) error
	stop     context.CancelFunc
}

// maxOutstanding is more than what waits in any turn, so that Tessera pushes
// nothing back.
const maxOutstanding = 1 << 20

// OpenTessera makes a log in a folder. It publishes a checkpoint each second.
func OpenTessera(ctx context.Context, dir string, b Batching) (*Tessera, error) {
	silence()
	skey, _, err := note.GenerateKey(rand.Reader, "logs.example.com")
	if err != nil {
		return nil, err
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		return nil, err
	}
	driver, err := posix.New(ctx, posix.Config{Path: dir})
	if err != nil {
		return nil, err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	appender, shutdown, _, err := tessera.NewAppender(running, driver, tessera.NewAppendOptions().
		WithCheckpointSigner(signer).
		WithCheckpointInterval(time.Second).
		WithBatching(b.Size, b.Age).
		WithPushback(maxOutstanding))
	if err != nil {
		stop()
		return nil, err
	}
	return &Tessera{appender, shutdown, stop}, nil
}

// Close waits until all entries are published, and stops the log.
func (t *Tessera) Close(ctx context.Context) error {
	defer t.stop()
	return t.shutdown(ctx)
}

// Add adds entries and returns once they are integrated.
func (t *Tessera) Add(ctx context.Context, entries ...[]byte) (last uint64, err error) {
	futures := make([]tessera.IndexFuture, len(entries))
	for i, e := range entries {
		futures[i] = t.appender.Add(ctx, tessera.NewEntry(e))
	}
	for _, f := range futures {
		index, err := f()
		if err != nil {
			return 0, fmt.Errorf("add to Tessera: %w", err)
		}
		last = index.Index
	}
	return last, nil
}

// ServeHTTP adds the body of a request and answers with its index.
func (t *Tessera) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	index, err := t.Add(r.Context(), body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = w.Write(strconv.AppendUint(nil, index, 10))
}
