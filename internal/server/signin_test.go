package server_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/stele-log/stele/internal/server"
	"github.com/stele-log/stele/internal/test/dbtest"
	"github.com/stele-log/stele/internal/test/oidctest"
	"github.com/stele-log/stele/internal/test/tlstest"
	"github.com/stele-log/stele/pkg/client"
)

// proxied is the header of a request that is not from the server's own machine.
var proxied = http.Header{"X-Forwarded-For": {"192.0.2.7"}}

// grant gives a role to a principal, or to a claim if it has an equals sign in it.
func (r *running) grant(subject, role, log, filter string) client.Grant {
	r.Helper()
	g := client.Grant{Principal: subject, Role: role, Log: log, Filter: filter}
	if strings.Contains(subject, "=") {
		g.Principal, g.Claim = "", subject
	}
	made, err := r.client(r.adminKey(), log).AddGrant(r.Context(), g)
	if err != nil {
		r.Fatal(err)
	}
	return made
}

func TestCertificateNamesAPrincipal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	own := tlstest.WriteCertificate(t, cert, key)
	authority := tlstest.NewAuthority(t, dir)
	r := runAt(t, server.ListenConfig{Address: "127.0.0.1:0", TLSCert: cert, TLSKey: key, ClientCA: authority.File,
		Logger: slog.New(slog.DiscardHandler)}, dbtest.SQLite(t)(), t.TempDir())
	roots := x509.NewCertPool()
	roots.AddCert(own)
	with := func(certs ...tls.Certificate) *http.Client {
		return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: certs}}}
	}
	r.http = with()
	r.fill()
	r.grant("cert:spiffe://example.com/billing", "writer", "default", "")
	r.grant("cert:reader.example.com", "reader", "default", "")
	r.grant("cert:auditor.example.com", "auditor", "*", "")
	r.grant("cert:admin.example.com", "admin", "*", "")
	r.checkCalls(map[string]caller{
		"no certificate":             {as: "nobody", header: proxied},
		"a certificate by URI":       {as: "writer", header: http.Header{}, http: with(authority.Sign(t, "spiffe://example.com/billing"))},
		"URI before DNS name":        {as: "writer", header: http.Header{}, http: with(authority.Sign(t, "spiffe://example.com/billing", "admin.example.com"))},
		"a reader":                   {as: "reader", header: http.Header{}, http: with(authority.Sign(t, "reader.example.com"))},
		"an auditor":                 {as: "auditor", header: http.Header{}, http: with(authority.Sign(t, "auditor.example.com"))},
		"an admin":                   {as: "admin", header: http.Header{}, http: with(authority.Sign(t, "admin.example.com"))},
		"a name without a grant":     {as: "without a grant", header: http.Header{}, http: with(authority.Sign(t, "other.example.com"))},
		"a key beside a certificate": {as: "writer", header: bearer(r.key("writer", "writer", "default", "", nil)), http: with(authority.Sign(t, "admin.example.com"))},
	})
	for name, cert := range map[string]tls.Certificate{"two names": authority.Sign(t, "a.example.com", "b.example.com"), "no name": authority.Sign(t)} {
		r.http = with(cert)
		if status, body := r.ask(call{method: "GET", path: "/whoami"}, http.Header{}); status != http.StatusUnauthorized {
			t.Errorf("a certificate with %s: %d: %s", name, status, body)
		}
	}
	stranger := with(tlstest.NewAuthority(t, t.TempDir()).Sign(t, "admin.example.com"))
	if resp, err := stranger.Get(r.url + "/whoami"); err == nil {
		t.Errorf("a certificate of another authority: %d", resp.StatusCode)
	}
}

// issue starts an issuer that the server takes tokens of, as corp.
func (r *running) issue() *oidctest.Provider {
	r.Helper()
	p := oidctest.Start(r, r.url+"/signin/corp/callback")
	secrets := filepath.Join(r.dir, "secrets")
	err := os.MkdirAll(secrets, 0o700)
	if err == nil {
		err = os.WriteFile(filepath.Join(secrets, "corp"), []byte(oidctest.Secret+"\n"), 0o600)
	}
	if err != nil {
		r.Fatal(err)
	}
	err = r.client(r.adminKey(), "default").AddIssuer(r.Context(), client.Issuer{
		Name: "corp", URL: p.URL, Audience: oidctest.Client, Username: "email", Secret: "file:corp"})
	if err != nil {
		r.Fatal(err)
	}
	return p
}

