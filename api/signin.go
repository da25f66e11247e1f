package api

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-json-experiment/json"
	"golang.org/x/oauth2"

	"github.com/stele-log/stele/internal/access"
)

// This file serves the page on which people sign in, and takes them to an issuer and back.
//
//	GET /signin -> GET /signin/corp -> the issuer -> GET /signin/corp/callback -> a session
//
// SPEC: OpenID Connect Core 1.0 section 3.1, the authorization code flow, with PKCE
// (RFC 7636) and a nonce. What has to be remembered meanwhile the browser remembers, in a
// cookie: strangers make the server keep nothing.

//go:embed signin.html
var signInText string

var signInPage = template.Must(template.New("signin").Parse(signInText))

// An attempt is a sign-in that is under way at an issuer.
type attempt struct {
	Issuer   string `json:"issuer"`
	State    string `json:"state"`
	Nonce    string `json:"nonce"`
	Verifier string `json:"verifier"`
}

const (
	attemptCookie = "__Host-stele-signin"
	attemptLife   = 10 * time.Minute
)

// showSignIn serves the page.
func (s *server) showSignIn(w http.ResponseWriter, r *http.Request) error {
	if s.Access == nil {
		return errNoAccess
	}
	var issuers []access.Issuer
	s.Access.View(func(state *access.State) { issuers = state.Issuers() })
	nonce := rand.Text()
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", fmt.Sprintf(
		"default-src 'none'; script-src 'nonce-%s'; style-src 'nonce-%[1]s'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'", nonce))
	return signInPage.Execute(w, map[string]any{"Nonce": nonce, "Issuers": issuers, "Who": callerOf(r)})
}

// goToIssuer takes a browser to an issuer.
func (s *server) goToIssuer(w http.ResponseWriter, r *http.Request) error {
	i, config, err := s.flow(r)
	if err != nil {
		return err
	}
	a := attempt{Issuer: i.Name, State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier()}
	http.SetCookie(w, newCookie(attemptCookie, base64.RawURLEncoding.EncodeToString(appendJSON(nil, a)), attemptLife))
	to := config.AuthCodeURL(a.State, oauth2.S256ChallengeOption(a.Verifier), oauth2.SetAuthURLParam("nonce", a.Nonce))
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

// comeBack signs somebody in who comes back from an issuer.
func (s *server) comeBack(w http.ResponseWriter, r *http.Request) error {
	i, config, err := s.flow(r)
	if err != nil {
		return err
	}
	a, err := attemptOf(r, i.Name)
	if err != nil {
		return err
	}
	http.SetCookie(w, newCookie(attemptCookie, "", -time.Second))
	q := r.URL.Query()
	if subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(a.State)) != 1 {
		return badRequest("this is not the sign-in that this browser has begun; begin again at /signin")
	}
	if q.Has("error") {
		return statusError{http.StatusUnauthorized, fmt.Sprintf("the issuer %s has not signed anybody in: %.100q", i.Name, q.Get("error"))}
	}
	p, err := s.redeem(r.Context(), i, config, a, q.Get("code"))
	if err != nil {
		s.Logger.Warn("sign-in refused", "issuer", i.Name, "error", err)
		return statusError{http.StatusUnauthorized, fmt.Sprintf("the issuer %s vouches for nobody; the cause is in the server's output", i.Name)}
	}
	if err := s.begin(w, r, p); err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, "/signin", http.StatusSeeOther)
	return nil
}

// attemptOf returns the sign-in that a request's browser has begun.
func attemptOf(r *http.Request, issuer string) (a attempt, err error) {
	cookie, err := r.Cookie(attemptCookie)
	if err == nil {
		var text []byte
		if text, err = base64.RawURLEncoding.DecodeString(cookie.Value); err == nil {
			err = json.Unmarshal(text, &a)
		}
	}
	if err != nil || a.Issuer != issuer || a.State == "" || a.Nonce == "" {
		return a, badRequest("no sign-in is under way in this browser; begin at /signin")
	}
	return a, nil
}

// redeem exchanges a code for a token, and returns whom it names.
func (s *server) redeem(ctx context.Context, i access.Issuer, config *oauth2.Config, a attempt, code string) (access.Principal, error) {
	raw, err := s.SignIn.Redeem(ctx, config, code, a.Verifier)
	if err != nil {
		return access.Principal{}, err
	}
	claims, ends, err := s.SignIn.Verify(ctx, i, raw)
	if err != nil {
		return access.Principal{}, err
	}
	if nonce, _ := claims["nonce"].(string); subtle.ConstantTimeCompare([]byte(nonce), []byte(a.Nonce)) != 1 {
		return access.Principal{}, errors.New("the token is for another sign-in")
	}
	// The session lasts longer than the token by which it began, as people expect.
	return i.PrincipalOf(claims, latest(ends, s.Now().Add(sessionLife)))
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// flow returns the issuer that the path names, and how to sign in with it.
func (s *server) flow(r *http.Request) (i access.Issuer, config *oauth2.Config, err error) {
	if s.Access == nil || s.SignIn == nil {
		return i, nil, errNoAccess
	}
	name := chi.URLParam(r, "issuer")
	i, ok := s.Access.Issuer(name)
	if !ok {
		return i, nil, statusError{http.StatusNotFound, fmt.Sprintf("there is no issuer %.40q", name)}
	}
	scheme := "http"
	if r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https" {
		scheme = "https"
	}
	config, err = s.SignIn.Config(r.Context(), i, scheme+"://"+r.Host+"/signin/"+i.Name+"/callback")
	if err != nil {
		s.Logger.Warn("nobody can sign in", "issuer", i.Name, "error", err)
		return i, nil, statusError{http.StatusServiceUnavailable, fmt.Sprintf("the issuer %s does not answer, or the server does not have the client's secret; the cause is in the server's output", i.Name)}
	}
	return i, config, nil
}
