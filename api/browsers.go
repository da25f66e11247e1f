package api

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/go-chi/chi/v5"

	"github.com/stele-log/stele/internal/access"
)

// This file keeps the pages of other sites from acting, in the browser of somebody who
// can reach the server, on what they should not: reading entries, writing events, or
// having entries rendered. What is public and proves itself they may read.

// secure stops browsers from rendering entries as HTML: senders choose their
// content, and a page served from here would act for the operator.
func secure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		next.ServeHTTP(w, r)
	})
}

// OnlyFor returns a handler for a server that can be reached from its own machine
// only. It answers requests whose Host is a name of that machine for itself, such as
// localhost, or one of the given names, by which a proxy may ask. Any site can have its
// name point to 127.0.0.1; browsers then let its pages read and write as they like, but
// the Host is that name.
func OnlyFor(names []string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Only programs that are no browsers send no Host.
		if host := hostOf(r); host == "" || isLoopback(host) || slices.Contains(names, host) {
			next.ServeHTTP(w, r)
			return
		}
		p := problem{Status: http.StatusMisdirectedRequest, Title: http.StatusText(http.StatusMisdirectedRequest),
			Detail: fmt.Sprintf("this server can be reached from its own machine only, and does not answer for the host %.80q; "+
				"ask for localhost, or have --origin-prefix begin with the name by which a proxy asks", hostOf(r))}
		send(w, p.Status, problemType, func(b []byte) []byte { return append(appendJSON(b, p), '\n') })
	})
}

// hostOf returns the name in a request's Host, without the port, in lower case.
func hostOf(r *http.Request) string {
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
}

// isLoopback reports whether a name means the machine on which it is used. Nobody can
// own a name below localhost (RFC 6761 section 6.3).
func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback() || host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// share lets the pages of any site read checkpoints, tiles, proofs, receipts and entries
// with the browser's own means, as verifiers do. A reader of a log on its own machine
// would share what only that machine can reach, so there entries are left out.
// So is a log of which nothing is public.
func (s *server) share(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := chi.URLParam(r, "log")
		_, err := s.Engine.Log(name)
		public := err == nil && !hasEntries(r.URL.Path) && (s.Access == nil || s.Access.Knows(access.Principal{}, name))
		if !isLoopback(hostOf(r)) || public {
			w.Header().Set("Access-Control-Allow-Origin", "*")
		}
		next.ServeHTTP(w, r)
	})
}

// hasEntries reports whether entries are served at a path among those that are shared.
func hasEntries(path string) bool {
	return strings.Contains(path, "/tile/entries/") || strings.Contains(path, "/events/") && !strings.HasSuffix(path, "/receipt")
}
