package api

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/go-chi/chi/v5"
	"github.com/klauspost/compress/gzip"

	"github.com/stele-log/stele/internal/access"
	"github.com/stele-log/stele/internal/engine"
	"github.com/stele-log/stele/pkg/tile"
)

// This file serves the log in the layout of tlog-tiles: GET /logs/{log}/checkpoint
// and GET /logs/{log}/tile/... Readers, auditors and mirrors need no more than
// these. The checkpoint comes from the publisher, which has it in memory. Full
// tiles come from the reader's cache; bundles are sent as the database stores
// them. Nothing beyond the checkpoint is served, so a reader never sees a tile that
// no signed tree has.

// getCheckpoint serves the newest checkpoint, signed and cosigned.
//
// SPEC: https://c2sp.org/tlog-tiles#checkpoints
func (s *server) getCheckpoint(w http.ResponseWriter, _ *http.Request, l *engine.Log) error {
	published, err := l.Publisher.Latest()
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", plainText)
	w.Header().Set("Cache-Control", "no-store")
	sendBytes(w, http.StatusOK, published.Note)
	return nil
}

// getTile serves a tile or an entry bundle within the newest checkpoint's tree.
// Partial tiles are served in every width up to the one the checkpoint implies,
// also where there is a full tile by now: a reader may hold an older checkpoint.
//
// SPEC: https://c2sp.org/tlog-tiles#merkle-tree, #log-entries, #partial-tiles
func (s *server) getTile(w http.ResponseWriter, r *http.Request, l *engine.Log) error {
	path := "tile/" + chi.URLParam(r, "*")
	if r.URL.RawPath != "" || r.URL.RawQuery != "" || r.URL.ForceQuery {
		return badRequest("a tile's path has no escapes and no query")
	}
	t, err := tile.Parse(path)
	if err != nil {
		return badRequest(err.Error())
	}
	published, err := l.Publisher.Latest()
	if err != nil {
		return err
	}
	if !t.In(published.Size) {
		return statusError{http.StatusNotFound, fmt.Sprintf(
			"%s is not in the published tree of %d entries; a tile exists once the checkpoint covers it", t, published.Size)}
	}
	if t.Level == tile.Entries {
		permit, err := s.demand(r, l.Name, access.Reader, access.Auditor)
		if err == nil {
			err = notNarrowed(r, l, permit)
		}
		if err != nil {
			return err
		}
		if err := s.serveBundle(w, r, l, t); err != nil {
			return err
		}
		s.noteRead(r, l, permit)
		return nil
	}
	data, err := l.Reader.ReadTile(r.Context(), t)
	if err != nil {
		return err
	}
	setTileHeaders(w.Header(), s.caching(r, l))
	sendBytes(w, http.StatusOK, data)
	return nil
}

// setTileHeaders sets the headers of tiles and bundles. It is called when there is
// something to send: an error must not be cached.
func setTileHeaders(h http.Header, caching string) {
	h.Set("Content-Type", binaryType)
	h.Set("Cache-Control", caching)
}

// serveBundle serves an entry bundle. Clients that accept zstd get the frames as
// they are stored, one a chunk: frames in a row are one zstd stream (RFC 8878
// section 3.1). That is not possible where the bundle's end is not a chunk's;
// then, and for other clients, the bundle is decoded, and compressed with gzip if
// the client accepts that. A bundle may have 16 MiB, which is claimed until the client
// has read it.
func (s *server) serveBundle(w http.ResponseWriter, r *http.Request, l *engine.Log, t tile.Tile) error {
	memory := s.memory.claim()
	defer memory.release()
	w.Header().Set("Vary", "Accept-Encoding")
	if accepts(r.Header["Accept-Encoding"], "zstd") {
		frames, whole, err := l.Reader.Frames(r.Context(), t)
		if err != nil {
			return err
		}
		if whole {
			for _, f := range frames {
				if err := memory.take(len(f)); err != nil {
					return err
				}
			}
			setTileHeaders(w.Header(), s.caching(r, l, access.Reader))
			w.Header().Set("Content-Encoding", "zstd")
			out := newLongReply(w)
			for _, f := range frames {
				_, _ = out.Write(f)
			}
			return nil
		}
	}
	data, err := l.Reader.ReadTile(r.Context(), t)
	if err == nil {
		err = memory.take(len(data))
	}
	if err != nil {
		return err
	}
	setTileHeaders(w.Header(), s.caching(r, l, access.Reader))
	if !accepts(r.Header["Accept-Encoding"], "gzip") {
		sendBytes(w, http.StatusOK, data)
		return nil
	}
	w.Header().Set("Content-Encoding", "gzip")
	z, err := gzip.NewWriterLevel(newLongReply(w), gzip.BestSpeed)
	if err != nil {
		return err
	}
	_, _ = z.Write(data)
	_ = z.Close()
	return nil
}

// accepts reports whether the values of an Accept header, or of one like it, list
// something by name with a weight above 0. Wildcards do not count: a client that
// accepts anything gets the plain form.
//
// SPEC: RFC 9110 section 12.5.
func accepts(values []string, name string) bool {
	for _, value := range values {
		for part := range strings.SplitSeq(value, ",") {
			named, weight, _ := strings.Cut(strings.TrimSpace(part), ";")
			if !strings.EqualFold(strings.TrimSpace(named), name) {
				continue
			}
			q := strings.TrimRight(strings.ToLower(strings.ReplaceAll(weight, " ", "")), "0")
			return q != "q=" && q != "q=0."
		}
	}
	return false
}
