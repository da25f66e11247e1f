package access

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// The types of events in the system log, and their data.
const (
	keyCreated    = "stele.key.created"    // a Key
	keyRevoked    = "stele.key.revoked"    // a reference to it
	keyRotated    = "stele.key.rotated"    // a rotation
	grantAdded    = "stele.grant.added"    // a Grant
	grantRemoved  = "stele.grant.removed"  // a reference to it
	logCreated    = "stele.log.created"    // a Log
	logChanged    = "stele.log.changed"    // a changedLog
	limitSet      = "stele.limit.set"      // a Limit
	limitRemoved  = "stele.limit.removed"  // a reference by principal
	issuerAdded   = "stele.issuer.added"   // an Issuer
	issuerRemoved = "stele.issuer.removed" // a reference by name
)

// A reference names what an event is about, in whichever member has its name.
type reference struct {
	ID        string `json:"id,omitempty"`
	Principal string `json:"principal,omitempty"`
	Name      string `json:"name,omitempty"`
}

// A rotation puts a key in the place of another, which ends.
type rotation struct {
	ID   string    `json:"id"`   // of the old one
	Ends time.Time `json:"ends"` // when it does
	New  Key       `json:"new"`
}

type changedLog struct {
	Name string `json:"name"`
	LogSettings
}

// An origin is where an event is from: who made the change, and when.
type origin struct {
	by string
	at time.Time
}

// kinds say what the types of events do to a state. What fails changes nothing. Whether it
// fails never depends on the time: a change is tried before it is recorded, and must not
// fail after.
var kinds = map[string]func(*State, []byte, origin) error{
	keyCreated:    folding((*State).addKey),
	keyRevoked:    folding((*State).revokeKey),
	keyRotated:    folding((*State).rotateKey),
	grantAdded:    folding((*State).addGrant),
	grantRemoved:  folding((*State).removeGrant),
	logCreated:    folding((*State).addLog),
	logChanged:    folding((*State).changeLog),
	limitSet:      folding((*State).setLimit),
	limitRemoved:  folding((*State).removeLimit),
	issuerAdded:   folding((*State).addIssuer),
	issuerRemoved: folding((*State).removeIssuer),
}

// folding returns what decodes an event's data for a function.
func folding[T any](apply func(*State, T, origin) error) func(*State, []byte, origin) error {
	return func(s *State, data []byte, from origin) error {
		var v T
		if err := json.Unmarshal(data, &v); err != nil {
			return err
		}
		return apply(s, v, from)
	}
}

// A State is what the first entries of the system log add up to. It is for one goroutine
// at a time. What the maps hold is never changed, only replaced.
type State struct {
	size    uint64 // entries folded
	keys    map[string]*Key
	grants  map[string]*Grant
	granted map[string][]*Grant // by subject
	logs    map[string]*Log
	limits  map[string]Limit
	issuers map[string]Issuer
}

// NewState returns the state before the first entry.
func NewState() *State {
	return &State{keys: map[string]*Key{}, grants: map[string]*Grant{}, granted: map[string][]*Grant{},
		logs: map[string]*Log{}, limits: map[string]Limit{}, issuers: map[string]Issuer{}}
}

// clone returns a copy on which a change can be tried.
func (s *State) clone() *State {
	return &State{size: s.size, keys: maps.Clone(s.keys), grants: maps.Clone(s.grants), granted: maps.Clone(s.granted),
		logs: maps.Clone(s.logs), limits: maps.Clone(s.limits), issuers: maps.Clone(s.issuers)}
}

// Size returns the number of entries that the state is of.
func (s *State) Size() uint64 { return s.size }

// Keys returns all keys, revoked ones too, by principal.
func (s *State) Keys() []Key {
	return sorted(s.keys, func(k *Key) Key { return *k }, func(a, b Key) int {
		return cmp.Or(cmp.Compare(a.Principal, b.Principal), cmp.Compare(a.ID, b.ID))
	})
}

