package proof

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/internal/notefmt"
	"github.com/stele-log/stele/pkg/policy"
	"github.com/stele-log/stele/pkg/tree"
)

const (
	// MaxExtra is the size of the most extra data that a receipt carries, in
	// bytes.
	MaxExtra = 1 << 20

	receiptHeader = "c2sp.org/tlog-proof@v1"

	// MaxReceipt is the size of the largest receipt, in bytes.
	MaxReceipt = len(receiptHeader+"\nextra \nindex 9223372036854775807\n\n") +
		(MaxExtra+2)/3*4 + MaxHashes*len("CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n") + checkpoint.MaxSize
)

// A Receipt is all that is needed, beside an entry and a policy, to check
// offline that the entry is in a log.
type Receipt struct {
	// Extra means something to the application only, and nothing proves it. A
	// receipt carries at most [MaxExtra] bytes; empty and nil are the same.
	Extra []byte

	Index      uint64      // of the entry in the log, from 0
	Hashes     []tree.Hash // the inclusion proof
	Checkpoint []byte      // a signed checkpoint, as it was published
}

// Format returns the receipt as a file, whose extension is .tlog-proof.
//
// SPEC: https://c2sp.org/tlog-proof#format
func (r Receipt) Format() []byte {
	b := []byte(receiptHeader + "\n")
	if len(r.Extra) > 0 {
		b = append(b, "extra "...)
		b = base64.StdEncoding.AppendEncode(b, r.Extra)
		b = append(b, '\n')
	}
	b = append(b, "index "...)
	b = strconv.AppendUint(b, r.Index, 10)
	b = append(b, '\n')
	for _, h := range r.Hashes {
		b, _ = h.AppendText(b) // it does not fail
		b = append(b, '\n')
	}
	b = append(b, '\n')
	return append(b, r.Checkpoint...)
}

// ParseReceipt parses a receipt. It accepts only what [Receipt.Format] returns,
// and verifies nothing: see [Receipt.Verify].
func ParseReceipt(text []byte) (Receipt, error) {
	r, err := parseReceipt(text)
	if err != nil {
		return Receipt{}, fmt.Errorf("receipt: %w", err)
	}
	if string(r.Format()) != string(text) {
		return Receipt{}, errors.New("receipt: not in its canonical spelling")
	}
	return r, nil
}

func parseReceipt(text []byte) (r Receipt, err error) {
	if len(text) > MaxReceipt {
		return r, fmt.Errorf("%d bytes, want at most %d", len(text), MaxReceipt)
	}
	if err := notefmt.CheckBytes(text); err != nil {
		return r, fmt.Errorf("%w: get the receipt again, byte for byte", err)
	}
	head, signed, ok := strings.Cut(string(text), "\n\n")
	if !ok || signed == "" {
		return r, errors.New("no checkpoint: want one after the first empty line")
	}
	r.Checkpoint = []byte(signed)
	lines := strings.Split(head, "\n")
	if lines[0] != receiptHeader {
		return r, fmt.Errorf("line 1 is %.60q, want %q: is it a receipt?", lines[0], receiptHeader)
	}
	at := 1 // the line to read next
	if at < len(lines) {
		if extra, ok := strings.CutPrefix(lines[at], "extra "); ok {
			if r.Extra, err = notefmt.DecodeBase64(extra); err != nil || len(r.Extra) > MaxExtra {
				return r, fmt.Errorf("line 2: extra data is not in canonical base64, or more than %d bytes", MaxExtra)
			}
			at++
		}
	}
	if at == len(lines) {
		return r, errors.New("no index line")
	}
	index, ok := strings.CutPrefix(lines[at], "index ")
	if ok {
		r.Index, ok = notefmt.ParseSize(index)
	}
	if !ok {
		return r, fmt.Errorf("line %d is %.60q, want the word index and a decimal number without leading zeros",
			at+1, lines[at])
	}
	return r, r.parseHashes(lines[at+1:], at+2)
}

// parseHashes parses the lines of the inclusion proof, the first of which is
// line n of the receipt.
func (r *Receipt) parseHashes(lines []string, n int) error {
	if len(lines) > MaxHashes {
		return fmt.Errorf("%d hashes, want at most %d", len(lines), MaxHashes)
	}
	for i, line := range lines {
		h, err := tree.ParseHash(line)
		if err != nil {
			return fmt.Errorf("line %d: %w", n+i, err)
		}
		r.Hashes = append(r.Hashes, h)
	}
	return nil
}

// Verify checks that the entry, given as its bytes are in the log, is at the
// receipt's index in a log that the policy trusts. The Result has the log, the
// size at which the entry was in it, and who has cosigned that and when.
//
// The entry's leaf hash is computed here. Extra data is not checked.
func (r Receipt) Verify(entry []byte, p *policy.Policy) (policy.Result, error) {
	result, err := p.Check(r.Checkpoint)
	if err != nil {
		return policy.Result{}, fmt.Errorf("verify receipt: %w", err)
	}
	if err := VerifyInclusion(tree.LeafHash(entry), r.Index, result.Head, r.Hashes); err != nil {
		return policy.Result{}, fmt.Errorf("verify receipt: %w", err)
	}
	return result, nil
}
