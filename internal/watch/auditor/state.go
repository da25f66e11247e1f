package auditor

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"time"

	"github.com/stele-log/stele/pkg/contradiction"
	"github.com/stele-log/stele/pkg/policy"
	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/pkg/tree"
)

// The state folder of a log. Each file is replaced as a whole, and the order of
// the writes keeps every head in at least one of them: a head is in pending/
// before it is verified, and in verified, heads/ or contradictions/ before it
// leaves pending/.
//
//	verified                the newest verified head, and the frontier of its tree
//	heads/<size>            older verified heads, fewer the older they are
//	pending/<key>           heads that are neither proven nor disproven
//	views/<hash>            the head that each source has shown last
//	contradictions/<name>   proofs against the log
const (
	verifiedFile         = "verified"
	headsFolder          = "heads"
	pendingFolder        = "pending"
	viewsFolder          = "views"
	contradictionsFolder = "contradictions"
)

const (
	maxHeads          = 128  // older verified heads that are kept
	maxPending        = 8192 // heads that may wait to be proven; more are not recorded
	maxContradictions = 16   // contradiction files against one log
)

// A sighting is a head that the log has signed, with its note and with where and
// when it was seen first.
type sighting struct {
	contradiction.Sighting
	head tree.Head
}

// key is the same for sightings of the same head, and sorts by size.
func (s sighting) key() string { return fmt.Sprintf("%019d-%x", s.head.Size, s.head.Root[:8]) }

// sightingFile is a sighting as it is written to a file.
type sightingFile struct {
	Note   string    `json:"note"`
	Source string    `json:"source"`
	Time   time.Time `json:"time"`
}

// verifiedState is the content of the file of the newest verified head.
type verifiedState struct {
	sightingFile
	Frontier [][]tree.Hash `json:"frontier"` // the partial tile of each level
}

// state mirrors the state folder of one log in memory: a method that changes it
// writes the file first. It is not safe for concurrent use.
type state struct {
	dir    stateDir
	policy *policy.Policy

	verified       sighting // the empty tree, with a nil note, until there is one
	frontier       *tree.Frontier
	heads          map[uint64]sighting  // by size
	pending        map[string]sighting  // by key
	views          map[string]sighting  // by source
	contradictions map[string]bool      // names of files
	refuted        map[string]tree.Head // by key: heads in a contradiction of this run
}

// loadState reads the state folder. A damaged file is an error, as starting
// without it would forget heads that were seen.
func loadState(ctx context.Context, dir stateDir, p *policy.Policy) (*state, error) {
	s := &state{dir: dir, policy: p, frontier: &tree.Frontier{}, verified: sighting{head: tree.Empty()},
		heads: map[uint64]sighting{}, pending: map[string]sighting{}, views: map[string]sighting{},
		contradictions: map[string]bool{}, refuted: map[string]tree.Head{}}
	if err := s.loadVerified(ctx); err != nil {
		return nil, fmt.Errorf("state: %s: %w", verifiedFile, err)
	}
	for folder, add := range map[string]func(sighting){
		headsFolder:   func(x sighting) { s.heads[x.head.Size] = x },
		pendingFolder: func(x sighting) { s.pending[x.key()] = x },
		viewsFolder:   func(x sighting) { s.views[x.Source] = x },
	} {
		if err := s.loadSightings(folder, add); err != nil {
			return nil, fmt.Errorf("state: %w", err)
		}
	}
	names, err := dir.list(contradictionsFolder)
	for _, name := range names {
		s.contradictions[name] = true
	}
	return s, err
}

