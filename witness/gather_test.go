package witness_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stele-log/stele/internal/test/witnesstest"
	"github.com/stele-log/stele/pkg/policy"
	"github.com/stele-log/stele/witness"
)

// A gatherRig is a log and three witnesses that follow it, two of which are a
// quorum.
type gatherRig struct {
	testing.TB
	log     signingLog
	history branch
	w       []*witnesstest.Witness
	pool    *witness.Pool
	policy  *policy.Policy
}

func newGatherRig(t testing.TB) *gatherRig {
	t.Helper()
	r := &gatherRig{TB: t, log: newSigningLog(t, logOrigin), history: newBranch("honest", 3, 64)}
	for i := range 3 {
		w := witnesstest.New(t, fmt.Sprintf("witness.example/w%d", i+1))
		w.Follow(t, logOrigin, r.log.vkeys...)
		r.w = append(r.w, w)
	}
	r.policy = witnesstest.Policy(t, 2, r.w)
	r.pool = witness.NewPool(witness.PoolConfig{Timeout: 5 * time.Second, MinBackoff: time.Millisecond, MaxBackoff: 2 * time.Millisecond})
	t.Cleanup(r.pool.Close)
	return r
}

func (r *gatherRig) gatherer() *witness.Gatherer {
	r.Helper()
	g, err := witness.NewGatherer(witness.GathererConfig{
		Pool: r.pool, Policy: r.policy, Log: r.log.vkeys, Nodes: r.history,
	})
	if err != nil {
		r.Fatal(err)
	}
	return g
}

func (r *gatherRig) sign(size uint64) []byte { return r.log.checkpoint(r, r.history.head(size), "") }

// only has none but the given witness asked.
func (r *gatherRig) only(i int) { r.w, r.policy = r.w[i:i+1], witnesstest.Policy(r, 1, r.w[i:i+1]) }

// check fails the test unless the checkpoint meets the policy, and is of that
// size.
func (r *gatherRig) check(msg []byte, size uint64) policy.Result {
	r.Helper()
	p, err := r.policy.WithLogs(r.log.vkeys...)
	if err != nil {
		r.Fatal(err)
	}
	result, err := p.Check(msg)
	if err != nil || result.Head != r.history.head(size) {
		r.Fatalf("gathered %v, %v, want one of size %d\n%s", result.Head, err, size, msg)
	}
	return result
}

func (r *gatherRig) mustGather(g *witness.Gatherer, size uint64) []byte {
	r.Helper()
	msg, err := g.Gather(r.Context(), r.sign(size))
	if err != nil {
		r.Fatalf("size %d: %v", size, err)
	}
	r.check(msg, size)
	return msg
}

func TestQuorumOfWitnessesCosigns(t *testing.T) {
	t.Parallel()
	r := newGatherRig(t)
	g := r.gatherer()
	for _, size := range []uint64{0, 0, 1, 5, 5, 40} {
		r.mustGather(g, size)
	}
	// A gatherer that knows nothing learns what the witnesses know.
	r.mustGather(r.gatherer(), 64)
}

func TestOneDeadWitnessOfThreeIsNotMissed(t *testing.T) {
	t.Parallel()
	r := newGatherRig(t)
	g := r.gatherer()
	r.w[1].Kill()
	for size := range uint64(5) {
		r.mustGather(g, size)
	}
}

func TestTwoDeadWitnessesAreMissedUntilOneReturns(t *testing.T) {
	t.Parallel()
	r := newGatherRig(t)
	g := r.gatherer()
	r.mustGather(g, 1)
	r.w[0].Kill()
	r.w[2].Kill()
	for size := uint64(2); size < 6; size++ {
		msg, err := g.Gather(t.Context(), r.sign(size))
		var unmet *witness.GatherError
		var quorum *policy.QuorumError
		if !errors.As(err, &unmet) || !errors.As(err, &quorum) || !strings.Contains(err.Error(), "w1: ") {
			t.Fatalf("got %v, want a GatherError that says what w1 answers", err)
		}
		if wait := time.Until(unmet.Again); wait > time.Second {
			t.Errorf("to be tried again in %v", wait)
		}
		if n, ok := g.QuorumMet(msg); n != 1 || ok {
			t.Errorf("%d cosignatures, met: %t, want the one that there is", n, ok)
		}
	}
	r.w[2].Honest()
	time.Sleep(5 * time.Millisecond)
	r.mustGather(g, 9)
}

