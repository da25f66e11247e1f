package access

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// The types of events in the system log. Their data is what is named.
const (
	keyCreated   = "stele.key.created"   // a Key
	keyRevoked   = "stele.key.revoked"   // a reference to it
	grantAdded   = "stele.grant.added"   // a Grant
	grantRemoved = "stele.grant.removed" // a reference to it
)

type reference struct {
	ID string `json:"id"`
}

// A State is what the first entries of the system log add up to. It is for one goroutine
// at a time.
type State struct {
	size    uint64 // entries folded
	keys    map[string]*Key
	grants  map[string]*Grant
	granted map[string][]*Grant // by principal
}

// NewState returns the state before the first entry.
func NewState() *State {
	return &State{keys: map[string]*Key{}, grants: map[string]*Grant{}, granted: map[string][]*Grant{}}
}

// Size returns the number of entries that the state is of.
func (s *State) Size() uint64 { return s.size }

// Keys returns all keys, revoked ones too, by principal.
func (s *State) Keys() []Key {
	keys := make([]Key, 0, len(s.keys))
	for _, k := range s.keys {
		keys = append(keys, *k)
	}
	slices.SortFunc(keys, func(a, b Key) int { return cmp.Or(cmp.Compare(a.Principal, b.Principal), cmp.Compare(a.ID, b.ID)) })
	return keys
}

// Grants returns all grants, ended ones too, by principal.
func (s *State) Grants() []Grant {
	grants := make([]Grant, 0, len(s.grants))
	for _, g := range s.grants {
		grants = append(grants, *g)
	}
	slices.SortFunc(grants, func(a, b Grant) int {
		return cmp.Or(cmp.Compare(a.Principal, b.Principal), cmp.Compare(a.Log, b.Log), cmp.Compare(a.ID, b.ID))
	})
	return grants
}

// Fold takes in the next entry. An entry that cannot be understood is an error, and is
// not taken in: a newer program may have made it, and what it means for access is not
// known.
func (s *State) Fold(entry []byte) error {
	var e struct {
		Type string         `json:"type"`
		Data jsontext.Value `json:"data"`
	}
	if err := json.Unmarshal(entry, &e); err != nil {
		return fmt.Errorf("entry %d of the log %s: %w", s.size, SystemLog, err)
	}
	if err := s.apply(e.Type, e.Data); err != nil {
		return fmt.Errorf("entry %d of the log %s, %s: %w", s.size, SystemLog, e.Type, err)
	}
	s.size++
	return nil
}

func (s *State) apply(kind string, data []byte) error {
	var ref reference
	switch kind {
	case keyCreated:
		var k Key
		if err := json.Unmarshal(data, &k); err != nil {
			return err
		}
		return s.addKey(k)
	case keyRevoked:
		if err := json.Unmarshal(data, &ref); err != nil {
			return err
		}
		return s.revokeKey(ref.ID)
	case grantAdded:
		var g Grant
		if err := json.Unmarshal(data, &g); err != nil {
			return err
		}
		return s.addGrant(g)
	case grantRemoved:
		if err := json.Unmarshal(data, &ref); err != nil {
			return err
		}
		return s.removeGrant(ref.ID)
	}
	return errors.New("this program does not know what it means: a newer one has made it")
}

func (s *State) addKey(k Key) error {
	if err := checkPrincipal(k.Principal); err != nil {
		return err
	}
	if s.keys[k.ID] != nil {
		return fmt.Errorf("key %s %w", k.ID, ErrExists)
	}
	s.keys[k.ID] = &k
	return nil
}

func (s *State) revokeKey(id string) error {
	k := s.keys[id]
	if k == nil || k.Revoked {
		return fmt.Errorf("key %.40q: %w", id, ErrNotFound)
	}
	k.Revoked = true
	return nil
}

func (s *State) addGrant(g Grant) error {
	if err := g.check(); err != nil {
		return err
	}
	if s.grants[g.ID] != nil {
		return fmt.Errorf("grant %s %w", g.ID, ErrExists)
	}
	s.grants[g.ID] = &g
	s.granted[g.Principal] = append(s.granted[g.Principal], &g)
	return nil
}

func (s *State) removeGrant(id string) error {
	g := s.grants[id]
	if g == nil {
		return fmt.Errorf("grant %.40q: %w", id, ErrNotFound)
	}
	delete(s.grants, id)
	s.granted[g.Principal] = slices.DeleteFunc(slices.Clone(s.granted[g.Principal]), func(other *Grant) bool { return other == g })
	return nil
}

// Authenticate returns whose key a text is.
func (s *State) Authenticate(text string, now time.Time) (Principal, error) {
	id, ok := idOf(text)
	if !ok {
		return Principal{}, ErrUnknownKey
	}
	k := s.keys[id]
	if k == nil {
		k = &Key{Revoked: true} // compared all the same
	}
	if !k.is(text) || !k.Live(now) {
		return Principal{}, ErrUnknownKey
	}
	return Principal{Name: k.Principal, Key: k.ID, Claims: k.Claims}, nil
}

// May reports whether a principal may act in one of some roles on a log, or on all if log
// is "*". Of readers the widest grant counts: one without a filter, or else what any of the
// filters lets through. A filter whose claims the principal does not have
// lets nothing through.
func (s *State) May(p Principal, log string, now time.Time, roles ...Role) Permit {
	if p.Local {
		return Permit{Allowed: true}
	}
	permit := Permit{Narrowed: true}
	if k := s.keys[p.Key]; p.Key != "" && (k == nil || !k.Live(now)) {
		permit.Ended = true
		return permit
	}
	for _, g := range s.granted[p.Name] {
		if !g.Live(now) || !slices.Contains(roles, g.Role) || !g.Covers(log) {
			continue
		}
		if g.Filter == "" {
			return Permit{Allowed: true}
		}
		filter, err := g.filter.Bind(p.Claims)
		if err != nil {
			continue
		}
		if permit.Allowed {
			filter = permit.Filter.Or(filter)
		}
		permit.Allowed, permit.Filter = true, filter
	}
	return permit
}

// hasAdmin reports whether a key that can be used now has the role admin, for good.
func (s *State) hasAdmin(now time.Time) bool {
	for _, k := range s.keys {
		if !k.Live(now) || !k.Expires.IsZero() {
			continue
		}
		for _, g := range s.granted[k.Principal] {
			if g.Role == Admin && g.Until.IsZero() {
				return true
			}
		}
	}
	return false
}

// clone returns a copy on which a change can be tried.
func (s *State) clone() *State {
	c := &State{size: s.size, keys: make(map[string]*Key, len(s.keys)), grants: maps.Clone(s.grants), granted: maps.Clone(s.granted)}
	for id, k := range s.keys {
		copied := *k
		c.keys[id] = &copied
	}
	return c
}
