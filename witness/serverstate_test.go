package witness_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/cosignature"
	"github.com/stele-log/stele/pkg/tree"
	"github.com/stele-log/stele/witness"
	"github.com/stele-log/stele/witness/witnessdb"
)

func TestCosignaturesVerifyAndStateTheTime(t *testing.T) {
	t.Parallel()
	db, keys := openWitnessDB(t), newWitnessKeys(t)
	server, r := keys.start(t, db), newStatusRig(t, logOrigin)
	addKeys(t, db, r.log)
	for _, size := range []uint64{5, 5, 8} {
		keys.now.Add(60)
		state, err := db.Log(t.Context(), logOrigin)
		if err != nil {
			t.Fatal(err)
		}
		lines := mustCosign(t, server.URL, r.log.request(t, r.honest, state.Size, size))
		msg := string(r.log.checkpoint(t, r.honest.head(size), "")) + lines
		n := keys.open(t, msg)
		if len(n.Sigs) != 2 || len(n.UnverifiedSigs) != 2 {
			t.Fatalf("the checkpoint has %d signatures of the witness and %d others", len(n.Sigs), len(n.UnverifiedSigs))
		}
		for _, sig := range n.Sigs {
			if at, err := cosignature.Timestamp(sig); err != nil || !at.Equal(keys.clock()) {
				t.Errorf("a cosignature states the time %v, %v; it is %v", at, err, keys.clock())
			}
		}
	}
}

func TestExtensionLinesAreCosignedWithEd25519Alone(t *testing.T) {
	t.Parallel()
	db, keys := openWitnessDB(t), newWitnessKeys(t)
	server, r := keys.start(t, db), newStatusRig(t, logOrigin)
	addKeys(t, db, r.log)
	msg := string(r.log.checkpoint(t, r.honest.head(5), "an extension\nand another\n"))
	lines := mustCosign(t, server.URL, "old 0\n\n"+msg)
	n := keys.open(t, msg+lines)
	if len(n.Sigs) != 1 || n.Sigs[0].Hash != keys.ed25519.KeyHash() {
		t.Errorf("it is signed by %v", n.Sigs)
	}
	changed := strings.Replace(msg+lines, "another", "anything", 1)
	if _, err := note.Open([]byte(changed), note.VerifierList(keys.verifiers...)); err == nil {
		t.Error("the cosignature does not cover the last extension line")
	}
}

func TestNewestCheckpointHasOnlyVerifiedSignatures(t *testing.T) {
	t.Parallel()
	db, keys := openWitnessDB(t), newWitnessKeys(t)
	server, r := keys.start(t, db), newStatusRig(t, logOrigin)
	addKeys(t, db, r.log)
	poisoned := fmt.Sprintf("— %s %s\n", witnessName, idLine(keys.ed25519.KeyHash()))
	lines := mustCosign(t, server.URL, r.log.request(t, r.honest, 0, 5)+strangerLines(3, 64)+poisoned)
	want := string(r.log.checkpointOf(t, newestNote(t, server.URL, logOrigin))) + lines
	if got := newestNote(t, server.URL, logOrigin); got != want {
		t.Errorf("it is\n%s\nwant\n%s", got, want)
	}
	keys.open(t, want)
}

// checkpointOf returns a note with the log's signatures alone.
func (l signingLog) checkpointOf(t *testing.T, msg string) []byte {
	t.Helper()
	var keys []note.Verifier
	for _, vkey := range l.vkeys {
		v, err := checkpoint.NewVerifier(vkey)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, v)
	}
	_, n, err := checkpoint.Open([]byte(msg), l.origin, keys...)
	if err != nil {
		t.Fatal(err)
	}
	out, err := note.Sign(&note.Note{Text: n.Text, Sigs: n.Sigs})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// idLine returns a signature that begins with a key's ID, and is garbage.
func idLine(id uint32) string {
	sig := append([]byte{byte(id >> 24), byte(id >> 16), byte(id >> 8), byte(id)}, bytes.Repeat([]byte{7}, 72)...)
	return base64.StdEncoding.EncodeToString(sig)
}

func TestStateSurvivesReopening(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, open func() *witnessdb.DB) {
		keys, r := newWitnessKeys(t), newStatusRig(t, logOrigin)
		db := open()
		addKeys(t, db, r.log)
		server := keys.start(t, db)
		mustCosign(t, server.URL, r.log.request(t, r.honest, 0, 8))
		newest := newestNote(t, server.URL, logOrigin)
		server.Close()
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}

		server = keys.start(t, open())
		if got := newestNote(t, server.URL, logOrigin); got != newest {
			t.Errorf("the newest checkpoint is\n%s\ninstead of\n%s", got, newest)
		}
		if got := postCheckpoint(t, server.URL, r.log.request(t, r.fork, 0, 9)); got.status != 409 || got.body != "8\n" {
			t.Errorf("a fork from the start: %d %q", got.status, got.body)
		}
		mustCosign(t, server.URL, r.log.request(t, r.honest, 8, 9))
	})
}

