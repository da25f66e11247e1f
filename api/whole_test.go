package api_test

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"filippo.io/torchwood"
	merkle "github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/stele-log/stele/internal/test/dbtest"
	"github.com/stele-log/stele/pkg/event"
	"github.com/stele-log/stele/pkg/policy"
	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/storage"
)

// checkWhole publishes all of the log "default", and checks over HTTP that the
// checkpoint signs the tree of its entries, each of which is one.
func (r *rig) checkWhole() tree.Head {
	r.Helper()
	if size := r.sizes()["default"]; size > 0 {
		r.get(fmt.Sprintf("/logs/default/events/%d/receipt?wait=published", size-1))
	}
	p, err := policy.ForLog(r.vkeys()...)
	if err != nil {
		r.Fatal(err)
	}
	result, err := p.Check(r.get("/logs/default/checkpoint"))
	if err != nil {
		r.Fatal(err)
	}
	var frontier tree.Frontier
	reader := tile.HTTP(r.client, r.log)
	for i := uint64(0); ; i++ {
		t, ok := tile.At(tile.Entries, i, result.Size)
		if !ok {
			break
		}
		bundle, err := reader.ReadTile(r.Context(), t)
		if err != nil {
			r.Fatal(err)
		}
		entries, err := tile.SplitBundle(bundle, t.Width)
		if err != nil {
			r.Fatal(err)
		}
		for n, e := range entries {
			if _, err := event.Decode(e); err != nil {
				r.Errorf("entry %d: %v", t.Start()+uint64(n), err)
			}
			frontier.Append([]tree.Hash{tree.LeafHash(e)})
		}
	}
	if got := frontier.Head(); got != result.Head {
		r.Errorf("the entries make %v, the checkpoint says %v", got, result.Head)
	}
	return result.Head
}

// grow appends entries in odd batches, some with a checkpoint after them, and
// returns the log's heads by checkpoint.
func (r *rig) grow() []tree.Head {
	r.Helper()
	next := 0
	for i, n := range []int{1, 1, 5, 37, 211, 1, 0, 2, 254, 300, 511, 1, 176} {
		var lines strings.Builder
		for range n {
			fmt.Fprintf(&lines, `{"type":"a","source":"/grow","id":"%d","data":%q}`+"\n", next, strings.Repeat("x", next%97))
			next++
		}
		path := "/logs/default/events"
		if i%3 != 2 {
			path += "?wait=published"
		}
		if got := r.results(r.do("POST", path, lines.String(), "Content-Type", "application/x-ndjson")); len(got) != n {
			r.Fatalf("%d results of %d events", len(got), n)
		}
	}
	r.checkWhole()
	return r.heads()
}

// heads returns what the published checkpoints sign.
func (r *rig) heads() []tree.Head {
	r.Helper()
	var page struct{ Checkpoints []struct{ Note string } }
	r.decode(r.get("/logs/default/checkpoints?limit=1000"), &page)
	p, err := policy.ForLog(r.vkeys()...)
	if err != nil {
		r.Fatal(err)
	}
	var heads []tree.Head
	for _, c := range page.Checkpoints {
		result, err := p.Check([]byte(c.Note))
		if err != nil {
			r.Fatal(err)
		}
		heads = append(heads, result.Head)
	}
	return heads
}

// spread are indexes in a tree of that size, the edges of tiles among them.
func spread(size uint64) []uint64 {
	var indexes []uint64
	for _, i := range []uint64{0, 1, 42, 254, 255, 256, 257, 511, 512, 767, 768, 1023, 1024, size / 2, size - 2, size - 1} {
		if i < size {
			indexes = append(indexes, i)
		}
	}
	return indexes
}

func TestOthersReadOurTilesAndAgree(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, open func() storage.Store) {
		r := newRig(t, settings{store: open()})
		heads := r.grow()
		if last := heads[len(heads)-1]; last.Size != 1500 || len(heads) < 8 {
			t.Fatalf("%d checkpoints up to %v, want more and 1500", len(heads), last)
		}
		t.Run("tessera builds proofs", func(t *testing.T) { tesseraProves(t, r, heads) })
		t.Run("tessera checks all", func(t *testing.T) { tesseraChecks(t, r) })
		t.Run("torchwood reads all", func(t *testing.T) { torchwoodReads(t, r) })
	})
}

