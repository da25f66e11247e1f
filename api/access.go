package api

import (
	"context"
	"errors"
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
// A route names the roles that it takes, one of which the principal must have on the log;
// without any it is public. A reader whose grant has a filter is let through to routes
// that can apply it, see withEntries, and refused by all others.

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
		if err != nil {
			s.fail(w, r, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), principalKey{}, p)))
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
		return access.Principal{Local: s.TrustLocal && !forwarded(r.Header)}, nil
	case 1:
	default:
		return access.Principal{}, badRequest("there is more than one Authorization header")
	}
	scheme, text, _ := strings.Cut(headers[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return access.Principal{}, statusError{http.StatusUnauthorized, "send Authorization: Bearer KEY"}
	}
	p, err := s.Access.Authenticate(strings.TrimSpace(text))
	if errors.Is(err, access.ErrRolledBack) {
		return p, statusError{http.StatusServiceUnavailable, err.Error()}
	}
	if err != nil {
		return p, statusError{http.StatusUnauthorized, err.Error()}
	}
	return p, nil
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
// not. Without roles everybody may.
func (s *server) demand(r *http.Request, log string, roles ...access.Role) (access.Permit, error) {
	if s.Access == nil || len(roles) == 0 {
		return access.Permit{Allowed: true}, nil
	}
	p := callerOf(r)
	permit := s.Access.May(p, log, roles...)
	if permit.Allowed {
		return permit, nil
	}
	if permit.Ended {
		return permit, statusError{http.StatusUnauthorized, access.ErrUnknownKey.Error()}
	}
	needed := string(roles[0])
	for _, role := range roles[1:] {
		needed += " or " + string(role)
	}
	on := "the log " + log
	if log == "*" {
		on = "all logs"
	}
	if p.Name == "" {
		return permit, statusError{http.StatusUnauthorized, fmt.Sprintf(
			"this takes the role %s on %s, and the request does not say who it comes from: send Authorization: Bearer KEY", needed, on)}
	}
	return permit, statusError{http.StatusForbidden, fmt.Sprintf("%.200q does not have the role %s on %s; an admin can give it, see `stele grants add`",
		p.Name, needed, on)}
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
		l, err := s.Engine.Log(chi.URLParam(r, "log"))
		if err == nil && l.Broken != nil {
			err = brokenError{l.Broken}
		}
		if err == nil && l.Name == access.SystemLog && slices.Contains(roles, access.Writer) {
			err = statusError{http.StatusForbidden, "only the server itself writes to this log: its events are changes of the configuration"}
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
		}
	}
}

// caching returns the Cache-Control of entries, which never change: where not everybody
// may read them, no shared cache may keep them.
func (s *server) caching(r *http.Request) string {
	if s.Access == nil || callerOf(r).Local {
		return immutable
	}
	return strings.Replace(immutable, "public", "private", 1)
}