// Grants returns all grants, ended ones too, by principal.
func (s *State) Grants() []Grant {
	return sorted(s.grants, func(g *Grant) Grant { return *g }, func(a, b Grant) int {
		return cmp.Or(cmp.Compare(a.subject(), b.subject()), cmp.Compare(a.Log, b.Log), cmp.Compare(a.ID, b.ID))
	})
}

// Logs returns all logs that were recorded, by name.
func (s *State) Logs() []Log {
	return sorted(s.logs, func(l *Log) Log { return *l }, func(a, b Log) int { return cmp.Compare(a.Name, b.Name) })
}

// Limits returns all limits, by principal.
func (s *State) Limits() []Limit {
	return sorted(s.limits, func(l Limit) Limit { return l }, func(a, b Limit) int { return cmp.Compare(a.Principal, b.Principal) })
}

// Issuers returns all issuers, by name.
func (s *State) Issuers() []Issuer {
	return sorted(s.issuers, func(i Issuer) Issuer { return i }, func(a, b Issuer) int { return cmp.Compare(a.Name, b.Name) })
}

// sorted returns what a map holds, in order.
func sorted[V, T any](of map[string]V, value func(V) T, compare func(a, b T) int) []T {
	all := make([]T, 0, len(of))
	for _, v := range of {
		all = append(all, value(v))
	}
	slices.SortFunc(all, compare)
	return all
}

// Fold takes in the next entry. An entry that cannot be understood is an error, and is
// not taken in: a newer program may have made it, and what it means for access is not
// known.
func (s *State) Fold(entry []byte) error {
	var e struct {
		Type string         `json:"type"`
		Data jsontext.Value `json:"data"`
		By   string         `json:"recordedby"`
		At   time.Time      `json:"recordedtime"`
	}
	if err := json.Unmarshal(entry, &e); err != nil {
		return fmt.Errorf("entry %d of the log %s: %w", s.size, SystemLog, err)
	}
	if err := s.apply(e.Type, e.Data, origin{e.By, e.At}); err != nil {
		return fmt.Errorf("entry %d of the log %s, %s: %w", s.size, SystemLog, e.Type, err)
	}
	s.size++
	return nil
}

func (s *State) apply(kind string, data []byte, from origin) error {
	apply, ok := kinds[kind]
	if !ok {
		return errors.New("this program does not know what it means: a newer one has made it")
	}
	return apply(s, data, from)
}

func (s *State) addKey(k Key, from origin) error {
	if err := checkPrincipal(k.Principal); err != nil {
		return err
	}
	if s.keys[k.ID] != nil {
		return fmt.Errorf("key %s %w", k.ID, ErrExists)
	}
	k.Created = from.at
	s.keys[k.ID] = &k
	return nil
}

func (s *State) revokeKey(ref reference, _ origin) error {
	k := s.keys[ref.ID]
	if k == nil || k.Revoked {
		return fmt.Errorf("key %.40q: %w", ref.ID, ErrNotFound)
	}
	revoked := *k
	revoked.Revoked = true
	s.keys[ref.ID] = &revoked
	return nil
}

func (s *State) rotateKey(r rotation, from origin) error {
	k := s.keys[r.ID]
	if k == nil || k.Revoked {
		return fmt.Errorf("key %.40q: %w", r.ID, ErrNotFound)
	}
	if err := s.addKey(r.New, from); err != nil {
		return err
	}
	ending := *k
	ending.Rotated = true
	if k.Expires.IsZero() || r.Ends.Before(k.Expires) {
		ending.Expires = r.Ends
	}
	s.keys[r.ID] = &ending
	return nil
}

func (s *State) addGrant(g Grant, _ origin) error {
	if err := g.Check(); err != nil {
		return err
	}
	if s.grants[g.ID] != nil {
		return fmt.Errorf("grant %s %w", g.ID, ErrExists)
	}
	s.grants[g.ID] = &g
	s.granted[g.subject()] = append(slices.Clip(s.granted[g.subject()]), &g)
	return nil
}

func (s *State) removeGrant(ref reference, _ origin) error {
	g := s.grants[ref.ID]
	if g == nil {
		return fmt.Errorf("grant %.40q: %w", ref.ID, ErrNotFound)
	}
	delete(s.grants, ref.ID)
	s.granted[g.subject()] = slices.DeleteFunc(slices.Clone(s.granted[g.subject()]), func(other *Grant) bool { return other == g })
	return nil
}

