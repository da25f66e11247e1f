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
	"github.com/stele-log/stele/pkg/tile"
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

	// Checkpoints from before any policy was in force, and later ones that do not meet
	// the only policy: they are trusted since the log has signed them and the last one
	// continues them.
	Before, Unmet uint64
}

// A Witness is a witness of the policy that has cosigned checkpoints of an
// archive.
type Witness struct {
	Name        string
	Cosigned    uint64    // checkpoints
	First, Last time.Time // its own times, of the first and the last of them
}

// Verify verifies an archive: each checkpoint must be proven consistent with the one
// before it, and trusted by the policy of its time, of several that are given in the order
// of time; see [policy.Past]. The last checkpoint must meet a policy, since it vouches
// for all before it. Trust comes from the given policies only; the archive is refused if
// it has other keys under a name that the policies have.
//
// Numbers and times of publication are on the word of the log, and the times of
// cosignatures on that of the witnesses. An error wraps [tile.ErrUnchecked] if it shows
// nothing about the archive.
//
// [tile.ErrUnchecked]: https://pkg.go.dev/github.com/stele-log/stele/pkg/tile#ErrUnchecked
func Verify(r io.Reader, policies ...*policy.Policy) (Report, error) {
	in := &source{r: r}
	report, err := verifyAll(in, policies)
	if err != nil && in.failed != nil {
		err = tile.Unchecked(err)
	}
	return report, err
}

// A source is what an archive is read from. It remembers that it failed.
type source struct {
	r      io.Reader
	failed error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.failed = err
	}
	return n, err
}

func verifyAll(r io.Reader, policies []*policy.Policy) (Report, error) {
	a, err := NewReader(r)
	if err != nil {
		return Report{}, err
	}
	if err := sameKeysAsOne(a.Policy(), policies); err != nil {
		return Report{}, fmt.Errorf("archive of heads: %w", err)
	}
	past := policy.NewPast(policies...)
	var report Report
	met := true
	witnesses := map[string]*Witness{}
	for {
		c, err := a.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return Report{}, err
		}
		var v Verified
		if v, met, err = verify(c, past, report); err != nil {
			return Report{}, fmt.Errorf("checkpoint %d: %w", c.Number, err)
		}
		count(witnesses, v)
		if report.Count == 0 {
			report.First = v
		}
		report.Count, report.Last = report.Count+1, v
	}
	if !met {
		return Report{}, lastUnmet(report.Last, policies)
	}
	for _, name := range slices.Sorted(maps.Keys(witnesses)) {
		report.Witnesses = append(report.Witnesses, *witnesses[name])
	}
	report.Before, report.Unmet = past.Before, past.Unmet
	return report, nil
}

// lastUnmet returns the error for an archive whose last checkpoint meets no policy.
func lastUnmet(last Verified, policies []*policy.Policy) error {
	_, err := policies[len(policies)-1].Check(last.Note)
	return fmt.Errorf("checkpoint %d, the last: %w; for an archive from before this policy, "+
		"give the policy or the key of its time", last.Number, err)
}

func verify(c Checkpoint, past *policy.Past, before Report) (v Verified, met bool, err error) {
	result, met, err := past.Check(c.Note)
	if err != nil {
		return Verified{}, false, err
	}
	if before.Count > 0 {
		if err := proof.VerifyConsistency(before.Last.Head, result.Head, c.Proof); err != nil {
			return Verified{}, false, fmt.Errorf("not consistent with checkpoint %d: %w", before.Last.Number, err)
		}
	}
	return Verified{c, result}, met, nil
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

// sameKeysAsOne returns an error unless one of the trusted policies has the keys of the
// archive: it was written under one of them.
func sameKeysAsOne(archived *policy.Policy, trusted []*policy.Policy) (err error) {
	for _, p := range trusted {
		if err = sameKeys(archived, p); err == nil {
			return nil
		}
	}
	return err
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
