package golden_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/stele-log/stele/pkg/event"
	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
)

var update = flag.Bool("update", false, "write testdata/log-300, unless there is one")

const (
	logDir    = "../../../testdata/log-300"
	inputFile = "../../../testdata/log-300.ndjson"
	size      = 300
	origin    = "example.org/stele/golden"
	vkey      = "example.org/stele/golden+baae9ed5+ATG75N8jl00ce0dugggyBR7Ig6FhBy7IMsytF1xUTsDQ"
	root      = "Nz27FgaEZjmQvZdTp6r8olee/8FfjxD5wwxhXIaKYj8="
)

func TestGoldenLogVerifies(t *testing.T) {
	writeOnce(t)
	ctx := t.Context()
	r := tile.FS(os.DirFS(logDir))
	if head := openCheckpoint(t, r); head.Size != size || head.Root.String() != root {
		t.Fatalf("checkpoint has %v, want size %d root %s", head, size, root)
	}

	entries := readEntries(t, r)
	f := new(tree.Frontier)
	for i, entry := range entries {
		if _, err := event.Decode(entry); err != nil {
			t.Errorf("entry %d: %v", i, err)
		}
		for _, full := range f.Append([]tree.Hash{tree.LeafHash(entry)}) {
			if data, err := r.ReadTile(ctx, full.Tile); err != nil || !bytes.Equal(data, full.Data) {
				t.Errorf("%s is not what the entries give, or: %v", full.Tile, err)
			}
		}
	}
	if head := f.Head(); head.Root.String() != root {
		t.Errorf("entries give %v", head)
	}
	stored, err := tree.ReadFrontier(ctx, r, size)
	if err != nil || stored.Head() != f.Head() {
		t.Errorf("partial tiles give %v, %v", stored.Head(), err)
	}
}

func TestSameEventsMakeTheSameEntries(t *testing.T) {
	writeOnce(t)
	want := readEntries(t, tile.FS(os.DirFS(logDir)))
	got := makeEntries(t, readInputs(t))
	if len(got) != len(want) {
		t.Fatalf("%d entries, want %d", len(got), len(want))
	}
	for i := range want {
		if !bytes.Equal(got[i], want[i]) {
			t.Errorf("entry %d\n%.1000s\nwant\n%.1000s", i, got[i], want[i])
		}
	}
}

// openCheckpoint returns the head that the log's key has signed.
func openCheckpoint(t *testing.T, r tile.Reader) tree.Head {
	t.Helper()
	signed, err := r.ReadCheckpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	n, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		t.Fatal(err)
	}
	var head tree.Head
	lines := strings.Split(n.Text, "\n")
	if len(lines) != 4 || lines[0] != origin || lines[1] != fmt.Sprint(size) {
		t.Fatalf("checkpoint %q", n.Text)
	}
	head.Size = size
	if head.Root, err = tree.ParseHash(lines[2]); err != nil {
		t.Fatal(err)
	}
	return head
}

func readEntries(t *testing.T, r tile.Reader) [][]byte {
	t.Helper()
	var all [][]byte
	for index := uint64(0); len(all) < size; index++ {
		b, _ := tile.At(tile.Entries, index, size)
		data, err := r.ReadTile(context.Background(), b)
		if err != nil {
			t.Fatal(err)
		}
		entries, err := tile.SplitBundle(data, b.Width)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, entries...)
	}
	return all
}

func readInputs(t *testing.T) []input {
	t.Helper()
	b, err := os.ReadFile(inputFile)
	if err != nil {
		t.Fatal(err)
	}
	var all []input
	for line := range bytes.Lines(b) {
		var in input
		if err := json.Unmarshal(line, &in); err != nil {
			t.Fatal(err)
		}
		all = append(all, in)
	}
	return all
}

func makeEntries(t *testing.T, inputs []input) [][]byte {
	t.Helper()
	var all [][]byte
	for _, in := range inputs {
		all = append(all, in.entries(t, len(all))...)
	}
	return all
}

