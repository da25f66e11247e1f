package server_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stele-log/stele/internal/server"
	"github.com/stele-log/stele/internal/test/tlstest"
)

// files returns paths for a certificate and its key.
func files(t *testing.T) (cert, key string) {
	dir := t.TempDir()
	return filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
}

// get gets the root from a server that a certificate was issued to, over a new
// connection.
func get(l *server.Listener, trusted *x509.Certificate, maxVersion uint16) (*http.Response, error) {
	roots := x509.NewCertPool()
	roots.AddCert(trusted)
	transport := &http.Transport{ForceAttemptHTTP2: true, DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS10, MaxVersion: maxVersion}}
	resp, err := (&http.Client{Transport: transport}).Get(l.URL() + "/")
	if err == nil {
		resp.Body.Close()
	}
	return resp, err
}

func TestTLSSpeaksHTTP2(t *testing.T) {
	t.Parallel()
	cert, key := files(t)
	issued := tlstest.WriteCertificate(t, cert, key)
	l, _ := serve(t, server.ListenConfig{TLSCert: cert, TLSKey: key}, echo)
	resp, err := get(l, issued, 0)
	if err != nil || resp.Proto != "HTTP/2.0" || resp.TLS.Version != tls.VersionTLS13 || !strings.HasPrefix(l.URL(), "https://") {
		t.Errorf("%+v, %v from %s", resp, err, l.URL())
	}
	if resp, err := get(l, issued, tls.VersionTLS12); err != nil || resp.TLS.Version != tls.VersionTLS12 {
		t.Errorf("TLS 1.2: %v", err)
	}
	if _, err := get(l, issued, tls.VersionTLS11); err == nil || !strings.Contains(err.Error(), "version") {
		t.Errorf("TLS 1.1: %v, want its version refused", err)
	}
}

func TestCertificateIsReadAgainWhenItsFilesChange(t *testing.T) {
	t.Parallel()
	cert, key := files(t)
	first := tlstest.WriteCertificate(t, cert, key)
	l, _ := serve(t, server.ListenConfig{TLSCert: cert, TLSKey: key}, echo)
	if _, err := get(l, first, 0); err != nil {
		t.Fatal(err)
	}

	// While the files do not belong together, the certificate before serves.
	tlstest.WriteCertificate(t, cert, filepath.Join(t.TempDir(), "of another"))
	if err := os.Chtimes(cert, time.Time{}, time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		time.Sleep(600 * time.Millisecond)
		if _, err := get(l, first, 0); err != nil {
			t.Fatalf("with a key of another certificate: %v", err)
		}
	}
	second := tlstest.WriteCertificate(t, cert, key)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if _, err := get(l, second, 0); err == nil {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("the changed certificate is not used: %v", err)
		}
	}
}

func TestCertificateThatCannotBeUsedIsRefused(t *testing.T) {
	t.Parallel()
	cert, key := files(t)
	tlstest.WriteCertificate(t, cert, key)
	otherCert, otherKey := files(t)
	tlstest.WriteCertificate(t, otherCert, otherKey)
	for name, tt := range map[string]struct{ cert, key, want string }{
		"no key":               {cert, "", "give both"},
		"no certificate":       {"", key, "give both"},
		"no such file":         {cert, key + ".gone", "no such file"},
		"the key of another":   {cert, otherKey, "does not match"},
		"the key as its proof": {key, key, "TLS certificate"},
	} {
		l, err := server.Listen(server.ListenConfig{Address: "127.0.0.1:0", TLSCert: tt.cert, TLSKey: tt.key, Logger: slog.New(slog.DiscardHandler)})
		if err == nil {
			l.Close()
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

func TestListenerSaysWhereItIs(t *testing.T) {
	t.Parallel()
	l, _ := serve(t, server.ListenConfig{}, echo)
	if !l.Loopback() || l.TLS() || !strings.HasPrefix(l.URL(), "http://127.0.0.1:") {
		t.Errorf("loopback %t, TLS %t, %s", l.Loopback(), l.TLS(), l.URL())
	}
	_, err := server.Listen(server.ListenConfig{Address: strings.TrimPrefix(l.URL(), "http://"), Logger: slog.New(slog.DiscardHandler)})
	if !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("the address is taken: %v", err)
	}
}
