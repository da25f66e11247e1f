//go:build !windows

// Tessera keeps files on Unix only.

package witness_test

import (
	"crypto/rand"
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"

	"github.com/stele-log/stele/pkg/checkpoint"
)

// TestTesseraLogIsWitnessed runs a log that we did not write, which publishes
// nothing that our witness has not cosigned.
func TestTesseraLogIsWitnessed(t *testing.T) {
	t.Parallel()
	const origin = "tessera.example/log"
	skey, vkey, err := checkpoint.GenerateKey(rand.Reader, origin)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := checkpoint.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := checkpoint.NewVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	db, keys := openWitnessDB(t), newWitnessKeys(t)
	if _, err := db.AddKeys(t.Context(), origin, vkey); err != nil {
		t.Fatal(err)
	}
	at, err := url.Parse(keys.start(t, db).URL)
	if err != nil {
		t.Fatal(err)
	}
	w, err := tessera.NewWitness(keys.ed25519.VKey(), at)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for round := range 2 { // the second log starts where the first one stopped
		options := tessera.NewAppendOptions().
			WithCheckpointSigner(signer).
			WithBatching(20, 10*time.Millisecond).
			WithCheckpointInterval(100*time.Millisecond).
			WithWitnesses(tessera.NewWitnessGroup(1, w), &tessera.WitnessOptions{Timeout: 10 * time.Second})
		cosigned := appendToTessera(t, dir, options, 60)
		c, _, err := checkpoint.Open(cosigned, origin, verifier)
		if err != nil {
			t.Fatal(err)
		}
		if n := keys.open(t, string(cosigned)); len(n.Sigs) != 1 || c.Size != uint64(60*(round+1)) {
			t.Errorf("size %d, signed by the witness with %v", c.Size, n.Sigs)
		}
		known, err := db.Log(t.Context(), origin)
		if err != nil || known.Head != c.Head {
			t.Errorf("the witness knows %s, %v; the log has published %s", known.Head, err, c.Head)
		}
	}
}

// appendToTessera appends n entries, in three goes, to the Tessera log in a
// folder, and returns the checkpoint that covers the last.
func appendToTessera(t *testing.T, dir string, options *tessera.AppendOptions, n int) (published []byte) {
	t.Helper()
	driver, err := posix.New(t.Context(), posix.Config{Path: dir})
	if err != nil {
		t.Fatal(err)
	}
	appender, shutdown, reader, err := tessera.NewAppender(t.Context(), driver, options)
	if err != nil {
		t.Fatal(err)
	}
	await := tessera.NewPublicationAwaiter(t.Context(), reader.ReadCheckpoint, 20*time.Millisecond)
	for range 3 {
		var last tessera.IndexFuture
		for i := range n / 3 {
			last = appender.Add(t.Context(), tessera.NewEntry(fmt.Appendf(nil, "entry %d of %s", i, rand.Text())))
		}
		if _, published, err = await.Await(t.Context(), last); err != nil {
			t.Fatal(err)
		}
	}
	if err := shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	return published
}