func (s *State) addLog(l Log, from origin) error {
	if l.Name == "" || s.logs[l.Name] != nil {
		return fmt.Errorf("log %.80q %w", l.Name, ErrExists)
	}
	if err := l.LogSettings.check(defaults); err != nil {
		return err
	}
	l.Created, l.By = from.at, from.by
	s.logs[l.Name] = &l
	return nil
}

func (s *State) changeLog(c changedLog, _ origin) error {
	l := s.logs[c.Name]
	if l == nil {
		return fmt.Errorf("log %.80q: %w", c.Name, ErrNotFound)
	}
	changed := *l
	if err := c.LogSettings.check(l.LogSettings); err != nil {
		return err
	}
	changed.LogSettings = c.LogSettings
	s.logs[c.Name] = &changed
	return nil
}

func (s *State) setLimit(l Limit, _ origin) error {
	if err := l.Check(); err != nil {
		return err
	}
	s.limits[l.Principal] = l
	return nil
}

func (s *State) removeLimit(ref reference, _ origin) error {
	if _, ok := s.limits[ref.Principal]; !ok {
		return fmt.Errorf("limit of %.80q: %w", ref.Principal, ErrNotFound)
	}
	delete(s.limits, ref.Principal)
	return nil
}

func (s *State) addIssuer(i Issuer, from origin) error {
	if err := i.Check(); err != nil {
		return err
	}
	if _, ok := s.issuers[i.Name]; ok {
		return fmt.Errorf("issuer %s %w", i.Name, ErrExists)
	}
	i.Created = from.at
	s.issuers[i.Name] = i
	return nil
}

func (s *State) removeIssuer(ref reference, _ origin) error {
	if _, ok := s.issuers[ref.Name]; !ok {
		return fmt.Errorf("issuer %.40q: %w", ref.Name, ErrNotFound)
	}
	delete(s.issuers, ref.Name)
	return nil
}

// settings returns those of a log; of one that is not recorded yet, the usual.
func (s *State) settings(log string) LogSettings {
	if l := s.logs[log]; l != nil {
		return l.LogSettings
	}
	return defaults
}