// loadVerified reads the newest verified head and the frontier of its tree, which
// must have that head. There is no file before the first head is verified.
func (s *state) loadVerified(ctx context.Context) error {
	data, err := s.dir.read(verifiedFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var f verifiedState
	if err := json.Unmarshal(data, &f); err != nil {
		return err
	}
	if s.verified, err = s.open(f.sightingFile); err != nil {
		return err
	}
	if s.frontier, err = tree.ReadFrontier(ctx, partials(f.Frontier), s.verified.head.Size); err != nil {
		return err
	}
	if got := s.frontier.Head(); got != s.verified.head {
		return fmt.Errorf("the frontier has %v, the note %v", got, s.verified.head)
	}
	return nil
}

// loadSightings calls add for each sighting in a folder.
func (s *state) loadSightings(folder string, add func(sighting)) error {
	names, err := s.dir.list(folder)
	if err != nil {
		return err
	}
	for _, name := range names {
		data, err := s.dir.read(name)
		if err != nil {
			return err
		}
		var f sightingFile
		if err := json.Unmarshal(data, &f); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		seen, err := s.open(f)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		add(seen)
	}
	return nil
}

// open returns the sighting in a file. Its note must be signed by a key of the
// policy: nothing in the state folder is trusted, and the policy may have changed.
func (s *state) open(f sightingFile) (sighting, error) {
	c, err := contradiction.Open([]byte(f.Note), s.policy)
	if err != nil {
		return sighting{}, err
	}
	return sighting{contradiction.Sighting{Note: []byte(f.Note), Source: f.Source, Time: f.Time}, c.Head}, nil
}

func (s sighting) file() sightingFile { return sightingFile{string(s.Note), s.Source, s.Time} }

func (s *state) writeSighting(name string, seen sighting) error {
	data, err := json.Marshal(seen.file())
	if err != nil {
		return err
	}
	return s.dir.write(name, data)
}

// knows reports whether a head is verified, pending or refuted. The empty tree
// always is: every tree begins with it.
func (s *state) knows(seen sighting) bool {
	_, pending := s.pending[seen.key()]
	_, refuted := s.refuted[seen.key()]
	return pending || refuted || s.isVerified(seen.head) || seen.head.Size == 0
}

func (s *state) isVerified(h tree.Head) bool {
	return s.verified.head == h || s.heads[h.Size].head == h
}

// sameSize returns another head of the size of a pending one, if there is one:
// with it, the pending head proves a fork. It is a verified head, or else a
// pending one that was seen earlier, so that of two pending heads only the later
// one is refuted.
func (s *state) sameSize(seen sighting) (sighting, bool) {
	if v := s.verified; v.Note != nil && v.head.Size == seen.head.Size && v.head != seen.head {
		return v, true
	}
	if h, ok := s.heads[seen.head.Size]; ok && h.head != seen.head {
		return h, true
	}
	for _, other := range s.pending {
		earlier := cmp.Or(other.Time.Compare(seen.Time), cmp.Compare(other.key(), seen.key())) < 0
		if earlier && other.head.Size == seen.head.Size && other.head != seen.head {
			return other, true
		}
	}
	return sighting{}, false
}

// addPending adds a head that is neither proven nor disproven. The error may be
// that there are too many.
func (s *state) addPending(seen sighting) error {
	if len(s.pending) >= maxPending {
		return fmt.Errorf("%d signed heads are still unproven; %v, seen at %s, is not recorded",
			len(s.pending), seen.head, seen.Source)
	}
	if err := s.writeSighting(pendingFolder+"/"+seen.key(), seen); err != nil {
		return err
	}
	s.pending[seen.key()] = seen
	return nil
}

func (s *state) removePending(seen sighting) error {
	if err := s.dir.remove(pendingFolder + "/" + seen.key()); err != nil {
		return err
	}
	delete(s.pending, seen.key())
	return nil
}

// pendingBySize returns the pending heads, smallest first.
func (s *state) pendingBySize() []sighting {
	seen := make([]sighting, 0, len(s.pending))
	for _, key := range slices.Sorted(maps.Keys(s.pending)) {
		seen = append(seen, s.pending[key])
	}
	return seen
}

// setView records the head that a source shows now, in the file of the given
// name, and returns the one it showed before.
func (s *state) setView(name string, seen sighting) (before sighting, err error) {
	before = s.views[seen.Source]
	if before.head == seen.head {
		return before, nil
	}
	if err := s.writeSighting(viewsFolder+"/"+name, seen); err != nil {
		return before, err
	}
	s.views[seen.Source] = seen
	return before, nil
}

// advance makes a head the newest verified one, and adds the one before it to
// heads. A crash between the two writes leaves the old head in both places.
func (s *state) advance(seen sighting, f *tree.Frontier) error {
	if s.verified.Note != nil {
		if err := s.addHead(s.verified); err != nil {
			return err
		}
	}
	out := verifiedState{sightingFile: seen.file()}
	for level := 0; f.Partial(level) != nil; level++ {
		out.Frontier = append(out.Frontier, f.Partial(level))
	}
	data, err := json.Marshal(out)
	if err != nil {
		return err
	}
	if err := s.dir.write(verifiedFile, data); err != nil {
		return err
	}
	s.verified, s.frontier = seen, f
	return nil
}

// addHead adds an older verified head, and removes some when there are too many.
func (s *state) addHead(seen sighting) error {
	if _, ok := s.heads[seen.head.Size]; ok {
		return nil
	}
	if err := s.writeSighting(fmt.Sprintf("%s/%019d", headsFolder, seen.head.Size), seen); err != nil {
		return err
	}
	s.heads[seen.head.Size] = seen
	if len(s.heads) <= maxHeads {
		return nil
	}
	return s.thin()
}

// thin removes every other head of the older half. The rest still spans the
// whole history, most densely at its end, where a rollback is likeliest.
func (s *state) thin() error {
	sizes := slices.Sorted(maps.Keys(s.heads))
	for i := 1; i < len(sizes)/2; i += 2 {
		if err := s.dir.remove(fmt.Sprintf("%s/%019d", headsFolder, sizes[i])); err != nil {
			return err
		}
		delete(s.heads, sizes[i])
	}
	return nil
}

// below returns the largest verified head of at most the given size, and false if
// there is none.
func (s *state) below(size uint64) (sighting, bool) {
	best, found := sighting{}, false
	for at, seen := range s.heads {
		if at <= size && (!found || at > best.head.Size) {
			best, found = seen, true
		}
	}
	if s.verified.Note != nil && s.verified.head.Size <= size {
		return s.verified, true
	}
	return best, found
}

// partials are the partial tiles of a frontier, by level, for tree.ReadFrontier.
type partials [][]tree.Hash

var _ tile.Reader = partials(nil)

func (p partials) ReadCheckpoint(context.Context) ([]byte, error) { return nil, fs.ErrNotExist }

func (p partials) ReadTile(_ context.Context, t tile.Tile) ([]byte, error) {
	if t.Level >= len(p) {
		return nil, fmt.Errorf("%s: %w", t, fs.ErrNotExist)
	}
	return tree.JoinTile(p[t.Level]), nil
}
