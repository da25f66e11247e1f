package api

import (
	"cmp"
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/go-chi/chi/v5"

	"github.com/stele-log/stele/internal/access"
	"github.com/stele-log/stele/internal/engine"
	"github.com/stele-log/stele/pkg/tile"
)

// This file notes, for the log named access, who was refused what, who has used which key,
// and what of a log people have read.

// factOf returns what a request says of itself.
func factOf(r *http.Request, kind string) access.Fact {
	p := callerOf(r)
	address, _, _ := net.SplitHostPort(r.RemoteAddr)
	return access.Fact{Kind: kind, Principal: p.Name, Key: p.Key, Issuer: p.Issuer, Address: address}
}

// noteUse notes that a key, token or certificate was used.
func (s *server) noteUse(r *http.Request) {
	if s.Journal != nil {
		s.Journal.Note(factOf(r, access.Used))
	}
}

// noteRefusal notes a request that was refused for who it came from.
func (s *server) noteRefusal(r *http.Request, err error, p problem) {
	var hidden hiddenError
	isHidden := errors.As(err, &hidden)
	if s.Journal == nil || !isHidden && p.Status != http.StatusUnauthorized && p.Status != http.StatusForbidden && p.Status != http.StatusTooManyRequests {
		return
	}
	f := factOf(r, access.Refused)
	f.What, f.Log = s.routeOf(r)
	var missing refusal
	switch {
	case errors.As(err, &missing):
		f.Reason, f.Role = "without the role", access.Role(missing.role)
	case isHidden:
		f.Reason = "hidden from it"
	case p.Status == http.StatusTooManyRequests:
		f.Reason = "beyond its limit"
	case p.Status == http.StatusUnauthorized && f.Principal == "":
		f.Reason = "not a valid key or token"
		var unknown unknownKey
		if errors.As(err, &unknown) {
			f.Key = unknown.id
		}
	default:
		f.Reason = "not allowed"
	}
	s.Journal.Note(f)
}

// routeOf returns the method and the route of a request, and the log that it is about, if
// there is one. A request that is refused before it is routed is routed here.
func (s *server) routeOf(r *http.Request) (route, log string) {
	rctx := chi.RouteContext(r.Context())
	if rctx.RoutePattern() == "" {
		rctx = chi.NewRouteContext()
		s.routes.Match(rctx, r.Method, r.URL.Path)
	}
	if l, err := s.Engine.Log(rctx.URLParam("log")); err == nil {
		log = l.Name
	}
	return strings.TrimSpace(methodLabel(r.Method) + " " + rctx.RoutePattern()), log
}

// noteRead notes that entries of a log, or what proves some, were read, if its settings say
// so of that reader.
func (s *server) noteRead(r *http.Request, l *engine.Log, permit access.Permit) {
	if s.Journal == nil {
		return
	}
	p := callerOf(r)
	switch s.Access.Settings(l.Name).Reads {
	case access.ReadsNone:
		return
	case access.ReadsPeople:
		if !p.Person() && permit.Role != access.Auditor {
			return
		}
	}
	f := factOf(r, access.Read)
	f.What, f.Log = s.routeOf(r)
	f.Role = permit.Role
	if permit.Narrowed {
		f.Filter = permit.Filter.String()
	}
	var size uint64
	if published, err := l.Publisher.Latest(); err == nil {
		size = published.Size
	}
	first, last, ok := entriesOf(r)
	if !ok {
		s.Journal.Note(f)
		return
	}
	s.Journal.NoteRead(f, first, last, size)
}

// entriesOf returns the indexes of the first and the last entry that a request is about, if
// its URL says so.
func entriesOf(r *http.Request) (first, last uint64, ok bool) {
	if t, err := tile.Parse("tile/" + chi.URLParam(r, "*")); err == nil && t.Level == tile.Entries {
		return t.Index * tile.Width, t.Index*tile.Width + uint64(t.Width) - 1, true
	}
	index, err := strconv.ParseUint(cmp.Or(chi.URLParam(r, "index"), r.URL.Query().Get("index")), 10, 63)
	return index, index, err == nil
}
