// Package witnesstest runs witnesses of our own over HTTP, for tests of what a
// log does with them: tests can kill them, bring them back, and teach them to
// lie.
package witnesstest

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

	"github.com/stele-log/stele/pkg/cosignature"
	"github.com/stele-log/stele/pkg/policy"
	"github.com/stele-log/stele/witness"
	"github.com/stele-log/stele/witness/witnessdb"
)

// An Act answers a request in place of a witness, which it may ask.
type Act func(w http.ResponseWriter, r *http.Request, honest http.Handler)

// A Witness is one that listens until the end of the test.
type Witness struct {
	Name  string   // also of its keys
	URL   string   // submission and monitoring prefix
	VKeys []string // Ed25519, ML-DSA-44

	// Signers are its keys, to sign what no witness should.
	Signers []*cosignature.Signer

	db     *witnessdb.DB
	act    atomic.Pointer[Act]
	asked  atomic.Int64
	honest http.Handler
}

// New starts an honest witness that follows no logs.
func New(t testing.TB, name string) *Witness {
	t.Helper()
	w := &Witness{Name: name}
	for _, typ := range []cosignature.Type{cosignature.Ed25519, cosignature.MLDSA44} {
		skey, vkey, err := cosignature.GenerateKey(rand.Reader, typ, name)
		if err != nil {
			t.Fatal(err)
		}
		s, err := cosignature.NewSigner(skey, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		w.VKeys, w.Signers = append(w.VKeys, vkey), append(w.Signers, s)
	}
	var err error
	if w.db, err = witnessdb.OpenSQLite(context.Background(), filepath.Join(t.TempDir(), "witness.db")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.db.Close() })
	w.honest, err = witness.NewServer(witness.ServerConfig{
		Ed25519: w.Signers[0], MLDSA44: w.Signers[1], Store: w.db,
		Logger: slog.New(slog.DiscardHandler), Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(w)
	t.Cleanup(func() {
		server.CloseClientConnections() // of those that hang
		server.Close()
	})
	w.URL = server.URL
	return w
}

// ServeHTTP implements http.Handler.
func (w *Witness) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w.asked.Add(1)
	if act := w.act.Load(); act != nil {
		(*act)(rw, r, w.honest)
		return
	}
	w.honest.ServeHTTP(rw, r)
}

// Follow has the witness follow the log with those keys.
func (w *Witness) Follow(t testing.TB, origin string, vkeys ...string) {
	t.Helper()
	if _, err := w.db.AddKeys(context.Background(), origin, vkeys...); err != nil {
		t.Fatal(err)
	}
}

// Do has the witness answer with an act from now on.
func (w *Witness) Do(act Act) { w.act.Store(&act) }

// Honest has the witness answer as it should.
func (w *Witness) Honest() { w.act.Store(nil) }

// Kill has the witness break off each connection.
func (w *Witness) Kill() { w.Do(dead) }

// Hang has the witness answer nothing for as long as the client waits.
func (w *Witness) Hang() { w.Do(hanging) }

// Say has the witness answer each request with a fixed response.
func (w *Witness) Say(status int, contentType, body string) {
	w.Do(func(rw http.ResponseWriter, _ *http.Request, _ http.Handler) {
		rw.Header().Set("Content-Type", contentType)
		rw.WriteHeader(status)
		_, _ = rw.Write([]byte(body))
	})
}

// Asked returns how many requests have come.
func (w *Witness) Asked() int64 { return w.asked.Load() }

// Size returns the size of a log's tree that the witness has on record.
func (w *Witness) Size(t testing.TB, origin string) uint64 {
	t.Helper()
	l, err := w.db.Log(context.Background(), origin)
	if err != nil {
		t.Fatal(err)
	}
	return l.Size
}

func dead(rw http.ResponseWriter, _ *http.Request, _ http.Handler) {
	panic(http.ErrAbortHandler) // the server closes the connection
}

func hanging(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
	_, _ = io.Copy(io.Discard, r.Body) // or the server does not see the client go
	<-r.Context().Done()
}

// PolicyText returns a policy that asks for k of the witnesses, each known by
// its Ed25519 key, and lists the logs with those keys.
func PolicyText(k int, witnesses []*Witness, logs ...string) string {
	var b, members strings.Builder
	for _, vkey := range logs {
		fmt.Fprintf(&b, "log %s\n", vkey)
	}
	for i, w := range witnesses {
		fmt.Fprintf(&b, "witness w%d %s %s\n", i+1, w.VKeys[0], w.URL)
		fmt.Fprintf(&members, " w%d", i+1)
	}
	fmt.Fprintf(&b, "group g %d%s\nquorum g\n", k, members.String())
	return b.String()
}

// Policy is PolicyText, parsed.
func Policy(t testing.TB, k int, witnesses []*Witness, logs ...string) *policy.Policy {
	t.Helper()
	p, err := policy.Parse([]byte(PolicyText(k, witnesses, logs...)))
	if err != nil {
		t.Fatal(err)
	}
	return p
}