// signIn signs somebody in with a browser of their own, which it returns.
func (r *running) signIn(p *oidctest.Provider, user string) *http.Client {
	r.Helper()
	browser := oidctest.Browser(r)
	resp, err := browser.Get(r.url + "/signin/corp")
	if err != nil {
		r.Fatal(err)
	}
	resp.Body.Close()
	back := p.SignIn(r, browser, resp.Header.Get("Location"), user)
	resp, err = browser.Get(back)
	if err != nil {
		r.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "/signin" {
		r.Fatalf("back from the issuer: %d, %v", resp.StatusCode, resp.Header)
	}
	return browser
}

// TestPeopleSignInWithAnIssuer signs people in with a provider that others wrote, and gives
// them roles by their names and groups.
func TestPeopleSignInWithAnIssuer(t *testing.T) {
	t.Parallel()
	r := run(t, dbtest.SQLite(t)(), t.TempDir(), slog.New(slog.DiscardHandler))
	p := r.issue()
	r.fill()
	r.grant("corp:groups=audit", "auditor", "*", "")
	narrowed := r.grant("corp:bob@example.com", "reader", "default", "subject:{claims.tenant}")
	token := func(user string) http.Header { return bearer(p.Token(t, r.url+"/signin/corp/callback", user)) }
	r.checkCalls(map[string]caller{
		"a token with a group":    {as: "auditor", header: token("ann")},
		"a token with a name":     {as: "narrowed", header: token("bob")},
		"a token without a grant": {as: "without a grant", header: token("eve")},

		"by a group":      {as: "auditor", http: r.signIn(p, "ann")},
		"by name":         {as: "narrowed", http: r.signIn(p, "bob")},
		"without a grant": {as: "without a grant", http: r.signIn(p, "eve")},
	})

	bob := *r
	bob.http = r.signIn(p, "bob")
	if status, body := bob.ask(call{method: "GET", path: "/whoami"}, nil); status != http.StatusOK || !strings.Contains(body, `"principal":"corp:bob@example.com"`) {
		t.Errorf("whoami: %d: %s", status, body)
	}
	read := call{method: "GET", path: "/logs/default/events/0"}
	cross := http.Header{"Sec-Fetch-Site": {"cross-site"}, "Origin": {"https://evil.example"}}
	end := call{method: "DELETE", path: "/session"}
	if status, body := bob.ask(end, cross); status != http.StatusForbidden {
		t.Errorf("another site ends the session: %d: %s", status, body)
	}
	if status, body := bob.ask(read, nil); status != http.StatusOK {
		t.Errorf("a read: %d: %s", status, body)
	}
	if err := r.client(r.adminKey(), "default").RemoveGrant(t.Context(), narrowed.ID); err != nil {
		t.Fatal(err)
	}
	if status, body := bob.ask(read, nil); status != http.StatusForbidden {
		t.Errorf("a read once the grant is gone: %d: %s", status, body)
	}
	if status, body := bob.ask(end, nil); status != http.StatusNoContent {
		t.Errorf("signing out: %d: %s", status, body)
	}
	if status, body := bob.ask(read, proxied); status != http.StatusUnauthorized {
		t.Errorf("a read after it: %d: %s", status, body)
	}

	ann := *r
	ann.http = r.signIn(p, "ann")
	if err := r.client(r.adminKey(), "default").RemoveIssuer(t.Context(), "corp"); err != nil {
		t.Fatal(err)
	}
	if status, body := ann.ask(read, proxied); status != http.StatusUnauthorized {
		t.Errorf("a read once the issuer is gone: %d: %s", status, body)
	}
}

// TestIssuersNewKeyIsKnownAtOnce has the provider change its key between two sign-ins.
func TestIssuersNewKeyIsKnownAtOnce(t *testing.T) {
	t.Parallel()
	r := run(t, dbtest.SQLite(t)(), t.TempDir(), slog.New(slog.DiscardHandler))
	p := r.issue()
	r.signIn(p, "ann")
	p.Rotate(t)
	time.Sleep(10 * time.Second) // it is not asked more often
	r.signIn(p, "ann")
}

func TestSignInIsOfTheBrowserThatBeganIt(t *testing.T) {
	t.Parallel()
	r := run(t, dbtest.SQLite(t)(), t.TempDir(), slog.New(slog.DiscardHandler))
	p := r.issue()
	attacker := oidctest.Browser(t)
	resp, err := attacker.Get(r.url + "/signin/corp")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	back := p.SignIn(t, attacker, resp.Header.Get("Location"), "eve")
	victim := oidctest.Browser(t)
	for _, begun := range []bool{false, true} {
		if begun {
			resp, err := victim.Get(r.url + "/signin/corp")
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
		}
		resp, err := victim.Get(back)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("somebody else's way back, with a sign-in begun %t: %d", begun, resp.StatusCode)
		}
	}
	u, err := url.Parse(back)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("code", "guessed")
	u.RawQuery = q.Encode()
	resp, err = attacker.Get(u.String())
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("a code that the issuer did not give: %d", resp.StatusCode)
	}
}

