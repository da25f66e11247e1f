// Package oidctest runs oidc-provider, an OpenID provider that others wrote, and signs people
// in with it as their browsers would.
package oidctest

import (
	"bufio"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/oauth2"
)

// Where the provider's program is found, see scripts/oidc-provider.
const variable = "STELE_TEST_OIDC_PROVIDER"

// The client that the provider knows, for which it issues tokens.
const (
	Client = "stele"
	Secret = "a-secret-of-the-client"
)

// A Provider runs until the end of a test. Anybody can sign in, with any password. The user
// ann is in the groups staff and audit, others in staff alone.
type Provider struct {
	URL     string
	process *exec.Cmd
}

// Start starts a provider that sends people back to a URL. The test is skipped where the
// program is not installed.
func Start(t testing.TB, redirect string) *Provider {
	t.Helper()
	folder := os.Getenv(variable)
	if folder == "" {
		t.Skipf("%s is not set: scripts/oidc-provider installs the OpenID provider", variable)
	}
	_, here, _, _ := runtime.Caller(0)
	p := &Provider{process: exec.Command("node", filepath.Join(filepath.Dir(here), "provider.mjs"), folder, redirect)}
	p.process.Stderr = t.Output()
	out, err := p.process.StdoutPipe()
	if err == nil {
		err = p.process.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "http://") {
			p.URL = lines.Text()
			go io.Copy(io.Discard, out)
			return p
		}
	}
	t.Fatalf("the OpenID provider has not started: %v", lines.Err())
	return nil
}

// Stop stops the provider.
func (p *Provider) Stop() {
	_ = p.process.Process.Kill()
	_ = p.process.Wait()
}

// Rotate has the provider sign with another key.
func (p *Provider) Rotate(t testing.TB) {
	t.Helper()
	resp, err := http.Post(p.URL+"/rotate", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}

// Browser returns a client that keeps cookies, and does not follow redirects.
func Browser(t testing.TB) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Jar: localJar{jar}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// A localJar gives secure cookies to servers of this machine without TLS, as browsers do.
type localJar struct{ http.CookieJar }

func (j localJar) SetCookies(u *url.URL, cookies []*http.Cookie) {
	for i, c := range cookies {
		insecure := *c
		insecure.Secure = false
		cookies[i] = &insecure
	}
	j.CookieJar.SetCookies(u, cookies)
}

var formAction = regexp.MustCompile(`action="([^"]+)"`)

// SignIn follows a URL of the provider as a person does, who says who they are and agrees,
// and returns the URL at which the provider sends them back.
func (p *Provider) SignIn(t testing.TB, browser *http.Client, at, user string) string {
	t.Helper()
	for range 20 {
		resp, err := browser.Get(at)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			form := formAction.FindSubmatch(text)
			if form == nil {
				t.Fatalf("the provider shows a page without a form: %s", text)
			}
			values := url.Values{"prompt": {"consent"}}
			if strings.Contains(string(text), `name="login"`) {
				values = url.Values{"prompt": {"login"}, "login": {user}, "password": {"any"}}
			}
			if resp, err = browser.PostForm(p.resolve(string(form[1])), values); err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
		}
		next := resp.Header.Get("Location")
		if next == "" {
			t.Fatalf("the provider answers %d: %s", resp.StatusCode, text)
		}
		if at = p.resolve(next); !strings.HasPrefix(at, p.URL) {
			return at
		}
	}
	t.Fatal("the provider redirects for ever")
	return ""
}

// Token signs somebody in as another client of the provider would, and returns their token.
func (p *Provider) Token(t testing.TB, redirect, user string) string {
	t.Helper()
	verifier := oauth2.GenerateVerifier()
	config := oauth2.Config{ClientID: Client, ClientSecret: Secret, RedirectURL: redirect, Scopes: []string{"openid", "email"},
		Endpoint: oauth2.Endpoint{AuthURL: p.URL + "/auth", TokenURL: p.URL + "/token"}}
	back, err := url.Parse(p.SignIn(t, Browser(t), config.AuthCodeURL("any", oauth2.S256ChallengeOption(verifier)), user))
	if err != nil {
		t.Fatal(err)
	}
	token, err := config.Exchange(t.Context(), back.Query().Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	id, ok := token.Extra("id_token").(string)
	if !ok {
		t.Fatal("the provider's answer has no id_token")
	}
	return id
}

func (p *Provider) resolve(reference string) string {
	base, _ := url.Parse(p.URL)
	u, err := base.Parse(reference)
	if err != nil {
		return reference
	}
	return u.String()
}
