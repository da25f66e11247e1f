// Package openid verifies tokens of OpenID providers, and signs people in with them.
//
//	token -> keys of its issuer -> signature, issuer, audience, times -> claims
//
// An issuer's keys are read when they are first needed, again every hour, and at once when
// a token has a key that is not known. While the issuer does not answer, those that were
// read last are good for a day.
//
// A Verifier is safe for concurrent use.
package openid

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/oauth2"

	"github.com/stele-log/stele/internal/access"
)

const (
	keysFresh   = time.Hour        // keys are read again after
	keysGood    = 24 * time.Hour   // keys are used for, at most, after they were read
	askAgain    = 10 * time.Second // an issuer is not asked more often
	askTimeout  = 5 * time.Second  // an answer takes at most
	clockSkew   = time.Minute      // by which an issuer's clock may be behind
	maxAnswer   = 1 << 20          // bytes of an answer
	maxKeys     = 100              // of an issuer
	maxTried    = 5                // keys that are tried for a token
	maxLifetime = 24 * time.Hour   // of a token, whatever it says
)

// algorithms are those that tokens may be signed with: none that a public key, taken for a
// secret, could be used with.
var algorithms = []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512,
	jose.ES256, jose.ES384, jose.ES512, jose.EdDSA}

// A Verifier knows the keys of issuers.
type Verifier struct {
	client  *http.Client
	secrets string // folder
	now     func() time.Time

	mu        sync.Mutex
	providers map[string]*provider // by URL
}

// A provider is what is known of one issuer.
type provider struct {
	url      string
	fetching sync.Mutex // held while the issuer is asked

	mu    sync.Mutex
	asked time.Time // last
	known *known    // nil until the issuer has answered
}

// known is an answer of an issuer.
type known struct {
	at       time.Time
	keys     []jose.JSONWebKey
	endpoint oauth2.Endpoint
}

// New returns a Verifier that asks issuers through a transport, and finds the secrets of
// clients in a folder.
func New(transport http.RoundTripper, secrets string, now func() time.Time) *Verifier {
	return &Verifier{now: now, secrets: secrets, providers: map[string]*provider{}, client: &http.Client{
		Timeout: askTimeout, Transport: limited{transport},
		CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("an issuer must not redirect") },
	}}
}

// Verify returns the claims of a token; see [access.Tokens].
func (v *Verifier) Verify(ctx context.Context, i access.Issuer, token string) (map[string]any, time.Time, error) {
	p := v.provider(i.URL)
	k, err := p.get(ctx, v, keysFresh)
	if err != nil {
		return nil, time.Time{}, err
	}
	verified, err := v.verifier(i, k).Verify(ctx, token)
	if err != nil && !k.signed(token) {
		// The issuer may have begun to sign with a new key.
		if k, err = p.get(ctx, v, askAgain); err != nil {
			return nil, time.Time{}, err
		}
		verified, err = v.verifier(i, k).Verify(ctx, token)
	}
	if err != nil {
		return nil, time.Time{}, err
	}
	var claims map[string]any
	if err := verified.Claims(&claims); err != nil {
		return nil, time.Time{}, err
	}
	// SPEC: RFC 7519 section 10.1.1: names of claims are case-sensitive. The library's are not.
	for name := range claims {
		for _, known := range []string{"iss", "aud", "exp", "nbf", "iat", "sub", "nonce"} {
			if name != known && strings.EqualFold(name, known) {
				return nil, time.Time{}, fmt.Errorf("the token has a claim %q, which could be taken for %s", name, known)
			}
		}
	}
	ends := verified.Expiry.Add(clockSkew)
	if latest := v.now().Add(maxLifetime); ends.After(latest) {
		ends = latest
	}
	return claims, ends, nil
}

// verifier returns what checks a token's issuer, audience and times, and its signature with
// keys that are known.
func (v *Verifier) verifier(i access.Issuer, k *known) *oidc.IDTokenVerifier {
	return oidc.NewVerifier(i.URL, k, &oidc.Config{
		ClientID: i.Audience, SupportedSigningAlgs: names(algorithms),
		Now: func() time.Time { return v.now().Add(-clockSkew) },
	})
}

// names returns the names of algorithms.
func names(of []jose.SignatureAlgorithm) (names []string) {
	for _, alg := range of {
		names = append(names, string(alg))
	}
	return names
}

func (v *Verifier) provider(url string) *provider {
	v.mu.Lock()
	defer v.mu.Unlock()
	p := v.providers[url]
	if p == nil {
		p = &provider{url: url}
		v.providers[url] = p
	}
	return p
}

// get returns what is known of an issuer, not older than an age if it answers. If it does
// not, what was known before is good for keysGood.
func (p *provider) get(ctx context.Context, v *Verifier, age time.Duration) (*known, error) {
	k, due := p.look(v.now(), age)
	if due && (k == nil || p.fetching.TryLock()) {
		if k == nil {
			p.fetching.Lock()
		}
		defer p.fetching.Unlock()
		if k, due = p.look(v.now(), age); due {
			k = p.ask(ctx, v)
		}
	}
	if k == nil || v.now().Sub(k.at) > keysGood {
		return nil, access.ErrUnavailable
	}
	return k, nil
}

// look returns what is known, and whether the issuer is to be asked.
func (p *provider) look(now time.Time, age time.Duration) (k *known, due bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.known, (p.known == nil || now.Sub(p.known.at) >= age) && now.Sub(p.asked) >= askAgain
}