func TestPausedLogIsNotSignedUntilItIsResumed(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, open func() *witnessdb.DB) {
		db, keys, r := open(), newWitnessKeys(t), newStatusRig(t, logOrigin)
		addKeys(t, db, r.log)
		server := keys.start(t, db)
		mustCosign(t, server.URL, r.log.request(t, r.honest, 0, 5))
		pause := func(paused bool) {
			t.Helper()
			if err := db.SetPaused(t.Context(), logOrigin, paused); err != nil {
				t.Fatal(err)
			}
		}
		pause(true)
		got := postCheckpoint(t, server.URL, r.log.request(t, r.honest, 5, 8))
		if got.status != 503 || got.header.Get("Retry-After") != "300" || !strings.Contains(got.body, "paused") {
			t.Errorf("%d, Retry-After %q: %s", got.status, got.header.Get("Retry-After"), got.body)
		}
		if newestNote(t, server.URL, logOrigin) == "" {
			t.Error("monitors get nothing of a paused log")
		}
		head := r.honest.head(5)
		err := db.Advance(t.Context(), logOrigin, head, witness.Signed{Head: head, Note: []byte("x"), Time: time.Now()})
		if !errors.Is(err, witness.ErrStale) {
			t.Errorf("the store advances a paused log: %v", err)
		}
		pause(false)
		mustCosign(t, server.URL, r.log.request(t, r.honest, 5, 8))
	})
}

func TestQuotaOfListedLog(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, open func() *witnessdb.DB) {
		db, keys, r := open(), newWitnessKeys(t), newStatusRig(t, logOrigin)
		keys.now.Store(20_000*24*3600 + 3600)
		list := []witness.ListedLog{{VKey: r.log.vkeys[0], Origin: logOrigin, QPD: 2}}
		if _, _, err := witness.AddLogList(t.Context(), db, list); err != nil {
			t.Fatal(err)
		}
		server := keys.start(t, db)
		mustCosign(t, server.URL, r.log.request(t, r.honest, 0, 1))
		for range 5 { // a stranger's replays use nothing up
			mustCosign(t, server.URL, r.log.request(t, r.honest, 1, 1))
		}
		mustCosign(t, server.URL, r.log.request(t, r.honest, 1, 2))
		got := postCheckpoint(t, server.URL, r.log.request(t, r.honest, 2, 3))
		if got.status != 429 || got.header.Get("Retry-After") != "82800" {
			t.Errorf("%d, Retry-After %q: %s", got.status, got.header.Get("Retry-After"), got.body)
		}
		if got := postCheckpoint(t, server.URL, r.log.request(t, r.honest, 2, 2)); got.status != 429 {
			t.Errorf("the same again: %d %s", got.status, got.body)
		}
		keys.now.Add(82800)
		mustCosign(t, server.URL, r.log.request(t, r.honest, 2, 3))
	})
}

func TestUnknownOutcomeLeaksNoSignature(t *testing.T) {
	t.Parallel()
	db, keys, r := openWitnessDB(t), newWitnessKeys(t), newStatusRig(t, logOrigin)
	addKeys(t, db, r.log)
	for _, c := range []struct {
		name  string
		store witness.Store
	}{
		{"not recorded", advanceFails{Store: db}},
		{"recorded, and the answer lost", advanceFails{Store: db, after: true}},
	} {
		server := keys.start(t, c.store)
		got := postCheckpoint(t, server.URL, r.log.request(t, r.honest, 0, 5))
		if got.status != 500 || strings.Contains(got.body, "—") {
			t.Errorf("%s: %d %s", c.name, got.status, got.body)
		}
	}
	// It was recorded in the end: the log asks again and learns it.
	server := keys.start(t, db)
	if got := postCheckpoint(t, server.URL, r.log.request(t, r.fork, 0, 5)); got.status != 409 {
		t.Errorf("a fork after it: %d %s", got.status, got.body)
	}
	mustCosign(t, server.URL, r.log.request(t, r.honest, 5, 5))
}

// advanceFails is a store whose Advance fails, before or after it was done.
type advanceFails struct {
	witness.Store
	after bool
}

func (a advanceFails) Advance(ctx context.Context, origin string, from tree.Head, to witness.Signed) error {
	if a.after {
		if err := a.Store.Advance(ctx, origin, from, to); err != nil {
			return err
		}
	}
	return errors.New("connection lost")
}