func TestLateCosignatureCountsForTheNextAttempt(t *testing.T) {
	t.Parallel()
	r := newGatherRig(t)
	r.w[1].Kill()
	release := make(chan struct{})
	r.w[2].Do(func(w http.ResponseWriter, req *http.Request, honest http.Handler) {
		<-release
		honest.ServeHTTP(w, req)
	})
	g := r.gatherer()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for r.w[0].Asked() == 0 || r.w[2].Asked() == 0 {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	if _, err := g.Gather(ctx, r.sign(7)); !errors.As(err, new(*witness.GatherError)) {
		t.Fatalf("got %v", err)
	}
	r.w[0].Kill() // what it has signed is not asked for again
	close(release)
	r.mustGather(g, 7)
	if n := r.w[2].Asked(); n != 1 {
		t.Errorf("the late witness was asked %d times", n)
	}
}

// TestBadWitnessDoesNoHarm has one of three witnesses misbehave, which is then
// as if it were dead.
func TestBadWitnessDoesNoHarm(t *testing.T) {
	t.Parallel()
	other := witnesstest.New(t, "witness.example/other")
	cases := []struct {
		name    string
		act     func(r *gatherRig) witnesstest.Act
		outcome string // for those who need this witness
	}{
		{"hangs", says(func(w http.ResponseWriter, req *http.Request) {
			_, _ = io.Copy(io.Discard, req.Body)
			<-req.Context().Done()
		}), "deadline exceeded"},
		{"garbage", says(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "\x00\xff garbage — — \n\n") }), "no valid cosignature"},
		{"nothing", says(func(w http.ResponseWriter, _ *http.Request) {}), "no valid cosignature"},
		{"too much", says(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.Copy(w, strings.NewReader(strings.Repeat("— a AAAA\n", 1<<20)))
		}), "a response of more than"},
		{"redirects", says(func(w http.ResponseWriter, req *http.Request) {
			http.Redirect(w, req, other.URL+"/add-checkpoint", http.StatusTemporaryRedirect)
		}), "status 307"},
		{"status 500", says(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no\x1b[31m", 500) }), `status 500 Internal Server Error "no\x1b[31m"`},
		{"unknown log", says(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "who?", http.StatusNotFound) }), "status 404"},
		{"409 without a size", says(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "3", http.StatusConflict) }), "status 409"},
		{"409 with no number", says(conflict("03\n")), "is not a size"},
		{"409 for ever", says(conflict("3\n")), "another size each time"},
		{"422 though it knows nothing", says(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusUnprocessableEntity) }), "status 422"},
		{"signs something else", func(r *gatherRig) witnesstest.Act {
			text := string(r.sign(3))
			text = text[:strings.Index(text, "\n\n")+1]
			return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
				w.Write(cosigned(r, r.w[0], text))
			}
		}, "no valid cosignature"},
		{"signs with another's key", func(r *gatherRig) witnesstest.Act {
			return func(w http.ResponseWriter, req *http.Request, _ http.Handler) {
				w.Write(cosigned(r, other, requestText(r, req)))
			}
		}, "no valid cosignature"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newGatherRig(t)
			r.w[0].Do(c.act(r))
			g := r.gatherer()
			for _, size := range []uint64{5, 6} {
				msg := r.mustGather(g, size)
				if bytes.Contains(msg, []byte("w1 ")) || bytes.Contains(msg, []byte("other")) {
					t.Fatalf("the checkpoint has what the bad witness says:\n%s", msg)
				}
			}
			r.only(0)
			_, err := r.gatherer().Gather(t.Context(), r.sign(7))
			if !errors.As(err, new(*witness.GatherError)) || !strings.Contains(err.Error(), c.outcome) {
				t.Errorf("asked alone: %v, want %q", err, c.outcome)
			}
		})
	}
	if other.Asked() != 0 {
		t.Error("a redirect was followed")
	}
}

