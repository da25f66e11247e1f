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
	// ReadCheckpoint returns the log's newest checkpoint, a signed note.
	ReadCheckpoint(ctx context.Context) ([]byte, error)

	// ReadTile returns the bytes of a tile (32 a hash) or of an entry bundle.
	// The error is fs.ErrNotExist if there is no such tile.
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
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f, limit)
}

// HTTP returns a Reader of the log below prefix, an http or https URL. A nil
// client stands for [http.DefaultClient].
func HTTP(client *http.Client, prefix string) Reader {
	if client == nil {
		client = http.DefaultClient
	}
	return httpReader{client, strings.TrimSuffix(prefix, "/") + "/"}
}

type httpReader struct {
	client *http.Client
	prefix string
}

func (r httpReader) ReadCheckpoint(ctx context.Context) ([]byte, error) {
	return r.get(ctx, "checkpoint", maxCheckpoint)
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
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		detail, _ := io.ReadAll(io.LimitReader(resp.Body, 1024))
		err := fmt.Errorf("GET %s: %s: %s", req.URL.Redacted(), resp.Status, strings.TrimSpace(string(detail)))
		if resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusGone {
			err = fmt.Errorf("%w: %w", fs.ErrNotExist, err)
		}
		return nil, err
	}
	body, err := decoded(resp)
	if err != nil {
		return nil, fmt.Errorf("GET %s: %w", req.URL.Redacted(), err)
	}
	defer body.Close()
	b, err := readAll(body, limit)
	if err != nil {
		return nil, fmt.Errorf("GET %s: %w", req.URL.Redacted(), err)
	}
	return b, nil
}

// decoded undoes the response's content encoding. The transport undoes gzip
// only where it asked for it by itself, and zstd never.
func decoded(resp *http.Response) (io.ReadCloser, error) {
	switch enc := resp.Header.Get("Content-Encoding"); enc {
	case "", "identity":
		return io.NopCloser(resp.Body), nil
	case "gzip":
		return gzip.NewReader(resp.Body)
	case "zstd":
		d, err := zstd.NewReader(resp.Body, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(2*maxBundle))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	default:
		return nil, fmt.Errorf("unknown content encoding %q", enc)
	}
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