func fetcher(t *testing.T, r *rig) *client.HTTPFetcher {
	t.Helper()
	u, err := url.Parse(r.log)
	if err != nil {
		t.Fatal(err)
	}
	f, err := client.NewHTTPFetcher(u, r.client)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// tesseraProves builds proofs from the tiles of each tree that had a
// checkpoint, and compares them with ours.
func tesseraProves(t *testing.T, r *rig, heads []tree.Head) {
	for _, head := range heads {
		builder, err := client.NewProofBuilder(t.Context(), head.Size, fetcher(t, r).ReadTile)
		if err != nil {
			t.Fatal(err)
		}
		for _, index := range spread(head.Size) {
			var ours struct {
				LeafHash tree.Hash `json:"leaf_hash"`
				Hashes   []tree.Hash
			}
			r.decode(r.get(fmt.Sprintf("/logs/default/proofs/inclusion?index=%d&size=%d", index, head.Size)), &ours)
			theirs, err := builder.InclusionProof(t.Context(), index)
			if err != nil {
				t.Fatal(err)
			}
			sameProof(t, ours.Hashes, theirs)
			if err := merkle.VerifyInclusion(rfc6962.DefaultHasher, index, head.Size, ours.LeafHash[:],
				theirs, head.Root[:]); err != nil {
				t.Errorf("entry %d of %v: %v", index, head, err)
			}
		}
		for _, from := range heads {
			if from.Size > head.Size || from.Size == 0 {
				continue
			}
			var ours struct{ Hashes []tree.Hash }
			r.decode(r.get(fmt.Sprintf("/logs/default/proofs/consistency?from=%d&to=%d", from.Size, head.Size)), &ours)
			theirs, err := builder.ConsistencyProof(t.Context(), from.Size, head.Size)
			if err != nil {
				t.Fatal(err)
			}
			sameProof(t, ours.Hashes, theirs)
			if err := merkle.VerifyConsistency(rfc6962.DefaultHasher, from.Size, head.Size,
				theirs, from.Root[:], head.Root[:]); err != nil {
				t.Errorf("from %v to %v: %v", from, head, err)
			}
		}
	}
}

func sameProof(t *testing.T, ours []tree.Hash, theirs [][]byte) {
	t.Helper()
	if len(ours) != len(theirs) {
		t.Fatalf("%d hashes, tessera has %d", len(ours), len(theirs))
	}
	for i := range ours {
		if string(ours[i][:]) != string(theirs[i]) {
			t.Fatalf("hash %d is %s, tessera has %s", i, ours[i], tree.Hash(theirs[i]))
		}
	}
}

func tesseraChecks(t *testing.T, r *rig) {
	v, err := note.NewVerifier(r.vkeys()[0])
	if err != nil {
		t.Fatal(err)
	}
	hashBundle := func(bundle []byte) ([][]byte, error) {
		var hashes [][]byte
		for len(bundle) > 0 {
			entry, rest, err := torchwood.ReadTileEntry(bundle)
			if err != nil {
				return nil, err
			}
			hashes = append(hashes, rfc6962.DefaultHasher.HashLeaf(entry))
			bundle = rest
		}
		return hashes, nil
	}
	// It can hang if a bundle is short.
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- fsck.New(origin, v, fetcher(t, r), hashBundle, fsck.Opts{N: 2}).Check(ctx) }()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-ctx.Done():
		t.Error("fsck hangs")
	}
}

func torchwoodReads(t *testing.T, r *rig) {
	v, err := note.NewVerifier(r.vkeys()[0])
	if err != nil {
		t.Fatal(err)
	}
	f, err := torchwood.NewTileFetcher(r.log, torchwood.WithHTTPClient(r.client))
	if err != nil {
		t.Fatal(err)
	}
	signed, err := f.ReadEndpoint(t.Context(), "checkpoint")
	if err != nil {
		t.Fatal(err)
	}
	checkpoint, _, err := torchwood.VerifyCheckpoint(signed,
		torchwood.ThresholdPolicy(2, torchwood.OriginPolicy(origin), torchwood.SingleVerifierPolicy(v)))
	if err != nil {
		t.Fatal(err)
	}
	c, err := torchwood.NewClient(f, torchwood.WithTimeout(2*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	next := int64(0)
	for i, entry := range c.AllEntries(t.Context(), checkpoint.Tree, 0) {
		e, err := event.Decode(entry)
		if i != next || err != nil || e.ID != strconv.FormatInt(i, 10) {
			t.Fatalf("entry %d, want %d: id %q, %v", i, next, e.ID, err)
		}
		next++
	}
	if c.Err() != nil || next != checkpoint.N {
		t.Errorf("%d of %d entries: %v", next, checkpoint.N, c.Err())
	}
	for _, i := range spread(uint64(checkpoint.N)) {
		entry, path, err := c.Entry(t.Context(), checkpoint.Tree, int64(i))
		if err != nil {
			t.Fatal(err)
		}
		if err := tlog.CheckRecord(path, checkpoint.N, checkpoint.Hash, int64(i), tlog.RecordHash(entry)); err != nil {
			t.Errorf("entry %d: %v", i, err)
		}
		if ours := r.get(fmt.Sprintf("/logs/default/events/%d", i)); string(ours) != string(entry) {
			t.Errorf("entry %d in its bundle is not the one at its own path", i)
		}
	}
}