func says(f http.HandlerFunc) func(*gatherRig) witnesstest.Act {
	return func(*gatherRig) witnesstest.Act {
		return func(w http.ResponseWriter, req *http.Request, _ http.Handler) { f(w, req) }
	}
}

func conflict(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/x.tlog.size; charset=us-ascii")
		w.WriteHeader(http.StatusConflict)
		fmt.Fprint(w, body)
	}
}

// requestText returns the text of the checkpoint in a request.
func requestText(t testing.TB, req *http.Request) string {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		t.Error(err)
		return ""
	}
	add, err := witness.ParseAddCheckpoint(body)
	if err != nil {
		t.Error(err)
	}
	text, _, _ := strings.Cut(string(add.Note), "\n\n")
	return text + "\n"
}

// cosigned returns the signature lines of a witness for a text.
func cosigned(t testing.TB, w *witnesstest.Witness, text string) []byte {
	msg := signText(t, text, w.Signers[0], w.Signers[1])
	_, lines, _ := bytes.Cut(msg, []byte("\n\n"))
	return lines
}

// TestPoisonedLinesAreDropped has a witness add to its own cosignature lines
// under the names and IDs of others: everyone who knows those would refuse the
// checkpoint.
func TestPoisonedLinesAreDropped(t *testing.T) {
	t.Parallel()
	r := newGatherRig(t)
	r.w[2].Kill()
	text, log, _ := strings.Cut(string(r.sign(5)), "\n\n")
	r.w[0].Do(func(w http.ResponseWriter, req *http.Request, h http.Handler) {
		own := httptest.NewRecorder()
		h.ServeHTTP(own, req)
		lines := own.Body.String()
		fmt.Fprint(w, spoiled(lines)) // its own key, wrong
		fmt.Fprint(w, lines)
		fmt.Fprint(w, lines) // twice
		fmt.Fprint(w, strings.ReplaceAll(lines, "\n", "\r\n"))
		fmt.Fprint(w, spoiled(log)) // the log's keys
		for _, other := range r.w[1:] {
			fmt.Fprint(w, spoiled(string(cosigned(r, other, text+"\n"))))
		}
		fmt.Fprint(w, "— not a line")
	})
	msg := r.mustGather(r.gatherer(), 5)
	_, lines, _ := strings.Cut(string(msg), "\n\n")
	if n := strings.Count(lines, "\n"); n != 4 { // two of the log, one each of two witnesses' known keys
		t.Errorf("the checkpoint has %d signature lines, want 4:\n%s", n, lines)
	}
}

// spoiled changes one bit of each signature.
func spoiled(lines string) string {
	var b strings.Builder
	for line := range strings.Lines(lines) {
		i := len(line) - 20
		c := byte('A')
		if line[i] == 'A' {
			c = 'B'
		}
		b.WriteString(line[:i] + string(c) + line[i+1:])
	}
	return b.String()
}

