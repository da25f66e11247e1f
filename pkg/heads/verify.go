package heads

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/stele-log/stele/pkg/policy"
	"github.com/stele-log/stele/pkg/proof"
)

// A Verified is a checkpoint that the policy trusts, and that is consistent with
// the one before it in the archive.
type Verified struct {
	Checkpoint
	policy.Result
}

// A Report is the summary of an archive that was verified.
type Report struct {
	Count       uint64 // checkpoints; 0 leaves First and Last empty
	First, Last Verified
	Witnesses   []Witness // those that have cosigned, by name
}

// A Witness is a witness of the policy that has cosigned checkpoints of an
// archive.
type Witness struct {
	Name        string
	Cosigned    uint64    // checkpoints
	First, Last time.Time // its own times, of the first and the last of them
}

// Verify verifies an archive: the policy must trust each checkpoint, and each must
// be proven consistent with the one before it. Trust comes from the given policy
// only; the archive is refused if it has other keys under a name that the policy
// has.
//
// Numbers and times of publication are on the word of the log, and the times of
// cosignatures on that of the witnesses.
func Verify(r io.Reader, p *policy.Policy) (Report, error) {
	a, err := NewReader(r)
	if err != nil {
		return Report{}, err
	}
	if err := sameKeys(a.Policy(), p); err != nil {
		return Report{}, fmt.Errorf("archive of heads: %w", err)
	}
	var report Report
	witnesses := map[string]*Witness{}
	for {
		c, err := a.Next()
		if err == io.EOF {
			for _, name := range slices.Sorted(maps.Keys(witnesses)) {
				report.Witnesses = append(report.Witnesses, *witnesses[name])
			}
			return report, nil
		}
		if err != nil {
			return Report{}, err
		}
		v, err := verify(c, p, report)
		if err != nil {
			return Report{}, fmt.Errorf("checkpoint %d: %w", c.Number, err)
		}
		count(witnesses, v)
		if report.Count == 0 {
			report.First = v
		}
		report.Count, report.Last = report.Count+1, v
	}
}

func verify(c Checkpoint, p *policy.Policy, before Report) (Verified, error) {
	result, err := p.Check(c.Note)
	if err != nil {
		return Verified{}, err
	}
	if before.Count > 0 {
		if err := proof.VerifyConsistency(before.Last.Head, result.Head, c.Proof); err != nil {
			return Verified{}, fmt.Errorf("not consistent with checkpoint %d: %w", before.Last.Number, err)
		}
	}
	return Verified{c, result}, nil
}

// count adds a checkpoint's cosignatures to those of the witnesses, by name.
func count(witnesses map[string]*Witness, v Verified) {
	for _, c := range v.Cosignatures {
		w, ok := witnesses[c.Witness.Name]
		if !ok {
			w = &Witness{Name: c.Witness.Name, First: c.Time}
			witnesses[c.Witness.Name] = w
		}
		w.Cosigned++
		w.Last = c.Time
	}
}

// sameKeys returns an error unless each trusted key is among those that the archive
// has under its name, if it has any: somebody who was given a wrong key learns of
// it here.
func sameKeys(archived, trusted *policy.Policy) error {
	known := map[string][]string{} // vkeys by name
	for _, vkey := range vkeys(archived) {
		name, _, _ := strings.Cut(vkey, "+")
		known[name] = append(known[name], vkey)
	}
	for _, vkey := range vkeys(trusted) {
		name, _, _ := strings.Cut(vkey, "+")
		others, ok := known[name]
		if ok && !slices.Contains(others, vkey) {
			return fmt.Errorf("its key for %s, %.80s, is not the one that you trust, %.80s", name, others[0], vkey)
		}
	}
	return nil
}

func vkeys(p *policy.Policy) (vkeys []string) {
	for _, l := range p.Logs() {
		vkeys = append(vkeys, l.VKey)
	}
	for _, w := range p.Witnesses() {
		vkeys = append(vkeys, w.VKey)
	}
	return vkeys
}