func TestHealthAndMetrics(t *testing.T) {
	t.Parallel()
	db, keys, r := openWitnessDB(t), newWitnessKeys(t), newStatusRig(t, logOrigin)
	addKeys(t, db, r.log)
	server := keys.start(t, db)
	mustCosign(t, server.URL, r.log.request(t, r.honest, 0, 5))
	postCheckpoint(t, server.URL, "nonsense")
	keys.now.Add(90)
	got := getBody(t, server.URL+"/metrics")
	for _, want := range []string{
		`stele_witness_tree_size{origin="log.example/one"} 5`,
		`stele_witness_signed_age_seconds{origin="log.example/one"} 90`,
		`stele_witness_paused{origin="log.example/one"} 0`,
		`stele_witness_add_checkpoint_seconds_count{code="200"} 1`,
		`stele_witness_add_checkpoint_seconds_count{code="400"} 1`,
	} {
		if !strings.Contains(got.body, want) {
			t.Errorf("the metrics do not have %s", want)
		}
	}
	if got := getBody(t, server.URL+"/healthz"); got.status != 200 {
		t.Errorf("healthz: %d %s", got.status, got.body)
	}
	_ = db.Close()
	if got := getBody(t, server.URL+"/healthz"); got.status != 500 {
		t.Errorf("healthz without a database: %d %s", got.status, got.body)
	}
}

func TestOtherPathsAndMethods(t *testing.T) {
	t.Parallel()
	db, keys, r := openWitnessDB(t), newWitnessKeys(t), newStatusRig(t, logOrigin)
	addKeys(t, db, r.log)
	server := keys.start(t, db)
	mustCosign(t, server.URL, r.log.request(t, r.honest, 0, 5))
	hash := witness.OriginHash(logOrigin)
	for path, want := range map[string]int{
		"/add-checkpoint": 405,
		"/" + hash:        404,
		"/" + strings.ToUpper(hash) + "/checkpoint":         404,
		"/" + witness.OriginHash("another") + "/checkpoint": 404,
		"/" + hash + "/checkpoint":                          200,
		"/" + strings.Repeat("x", 5000) + "/checkpoint":     404,
		"/" + hash + "/checkpoint/":                         404,
	} {
		if got := getBody(t, server.URL+path); got.status != want {
			t.Errorf("GET %.90s: %d, want %d", path, got.status, want)
		}
	}
}

func TestServerRefusesKeysOfOtherTypesAndNames(t *testing.T) {
	t.Parallel()
	a, b := newWitnessKeys(t), newWitnessKeys(t)
	for _, cfg := range []witness.ServerConfig{
		{Ed25519: a.mldsa44, MLDSA44: a.ed25519},
		{Ed25519: a.ed25519, MLDSA44: b.ed25519},
	} {
		if _, err := witness.NewServer(cfg); err == nil || !strings.Contains(err.Error(), "not of the type") {
			t.Errorf("error %v", err)
		}
	}
}

func TestBusyWitnessPushesBack(t *testing.T) {
	t.Parallel()
	db, keys, r := openWitnessDB(t), newWitnessKeys(t), newStatusRig(t, logOrigin)
	addKeys(t, db, r.log)
	slow := stalled{Store: db, begun: make(chan struct{}), end: make(chan struct{})}
	s, err := witness.NewServer(witness.ServerConfig{
		Ed25519: keys.ed25519, MLDSA44: keys.mldsa44, Store: slow, MaxRequests: 1, Now: keys.clock,
		Logger: discard(),
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s)
	defer server.Close()
	first := make(chan response)
	body := r.log.request(t, r.honest, 0, 5)
	go func() {
		got, _ := tryPost(server.URL, body)
		first <- got
	}()
	<-slow.begun
	got := postCheckpoint(t, server.URL, r.log.request(t, r.honest, 0, 6))
	if got.status != 503 || got.header.Get("Retry-After") != "1" {
		t.Errorf("%d, Retry-After %q: %s", got.status, got.header.Get("Retry-After"), got.body)
	}
	close(slow.end)
	if got := <-first; got.status != 200 {
		t.Errorf("the first: %d %s", got.status, got.body)
	}
}

// stalled is a store that takes its time to record.
type stalled struct {
	witness.Store
	begun, end chan struct{}
}

func (s stalled) Advance(ctx context.Context, origin string, from tree.Head, to witness.Signed) error {
	s.begun <- struct{}{}
	<-s.end
	return s.Store.Advance(ctx, origin, from, to)
}

func addKeys(t testing.TB, db *witnessdb.DB, l signingLog) {
	t.Helper()
	if _, err := db.AddKeys(context.Background(), l.origin, l.vkeys...); err != nil {
		t.Fatal(err)
	}
}
