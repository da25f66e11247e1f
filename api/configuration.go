package api

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/stele-log/stele/internal/access"
)

// This file serves /whoami, /keys, /grants and /state: who may do what, and changes of
// that. limits.go and issuers.go serve the rest of the configuration. A change that was made for a certain state names it in If-Match, as the ETag of
// what was read; it is refused with 409 if another came first.

// errNoAccess is the answer of a server without access control.
var errNoAccess = statusError{http.StatusNotFound, "this server runs without access control"}

type keyInfo struct {
	access.Key
	Live     bool      `json:"live"`
	LastUsed time.Time `json:"last_used,omitzero"` // on this server, since it started
	Text     string    `json:"key,omitempty"`      // once, when it is made
}

type whoami struct {
	Principal string              `json:"principal"` // empty for somebody who has not said who they are
	Key       string              `json:"key,omitempty"`
	Issuer    string              `json:"issuer,omitempty"`
	Local     bool                `json:"local,omitempty"` // may do everything, as somebody on the server's machine
	Claims    map[string]string   `json:"claims,omitempty"`
	Lists     map[string][]string `json:"lists,omitempty"` // claims with several values, such as groups
	Grants    []access.Grant      `json:"grants"`
}

// showCaller serves who the request comes from, and what they may do.
func (s *server) showCaller(w http.ResponseWriter, r *http.Request) error {
	p := callerOf(r)
	who := whoami{Principal: p.Name, Key: p.Key, Issuer: p.Issuer, Local: p.Local, Claims: p.Claims, Lists: p.Lists, Grants: []access.Grant{}}
	if s.Access != nil {
		s.Access.View(func(state *access.State) {
			who.Grants = append(who.Grants, state.GrantsOf(p, s.Now())...)
		})
	}
	return reply(w, http.StatusOK, who)
}

func (s *server) listKeys(w http.ResponseWriter, _ *http.Request) error {
	if s.Access == nil {
		return errNoAccess
	}
	keys := []keyInfo{}
	s.Access.View(func(state *access.State) {
		setState(w, state)
		for _, k := range state.Keys() {
			keys = append(keys, keyInfo{Key: k, Live: k.Live(s.Now()), LastUsed: s.lastUsed(k.ID)})
		}
	})
	return reply(w, http.StatusOK, map[string]any{"keys": keys})
}

// lastUsed returns when a key was last used here, or zero.
func (s *server) lastUsed(key string) time.Time {
	if s.Journal == nil {
		return time.Time{}
	}
	return s.Journal.LastUsed(key)
}

type newKey struct {
	Principal string            `json:"principal"`
	Expires   time.Time         `json:"expires,omitzero"`
	Claims    map[string]string `json:"claims"`
}

// createKey makes a key. Its text is in the answer and nowhere else.
func (s *server) createKey(w http.ResponseWriter, r *http.Request) error {
	var n newKey
	change, err := s.readChange(w, r, &n, `{"principal": "...", "expires": "2027-01-31T00:00:00Z", "claims": {"tenant": "..."}}; only principal is required`)
	if err != nil {
		return err
	}
	if !n.Expires.IsZero() && n.Expires.Before(s.Now()) {
		return badRequest("expires is in the past")
	}
	k, text, err := s.Access.CreateKey(r.Context(), change, access.Key{Principal: n.Principal, Expires: n.Expires, Claims: n.Claims})
	if err != nil {
		return err
	}
	return replyKey(w, k, text)
}

// replyKey answers with a new key, for the only time.
func replyKey(w http.ResponseWriter, k access.Key, text string) error {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Location", "/keys/"+k.ID)
	return reply(w, http.StatusCreated, keyInfo{Key: k, Live: true, Text: text})
}

