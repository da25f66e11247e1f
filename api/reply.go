package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"sync"
)

const (
	jsonType    = "application/json"
	problemType = "application/problem+json"
	plainText   = "text/plain; charset=utf-8"
	binaryType  = "application/octet-stream"
)

// buffers holds what bodies are read into and put together in.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// keptBuffer is the size of the largest buffer that is kept, in bytes.
const keptBuffer = 1 << 20

// release gives a buffer back. Nobody may hold on to its bytes.
func release(b *bytes.Buffer) {
	if b.Cap() <= keptBuffer {
		b.Reset()
		buffers.Put(b)
	}
}

// reply answers a request with JSON.
func reply(w http.ResponseWriter, status int, v any) error {
	send(w, status, jsonType, func(b []byte) []byte { return append(appendJSON(b, v), '\n') })
	return nil
}

// send answers a request with a body that is appended to a buffer.
func send(w http.ResponseWriter, status int, contentType string, body func([]byte) []byte) {
	buf := buffers.Get().(*bytes.Buffer)
	defer release(buf)
	buf.Write(body(buf.AvailableBuffer()))
	w.Header().Set("Content-Type", contentType)
	sendBytes(w, status, buf.Bytes())
}

// sendBytes answers a request with a body. If it cannot be written there is
// nobody to tell.
func sendBytes(w http.ResponseWriter, status int, body []byte) {
	// Of short bodies net/http says the length by itself; long ones it would
	// send in chunks.
	if len(body) >= 2048 {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	}
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// appendJSON appends JSON as people write it: & and < are not escaped for HTML,
// which it is never taken for.
func appendJSON(b []byte, v any) []byte {
	buf := bytes.NewBuffer(b)
	e := json.NewEncoder(buf)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // what is sent can be encoded
	return bytes.TrimSuffix(buf.Bytes(), []byte{'\n'})
}
