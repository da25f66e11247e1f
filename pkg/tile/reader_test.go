package tile_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/stele-log/stele/pkg/tile"
)

func encode(t testing.TB, encoding string, b []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	var w io.WriteCloser
	switch encoding {
	case "gzip":
		w = gzip.NewWriter(&buf)
	case "zstd":
		z, err := zstd.NewWriter(&buf)
		if err != nil {
			t.Fatal(err)
		}
		w = z
	default:
		return b
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// serve returns a Reader over HTTP of files, each sent in an encoding.
func serve(t testing.TB, encoding string, files fstest.MapFS) tile.Reader {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := files.ReadFile(strings.TrimPrefix(r.URL.Path, "/logs/one/"))
		if err != nil {
			http.Error(w, "there is no such file", http.StatusNotFound)
			return
		}
		if encoding != "" {
			w.Header().Set("Content-Encoding", encoding)
		}
		_, _ = w.Write(encode(t, encoding, b))
	}))
	t.Cleanup(srv.Close)
	return tile.HTTP(srv.Client(), srv.URL+"/logs/one")
}

func sampleLog(t testing.TB) fstest.MapFS {
	t.Helper()
	entries := make([][]byte, tile.Width)
	for i := range entries {
		entries[i] = []byte{byte(i)}
	}
	hashes := bytes.Repeat([]byte("0123456789abcdef"), tile.Width*tile.HashSize/16)
	return fstest.MapFS{
		"checkpoint":           {Data: []byte("a checkpoint\n")},
		"tile/0/000":           {Data: hashes},
		"tile/0/001.p/2":       {Data: hashes[:64]},
		"tile/entries/000":     {Data: bundle(t, entries...)},
		"tile/entries/001.p/2": {Data: bundle(t, entries[:2]...)},
		"tile/1/000.p/1":       {Data: hashes[:32]},
		"tile/0/009":           {Data: hashes[:31]},
		"tile/0/008":           {Data: append(bytes.Clone(hashes), 0)},
		"tile/entries/008.p/1": {Data: make([]byte, 2+tile.MaxEntry+1)},
		"tile/entries/009":     {Data: bundle(t, entries[:9]...)},
	}
}

// readers are all kinds of Reader of one log.
func readers(t testing.TB, files fstest.MapFS) map[string]tile.Reader {
	return map[string]tile.Reader{
		"FS":            tile.FS(files),
		"HTTP":          serve(t, "", files),
		"HTTP identity": serve(t, "identity", files),
		"HTTP gzip":     serve(t, "gzip", files),
		"HTTP zstd":     serve(t, "zstd", files),
	}
}

func TestReadersReadTheSame(t *testing.T) {
	t.Parallel()
	files := sampleLog(t)
	for name, r := range readers(t, files) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if b, err := r.ReadCheckpoint(t.Context()); err != nil || string(b) != "a checkpoint\n" {
				t.Errorf("checkpoint is %q (%v)", b, err)
			}
			for _, path := range []string{
				"tile/0/000", "tile/0/001.p/2", "tile/1/000.p/1", "tile/entries/000", "tile/entries/001.p/2",
			} {
				at, err := tile.Parse(path)
				if err != nil {
					t.Fatal(err)
				}
				if b, err := r.ReadTile(t.Context(), at); err != nil || !bytes.Equal(b, files[path].Data) {
					t.Errorf("%s has %d bytes (%v)", path, len(b), err)
				}
			}
		})
	}
}

func TestReadersFallBackToTheFullTile(t *testing.T) {
	t.Parallel()
	files := sampleLog(t)
	for name, r := range readers(t, files) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, err := r.ReadTile(t.Context(), tile.Tile{Width: 100})
			if err != nil || !bytes.Equal(b, files["tile/0/000"].Data[:3200]) {
				t.Errorf("100 hashes of a full tile are %d bytes (%v)", len(b), err)
			}
			b, err = r.ReadTile(t.Context(), tile.Tile{Level: tile.Entries, Width: 100})
			if err != nil || !bytes.Equal(b, files["tile/entries/000"].Data[:300]) {
				t.Errorf("100 entries of a full bundle are %d bytes (%v)", len(b), err)
			}
			if _, err := r.ReadTile(t.Context(), tile.Tile{Index: 9, Width: 100}); err == nil {
				t.Error("read a part of a full tile that is cut")
			}
			if _, err := r.ReadTile(t.Context(), tile.Tile{Level: tile.Entries, Index: 9, Width: 100}); err == nil {
				t.Error("read a part of a full bundle that is cut")
			}
		})
	}
}