// rotateKey makes a key in the place of another, which is good for some time more.
func (s *server) rotateKey(w http.ResponseWriter, r *http.Request) error {
	var n struct {
		Overlap int `json:"overlap_seconds"`
	}
	change, err := s.readChange(w, r, &n, `{"overlap_seconds": 86400}: how long the old key is still good for`)
	if err != nil {
		return err
	}
	if n.Overlap < 0 || n.Overlap > 366*24*3600 {
		return badRequest("overlap_seconds is 0 to a year")
	}
	k, text, err := s.Access.RotateKey(r.Context(), change, chi.URLParam(r, "id"), time.Duration(n.Overlap)*time.Second)
	if err != nil {
		return err
	}
	return replyKey(w, k, text)
}

func (s *server) revokeKey(w http.ResponseWriter, r *http.Request) error {
	change, err := s.readChange(w, r, nil, "")
	if err == nil {
		err = s.Access.RevokeKey(r.Context(), change, chi.URLParam(r, "id"))
	}
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}

func (s *server) listGrants(w http.ResponseWriter, _ *http.Request) error {
	if s.Access == nil {
		return errNoAccess
	}
	grants := []access.Grant{}
	s.Access.View(func(state *access.State) {
		setState(w, state)
		grants = append(grants, state.Grants()...)
	})
	return reply(w, http.StatusOK, map[string]any{"grants": grants})
}

func (s *server) addGrant(w http.ResponseWriter, r *http.Request) error {
	var n struct {
		Principal string      `json:"principal"`
		Claim     string      `json:"claim"`
		Role      access.Role `json:"role"`
		Log       string      `json:"log"`
		Filter    string      `json:"filter"`
		Source    string      `json:"source"`
		Until     time.Time   `json:"until,omitzero"`
	}
	change, err := s.readChange(w, r, &n, `{"principal": "...", "role": "reader", "log": "default", "filter": "...", "until": "2027-01-31T00:00:00Z"}; `+
		"principal, or claim in its place, role and log are required; source is for writers")
	if err != nil {
		return err
	}
	if !n.Until.IsZero() && n.Until.Before(s.Now()) {
		return badRequest("until is in the past")
	}
	if !strings.HasSuffix(n.Log, "*") {
		if _, err := s.Engine.Log(n.Log); err != nil {
			return badRequest(fmt.Sprintf("log: there is no log %.80q", n.Log))
		}
	}
	g, err := s.Access.AddGrant(r.Context(), change, access.Grant{Principal: n.Principal, Claim: n.Claim, Role: n.Role, Log: n.Log,
		Filter: n.Filter, Source: n.Source, Until: n.Until})
	if err != nil {
		return err
	}
	w.Header().Set("Location", "/grants/"+g.ID)
	return reply(w, http.StatusCreated, g)
}

func (s *server) removeGrant(w http.ResponseWriter, r *http.Request) error {
	change, err := s.readChange(w, r, nil, "")
	if err == nil {
		err = s.Access.RemoveGrant(r.Context(), change, chi.URLParam(r, "id"))
	}
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}

