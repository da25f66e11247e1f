// Package checkpoint signs and opens the checkpoints of a log, which are those of
// C2SP tlog-checkpoint (https://c2sp.org/tlog-checkpoint): signed notes
// (https://c2sp.org/signed-note) whose text is an origin and a head.
//
//	example.com/log
//	20852163
//	CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
//
//	— example.com/log Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurm...
//
// A log signs with an Ed25519 key, an ML-DSA-44 key, or both. Cosignatures of
// witnesses stand beside its signatures; package policy decides on those.
//
// What always holds:
//   - a Checkpoint has one text, and [Parse] accepts no other spelling of it;
//   - what [Open] returns was signed by a key of the log, whose name is the
//     checkpoint's origin, and all of it: extension lines too;
//   - a note in which a known key has a bad signature is refused whole.
//
// All functions are safe for concurrent use.
package checkpoint

import (
	"errors"
	"strings"

	"github.com/stele-log/stele/pkg/internal/notefmt"
	"github.com/stele-log/stele/pkg/tree"
)

// A Checkpoint is what a log signs.
type Checkpoint struct {
	// Origin is the log's identity: 1 to 255 bytes, no control characters. It
	// should be a URL without its scheme, and must not be taken for one.
	Origin string

	// Head is the size and the root of the log's tree. The size is at most
	// 2^63-1.
	tree.Head

	// Extensions are lines that mean something to the log's own readers, each
	// not empty and ended by a line feed. No log should have any: monitors
	// cannot check them, and ML-DSA-44 signatures do not cover them.
	Extensions string
}

// Parse parses the text of a checkpoint, without signatures. It accepts only
// what [Checkpoint.String] prints.
func Parse(text string) (Checkpoint, error) {
	b, err := notefmt.ParseBody(text)
	return Checkpoint(b), err
}

// String returns the checkpoint's text, each line ended by a line feed.
// ParseNote returns the checkpoint in a signed note, whoever has signed it: nothing is
// verified, see [Open].
func ParseNote(msg []byte) (Checkpoint, error) {
	text, _, ok := strings.Cut(string(msg), "\n\n")
	if !ok {
		return Checkpoint{}, errors.New("not a signed note: there is no empty line before its signatures")
	}
	return Parse(text + "\n")
}

func (c Checkpoint) String() string { return notefmt.Body(c).String() }
