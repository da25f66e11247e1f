package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// This file writes replies. Bodies are put together in pooled buffers before
// anything is sent, so that an error can still be answered, and a Content-Length
// be given; the results of a batch, which can be very long, are sent as they are
// made. A client may not stall while it reads a long reply.

const (
	jsonType    = "application/json"
	problemType = "application/problem+json"
	plainText   = "text/plain; charset=utf-8"
	binaryType  = "application/octet-stream"
)

// buffers holds empty buffers into which bodies are read and in which replies are put
// together.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// keptBuffer is the size of the largest buffer that is kept, in bytes: large bodies
// must not pin their buffers.
const keptBuffer = 64 << 10

// release gives a buffer back. The caller must not keep its bytes.
func release(b *[]byte) {
	if cap(*b) <= keptBuffer {
		*b = (*b)[:0]
		buffers.Put(b)
	}
}

// replyBuffer is how many bytes of a long reply are put together, and written, at a
// time.
const replyBuffer = 32 << 10

// A longReply writes a reply piece by piece. The client must take each within maxStall,
// and all of them within maxReplyTime.
type longReply struct {
	to      http.ResponseWriter
	control *http.ResponseController
	began   time.Time
}

func newLongReply(w http.ResponseWriter) *longReply {
	return &longReply{w, http.NewResponseController(w), time.Now()}
}

func (r *longReply) Write(b []byte) (n int, err error) {
	for piece := range slices.Chunk(b, replyBuffer) {
		_ = r.control.SetWriteDeadline(earlier(time.Now().Add(maxStall), r.began.Add(maxReplyTime))) // if it fails so does writing
		written, err := r.to.Write(piece)
		n += written
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// reply answers a request with JSON. It returns nil, so that handlers can end with
// it.
func reply(w http.ResponseWriter, status int, v any) error {
	send(w, status, jsonType, func(b []byte) []byte { return append(appendJSON(b, v), '\n') })
	return nil
}

// send answers a request with a body that is appended to a buffer.
func send(w http.ResponseWriter, status int, contentType string, body func([]byte) []byte) {
	buf := buffers.Get().(*[]byte)
	defer release(buf)
	*buf = body(*buf)
	w.Header().Set("Content-Type", contentType)
	sendBytes(w, status, *buf)
}

// sendBytes answers a request with a body. A failure to write it is ignored: the
// client has left.
func sendBytes(w http.ResponseWriter, status int, body []byte) {
	// net/http gives the length of short bodies by itself, and would send long ones
	// in chunks.
	if len(body) >= 2048 {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	}
	w.WriteHeader(status)
	if len(body) > replyBuffer {
		_, _ = newLongReply(w).Write(body)
		return
	}
	_, _ = w.Write(body)
}

// appendJSON appends JSON as people write it: & and < are not escaped, since secure
// keeps browsers from taking it for HTML.
func appendJSON(b []byte, v any) []byte {
	buf := bytes.NewBuffer(b)
	e := json.NewEncoder(buf)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // none of our types fails to encode
	return bytes.TrimSuffix(buf.Bytes(), []byte{'\n'})
}
