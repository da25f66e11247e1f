package api

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/go-chi/chi/v5"

	"github.com/stele-log/stele/internal/access"
	"github.com/stele-log/stele/internal/engine"
	"github.com/stele-log/stele/pkg/event"
)

// This file decides who a request comes from and what they may ask for.
//
//	identify -> principal, in the request's context -> demand -> permit
//
// A route names the roles that it takes, one of which the principal must have on the log.
// Routes without any show what proves a log, and those for readers its entries: either may
// be public, as the log is set. A reader whose grant has a filter is let through to routes
// that can apply it, see withEntries, and refused by all others. Of a log of which nothing
// is public, nobody without a role learns that there is one.
//
// What is refused, and what people read, is noted for the log named access; see note.go.

type principalKey struct{}

// callerOf returns who a request comes from.
func callerOf(r *http.Request) access.Principal {
	p, _ := r.Context().Value(principalKey{}).(access.Principal)
	return p
}

// senderOf returns the sender of the events in a request.
func senderOf(r *http.Request) event.Sender {
	if name := callerOf(r).Name; name != "" {
		return event.Sender{Name: name, Authenticated: true}
	}
	return event.Sender{Name: "anonymous"}
}

// identify finds out who a request comes from. Somebody who does not say is nobody, who
// may ask for what is public; somebody who says so wrongly is refused.
func (s *server) identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, err := s.whoIs(r)
		r = r.WithContext(context.WithValue(r.Context(), principalKey{}, p))
		if err != nil {
			s.fail(w, r, err)
			return
		}
		if s.Access != nil && p.Name != "" {
			leave, ok := s.Access.Enter(p)
			if !ok {
				s.fail(w, r, limitError{"as many requests of this principal as may be are under way", again})
				return
			}
			defer leave()
			s.noteUse(r)
		}
		next.ServeHTTP(w, r)
	})
}

func (s *server) whoIs(r *http.Request) (access.Principal, error) {
	if s.Access == nil {
		return access.Principal{Local: true}, nil
	}
	if hasKey(r.URL.Path) || hasKey(r.URL.RawQuery) {
		return access.Principal{}, badRequest("a key never goes into a URL, where it is logged: send it as Authorization: Bearer KEY, " +
			"and revoke the one that was sent")
	}
	headers := r.Header["Authorization"]
	switch len(headers) {
	case 0:
		if p, ok, err := s.bySession(r); ok || err != nil {
			return p, err
		}
		if p, ok, err := certified(r); ok || err != nil {
			return p, err
		}
		return access.Principal{Local: s.TrustLocal && !forwarded(r.Header)}, nil
	case 1:
	default:
		return access.Principal{}, badRequest("there is more than one Authorization header")
	}
	scheme, text, _ := strings.Cut(headers[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return access.Principal{}, statusError{http.StatusUnauthorized, "send Authorization: Bearer KEY"}
	}
	return s.authenticate(r.Context(), strings.TrimSpace(text))
}

// certified returns whom the client's certificate names, and false if it has none.
func certified(r *http.Request) (access.Principal, bool, error) {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return access.Principal{}, false, nil
	}
	p, err := access.Certified(r.TLS.VerifiedChains[0][0])
	if err != nil {
		return p, false, statusError{http.StatusUnauthorized, err.Error()}
	}
	return p, true, nil
}

// keyIn finds keys in a text.
var keyIn = regexp.MustCompile(`stele_[a-z2-7]{10}_[0-9a-f]+`)

func hasKey(text string) bool { return strings.Contains(text, "stele_") && keyIn.MatchString(text) }

// pathOf returns a request's path for the server's own log, without keys.
func pathOf(r *http.Request) string {
	if !hasKey(r.URL.Path) {
		return r.URL.Path
	}
	return keyIn.ReplaceAllString(r.URL.Path, "stele_...")
}

// forwarded reports whether a proxy has passed a request on: it then comes from somebody
// else than it seems to.
func forwarded(h http.Header) bool {
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Real-Ip", "Via"} {
		if len(h[name]) > 0 {
			return true
		}
	}
	return false
}

// demand returns what the caller may do with a log in one of some roles, or why they may
// not. Without roles it is about what proves the log.
func (s *server) demand(r *http.Request, log string, roles ...access.Role) (access.Permit, error) {
	if s.Access == nil || log == "*" && len(roles) == 0 {
		return access.Permit{Allowed: true}, nil
	}
	p := callerOf(r)
	permit := s.Access.May(p, log, roles...)
	if log != "*" && s.isPublic(p, log, roles) {
		return access.Permit{Allowed: true, Role: permit.Role}, nil
	}
	if permit.Allowed && s.isStale(p, roles) {
		return permit, statusError{http.StatusUnauthorized, fmt.Sprintf("you have signed in more than %v ago; sign in again to change the configuration", freshSignIn)}
	}
	if permit.Allowed {
		return permit, nil
	}
	if permit.Ended {
		return permit, statusError{http.StatusUnauthorized, access.ErrUnknownKey.Error()}
	}
	needed := refusal{role: string(roles[0])}
	for _, role := range roles[1:] {
		needed.role += " or " + string(role)
	}
	on := "the log " + log
	if log == "*" {
		on = "all logs"
	}
	if p.Name == "" {
		needed.statusError = statusError{http.StatusUnauthorized, fmt.Sprintf(
			"this takes the role %s on %s, and the request does not say who it comes from: send Authorization: Bearer KEY", needed.role, on)}
		return permit, needed
	}
	needed.statusError = statusError{http.StatusForbidden, fmt.Sprintf("%.200q does not have the role %s on %s; an admin can give it, see `stele grants add`",
		p.Name, needed.role, on)}
	if len(p.Missing) > 0 {
		needed.detail += fmt.Sprintf("; the token does not have these claims, as they are too many for it: %.200s", strings.Join(p.Missing, ", "))
	}
	return permit, needed
}

