package api

import (
	"context"
	"encoding/gob"
	"errors"
	"net/http"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/stele-log/stele/internal/access"
)

// This file keeps the sessions of people who have signed in with a browser, by a cookie that
// only this server gets and no script can read. A session has no rights of its own: it says
// which key or token somebody has signed in with, and what that may do is asked at each
// request. Sessions are in memory: whoever is signed in when the server restarts signs in
// again.

const (
	// sessionCookie is a name for which browsers insist on Secure, on the path / and on no
	// Domain: no other host or path can set it.
	sessionCookie = "__Host-stele"

	sessionIdle = 30 * time.Minute // a session that is not used ends after
	sessionLife = 12 * time.Hour   // any session ends after

	// maxSessions is the number of sessions at a time, maxOfOne that of one principal, of
	// which the oldest then ends.
	maxSessions = 10_000
	maxOfOne    = 20

	// freshSignIn is how long after signing in the configuration can be changed. A browser
	// that was left open cannot be used for that.
	freshSignIn = 15 * time.Minute
)

const signedInKey = "signedin" // of a session's access.Principal

func newSessions() *scs.SessionManager {
	gob.Register(access.Principal{})
	m := scs.New()
	m.Lifetime, m.IdleTimeout = sessionLife, sessionIdle
	return m
}

// bySession returns who has signed in with the request's cookie, and false if nobody has.
func (s *server) bySession(r *http.Request) (access.Principal, bool, error) {
	cookie, err := r.Cookie(sessionCookie)
	if err != nil || cookie.Value == "" {
		return access.Principal{}, false, nil
	}
	ctx, err := s.sessions.Load(r.Context(), cookie.Value)
	if err != nil {
		return access.Principal{}, false, err
	}
	who, ok := s.sessions.Get(ctx, signedInKey).(access.Principal)
	if !ok {
		return who, false, nil
	}
	if s.Access.Ended(who) {
		return access.Principal{}, true, s.sessions.Destroy(ctx) // nobody, also on the server's own machine
	}
	// A page of another site could have the browser send its cookie.
	if err := s.sameOrigin.Check(r); err != nil {
		return who, false, statusError{http.StatusForbidden, "a page of another site has made this request"}
	}
	if _, _, err := s.sessions.Commit(ctx); err != nil { // it is not idle
		return access.Principal{}, false, err
	}
	return who, true, nil
}

// begin begins a session, in place of the one that the request may have.
func (s *server) begin(w http.ResponseWriter, r *http.Request, p access.Principal) error {
	if err := s.makeRoom(r.Context(), p.Name); err != nil {
		return err
	}
	ctx, err := s.sessions.Load(r.Context(), "")
	if err != nil {
		return err
	}
	p.Session, p.SignedIn = true, s.Now()
	s.sessions.Put(ctx, signedInKey, p)
	token, _, err := s.sessions.Commit(ctx)
	if err != nil {
		return err
	}
	http.SetCookie(w, newCookie(sessionCookie, token, 0))
	s.end(r)
	if s.Journal != nil {
		f := factOf(r, access.SignedIn)
		f.Principal, f.Key, f.Issuer = p.Name, p.Key, p.Issuer
		s.Journal.Note(f)
	}
	return nil
}

// makeRoom ends the oldest session of a principal that has as many as it may.
func (s *server) makeRoom(ctx context.Context, principal string) error {
	var all, own int
	var oldest context.Context // of its sessions
	var since time.Time
	err := s.sessions.Iterate(ctx, func(session context.Context) error {
		all++
		who, ok := s.sessions.Get(session, signedInKey).(access.Principal)
		if !ok || who.Name != principal {
			return nil
		}
		if own++; oldest == nil || who.SignedIn.Before(since) {
			oldest, since = session, who.SignedIn
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case own >= maxOfOne:
		return s.sessions.Destroy(oldest)
	case all >= maxSessions:
		return statusError{http.StatusServiceUnavailable, "as many people are signed in as may be; try again later"}
	}
	return nil
}

// newCookie returns a cookie for this server alone; with a life of 0 the browser forgets it
// when it ends.
func newCookie(name, value string, life time.Duration) *http.Cookie {
	return &http.Cookie{Name: name, Value: value, Path: "/", MaxAge: int(life.Seconds()),
		HttpOnly: true, Secure: true, SameSite: http.SameSiteLaxMode}
}

// end ends the session of a request, if it has one.
func (s *server) end(r *http.Request) {
	if cookie, err := r.Cookie(sessionCookie); err == nil {
		if ctx, err := s.sessions.Load(r.Context(), cookie.Value); err == nil {
			_ = s.sessions.Destroy(ctx)
		}
	}
}

// startSession signs somebody in with a key.
func (s *server) startSession(w http.ResponseWriter, r *http.Request) error {
	if s.Access == nil {
		return errNoAccess
	}
	if err := s.sameOrigin.Check(r); err != nil {
		return statusError{http.StatusForbidden, "a page of another site has made this request"}
	}
	var body struct {
		Key string `json:"key"`
	}
	if err := s.readJSON(w, r, &body, `{"key": "stele_..."}`); err != nil {
		return err
	}
	p, err := s.authenticate(r.Context(), body.Key)
	if err != nil {
		return err
	}
	if err := s.begin(w, r, p); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// endSession signs somebody out.
func (s *server) endSession(w http.ResponseWriter, r *http.Request) error {
	if s.Access == nil {
		return errNoAccess
	}
	s.end(r)
	http.SetCookie(w, newCookie(sessionCookie, "", -time.Second))
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// authenticate returns whose key or token a text is.
func (s *server) authenticate(ctx context.Context, text string) (access.Principal, error) {
	p, err := s.Access.Authenticate(ctx, text)
	if errors.Is(err, access.ErrRolledBack) || errors.Is(err, access.ErrUnavailable) {
		return p, statusError{http.StatusServiceUnavailable, err.Error()}
	}
	if err != nil {
		return p, unknownKey{statusError{http.StatusUnauthorized, err.Error()}, s.Access.Known(text)}
	}
	return p, nil
}

// An unknownKey is the error of a key that is not valid.
type unknownKey struct {
	statusError
	id string // if there was such a key
}

func (e unknownKey) Unwrap() error { return e.statusError }
