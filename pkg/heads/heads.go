// Package heads reads, writes and verifies archives of a log's signed heads: every
// checkpoint of a period with its cosignatures, and the consistency proofs that
// chain them, in one text file that can be verified offline. docs/heads.md has the
// format.
//
//	stele-heads@v1
//	policy log example.com/log+8b8f5e3a+AQ...
//	policy quorum none
//
//	checkpoint 17 2026-11-21T09:42:07.407402Z
//	<hashes of the consistency proof from the checkpoint before, one a line>
//
//	<signed note: text, empty line, signatures>
//
//	...
//	end 42
//
// What always holds:
//   - an archive has one spelling, and a [Reader] accepts no other: it prints
//     each part again and compares. An archive that was cut short is refused;
//   - its checkpoints have consecutive numbers, and sizes that do not shrink;
//   - the policy in an archive is for people to read: [Verify] trusts the one
//     that it is given, and refuses an archive that names other keys for it;
//   - [Export] writes only what it has verified with the policy that it is given;
//   - reading, writing and exporting take no memory that grows with the number
//     of checkpoints.
//
// A Reader and a [Writer] are for one goroutine.
package heads

import (
	"fmt"
	"strings"
	"time"

	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/internal/notefmt"
	"github.com/stele-log/stele/pkg/policy"
	"github.com/stele-log/stele/pkg/proof"
	"github.com/stele-log/stele/pkg/tree"
)

const (
	header     = "stele-heads@v1"
	timeFormat = "2006-01-02T15:04:05.000000Z"

	// maxPolicy is the size of the largest policy, in bytes, with the word before
	// each of its lines.
	maxPolicy = 2 << 20
)

// A Checkpoint is one of the log's history of checkpoints.
type Checkpoint struct {
	// Number is its position in the log's history, from 0, on the log's word.
	Number uint64

	// Published is the time of publication, on the log's word: UTC, to the
	// microsecond.
	Published time.Time

	// Proof is the consistency proof from the checkpoint before it in the
	// archive. It is empty in the first, and if the size has not changed or was 0.
	Proof []tree.Hash

	// Note is the signed note.
	Note []byte
}

// format returns the checkpoint as it stands in an archive, with an empty line
// at its end.
func (c Checkpoint) format() string {
	var b strings.Builder
	fmt.Fprintf(&b, "checkpoint %d %s\n", c.Number, c.Published.UTC().Format(timeFormat))
	for _, h := range c.Proof {
		b.WriteString(h.String() + "\n")
	}
	b.WriteString("\n" + string(c.Note) + "\n")
	return b.String()
}

// parseCheckpoint parses the parts of a checkpoint: its own lines, and the text
// and the signatures of its note, each without the empty line that ends it.
func parseCheckpoint(first, text, signatures string) (c Checkpoint, err error) {
	lines := strings.Split(strings.TrimSuffix(first, "\n"), "\n")
	rest, ok := strings.CutPrefix(lines[0], "checkpoint ")
	number, published, _ := strings.Cut(rest, " ")
	if ok {
		c.Number, ok = notefmt.ParseSize(number)
	}
	if !ok {
		return c, fmt.Errorf("%.60q: want the word checkpoint, a number without leading zeros and a time", lines[0])
	}
	if c.Published, err = time.Parse(timeFormat, published); err != nil {
		return c, fmt.Errorf("checkpoint %d: time %.60q is not like %s", c.Number, published, timeFormat)
	}
	if len(lines)-1 > proof.MaxHashes {
		return c, fmt.Errorf("checkpoint %d: %d hashes in its proof, want at most %d", c.Number, len(lines)-1, proof.MaxHashes)
	}
	for _, line := range lines[1:] {
		h, err := tree.ParseHash(line)
		if err != nil {
			return c, fmt.Errorf("checkpoint %d: %w", c.Number, err)
		}
		c.Proof = append(c.Proof, h)
	}
	if _, err := checkpoint.Parse(text); err != nil {
		return c, fmt.Errorf("checkpoint %d: %w", c.Number, err)
	}
	if !validSignatures(signatures) {
		return c, fmt.Errorf("checkpoint %d: its text is not followed by signature lines", c.Number)
	}
	c.Note = []byte(text + "\n" + signatures)
	if c.format() != first+"\n"+text+"\n"+signatures+"\n" {
		return c, fmt.Errorf("checkpoint %d: not in its canonical spelling", c.Number)
	}
	return c, nil
}

// validSignatures reports whether s is one signature line or more, as far as
// that can be told without keys.
func validSignatures(s string) bool {
	for line := range strings.Lines(s) {
		if !strings.HasPrefix(line, "— ") || !strings.HasSuffix(line, "\n") {
			return false
		}
	}
	return s != ""
}

// head returns the checkpoint in the note, unverified.
func (c Checkpoint) head() (checkpoint.Checkpoint, error) {
	return checkpoint.ParseNote(c.Note)
}

// formatHeader returns the first part of an archive, with an empty line at its
// end.
func formatHeader(p *policy.Policy) string {
	b := header + "\n"
	for line := range strings.Lines(p.String()) {
		b += "policy " + line
	}
	return b + "\n"
}

func parseHeader(part string) (*policy.Policy, error) {
	lines := strings.SplitAfter(part, "\n")
	if lines[0] != header+"\n" {
		return nil, fmt.Errorf("it begins with %.60q, want %q: is this an archive of heads?", strings.TrimSuffix(lines[0], "\n"), header)
	}
	var text strings.Builder
	for _, line := range lines[1:] {
		line, ok := strings.CutPrefix(line, "policy ")
		if !ok && line != "" {
			return nil, fmt.Errorf("line %.60q: want the word policy and a line of a policy", line)
		}
		text.WriteString(line)
	}
	p, err := policy.Parse([]byte(text.String()))
	if err != nil {
		return nil, err
	}
	if formatHeader(p) != part+"\n" {
		return nil, fmt.Errorf("the policy is not in its canonical spelling")
	}
	return p, nil
}