// TestWitnessThatHangsSlowsNobody has 200 logs share three witnesses, one of
// which never answers.
func TestWitnessThatHangsSlowsNobody(t *testing.T) {
	t.Parallel()
	const timeout = 30 * time.Second
	r := newGatherRig(t)
	pool := witness.NewPool(witness.PoolConfig{Timeout: timeout, Requests: 4})
	t.Cleanup(pool.Close)
	r.w[0].Hang()
	for _, w := range r.w[1:] { // without a database
		w.Do(func(rw http.ResponseWriter, req *http.Request, _ http.Handler) {
			_, _ = rw.Write(cosigned(t, w, requestText(t, req)))
		})
	}
	var wg sync.WaitGroup
	start := time.Now()
	for i := range 200 {
		log := newSigningLog(t, fmt.Sprintf("log.example/%d", i))
		log.signers, log.vkeys = log.signers[:1], log.vkeys[:1]
		g, err := witness.NewGatherer(witness.GathererConfig{Pool: pool, Policy: r.policy, Log: log.vkeys, Nodes: r.history})
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			for _, size := range []uint64{1, 2, 3} {
				if _, err := g.Gather(t.Context(), log.checkpoint(t, r.history.head(size), "")); err != nil {
					t.Errorf("%s: %v", log.origin, err)
				}
			}
		})
	}
	wg.Wait()
	if elapsed := time.Since(start); elapsed > timeout {
		t.Errorf("it took %v: longer than one wait for the witness that hangs", elapsed)
	}
	if n := r.w[0].Asked(); n == 0 || n > 4 {
		t.Errorf("the witness that hangs was sent %d requests at once, want 4 at most", n)
	}
}

func TestTwoKeysAtOneURLAreAskedOnce(t *testing.T) {
	t.Parallel()
	r := newGatherRig(t)
	w := r.w[0]
	p, err := policy.Parse(fmt.Appendf(nil, "witness a %s %s\nwitness b %s %s/\ngroup g all a b\nquorum g\n",
		w.VKeys[0], w.URL, w.VKeys[1], w.URL))
	if err != nil {
		t.Fatal(err)
	}
	r.policy = p
	msg := r.mustGather(r.gatherer(), 9)
	if result := r.check(msg, 9); len(result.Cosignatures) != 2 || w.Asked() != 1 {
		t.Errorf("%d cosignatures after %d requests", len(result.Cosignatures), w.Asked())
	}
}

func TestPoliciesThatCannotBeGatheredFor(t *testing.T) {
	t.Parallel()
	r := newGatherRig(t)
	for text, says := range map[string]string{
		"witness a " + r.w[0].VKeys[0] + "\nquorum a\n":                  "no URL",
		"witness a " + r.w[0].VKeys[0] + " ftp://x\nquorum a\n":          "not one of http or https",
		"witness a " + r.w[0].VKeys[0] + " https://x/?key=1\nquorum a\n": "without query",
	} {
		p, err := policy.Parse([]byte(text))
		if err == nil {
			_, err = witness.NewGatherer(witness.GathererConfig{Pool: r.pool, Policy: p, Log: r.log.vkeys, Nodes: r.history})
		}
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %q", text, err, says)
		}
	}
	one := r.w[0].VKeys[0]
	_, err := policy.Parse([]byte("witness a " + one + " " + r.w[0].URL + "\nwitness b " + one + " " + r.w[1].URL + "\ngroup g 2 a b\nquorum g\n"))
	if err == nil || !strings.Contains(err.Error(), "same public key") {
		t.Errorf("a policy that names one key twice: %v", err)
	}
}

func TestRetryAfterIsHeeded(t *testing.T) {
	t.Parallel()
	r := newGatherRig(t)
	r.only(0)
	r.w[0].Do(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Retry-After", "7")
		http.Error(w, "busy", http.StatusTooManyRequests)
	})
	g := r.gatherer()
	for range 3 {
		_, err := g.Gather(t.Context(), r.sign(5))
		var unmet *witness.GatherError
		if !errors.As(err, &unmet) || time.Until(unmet.Again) < 5*time.Second {
			t.Fatalf("got %v", err)
		}
	}
	if n := r.w[0].Asked(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	if got := r.pool.Stats()[0].Requests[witness.Unavailable]; got != 1 {
		t.Errorf("counted %d", got)
	}
}