// explainGrants serves why somebody may, or may not, do something: what each of their grants
// has to do with it.
func (s *server) explainGrants(w http.ResponseWriter, r *http.Request) error {
	if s.Access == nil {
		return errNoAccess
	}
	q := r.URL.Query()
	name, role, log := q.Get("principal"), access.Role(q.Get("role")), q.Get("log")
	if name == "" || !slices.Contains(access.Roles, role) || log == "" {
		return badRequest("give principal, role (writer, reader, auditor, admin or officer) and log")
	}
	if !strings.HasSuffix(log, "*") {
		if _, err := s.Engine.Log(log); err != nil {
			return badRequest(fmt.Sprintf("log: there is no log %.80q", log))
		}
	}
	explained := struct {
		Principal string          `json:"principal"`
		Role      access.Role     `json:"role"`
		Log       string          `json:"log"`
		Allowed   bool            `json:"allowed"`
		Filter    string          `json:"filter,omitempty"`
		Sources   []string        `json:"sources,omitempty"`
		Reasons   []access.Reason `json:"reasons"`
		Keys      int             `json:"keys"` // of the principal that can be used
	}{Principal: name, Role: role, Log: log, Reasons: []access.Reason{}}
	s.Access.View(func(state *access.State) {
		setState(w, state)
		roles := []access.Role{role}
		if role == access.Reader {
			roles = append(roles, access.Auditor)
		}
		// By which key it may most, since a filter may depend on the key's claims.
		best := access.Principal{Name: name}
		permit := state.May(best, log, s.Now(), roles...)
		for _, k := range state.Keys() {
			if k.Principal != name || !k.Live(s.Now()) {
				continue
			}
			explained.Keys++
			p := access.Principal{Name: name, Claims: k.Claims}
			if other := state.May(p, log, s.Now(), roles...); !permit.Allowed && other.Allowed {
				best, permit = p, other
			}
		}
		explained.Allowed, explained.Sources = permit.Allowed, permit.Sources
		if permit.Allowed && permit.Narrowed {
			explained.Filter = permit.Filter.String()
		}
		explained.Reasons = append(explained.Reasons, state.Explain(best, role, log, s.Now())...)
	})
	return reply(w, http.StatusOK, explained)
}

// showState serves who may do what, now or as the first entries of the system log, up to
// and with that of an index, made it.
func (s *server) showState(w http.ResponseWriter, r *http.Request) error {
	if s.Access == nil {
		return errNoAccess
	}
	type stateInfo struct {
		Size    uint64          `json:"size"` // entries of the log that the state is of
		Keys    []keyInfo       `json:"keys"`
		Grants  []access.Grant  `json:"grants"`
		Logs    []access.Log    `json:"logs"`
		Limits  []access.Limit  `json:"limits"`
		Issuers []access.Issuer `json:"issuers"`
	}
	describe := func(state *access.State) stateInfo {
		keys := []keyInfo{}
		for _, k := range state.Keys() {
			keys = append(keys, keyInfo{Key: k, Live: k.Live(s.Now())})
		}
		return stateInfo{state.Size(), keys, state.Grants(), state.Logs(), state.Limits(), state.Issuers()}
	}
	var info stateInfo
	if at := r.URL.Query().Get("at"); at != "" {
		index, err := parseNumber("at", at)
		if err != nil {
			return err
		}
		state, err := s.Access.At(r.Context(), index+1)
		if err != nil {
			return err
		}
		setState(w, state)
		info = describe(state)
	} else {
		s.Access.View(func(state *access.State) {
			setState(w, state)
			info = describe(state)
		})
	}
	return reply(w, http.StatusOK, info)
}

// setState gives a reply the state that it shows, for If-Match.
func setState(w http.ResponseWriter, state *access.State) {
	w.Header().Set("Etag", `"`+strconv.FormatUint(state.Size(), 10)+`"`)
	w.Header().Set("Cache-Control", "no-store")
}

// readChange reads the body of a request for a change into v, unless v is nil, and who
// wants it.
func (s *server) readChange(w http.ResponseWriter, r *http.Request, v any, example string) (access.Change, error) {
	if s.Access == nil {
		return access.Change{}, errNoAccess
	}
	change, err := s.changeOf(r)
	if err != nil || v == nil {
		return change, err
	}
	return change, s.readJSON(w, r, v, example)
}

// changeOf returns who wants a change, and for which state.
func (s *server) changeOf(r *http.Request) (access.Change, error) {
	change := access.Change{By: cmp.Or(callerOf(r).Name, access.LocalName), May: func() error {
		_, err := s.demand(r, "*", access.Admin)
		return err
	}}
	if tag := r.Header.Get("If-Match"); tag != "" {
		size, err := strconv.ParseUint(strings.Trim(tag, `"`), 10, 64)
		if err != nil {
			return change, badRequest("If-Match must be the ETag of /state, /keys or /grants")
		}
		change.Seen = &size
	}
	return change, nil
}
