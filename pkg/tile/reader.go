package tile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// A Reader reads one log in the tlog-tiles layout, from wherever it is kept.
// Its results must not be trusted, nor changed, since they may be shared.
// Implementations are safe for concurrent use.
type Reader interface {
	// ReadCheckpoint returns the log's newest checkpoint, a signed note. The error
	// is as that of ReadTile.
	ReadCheckpoint(ctx context.Context) ([]byte, error)

	// ReadTile returns the bytes of a tile (32 a hash) or of an entry bundle.
	// The error is fs.ErrNotExist if there is no such tile, and [ErrUnchecked] if
	// it could not be read; with any other, what is there is not a tile.
	ReadTile(ctx context.Context, t Tile) ([]byte, error)
}

// A RangeReader is a Reader that reads adjacent tiles at less cost than one by
// one, such as a database in one query.
type RangeReader interface {
	Reader

	// ReadTiles calls f with the bytes of the full tiles at a level, or of the
	// full bundles, from index start up to but not including end, in order. It
	// stops at the first error, and returns it: f's as it is, or its own, about
	// the tile after those that f was called with. The bytes that f is given
	// may be overwritten once f has returned.
	ReadTiles(ctx context.Context, level int, start, end uint64, f func(data []byte) error) error
}

const (
	maxCheckpoint = 1 << 20                // bytes; 16 ML-DSA-44 signatures need 52 KiB
	maxBundle     = Width * (2 + MaxEntry) // bytes, decompressed
	userAgent     = "stele (+https://c2sp.org/tlog-tiles)"
)

// MaxBytes returns the size of the largest tile or bundle of t's kind, in bytes.
func (t Tile) MaxBytes() int {
	if t.Level == Entries {
		return t.Width * (2 + MaxEntry)
	}
	return t.Width * HashSize
}

// FS returns a Reader of the log laid out as files below the root of fsys.
func FS(fsys fs.FS) Reader { return fsReader{fsys} }

type fsReader struct{ fsys fs.FS }

func (r fsReader) ReadCheckpoint(context.Context) ([]byte, error) {
	return r.read("checkpoint", maxCheckpoint)
}

func (r fsReader) ReadTile(_ context.Context, t Tile) ([]byte, error) {
	b, err := r.read(t.Path(), t.MaxBytes())
	if errors.Is(err, fs.ErrNotExist) && !t.IsFull() {
		return fallBack(t, func() ([]byte, error) { return r.read(t.Full().Path(), t.Full().MaxBytes()) })
	}
	return b, err
}

func (r fsReader) read(path string, limit int) ([]byte, error) {
	f, err := r.fsys.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err != nil {
		return nil, Unchecked(err)
	}
	defer f.Close()
	in := &source{Reader: f}
	b, err := readAll(in, limit)
	return b, in.blame(err)
}

// HTTP returns a Reader of the log below prefix, an http or https URL. It stays on
// that host, see [StayOnHost], and its errors quote nothing of what was found there. A
// nil client stands for [http.DefaultClient].
func HTTP(client *http.Client, prefix string) Reader {
	if client == nil {
		client = http.DefaultClient
	}
	return httpReader{StayOnHost(client), strings.TrimSuffix(prefix, "/") + "/"}
}

type httpReader struct {
	client *http.Client
	prefix string
}

// ReadCheckpoint cannot tell a log from another web site by what it cannot read.
func (r httpReader) ReadCheckpoint(ctx context.Context) ([]byte, error) {
	b, err := r.get(ctx, "checkpoint", maxCheckpoint)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		err = Unchecked(err)
	}
	return b, err
}

func (r httpReader) ReadTile(ctx context.Context, t Tile) ([]byte, error) {
	b, err := r.get(ctx, t.Path(), t.MaxBytes())
	// SPEC: https://c2sp.org/tlog-tiles#partial-tiles: a client that finds a
	// partial tile gone falls back to the full one.
	if errors.Is(err, fs.ErrNotExist) && !t.IsFull() {
		return fallBack(t, func() ([]byte, error) { return r.get(ctx, t.Full().Path(), t.Full().MaxBytes()) })
	}
	return b, err
}

func (r httpReader) get(ctx context.Context, path string, limit int) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.prefix+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", userAgent)
	req.Header.Set("Accept-Encoding", "zstd, gzip, identity")
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, Unchecked(err)
	}
	defer resp.Body.Close()
	// The URL is that of the last redirect.
	b, err := readResponse(resp, limit)
	if err != nil {
		return nil, fmt.Errorf("GET %s: %w", resp.Request.URL.Redacted(), err)
	}
	return b, nil
}

// readResponse returns the body of a response, decoded. An error has of the response
// no more than its status code.
func readResponse(resp *http.Response, limit int) ([]byte, error) {
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound, http.StatusGone:
		return nil, fmt.Errorf("%w: %s", fs.ErrNotExist, statusText(resp.StatusCode))
	default:
		return nil, Unchecked(errors.New(statusText(resp.StatusCode)))
	}
	raw := &source{Reader: resp.Body}
	body, err := decoded(raw, resp.Header.Get("Content-Encoding"))
	if err != nil {
		return nil, raw.blame(err)
	}
	defer body.Close()
	b, err := readAll(body, limit)
	return b, raw.blame(err)
}

func statusText(code int) string { return fmt.Sprintf("%d %s", code, http.StatusText(code)) }

// decoded undoes a content encoding. The transport undoes gzip only where it asked
// for it by itself, and zstd never.
func decoded(r io.Reader, encoding string) (io.ReadCloser, error) {
	switch encoding {
	case "", "identity":
		return io.NopCloser(r), nil
	case "gzip":
		return gzip.NewReader(r)
	case "zstd":
		d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(2*maxBundle))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	default:
		return nil, Unchecked(errors.New("its content encoding is none of identity, gzip and zstd"))
	}
}

// A source is where bytes come from, before anything decodes them. It remembers that
// it failed, since a decoder may tell it otherwise.
type source struct {
	io.Reader
	failed error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if err != nil && err != io.EOF {
		s.failed = err
	}
	return n, err
}

// blame returns an error of whatever has read s: it shows nothing about the bytes if s
// itself has failed.
func (s *source) blame(err error) error {
	if err != nil && s.failed != nil {
		return Unchecked(err)
	}
	return err
}

// readAll reads no more than limit bytes of r, so that neither a file nor a
// server can make a reader hold more than what it asked for.
func readAll(r io.Reader, limit int) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, int64(limit)+1))
	if err != nil {
		return nil, err
	}
	if len(b) > limit {
		return nil, fmt.Errorf("more than %d bytes", limit)
	}
	return b, nil
}

// fallBack reads a partial tile as the beginning of the full one.
func fallBack(t Tile, readFull func() ([]byte, error)) ([]byte, error) {
	b, err := readFull()
	if err != nil {
		return nil, err
	}
	return Truncate(b, t.Full(), t.Width)
}

// Truncate returns the bytes of the first width hashes or entries of tile t,
// whose bytes are b.
func Truncate(b []byte, t Tile, width int) ([]byte, error) {
	if t.Level != Entries {
		if len(b) != t.Width*HashSize {
			return nil, fmt.Errorf("%s has %d bytes, want %d", t, len(b), t.Width*HashSize)
		}
		return b[:width*HashSize], nil
	}
	if err := CheckBundle(b, t.Width); err != nil {
		return nil, fmt.Errorf("%s: %w", t, err)
	}
	rest := b
	for range width {
		_, rest, _ = CutEntry(rest)
	}
	return b[:len(b)-len(rest)], nil
}