func TestReadersSayWhatIsMissing(t *testing.T) {
	t.Parallel()
	for name, r := range readers(t, fstest.MapFS{}) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := r.ReadCheckpoint(t.Context())
			if !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("without a checkpoint the error is %v", err)
			}
			for _, at := range []tile.Tile{{Width: 7}, {Width: 256}, {Level: tile.Entries, Width: 7}} {
				if _, err := r.ReadTile(t.Context(), at); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("without %s the error is %v", at, err)
				}
			}
		})
	}
}

func TestReadersReadNoMoreThanATileCanHave(t *testing.T) {
	t.Parallel()
	files := sampleLog(t)
	files["checkpoint"] = &fstest.MapFile{Data: make([]byte, 1<<20+1)}
	for name, r := range readers(t, files) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := r.ReadCheckpoint(t.Context())
			wantError(t, err, "more than 1048576 bytes")
			_, err = r.ReadTile(t.Context(), tile.Tile{Index: 8, Width: 256})
			wantError(t, err, "more than 8192 bytes")
			_, err = r.ReadTile(t.Context(), tile.Tile{Level: tile.Entries, Index: 8, Width: 1})
			wantError(t, err, "more than 65537 bytes")
		})
	}
}

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error is %v, want one with %q", err, want)
	}
}

// A small answer that decompresses into a large one is not read to its end.
func TestHTTPStopsAtALargeBody(t *testing.T) {
	t.Parallel()
	for _, encoding := range []string{"gzip", "zstd"} {
		r := serve(t, encoding, fstest.MapFS{"tile/0/000": {Data: make([]byte, 64<<20)}})
		_, err := r.ReadTile(t.Context(), tile.Tile{Width: 256})
		wantError(t, err, "more than 8192 bytes")
	}
}

func TestHTTPStatuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		status  int
		missing bool
	}{
		{http.StatusNotFound, true}, {http.StatusGone, true},
		{http.StatusInternalServerError, false}, {http.StatusForbidden, false},
		{http.StatusAccepted, false}, {http.StatusServiceUnavailable, false},
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(tt.status)
			_, _ = io.WriteString(w, "a secret")
		}))
		_, err := tile.HTTP(nil, srv.URL+"/").ReadTile(t.Context(), tile.Tile{Width: 256})
		srv.Close()
		wantError(t, err, fmt.Sprintf("%d %s", tt.status, http.StatusText(tt.status)))
		if strings.Contains(err.Error(), "secret") || errors.Is(err, tile.ErrUnchecked) == tt.missing {
			t.Errorf("status %d: the error is %v", tt.status, err)
		}
		if errors.Is(err, fs.ErrNotExist) != tt.missing {
			t.Errorf("status %d: the tile is missing: %t", tt.status, !tt.missing)
		}
	}
}

func TestHTTPRefusesWhatItCannotDecode(t *testing.T) {
	t.Parallel()
	for encoding, body := range map[string]string{"br": "x", "gzip": "not gzip", "zstd": "not zstd", "gzip, gzip": "x"} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", encoding)
			_, _ = io.WriteString(w, body)
		}))
		_, err := tile.HTTP(nil, srv.URL).ReadCheckpoint(t.Context())
		srv.Close()
		if err == nil {
			t.Errorf("read %q as %s", body, encoding)
		}
	}
}

// TestErrorsTellWhatWasNotRead: one that wraps ErrUnchecked shows nothing about the log.
func TestErrorsTellWhatWasNotRead(t *testing.T) {
	t.Parallel()
	answer := func(f http.HandlerFunc) tile.Reader {
		s := httptest.NewServer(f)
		t.Cleanup(s.Close)
		return tile.HTTP(nil, s.URL)
	}
	down := httptest.NewServer(http.NotFoundHandler())
	down.Close()
	for _, test := range []struct {
		name      string
		r         tile.Reader
		unchecked bool
	}{
		{"nothing answers", tile.HTTP(nil, down.URL), true},
		{"the answer breaks off", answer(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "8192")
			_, _ = w.Write(make([]byte, 100))
		}), true},
		{"a zstd answer breaks off", answer(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "8192")
			w.Header().Set("Content-Encoding", "zstd")
			_, _ = w.Write([]byte{0x28, 0xb5, 0x2f, 0xfd})
		}), true},
		{"an encoding that nobody asked for", answer(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "secret")
		}), true},
		{"what is not zstd", answer(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "zstd")
			_, _ = io.WriteString(w, "a secret, which is not zstd")
		}), false},
		{"too much", answer(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 8193)) }), false},
		{"a folder in the place of a file", tile.FS(fstest.MapFS{"tile/0/000/x": {}}), true},
		{"a larger file", tile.FS(fstest.MapFS{"tile/0/000": {Data: make([]byte, 8193)}}), false},
	} {
		_, err := test.r.ReadTile(t.Context(), tile.Tile{Width: 256})
		if err == nil || errors.Is(err, tile.ErrUnchecked) != test.unchecked || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error is %v, and wraps ErrUnchecked: %t", test.name, err, errors.Is(err, tile.ErrUnchecked))
		}
	}
}