// isPublic reports whether what some roles may do with a log needs none of them. What
// proves a log, which no roles stand for, those may see who know of it.
func (s *server) isPublic(p access.Principal, log string, roles []access.Role) bool {
	if len(roles) == 0 {
		return s.Access.Knows(p, log)
	}
	return slices.Contains(roles, access.Reader) && s.Access.Settings(log).Public == access.PublicEntries
}

// A refusal is the error of somebody who does not have a role.
type refusal struct {
	statusError
	role string
}

func (r refusal) Unwrap() error { return r.statusError }

// isStale reports whether somebody wants to change the configuration with a browser in which
// they have signed in too long ago.
func (s *server) isStale(p access.Principal, roles []access.Role) bool {
	return p.Session && slices.Equal(roles, []access.Role{access.Admin}) && s.Now().Sub(p.SignedIn) > freshSignIn
}

// withRole answers a request that is about no log, of somebody who has one of some roles
// on all.
func (s *server) withRole(handle func(w http.ResponseWriter, r *http.Request) error, roles ...access.Role) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, err := s.demand(r, "*", roles...)
		if err == nil {
			err = handle(w, r)
		}
		if err != nil {
			s.fail(w, r, err)
		}
	}
}

// A logHandler answers a request about one log, or writes nothing and returns the
// error to answer it with.
type logHandler func(w http.ResponseWriter, r *http.Request, l *engine.Log) error

// An entryHandler does the same, and applies the filter of the permit to each entry.
type entryHandler func(w http.ResponseWriter, r *http.Request, l *engine.Log, p access.Permit) error

// withLog finds the log that the path names, and answers with the error if there
// is none, if it could not be opened, if the caller has none of the roles, or if the
// handler returns one. So every error of a log's path passes here, and through the table
// in problem.go.
func (s *server) withLog(handle logHandler, roles ...access.Role) http.HandlerFunc {
	return s.withEntries(func(w http.ResponseWriter, r *http.Request, l *engine.Log, p access.Permit) error {
		if err := notNarrowed(r, l, p); err != nil {
			return err
		}
		return handle(w, r, l)
	}, roles...)
}

// notNarrowed refuses a reader whose grant has a filter.
func notNarrowed(r *http.Request, l *engine.Log, p access.Permit) error {
	if !p.Narrowed {
		return nil
	}
	return statusError{http.StatusForbidden, fmt.Sprintf("%.200q may read those entries of the log %s only that match %s: "+
		"ask for entries one by one, or for their receipts", callerOf(r).Name, l.Name, p.Filter)}
}

// withEntries is withLog for a handler that applies a reader's filter itself.
func (s *server) withEntries(handle entryHandler, roles ...access.Role) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		l, err := s.find(r, chi.URLParam(r, "log"))
		if err == nil && l.Broken != nil {
			err = brokenError{l.Broken}
		}
		if err == nil && access.IsOwn(l.Name) && slices.Contains(roles, access.Writer) {
			err = statusError{http.StatusForbidden, "only the server itself writes to this log"}
		}
		var permit access.Permit
		if err == nil {
			permit, err = s.demand(r, l.Name, roles...)
		}
		if err == nil {
			err = handle(w, r, l, permit)
		}
		if err != nil {
			s.fail(w, r, err)
		} else if slices.Contains(roles, access.Reader) {
			s.noteRead(r, l, permit)
		}
	}
}

// find returns a log, of which the caller may know.
func (s *server) find(r *http.Request, name string) (*engine.Log, error) {
	l, err := s.Engine.Log(name)
	if err == nil && !s.knows(r, name) {
		return nil, hiddenError{fmt.Errorf("%w: %.80q", engine.ErrUnknown, name)}
	}
	return l, err
}

// A hiddenError says that something is not there to somebody who may not know of it.
type hiddenError struct{ error }

func (e hiddenError) Unwrap() error { return e.error }

// knows reports whether the caller may know that there is a log.
func (s *server) knows(r *http.Request, log string) bool {
	return s.Access == nil || s.Access.Knows(callerOf(r), log)
}

// caching returns the Cache-Control of what never changes of a log, and which some roles may
// have: where not everybody may, no cache may keep it, not even that of a browser, in which
// somebody may sign out.
func (s *server) caching(r *http.Request, l *engine.Log, roles ...access.Role) string {
	if s.Access == nil || callerOf(r).Local || s.isPublic(access.Principal{}, l.Name, roles) {
		return immutable
	}
	return "no-store"
}
