package auditor

import (
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

// What is kept of a log, each file written by itself:
//
//	verified          the newest verified head, and the frontier of its tree
//	heads/<size>      heads verified before, fewer the older they are
//	pending/<key>     heads seen and not proven yet
//	views/<hash>      the head that each source showed last
//	contradictions/<name>   what was proven against the log
const (
	verifiedFile         = "verified"
	headsFolder          = "heads"
	pendingFolder        = "pending"
	viewsFolder          = "views"
	contradictionsFolder = "contradictions"
)

const (
	maxHeads          = 128  // heads kept of those verified before
	maxPending        = 8192 // heads kept that are not proven
	maxContradictions = 16   // contradiction files against one log
)

// A sighting is a head that the log has signed, as it was seen.
type sighting struct {
	contradiction.Sighting
	head tree.Head
}

// key is the same for sightings of the same head, and sorts by size.
func (s sighting) key() string { return fmt.Sprintf("%019d-%x", s.head.Size, s.head.Root[:8]) }

// sightingFile is a sighting as it is kept.
type sightingFile struct {
	Note   string    `json:"note"`
	Source string    `json:"source"`
	Time   time.Time `json:"time"`
}

// verifiedState is what the file of the newest verified head holds.
type verifiedState struct {
	sightingFile
	Frontier [][]tree.Hash `json:"frontier"` // the partial tile of each level
}

// state is what is known of one log, all of it in files too. It is not safe
// for concurrent use.
type state struct {
	dir    stateDir
	policy *policy.Policy

	verified       sighting // its note is nil until there is one
	frontier       *tree.Frontier
	heads          map[uint64]sighting  // by size
	pending        map[string]sighting  // by key
	views          map[string]sighting  // by source
	contradictions map[string]bool      // names of files
	refuted        map[string]tree.Head // by key: heads that a contradiction was found with, since the start
}

// loadState reads what was kept. A file that is damaged is an error: to begin
// anew would be to forget what was seen.
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

// open reads a sighting back. The note must still be signed by a trusted key.
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

// knows reports whether a head is verified, pending or refuted.
func (s *state) knows(seen sighting) bool {
	_, pending := s.pending[seen.key()]
	_, refuted := s.refuted[seen.key()]
	return pending || refuted || s.verified.head == seen.head || s.heads[seen.head.Size].head == seen.head ||
		seen.head.Size == 0
}

// addPending keeps a head that is not proven yet.
func (s *state) addPending(seen sighting) error {
	if len(s.pending) >= maxPending {
		return fmt.Errorf("%d signed heads wait to be proven; %v, seen at %s, is not kept",
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

// pendingBySize returns the heads that are not proven, smallest first.
func (s *state) pendingBySize() []sighting {
	seen := make([]sighting, 0, len(s.pending))
	for _, key := range slices.Sorted(maps.Keys(s.pending)) {
		seen = append(seen, s.pending[key])
	}
	return seen
}

// setView keeps what a source showed last, and returns what it showed before.
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

// advance makes a head the newest verified one. A crash before the last step
// leaves the old one, and a head in the history that is the old one too.
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

// addHead adds a verified head to the history.
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

// thin removes every other head of the older half, so that heads stay from all
// of the past, and most from lately.
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

// below returns the largest verified head of at most a size, and false if there
// is none.
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

// partials reads the partial tiles of a frontier, by level.
type partials [][]tree.Hash

func (p partials) ReadCheckpoint(context.Context) ([]byte, error) { return nil, fs.ErrNotExist }

func (p partials) ReadTile(_ context.Context, t tile.Tile) ([]byte, error) {
	if t.Level >= len(p) {
		return nil, fmt.Errorf("%s: %w", t, fs.ErrNotExist)
	}
	return tree.JoinTile(p[t.Level]), nil
}
