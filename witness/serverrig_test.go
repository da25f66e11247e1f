package witness_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/stele-log/stele/internal/test/pgtest"
	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/cosignature"
	"github.com/stele-log/stele/pkg/proof"
	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/witness"
	"github.com/stele-log/stele/witness/witnessdb"
)

const (
	logOrigin   = "log.example/one"
	witnessName = "witness.example/w1"
)

// onEachDatabase runs a test on a new SQLite and on a new PostgreSQL database.
// Each call of open opens the same one.
func onEachDatabase(t *testing.T, test func(t *testing.T, open func() *witnessdb.DB)) {
	t.Helper()
	t.Parallel()
	run := func(name string, opener func(t *testing.T) func() (*witnessdb.DB, error)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opens := opener(t)
			test(t, func() *witnessdb.DB {
				t.Helper()
				db, err := opens()
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = db.Close() })
				return db
			})
		})
	}
	run("sqlite", func(t *testing.T) func() (*witnessdb.DB, error) {
		path := filepath.Join(t.TempDir(), "witness.db")
		return func() (*witnessdb.DB, error) { return witnessdb.OpenSQLite(t.Context(), path) }
	})
	run("postgres", func(t *testing.T) func() (*witnessdb.DB, error) {
		url := pgtest.Empty(t)
		return func() (*witnessdb.DB, error) { return witnessdb.OpenPostgres(t.Context(), url) }
	})
}

func openWitnessDB(t testing.TB) *witnessdb.DB {
	t.Helper()
	db, err := witnessdb.OpenSQLite(context.Background(), filepath.Join(t.TempDir(), "witness.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// witnessKeys are the keys of a witness under test.
type witnessKeys struct {
	ed25519, mldsa44 *cosignature.Signer
	verifiers        []note.Verifier
	now              *atomic.Int64 // its clock, in seconds
}

func newWitnessKeys(t testing.TB) witnessKeys {
	t.Helper()
	k := witnessKeys{now: new(atomic.Int64)}
	k.now.Store(time.Now().Unix())
	signer := func(typ cosignature.Type) *cosignature.Signer {
		skey, vkey, err := cosignature.GenerateKey(rand.Reader, typ, witnessName)
		if err != nil {
			t.Fatal(err)
		}
		s, err := cosignature.NewSigner(skey, k.clock)
		if err != nil {
			t.Fatal(err)
		}
		v, err := cosignature.NewVerifier(vkey)
		if err != nil {
			t.Fatal(err)
		}
		k.verifiers = append(k.verifiers, v)
		return s
	}
	k.ed25519, k.mldsa44 = signer(cosignature.Ed25519), signer(cosignature.MLDSA44)
	return k
}

func (k witnessKeys) clock() time.Time { return time.Unix(k.now.Load(), 0).UTC() }

// start starts a witness over HTTP, to the end of the test.
func (k witnessKeys) start(t testing.TB, store witness.Store) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(k.server(t, store))
	t.Cleanup(s.Close)
	return s
}

func (k witnessKeys) server(t testing.TB, store witness.Store) *witness.Server {
	t.Helper()
	s, err := witness.NewServer(witness.ServerConfig{
		Ed25519: k.ed25519, MLDSA44: k.mldsa44, Store: store,
		Logger: discard(), Now: k.clock,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// open opens a checkpoint that the witness has cosigned.
func (k witnessKeys) open(t testing.TB, msg string) *note.Note {
	t.Helper()
	n, err := note.Open([]byte(msg), note.VerifierList(k.verifiers...))
	if err != nil {
		t.Fatalf("open cosigned checkpoint: %v\n%s", err, msg)
	}
	return n
}

// A branch is a history that a log may have: the leaf hashes of its entries.
type branch []tree.Hash

// newBranch returns a history of n entries. Two with the same first entries
// differ from index fork on, if their names do.
func newBranch(name string, fork, n int) branch {
	b := make(branch, n)
	for i := range b {
		entry := fmt.Sprintf("entry %d", i)
		if i >= fork {
			entry += " of " + name
		}
		b[i] = tree.LeafHash([]byte(entry))
	}
	return b
}

// ReadNodes returns the nodes of a tile.
func (b branch) ReadNodes(_ context.Context, t tile.Tile) (*tree.Nodes, error) {
	hashes := make([]tree.Hash, t.Width)
	for i := range hashes {
		height := 8 * t.Level
		from := (t.Index*tile.Width + uint64(i)) << height
		hashes[i] = b.root(from, from+1<<height)
	}
	return tree.NewNodes(hashes), nil
}

func (b branch) root(from, to uint64) tree.Hash {
	if to-from == 1 {
		return b[from]
	}
	half := uint64(1)
	for half*2 < to-from {
		half *= 2
	}
	return tree.NodeHash(b.root(from, from+half), b.root(from+half, to))
}

func (b branch) head(size uint64) tree.Head {
	if size == 0 {
		return tree.Empty()
	}
	return tree.Head{Size: size, Root: b.root(0, size)}
}

func (b branch) proof(t testing.TB, from, to uint64) []tree.Hash {
	t.Helper()
	hashes, err := proof.Consistency(t.Context(), b, from, to)
	if err != nil {
		t.Error(err)
	}
	return hashes
}

// A signingLog signs whatever it is told to.
type signingLog struct {
	origin  string
	signers []note.Signer // Ed25519, ML-DSA-44
	vkeys   []string
}

func newSigningLog(t testing.TB, origin string) signingLog {
	t.Helper()
	l := signingLog{origin: origin}
	add := func(skey, vkey string, err error) {
		if err != nil {
			t.Fatal(err)
		}
		s, err := checkpoint.NewSigner(skey)
		if err != nil {
			t.Fatal(err)
		}
		l.signers, l.vkeys = append(l.signers, s), append(l.vkeys, vkey)
	}
	add(checkpoint.GenerateKey(rand.Reader, origin))
	add(cosignature.GenerateKey(rand.Reader, cosignature.MLDSA44, origin))
	return l
}

// checkpoint returns a signed checkpoint, with extension lines.
func (l signingLog) checkpoint(t testing.TB, head tree.Head, extensions string) []byte {
	t.Helper()
	msg, err := checkpoint.Sign(checkpoint.Checkpoint{Origin: l.origin, Head: head, Extensions: extensions}, l.signers...)
	if err != nil {
		t.Error(err)
	}
	return msg
}

// signText signs any text.
func signText(t testing.TB, text string, signers ...note.Signer) []byte {
	t.Helper()
	msg, err := note.Sign(&note.Note{Text: text}, signers...)
	if err != nil {
		t.Fatal(err)
	}
	return msg
}

// request returns the body that asks to cosign the tree of size to of a branch.
func (l signingLog) request(t testing.TB, b branch, old, to uint64) string {
	t.Helper()
	r := witness.AddCheckpoint{Old: old, Note: l.checkpoint(t, b.head(to), "")}
	if old <= to {
		r.Proof = b.proof(t, old, to)
	}
	return r.String()
}

// A response is what a server has answered.
type response struct {
	status int
	header http.Header
	body   string
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func postCheckpoint(t testing.TB, url, body string) response {
	t.Helper()
	resp, err := tryPost(url, body)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

func tryPost(url, body string) (response, error) {
	resp, err := http.Post(url+"/add-checkpoint", "text/plain", strings.NewReader(body))
	if err != nil {
		return response{}, err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	return response{resp.StatusCode, resp.Header, string(got)}, err
}

func getBody(t testing.TB, url string) response {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response{resp.StatusCode, resp.Header, string(got)}
}
