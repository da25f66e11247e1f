package witness

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/policy"
	"github.com/stele-log/stele/pkg/tree"
)

// GathererConfig configures a Gatherer.
type GathererConfig struct {
	Pool   *Pool
	Policy *policy.Policy  // its witnesses need URLs; its logs do not count
	Log    []string        // verifier keys of the log, all of one origin
	Nodes  tree.NodeReader // of the log

	// Contradicted is called when a witness proves that it has another history of the
	// log on record, and Claimed when it says so without proof, even if its answer
	// comes after the quorum was met. Both may be nil, and may be called more than
	// once, and concurrently.
	Contradicted func(*ContradictionError)
	Claimed      func(*ClaimError)
}

// A Gatherer has the checkpoints of one log cosigned by the witnesses of a policy.
//
// What always holds:
//   - it adds valid cosignatures of the policy's witnesses to a checkpoint, one a
//     key, and nothing else of their responses;
//   - a log has one exchange with a witness at a time, bounded by the pool's
//     timeout. After a failure the witness is not asked for a while, which doubles
//     with each further failure;
//   - a log never waits for a witness that the quorum does not need;
//   - a witness that contradicts the log without proof has failed, like one that
//     does not answer, so that no single one of them can stop a log.
//
// Gather is for one caller at a time; all other methods are safe for concurrent
// use.
type Gatherer struct {
	cfg       GathererConfig
	policy    *policy.Policy // for the log
	origin    string
	verifiers []note.Verifier // of the log
	clients   []*witnessClient
}

// NewGatherer returns a Gatherer. It asks no witness yet: the first exchange with
// each finds out which size it has on record.
func NewGatherer(cfg GathererConfig) (*Gatherer, error) {
	g := &Gatherer{cfg: cfg}
	var err error
	if g.policy, err = cfg.Policy.WithLogs(cfg.Log...); err != nil {
		return nil, fmt.Errorf("witness policy: %w", err)
	}
	for _, l := range g.policy.Logs() {
		v, err := checkpoint.NewVerifier(l.VKey)
		if err != nil {
			return nil, fmt.Errorf("witness policy: %w", err)
		}
		if g.origin != "" && g.origin != l.Origin {
			return nil, fmt.Errorf("witness policy: keys of two logs, %q and %q", g.origin, l.Origin)
		}
		g.origin = l.Origin
		g.verifiers = append(g.verifiers, v)
	}
	for _, w := range g.policy.Witnesses() {
		if err := g.addWitness(w); err != nil {
			return nil, fmt.Errorf("witness policy: witness %q: %w", w.Name, err)
		}
	}
	return g, nil
}

// QuorumMet reports whether a signed checkpoint meets the policy, and how many of
// its witnesses have cosigned it.
func (g *Gatherer) QuorumMet(msg []byte) (cosignatures int, ok bool) {
	r, err := g.policy.Check(msg)
	if missing, ok := errors.AsType[*policy.QuorumError](err); ok {
		return len(missing.Signed), false
	}
	return len(r.Cosignatures), err == nil
}

// A GatherError means that the policy is not met. It wraps the policy's
// [policy.QuorumError].
type GatherError struct {
	Quorum   error
	Failures []error   // of each witness whose cosignature is missing
	Again    time.Time // earliest time at which one of them may be asked again
}

func (e *GatherError) Error() string {
	s := []string{e.Quorum.Error()}
	for _, err := range e.Failures {
		s = append(s, err.Error())
	}
	return strings.Join(s, "; ")
}

func (e *GatherError) Unwrap() error { return e.Quorum }