// writeOnce writes the log if -update is given and there is none. A log that
// has been released is never written again.
func writeOnce(t *testing.T) {
	t.Helper()
	if _, err := os.Stat(logDir); err == nil || !*update {
		return
	}
	var lines []byte
	for _, in := range inputs() {
		line, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(append(lines, line...), '\n')
	}
	write(t, inputFile, lines)
	entries := makeEntries(t, readInputs(t))
	if len(entries) != size {
		t.Fatalf("%d entries", len(entries))
	}
	leaves := make([]tree.Hash, size)
	for i, entry := range entries {
		leaves[i] = tree.LeafHash(entry)
	}
	f := new(tree.Frontier)
	writeTiles(t, leaves, f.Append(leaves))
	writeBundles(t, entries)

	signer, verifier := key(t)
	head := f.Head()
	signed, err := note.Sign(&note.Note{Text: fmt.Sprintf("%s\n%d\n%s\n", origin, head.Size, head.Root)}, signer)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(logDir, "checkpoint"), signed)
	t.Logf("const vkey = %q", verifier)
	t.Logf("const root = %q", head.Root)
}

// writeTiles writes the tiles of a tree of size entries, full and partial.
func writeTiles(t *testing.T, leaves []tree.Hash, full []tree.FullTile) {
	t.Helper()
	rows := [][]tree.Hash{leaves, nil}
	for _, f := range full {
		rows[f.Tile.Level+1] = append(rows[f.Tile.Level+1], f.Root)
	}
	for level, hashes := range rows {
		for index := uint64(0); ; index++ {
			tl, ok := tile.At(level, index, size)
			if !ok {
				break
			}
			write(t, filepath.Join(logDir, tl.Path()), tree.JoinTile(hashes[index*tile.Width:][:tl.Width]))
		}
	}
}

func writeBundles(t *testing.T, entries [][]byte) {
	t.Helper()
	for index := uint64(0); ; index++ {
		b, ok := tile.At(tile.Entries, index, size)
		if !ok {
			return
		}
		var data []byte
		for _, entry := range entries[b.Start():][:b.Width] {
			var err error
			if data, err = tile.AppendEntry(data, entry); err != nil {
				t.Fatal(err)
			}
		}
		write(t, filepath.Join(logDir, b.Path()), data)
	}
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// key returns the log's signer and its public key. The key is no secret: its
// seed is the hash of the origin.
func key(t *testing.T) (note.Signer, string) {
	t.Helper()
	seed := sha256.Sum256([]byte(origin))
	public := append([]byte{1}, ed25519.NewKeyFromSeed(seed[:]).Public().(ed25519.PublicKey)...)
	id := sha256.Sum256(append([]byte(origin+"\n"), public...))
	hash := binary.BigEndian.Uint32(id[:])
	signer, err := note.NewSigner(fmt.Sprintf("PRIVATE+KEY+%s+%08x+%s", origin, hash,
		base64.StdEncoding.EncodeToString(append([]byte{1}, seed[:]...))))
	if err != nil {
		t.Fatal(err)
	}
	return signer, fmt.Sprintf("%s+%08x+%s", origin, hash, base64.StdEncoding.EncodeToString(public))
}

func TestDocumentShowsTheLog(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../../../docs/formats.md")
	if err != nil {
		t.Fatal(err)
	}
	document := string(b)
	entries := readEntries(t, tile.FS(os.DirFS(logDir)))
	leaf := tree.LeafHash(entries[0])
	want := []string{string(entries[0]), string(entries[6]), leaf.String(), fmt.Sprintf("%x", leaf[:]),
		fmt.Sprintf("begins with `%04x`", len(entries[0]))}
	for i, line := range slices.Collect(slices.Chunk(append([]byte{0}, entries[0]...), 16)) {
		want = append(want, fmt.Sprintf("\n%04x  % x", 16*i, line))
	}
	for _, s := range want {
		if !strings.Contains(document, s) {
			t.Errorf("docs/formats.md does not show %q", s)
		}
	}
}