func TestUncheckedKeepsAnError(t *testing.T) {
	t.Parallel()
	if err := tile.Unchecked(nil); err != nil {
		t.Errorf("of no error it makes %v", err)
	}
	err := tile.Unchecked(fmt.Errorf("read it: %w", fs.ErrPermission))
	if !errors.Is(err, fs.ErrPermission) || !errors.Is(err, tile.ErrUnchecked) || err.Error() != "read it: permission denied" {
		t.Errorf("the error is %v", err)
	}
}

// TestHTTPStaysOnItsHost: a log must not send its readers to what their network can reach.
func TestHTTPStaysOnItsHost(t *testing.T) {
	t.Parallel()
	asked := atomic.Int64{}
	inside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		_, _ = io.WriteString(w, "a secret")
	}))
	defer inside.Close()
	log := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/moved/checkpoint":
			http.Redirect(w, r, "/here/checkpoint", http.StatusFound)
		case "/here/checkpoint":
			_, _ = io.WriteString(w, "found")
		case "/round/checkpoint":
			http.Redirect(w, r, r.URL.Path, http.StatusFound)
		default:
			http.Redirect(w, r, inside.URL, http.StatusFound)
		}
	}))
	defer log.Close()
	if b, err := tile.HTTP(nil, log.URL+"/moved").ReadCheckpoint(t.Context()); string(b) != "found" || err != nil {
		t.Errorf("on the same host it reads %q, %v", b, err)
	}
	for path, want := range map[string]string{"/away": "leads to another host", "/round": "more than 5 redirects"} {
		_, err := tile.HTTP(nil, log.URL+path).ReadCheckpoint(t.Context())
		wantError(t, err, want)
		if !errors.Is(err, tile.ErrUnchecked) {
			t.Errorf("%s: the error %v does not wrap ErrUnchecked", path, err)
		}
	}
	if n := asked.Load(); n > 0 {
		t.Errorf("the other host was asked %d times", n)
	}
}

func TestSameHost(t *testing.T) {
	t.Parallel()
	own := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if tile.StayOnHost(own) != own {
		t.Error("a client with a rule of its own is changed")
	}
	for _, test := range []struct {
		from, to string
		stays    bool
	}{
		{"https://log.example/a", "https://log.example/b", true},
		{"http://log.example/a", "https://log.example/a", true},
		{"http://log.example:8080/a", "http://log.example:8080/b", true},
		{"https://log.example/a", "http://log.example/a", false},
		{"https://log.example/a", "https://log.example:8443/a", false},
		{"http://log.example:8080/a", "https://log.example/a", false},
		{"http://log.example/a", "https://other.example/a", false},
		{"http://log.example/a", "ftp://log.example/a", false},
	} {
		from, to := httptest.NewRequest(http.MethodGet, test.from, nil), httptest.NewRequest(http.MethodGet, test.to, nil)
		err := tile.StayOnHost(&http.Client{}).CheckRedirect(to, []*http.Request{from})
		if (err == nil) != test.stays {
			t.Errorf("from %s to %s: %v", test.from, test.to, err)
		}
	}
}

func TestHTTPAsksWithItsOwnHeaders(t *testing.T) {
	t.Parallel()
	var got http.Header
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.Header.Clone() }))
	defer srv.Close()
	if _, err := tile.HTTP(nil, srv.URL).ReadCheckpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(got.Get("User-Agent"), "stele") || !strings.Contains(got.Get("Accept-Encoding"), "gzip") {
		t.Errorf("headers are %v", got)
	}
}

func TestHTTPEndsWithItsContext(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer srv.Close()
	defer close(release)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := tile.HTTP(nil, srv.URL).ReadCheckpoint(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
}

func TestMaxBytes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		tile tile.Tile
		want int
	}{
		{tile.Tile{Width: 256}, 8192},
		{tile.Tile{Level: 3, Width: 5}, 160},
		{tile.Tile{Level: tile.Entries, Width: 256}, 16777472},
		{tile.Tile{Level: tile.Entries, Width: 1}, 65537},
	} {
		if got := tt.tile.MaxBytes(); got != tt.want {
			t.Errorf("%s has at most %d bytes, want %d", tt.tile, got, tt.want)
		}
	}
}