// Gather asks all witnesses to cosign a checkpoint, given as the log has signed
// it, and returns it with their cosignatures as soon as the policy is met.
//
// If the policy is not met when each witness has answered, or when the context
// ends, it returns the checkpoint with what cosignatures there are, and a
// [*GatherError]. It returns a [*ContradictionError] as soon as any witness
// proves that it has another history of the log on record. Late answers are remembered: the next
// call for a checkpoint of the same text does not repeat the requests.
func (g *Gatherer) Gather(ctx context.Context, msg []byte) ([]byte, error) {
	c, n, err := checkpoint.Open(msg, g.origin, g.verifiers...)
	if err != nil {
		return nil, fmt.Errorf("gather cosignatures: %w", err)
	}
	r := request{head: c.Head, text: n.Text, msg: signedBy(n.Text, n.Sigs)}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	responses := make(chan response, len(g.clients))
	for _, w := range g.clients {
		if !g.cfg.Pool.start(func() { responses <- w.ask(ctx, r) }) {
			return nil, errors.New("gather cosignatures: the server is stopping")
		}
	}
	return g.collect(ctx, r, responses)
}

// collect receives responses until the policy is met or each witness has answered.
func (g *Gatherer) collect(ctx context.Context, r request, responses <-chan response) ([]byte, error) {
	got := map[*witnessClient]response{}
	for {
		full := g.assemble(r, got)
		_, err := g.policy.Check(full)
		if err == nil {
			return full, nil
		}
		if _, missing := errors.AsType[*policy.QuorumError](err); !missing {
			return nil, fmt.Errorf("gather cosignatures: %w", err)
		}
		if len(got) == len(g.clients) {
			return full, g.unmet(err, got)
		}
		select {
		case resp := <-responses:
			if contradiction, ok := errors.AsType[*ContradictionError](resp.err); ok {
				return nil, contradiction
			}
			got[resp.from] = resp
		case <-ctx.Done():
			return full, g.unmet(err, got)
		}
	}
}

// assemble returns the checkpoint with the cosignatures received so far, in the
// policy's order.
func (g *Gatherer) assemble(r request, got map[*witnessClient]response) []byte {
	var sigs []note.Signature
	for _, w := range g.clients {
		sigs = append(sigs, got[w].sigs...)
	}
	return append(r.msg[:len(r.msg):len(r.msg)], formatSignatures(sigs)...)
}

// unmet returns the error for a policy that is not met. A witness that has not
// answered yet may be asked again at once.
func (g *Gatherer) unmet(quorum error, got map[*witnessClient]response) *GatherError {
	e := &GatherError{Quorum: quorum}
	for _, w := range g.clients {
		resp, answered := got[w]
		if !answered {
			resp.err, resp.again = errNoAnswer, time.Now()
		}
		if resp.err == nil {
			continue
		}
		e.Failures = append(e.Failures, fmt.Errorf("%s: %w", strings.Join(w.names, "+"), resp.err))
		if e.Again.IsZero() || resp.again.Before(e.Again) {
			e.Again = resp.again
		}
	}
	return e
}

// Probe reads the newest checkpoint that each witness has cosigned, if it has a
// monitoring endpoint, and returns a [*ContradictionError] if one of them is not
// of the history with the given head. Witnesses that do not answer before the
// context ends are ignored, and so are those that have not answered once a quorum
// has: any two quorums of a policy that is worth having share a witness.
//
// It detects that the database and the record of the signed head were both rolled
// back, which leaves no trace on this server.
func (g *Gatherer) Probe(ctx context.Context, head tree.Head) error {
	found := make(chan probed, len(g.clients))
	for _, w := range g.clients {
		if !g.cfg.Pool.start(func() { found <- w.probe(ctx, head) }) {
			return errors.New("ask witnesses: the server is stopping")
		}
	}
	var agreed []string
	for range g.clients {
		p := <-found
		if p.err != nil {
			return p.err
		}
		if agreed = append(agreed, p.agreed...); g.policy.MetBy(agreed...) {
			return nil
		}
	}
	return nil
}

// WitnessStats are about one witness and the log of a Gatherer.
type WitnessStats struct {
	URL   string
	Size  uint64      // of the tree that the witness has on record; 0 if that is not known
	Claim *ClaimError // its last answer, if that contradicted the log without proof, or nil
}

// Stats returns the stats of each witness, in the policy's order.
func (g *Gatherer) Stats() []WitnessStats {
	stats := make([]WitnessStats, len(g.clients))
	for i, w := range g.clients {
		stats[i] = WitnessStats{w.client.url, w.seen.Load(), w.claim.Load()}
	}
	return stats
}
