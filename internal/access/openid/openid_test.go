package openid_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/stele-log/stele/internal/access"
	"github.com/stele-log/stele/internal/access/openid"
)

var start = time.Date(2026, 11, 21, 9, 42, 0, 0, time.UTC)

// An issuer is one whose answers a test chooses.
type issuer struct {
	testing.TB
	*httptest.Server
	key *ecdsa.PrivateKey

	mu    sync.Mutex
	away  bool
	keys  func() string // in place of its JWK set
	asked int           // for its keys
}

func newIssuer(t testing.TB) *issuer {
	t.Helper()
	i := &issuer{TB: t}
	i.newKey()
	i.Server = httptest.NewServer(http.HandlerFunc(i.answer))
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) newKey() {
	i.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		i.Fatal(err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.key = key
}

func (i *issuer) set(change func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	change()
}

func (i *issuer) answer(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.away:
		w.WriteHeader(http.StatusServiceUnavailable)
	case r.URL.Path == "/.well-known/openid-configuration":
		fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q,"authorization_endpoint":%[2]q,"token_endpoint":%[2]q}`, i.URL, i.URL+"/keys")
	case i.keys != nil:
		i.asked++
		fmt.Fprint(w, i.keys())
	default:
		i.asked++
		_ = json.NewEncoder(w).Encode(i.keySet())
	}
}

// keySet returns the issuer's own JWK set.
func (i *issuer) keySet() jose.JSONWebKeySet {
	return jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: i.key.Public(), KeyID: "1", Algorithm: "ES256", Use: "sig"}}}
}

// claims returns good claims, of which some are others; nil takes one away.
func (i *issuer) claims(others map[string]any) map[string]any {
	c := map[string]any{"iss": i.URL, "aud": "stele", "sub": "ann", "exp": start.Add(time.Hour).Unix(), "iat": start.Unix()}
	for name, value := range others {
		if c[name] = value; value == nil {
			delete(c, name)
		}
	}
	return c
}

// token returns a token with claims, signed with the issuer's key.
func (i *issuer) token(others map[string]any) string {
	i.Helper()
	return sign(i, jose.ES256, i.key, i.claims(others))
}

func sign(t testing.TB, alg jose.SignatureAlgorithm, key any, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(text)
	if err != nil {
		t.Fatal(err)
	}
	compact, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return compact
}

// A clock is set by a test.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func newVerifier() (*openid.Verifier, *clock) {
	c := &clock{now: start}
	return openid.New(http.DefaultTransport, "", c.Now), c
}

func (i *issuer) issuer() access.Issuer {
	return access.Issuer{Name: "corp", URL: i.URL, Audience: "stele"}
}

func TestTokenHasItsClaims(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	v, _ := newVerifier()
	claims, ends, err := v.Verify(t.Context(), i.issuer(), i.token(map[string]any{"groups": []string{"audit"}, "tenant": "7"}))
	if err != nil {
		t.Fatal(err)
	}
	if claims["sub"] != "ann" || claims["tenant"] != "7" || len(claims["groups"].([]any)) != 1 {
		t.Errorf("claims: %v", claims)
	}
	if want := start.Add(time.Hour + time.Minute); !ends.Equal(want) {
		t.Errorf("it ends at %v, want %v", ends, want)
	}
}

func TestBadTokensAreRefused(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	public, err := x509.MarshalPKIXPublicKey(i.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := i.token(nil)
	parts := strings.Split(good, ".")
	unsigned := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + parts[1] + "."
	claims, err := json.Marshal(i.claims(map[string]any{"sub": "admin"}))
	if err != nil {
		t.Fatal(err)
	}
	changed := parts[0] + "." + base64.RawURLEncoding.EncodeToString(claims) + "." + parts[2]
	v, _ := newVerifier()
	for name, token := range map[string]string{
		"of another audience":               i.token(map[string]any{"aud": "other"}),
		"of no audience":                    i.token(map[string]any{"aud": nil}),
		"of another issuer":                 i.token(map[string]any{"iss": "https://login.example.com"}),
		"with another audience in capitals": i.token(map[string]any{"aud": "other", "AUD": "stele"}),
		"with another end in capitals":      i.token(map[string]any{"exp": 1000, "EXP": start.Add(time.Hour).Unix()}),
		"expired":                           i.token(map[string]any{"exp": start.Add(-2 * time.Minute).Unix()}),
		"without an end":                    i.token(map[string]any{"exp": nil}),
		"not yet good":                      i.token(map[string]any{"nbf": start.Add(time.Hour).Unix()}),
		"unsigned":                          unsigned,
		"unsigned, with a signature":        unsigned + parts[2],
		"signed with the key as a secret":   sign(t, jose.HS256, public, i.claims(nil)),
		"signed with another key":           sign(t, jose.ES256, other, i.claims(nil)),
		"changed":                           changed,
		"cut":                               good[:len(good)-2],
		"without a signature":               parts[0] + "." + parts[1] + ".",
		"no token":                          "a.b.c",
		"empty":                             "",
	} {
		if _, _, err := v.Verify(t.Context(), i.issuer(), token); err == nil {
			t.Errorf("a token %s is good", name)
		}
	}
	if _, _, err := v.Verify(t.Context(), i.issuer(), i.token(map[string]any{"exp": start.Add(-30 * time.Second).Unix()})); err != nil {
		t.Errorf("a token that has just expired, by a clock that is behind: %v", err)
	}
	if _, _, err := v.Verify(t.Context(), i.issuer(), i.token(map[string]any{"aud": []string{"other", "stele"}})); err != nil {
		t.Errorf("a token for several audiences: %v", err)
	}
}

func TestIssuerMayChangeItsKey(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	v, clock := newVerifier()
	old := i.token(nil)
	if _, _, err := v.Verify(t.Context(), i.issuer(), old); err != nil {
		t.Fatal(err)
	}
	i.newKey()
	clock.advance(time.Minute)
	if _, _, err := v.Verify(t.Context(), i.issuer(), i.token(nil)); err != nil {
		t.Errorf("a token with the new key: %v", err)
	}
	if _, _, err := v.Verify(t.Context(), i.issuer(), old); err == nil {
		t.Error("a token with a key that the issuer does not have any more is good")
	}
	before := i.asked
	for range 100 {
		_, _, _ = v.Verify(t.Context(), i.issuer(), old)
	}
	if i.asked > before+1 {
		t.Errorf("for 100 bad tokens the issuer was asked %d times", i.asked-before)
	}
}

func TestIssuerThatIsAwayIsTrustedForADay(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	v, clock := newVerifier()
	long := map[string]any{"exp": start.Add(100 * time.Hour).Unix()}
	i.set(func() { i.away = true })
	if _, _, err := v.Verify(t.Context(), i.issuer(), i.token(long)); !errors.Is(err, access.ErrUnavailable) {
		t.Errorf("before it has answered: %v", err)
	}
	i.set(func() { i.away = false })
	clock.advance(time.Minute)
	if _, _, err := v.Verify(t.Context(), i.issuer(), i.token(long)); err != nil {
		t.Fatal(err)
	}
	i.set(func() { i.away = true })
	clock.advance(23 * time.Hour)
	if _, _, err := v.Verify(t.Context(), i.issuer(), i.token(long)); err != nil {
		t.Errorf("after 23 hours: %v", err)
	}
	clock.advance(2 * time.Hour)
	if _, _, err := v.Verify(t.Context(), i.issuer(), i.token(long)); !errors.Is(err, access.ErrUnavailable) {
		t.Errorf("after 25 hours: %v", err)
	}
}

func TestBadIssuersAreUnavailable(t *testing.T) {
	t.Parallel()
	for name, keys := range map[string]func(good string) string{
		"no JSON":          func(string) string { return "<html>" },
		"no keys":          func(string) string { return `{"keys":[]}` },
		"a secret key":     func(string) string { return `{"keys":[{"kty":"oct","k":"c2VjcmV0","alg":"HS256"}]}` },
		"an endless reply": func(good string) string { return strings.Repeat(" ", 2<<20) + good },
		"keys to encrypt":  func(good string) string { return strings.Replace(good, `"use":"sig"`, `"use":"enc"`, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := newIssuer(t)
			good, err := json.Marshal(i.keySet())
			if err != nil {
				t.Fatal(err)
			}
			i.keys = func() string { return keys(string(good)) }
			v, _ := newVerifier()
			if _, _, err := v.Verify(t.Context(), i.issuer(), i.token(nil)); !errors.Is(err, access.ErrUnavailable) {
				t.Errorf("%v, want %v", err, access.ErrUnavailable)
			}
		})
	}
}
