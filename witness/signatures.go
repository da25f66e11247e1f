package witness

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/stele-log/stele/pkg/cosignature"
)

// splitText returns the text of a note, and false if there is no empty line after
// one.
func splitText(msg []byte) (string, bool) {
	i := bytes.LastIndex(msg, []byte("\n\n"))
	if i < 0 {
		return "", false
	}
	return string(msg[:i+1]), true
}

// verifiedSignatures returns, for each key, its first signature line that is a
// valid cosignature of the text with a time. All other lines are ignored, valid
// syntax or not.
func verifiedSignatures(text string, lines []byte, keys []*cosignature.Verifier) []note.Signature {
	var sigs []note.Signature
	done := map[*cosignature.Verifier]bool{}
	for line := range strings.Lines(string(lines)) {
		sig, raw, ok := parseSignature(line)
		if !ok {
			continue
		}
		for _, k := range keys {
			if done[k] || k.Name() != sig.Name || k.KeyHash() != sig.Hash || !k.Verify([]byte(text), raw) {
				continue
			}
			// SPEC: https://c2sp.org/tlog-witness#add-checkpoint: the timestamp
			// MUST NOT be zero.
			if t, err := cosignature.Timestamp(sig); err != nil || t.IsZero() {
				continue
			}
			done[k] = true
			sigs = append(sigs, sig)
		}
	}
	return sigs
}

// parseSignature parses one signature line of a note, in its one spelling. raw
// is the signature without the key's ID.
func parseSignature(line string) (sig note.Signature, raw []byte, ok bool) {
	rest, isLine := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "— ")
	name, b64, _ := strings.Cut(rest, " ")
	b, err := base64.StdEncoding.Strict().DecodeString(b64)
	// The decoder skips carriage returns.
	if !isLine || err != nil || len(b) <= 4 || base64.StdEncoding.EncodeToString(b) != b64 {
		return sig, nil, false
	}
	return note.Signature{Name: name, Hash: binary.BigEndian.Uint32(b), Base64: b64}, b[4:], true
}

// signedBy returns the note with the given text and signatures.
func signedBy(text string, sigs []note.Signature) []byte {
	return append([]byte(text+"\n"), formatSignatures(sigs)...)
}

func formatSignatures(sigs []note.Signature) []byte {
	var b []byte
	for _, s := range sigs {
		b = append(b, "— "+s.Name+" "+s.Base64+"\n"...)
	}
	return b
}
