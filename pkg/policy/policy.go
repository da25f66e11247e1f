// Package policy decides whether to trust a checkpoint, by a C2SP tlog-policy
// (https://c2sp.org/tlog-policy): the checkpoint must be signed by any one of the
// logs that the policy lists, and cosigned by a quorum of its witnesses.
//
//	log example.com/log+8b8f5e3a+AQ...
//	witness w1 w1.example+5ba8a9b1+BA...
//	witness w2 w2.example+0f4ba8b1+Bg...
//	group both all w1 w2
//	quorum both
//
// What always holds:
//   - a witness counts once: no two logs and no two witnesses of a policy have
//     the same public key, whatever their names, and each name is a member of
//     at most one group;
//   - references point backwards, so that groups cannot form a circle;
//   - a log's key name is its origin, and no key signs for another origin;
//   - a checkpoint in which a key of the policy has a bad signature is refused
//     whole.
//
// [Parse] reads a policy; [ForLog] makes one from keys alone, with no witness.
// [Policy.Check] opens a checkpoint and decides. A log may get witnesses, or other ones,
// after it has begun: [Past] decides on its earlier checkpoints.
//
// A Policy never changes, and is safe for concurrent use. A Past is for one goroutine.
package policy

import (
	"fmt"

	"golang.org/x/mod/sumdb/note"

	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/cosignature"
	"github.com/stele-log/stele/pkg/internal/notefmt"
)

// A Policy is a set of trusted logs, a set of witnesses, and a quorum of these.
type Policy struct {
	logs      []logKey
	witnesses []witnessKey
	groups    []group
	quorum    string // name of a witness or group, or "none"
}

// maxOfEach is the number of logs, of witnesses and of groups that a policy may
// have.
//
// SPEC: https://c2sp.org/tlog-policy#implementation-limits: at least 32.
const maxOfEach = 256

// A Log is a log that a policy trusts to sign.
type Log struct {
	Origin string // also the name of the key
	VKey   string // Ed25519 (0x01) or ML-DSA-44 (0x06)
	URL    string // its prefix; empty if the policy has none
}

// A Witness is a witness whose cosignature may count for the quorum.
type Witness struct {
	Name string // within the policy
	VKey string // Ed25519 (0x04) or ML-DSA-44 (0x06)
	URL  string // its submission prefix; empty if the policy has none
}

type logKey struct {
	Log
	verifier note.Verifier
	public   string // the public key itself
}

type witnessKey struct {
	Witness
	verifier note.Verifier
	public   string // the public key itself
}

// A group counts as one witness once at least k of its members have signed.
type group struct {
	name    string
	k       int
	members []string
}

// none is the quorum of a policy that asks for no witness.
const none = "none"

// ForLog returns the policy that asks for a signature by any one of the keys,
// and for no witness. The name of each key is the origin of its log.
func ForLog(vkeys ...string) (*Policy, error) {
	return (&Policy{quorum: none}).WithLogs(vkeys...)
}

// WithLogs returns a policy with the same witnesses and quorum, for the logs
// with those keys in place of its own. The name of each key is the origin of
// its log.
func (p *Policy) WithLogs(vkeys ...string) (*Policy, error) {
	c := *p
	c.logs = nil
	for _, vkey := range vkeys {
		if err := c.addLog(vkey, ""); err != nil {
			return nil, err
		}
	}
	return &c, nil
}

// WithoutWitnesses returns a policy with the same logs that asks for no witness, and
// looks at no cosignature.
func (p *Policy) WithoutWitnesses() *Policy { return &Policy{logs: p.logs, quorum: none} }

// Logs returns the logs of the policy, in its order.
func (p *Policy) Logs() []Log {
	logs := make([]Log, len(p.logs))
	for i, l := range p.logs {
		logs[i] = l.Log
	}
	return logs
}

// Witnesses returns the witnesses of the policy, in its order.
func (p *Policy) Witnesses() []Witness {
	witnesses := make([]Witness, len(p.witnesses))
	for i, w := range p.witnesses {
		witnesses[i] = w.Witness
	}
	return witnesses
}

// addLog adds the log with that key, whose name is its origin.
func (p *Policy) addLog(vkey, url string) error {
	v, err := checkpoint.NewVerifier(vkey)
	if err != nil {
		return fmt.Errorf("log: %w", err)
	}
	if len(p.logs) == maxOfEach {
		return fmt.Errorf("more than %d logs", maxOfEach)
	}
	l := logKey{Log{v.Name(), vkey, url}, v, publicKey(vkey)}
	for _, other := range p.logs {
		if other.public == l.public {
			return fmt.Errorf("log %q has the same public key as log %q: list it once", l.Origin, other.Origin)
		}
		// Two keys with one name and ID cannot be told apart in a note.
		if sameID(other.verifier, v) {
			return fmt.Errorf("two keys of log %q have the same ID, %08x", l.Origin, v.KeyHash())
		}
	}
	p.logs = append(p.logs, l)
	return nil
}

func (p *Policy) addWitness(name, vkey, url string) error {
	v, err := cosignature.NewVerifier(vkey)
	if err != nil {
		return fmt.Errorf("witness %q: %w", name, err)
	}
	if len(p.witnesses) == maxOfEach {
		return fmt.Errorf("more than %d witnesses", maxOfEach)
	}
	w := witnessKey{Witness{name, vkey, url}, v, publicKey(vkey)}
	for _, other := range p.witnesses {
		if other.public == w.public {
			return fmt.Errorf("witness %q has the same public key as witness %q: list it once", name, other.Name)
		}
		if sameID(other.verifier, v) {
			return fmt.Errorf("the keys of witnesses %q and %q have the same name and ID", name, other.Name)
		}
	}
	p.witnesses = append(p.witnesses, w)
	return nil
}

// publicKey returns the public key that a valid vkey wraps. Two vkeys are
// duplicates if they wrap the same, whatever their names, types and IDs.
//
// SPEC: https://c2sp.org/tlog-policy#public-key-representation
func publicKey(vkey string) string {
	k, _ := notefmt.ParseVKey(vkey)
	return string(k.Material)
}

func sameID(a, b note.Verifier) bool {
	return a.Name() == b.Name() && a.KeyHash() == b.KeyHash()
}