// limit returns the limit of a principal, and false if there is none.
func (s *State) limit(principal string) (Limit, bool) {
	l, ok := s.limits[principal]
	if !ok {
		l, ok = s.limits[everyone]
	}
	return l, ok
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

// ended reports whether what a principal has authenticated with has ended since.
func (s *State) ended(p Principal, now time.Time) bool {
	if k := s.keys[p.Key]; p.Key != "" && (k == nil || !k.Live(now)) {
		return true
	}
	if i, ok := s.issuers[p.Issuer]; p.Issuer != "" && p.Issuer != certificateIssuer && (!ok || !i.Created.Equal(p.IssuerCreated)) {
		return true
	}
	return !p.Ends.IsZero() && !now.Before(p.Ends)
}

// grantsOf returns the grants of a principal, those by its claims too.
func (s *State) grantsOf(p Principal) []*Grant {
	grants := s.granted[p.Name]
	for _, subject := range p.claims() {
		grants = append(slices.Clip(grants), s.granted[subject]...)
	}
	return grants
}

// has reports whether there is a grant like another in force.
func (s *State) has(g Grant, now time.Time) bool {
	return slices.ContainsFunc(s.granted[g.subject()], func(have *Grant) bool {
		return have.Live(now) && have.Role == g.Role && have.Log == g.Log && have.Filter == g.Filter && have.Source == g.Source && have.Until.Equal(g.Until)
	})
}

// GrantsOf returns the grants of a principal that are in force, those by its claims too.
func (s *State) GrantsOf(p Principal, now time.Time) (grants []Grant) {
	for _, g := range s.grantsOf(p) {
		if g.Live(now) {
			grants = append(grants, *g)
		}
	}
	return grants
}

// May reports whether a principal may act in one of some roles on a log, or on all if log
// is "*". The widest grant counts: of readers one without a filter, or else what any of the
// filters lets through, and of writers one that is bound to no source. A filter whose
// claims the principal does not have lets nothing through.
func (s *State) May(p Principal, log string, now time.Time, roles ...Role) Permit {
	if p.Local {
		return Permit{Allowed: true}
	}
	permit := Permit{Narrowed: true}
	if s.ended(p, now) {
		permit.Ended = true
		return permit
	}
	for _, g := range s.grantsOf(p) {
		if !g.Live(now) || !slices.Contains(roles, g.Role) || !g.Covers(log) {
			continue
		}
		if g.Filter == "" && g.Source == "" {
			return Permit{Allowed: true, Role: g.Role}
		}
		if g.Source != "" {
			permit.Sources = append(permit.Sources, g.Source)
			permit.Allowed, permit.Narrowed, permit.Role = true, false, g.Role
			continue
		}
		filter, err := g.filter.Bind(p.Claims)
		if err != nil {
			continue
		}
		if permit.Allowed {
			filter = permit.Filter.Or(filter)
		}
		permit.Allowed, permit.Filter, permit.Role = true, filter, g.Role
	}
	return permit
}

// Knows reports whether a principal may know that there is a log: it is public, or they
// have a role on it.
func (s *State) Knows(p Principal, log string, now time.Time) bool {
	return s.settings(log).Public != PublicNothing || s.May(p, log, now, Roles...).Allowed
}

// hasAdmin reports whether a key that can be used now has the role admin, for good. An
// issuer that is away, or removed, must not leave nobody.
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

// logsBy returns how many logs a principal has made.
func (s *State) logsBy(principal string) (n int) {
	for _, l := range s.logs {
		if l.By == principal {
			n++
		}
	}
	return n
}

// A Reason is one grant, and what it has to do with a question.
type Reason struct {
	Grant  Grant  `json:"grant"`
	Counts bool   `json:"counts"`
	Why    string `json:"why"`
}

// Explain returns what each grant of a principal has to do with whether it may act in a
// role on a log; those for claims of its issuer's tokens, too, of which nobody knows whether
// it has them.
func (s *State) Explain(p Principal, role Role, log string, now time.Time) (reasons []Reason) {
	for _, g := range s.granted[p.Name] {
		reasons = append(reasons, s.explain(p, *g, role, log, now))
	}
	issuer, _, _ := strings.Cut(p.Name, ":")
	for _, g := range s.Grants() {
		if g.Claim != "" && strings.HasPrefix(g.Claim, issuer+":") {
			r := s.explain(p, g, role, log, now)
			if r.Counts {
				r.Counts, r.Why = false, "it is for those whose token has the claim "+g.Claim+": "+r.Why
			}
			reasons = append(reasons, r)
		}
	}
	return reasons
}

func (s *State) explain(p Principal, g Grant, role Role, log string, now time.Time) Reason {
	r := Reason{Grant: g}
	_, unbound := g.filter.Bind(p.Claims)
	switch {
	case g.Role != role && (role != Reader || g.Role != Auditor):
		r.Why = fmt.Sprintf("it gives another role, %s", g.Role)
	case !g.Covers(log) && IsOwn(log) && strings.HasSuffix(g.Log, "*"):
		r.Why = fmt.Sprintf("the log %s has to be named: * covers it for auditors and admins only", log)
	case !g.Covers(log):
		r.Why = fmt.Sprintf("it is for another log, %s", g.Log)
	case !g.Live(now):
		r.Why = "it ended " + g.Until.Format(time.RFC3339)
	case unbound != nil:
		r.Why = "its filter lets nothing through: " + unbound.Error()
	case g.Filter != "":
		r.Counts, r.Why = true, "entries that match its filter"
	case g.Source != "":
		r.Counts, r.Why = true, "events whose source begins with "+g.Source
	default:
		r.Counts, r.Why = true, "without restriction"
	}
	if r.Counts && g.Role != role {
		r.Why += fmt.Sprintf(", as %s", g.Role)
	}
	if r.Counts && !g.Until.IsZero() {
		r.Why += ", until " + g.Until.Format(time.RFC3339)
	}
	return r
}