// ask asks the issuer, and returns what is known after that.
func (p *provider) ask(ctx context.Context, v *Verifier) *known {
	now := v.now()
	k, err := v.fetch(context.WithoutCancel(ctx), p.url)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = now
	if err == nil {
		k.at = now
		p.known = k
	}
	return p.known
}

// fetch reads an issuer's configuration and its keys.
//
// SPEC: OpenID Connect Discovery 1.0 section 4; RFC 7517 section 5.
func (v *Verifier) fetch(ctx context.Context, url string) (*known, error) {
	ctx, cancel := context.WithTimeout(oidc.ClientContext(ctx, v.client), askTimeout)
	defer cancel()
	found, err := oidc.NewProvider(ctx, url)
	if err != nil {
		return nil, err
	}
	var configuration struct {
		Keys string `json:"jwks_uri"`
	}
	if err := found.Claims(&configuration); err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, configuration.Keys, nil)
	if err != nil {
		return nil, err
	}
	resp, err := v.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the keys: status %d", resp.StatusCode)
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	k := &known{endpoint: found.Endpoint()}
	k.keys, err = publicKeys(text)
	return k, err
}

var _ oidc.KeySet = (*known)(nil)

// VerifySignature returns what a token says if one of the issuer's keys has signed it: of
// those that it names, if it names one.
func (k *known) VerifySignature(_ context.Context, token string) ([]byte, error) {
	signed, err := jose.ParseSigned(token, algorithms)
	if err != nil {
		return nil, err
	}
	if len(signed.Signatures) != 1 {
		return nil, errors.New("a token has one signature")
	}
	id, tried := signed.Signatures[0].Header.KeyID, 0
	for _, key := range k.keys {
		if id != "" && key.KeyID != "" && id != key.KeyID {
			continue
		}
		if payload, err := signed.Verify(key); err == nil {
			return payload, nil
		}
		if tried++; tried == maxTried {
			break
		}
	}
	return nil, errSignature
}

// signed reports whether a key that is known has signed a token. The library's error does
// not say it.
func (k *known) signed(token string) bool {
	_, err := k.VerifySignature(context.Background(), token)
	return !errors.Is(err, errSignature)
}

// errSignature means that no key of the issuer has signed a token.
var errSignature = errors.New("none of the issuer's keys has signed this token")

// publicKeys returns those keys of a JWK set that may verify signatures.
func publicKeys(text []byte) (keys []jose.JSONWebKey, err error) {
	var set struct {
		Keys []jsontext.Value `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, err
	}
	for _, raw := range set.Keys[:min(len(set.Keys), maxKeys)] {
		var key jose.JSONWebKey
		if key.UnmarshalJSON(raw) != nil || !key.IsPublic() || !slices.Contains([]string{"", "sig"}, key.Use) {
			continue // of a kind that is not known, or for encryption
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("the issuer has no keys to verify signatures with")
	}
	return keys, nil
}

// limited bounds the answers of a transport.
type limited struct{ http.RoundTripper }

func (l limited) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := l.RoundTripper.RoundTrip(r)
	if err == nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, maxAnswer), resp.Body}
	}
	return resp, err
}

// Config returns how to sign people in with an issuer, who come back to a URL.
func (v *Verifier) Config(ctx context.Context, i access.Issuer, back string) (*oauth2.Config, error) {
	k, err := v.provider(i.URL).get(ctx, v, keysFresh)
	if err != nil {
		return nil, err
	}
	secret, err := v.secret(i.Secret)
	if err != nil {
		return nil, fmt.Errorf("the client's secret: %w", err)
	}
	return &oauth2.Config{ClientID: i.Audience, ClientSecret: secret, Endpoint: k.endpoint, RedirectURL: back,
		Scopes: []string{oidc.ScopeOpenID, "profile", "email"}}, nil
}

// maxSecret bounds a file with a secret, in bytes.
const maxSecret = 4 << 10

// secret returns the secret that a reference is to: env:NAME, or file:NAME in the folder that
// the operator has made for secrets, of which an admin then reads no other file. Without
// one the client has no secret: PKCE protects the code.
func (v *Verifier) secret(reference string) (string, error) {
	if name, ok := strings.CutPrefix(reference, "env:"); ok {
		if secret := os.Getenv(name); secret != "" {
			return secret, nil
		}
		return "", fmt.Errorf("%s is not set in the environment", name)
	}
	name, ok := strings.CutPrefix(reference, "file:")
	if !ok {
		return "", nil
	}
	path := filepath.Join(v.secrets, filepath.Base(name))
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() || info.Size() > maxSecret {
		return "", fmt.Errorf("%s is no file of at most %d bytes", path, maxSecret)
	}
	text, err := os.ReadFile(path)
	return strings.TrimSpace(string(text)), err
}

// Redeem exchanges the code with which somebody comes back for a token, unverified.
func (v *Verifier) Redeem(ctx context.Context, config *oauth2.Config, code, verifier string) (string, error) {
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, oauth2.HTTPClient, v.client), askTimeout)
	defer cancel()
	token, err := config.Exchange(ctx, code, oauth2.VerifierOption(verifier))
	if err != nil {
		return "", errors.New("the issuer has refused the code, or does not answer") // the error would have the answer in it
	}
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		return "", errors.New("the issuer's answer has no id_token")
	}
	return raw, nil
}