// TestSessionIsTheKeys signs in with a key, and revokes it.
func TestSessionIsTheKeys(t *testing.T) {
	t.Parallel()
	r := run(t, dbtest.SQLite(t)(), t.TempDir(), slog.New(slog.DiscardHandler))
	r.fill()
	admin := r.client(r.adminKey(), "default")
	text := r.key("ann", "reader", "default", "", nil)
	keys, err := admin.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	browser := *r
	browser.http = oidctest.Browser(t)
	signIn := call{method: "POST", path: "/session", body: fmt.Sprintf(`{"key":%q}`, text)}
	if status, body := browser.ask(signIn, http.Header{"Sec-Fetch-Site": {"cross-site"}}); status != http.StatusForbidden {
		t.Errorf("another site signs somebody in: %d: %s", status, body)
	}
	if status, body := browser.ask(call{method: "POST", path: "/session", body: `{"key":"stele_aaaaaaaaaa_0"}`}, nil); status != http.StatusUnauthorized {
		t.Errorf("a key that is none: %d: %s", status, body)
	}
	if status, body := browser.ask(signIn, nil); status != http.StatusNoContent {
		t.Fatalf("signing in: %d: %s", status, body)
	}
	u, _ := url.Parse(r.url)
	first := browser.http.Jar.Cookies(u)
	if len(first) != 1 || first[0].Name != "__Host-stele" {
		t.Fatalf("cookies: %v", first)
	}
	r.checkCalls(map[string]caller{"by a key": {as: "reader", http: browser.http}})
	if status, _ := browser.ask(signIn, nil); status != http.StatusNoContent {
		t.Fatal("signing in again")
	}
	if again := browser.http.Jar.Cookies(u); again[0].Value == first[0].Value {
		t.Error("the session is the same after signing in again")
	}
	old := http.Header{"Cookie": {first[0].String()}, "X-Forwarded-For": {"192.0.2.7"}}
	if status, _ := r.ask(call{method: "GET", path: "/logs/default/events/0"}, old); status != http.StatusUnauthorized {
		t.Errorf("the session from before: %d", status)
	}
	for _, k := range keys {
		if k.Principal == "ann" {
			if err := admin.RevokeKey(t.Context(), k.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	if status, body := browser.ask(call{method: "GET", path: "/logs/default/events/0"}, nil); status != http.StatusUnauthorized {
		t.Errorf("a read once the key is revoked: %d: %s", status, body)
	}
}

// TestChangesTakeAFreshSignIn has an admin's browser left open for a while.
func TestChangesTakeAFreshSignIn(t *testing.T) {
	t.Parallel()
	var later atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	r := runAt(t, server.ListenConfig{Address: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler)}, dbtest.SQLite(t)(), t.TempDir(), now)
	signIn := call{method: "POST", path: "/session", body: fmt.Sprintf(`{"key":%q}`, r.adminKey())}
	change := call{method: "POST", path: "/keys", body: `{"principal":"ann"}`}
	browser := *r
	browser.http = oidctest.Browser(t)
	expect := func(what string, c call, want int) {
		t.Helper()
		if status, body := browser.ask(c, proxied); status != want {
			t.Errorf("%s: %d, want %d: %s", what, status, want, body)
		}
	}
	expect("signing in", signIn, http.StatusNoContent)
	expect("a change at once", change, http.StatusCreated)
	later.Store(int64(16 * time.Minute))
	expect("a change after 16 minutes", change, http.StatusUnauthorized)
	expect("a look after 16 minutes", call{method: "GET", path: "/keys"}, http.StatusOK)
	expect("signing in again", signIn, http.StatusNoContent)
	expect("a change after that", change, http.StatusCreated)
}

// TestTokenOfAnotherSignInIsRefused has an issuer answer with a token that it has made for
// somebody else.
func TestTokenOfAnotherSignInIsRefused(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var nonce atomic.Value
	var issuer *httptest.Server
	issuer = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/token":
			claims := fmt.Sprintf(`{"iss":%q,"aud":"stele","sub":"ann","exp":%d,"nonce":%q}`, issuer.URL, time.Now().Add(time.Hour).Unix(), nonce.Load())
			token, err := signer.Sign([]byte(claims))
			if err != nil {
				t.Error(err)
				return
			}
			compact, _ := token.CompactSerialize()
			fmt.Fprintf(w, `{"access_token":"x","token_type":"Bearer","id_token":%q}`, compact)
		case "/keys":
			_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public()}}})
		default:
			fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":"%[1]s/keys","authorization_endpoint":"%[1]s/auth","token_endpoint":"%[1]s/token"}`, issuer.URL)
		}
	}))
	t.Cleanup(issuer.Close)
	r := run(t, dbtest.SQLite(t)(), t.TempDir(), slog.New(slog.DiscardHandler))
	if err := r.client(r.adminKey(), "default").AddIssuer(t.Context(), client.Issuer{Name: "corp", URL: issuer.URL, Audience: "stele"}); err != nil {
		t.Fatal(err)
	}
	for _, own := range []bool{false, true} {
		browser := oidctest.Browser(t)
		resp, err := browser.Get(r.url + "/signin/corp")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		to, err := resp.Location()
		if err != nil {
			t.Fatal(err)
		}
		nonce.Store("of another sign-in")
		want := http.StatusUnauthorized
		if own {
			nonce.Store(to.Query().Get("nonce"))
			want = http.StatusSeeOther
		}
		resp, err = browser.Get(r.url + "/signin/corp/callback?code=x&state=" + to.Query().Get("state"))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("with its own nonce %t: %d, want %d", own, resp.StatusCode, want)
		}
	}
}
