package api

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// This file reads the bodies of requests, streams excepted: whole as they are sent,
// and decodes them after that. So whoever sends slowly holds the bytes that have
// come, and no decoder.

// maxWindow is the size of the largest window of a zstd frame, in bytes.
//
// SPEC: RFC 9659 section 3: in a Content-Encoding it MUST NOT be larger.
const maxWindow = 8 << 20

// Bodies are decoded from these content codings, streams from none.
const (
	bodyCodings   = "gzip, zstd, identity"
	streamCodings = "identity"
)

// readBody reads the body of a request to its end, and undoes its Content-Encoding.
// Neither what is sent nor what it decodes to may be larger than limit, in bytes: the
// error is then a [*http.MaxBytesError]. It is errNoMemory if there is no room for the
// body, and otherwise a statusError. The buffer, which the claim covers, is released by
// the caller.
func (s *server) readBody(w http.ResponseWriter, r *http.Request, limit int64, memory *claim) (*[]byte, error) {
	coding, err := contentCoding(w, r, bodyCodings)
	if err != nil {
		return nil, err
	}
	body := &timedBody{http.MaxBytesReader(w, r.Body, limit), http.NewResponseController(w), time.Now()}
	sent, err := readAll(body, min(r.ContentLength, limit), memory)
	if err != nil {
		return nil, bodyError(err)
	}
	if coding == "identity" {
		return sent, nil
	}
	defer memory.give(cap(*sent))
	defer release(sent)
	return s.decode(*sent, coding, limit, memory)
}

// bodyError returns what an error in reading a body means.
func bodyError(err error) error {
	_, tooLarge := errors.AsType[*http.MaxBytesError](err)
	switch {
	case tooLarge, errors.Is(err, errNoMemory):
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return statusError{http.StatusRequestTimeout,
			fmt.Sprintf("the body has not come within %v, or nothing of it for %v", maxBodyTime, maxStall)}
	}
	return badRequest("the body ended early: " + err.Error())
}

// contentCoding returns the Content-Encoding of a body, "identity" if it has none.
// One that is not in the list of those accepted is refused with 415.
//
// SPEC: RFC 9110 section 15.5.16: Accept-Encoding then tells what is accepted.
func contentCoding(w http.ResponseWriter, r *http.Request, accepted string) (string, error) {
	header := strings.Join(r.Header.Values("Content-Encoding"), ", ")
	coding := cmp.Or(strings.ToLower(strings.TrimSpace(header)), "identity")
	if coding == "x-gzip" { // SPEC: RFC 9110 section 8.4.1.3: the same as gzip
		coding = "gzip"
	}
	if slices.Contains(strings.Split(accepted, ", "), coding) {
		return coding, nil
	}
	w.Header().Set("Accept-Encoding", accepted)
	return "", statusError{http.StatusUnsupportedMediaType,
		fmt.Sprintf("the Content-Encoding %.40q is not accepted here; accepted: %s", header, accepted)}
}

// decode undoes the content coding of a body. As many bodies are decoded at a time as
// there are processors, which bounds the memory of decoders.
func (s *server) decode(sent []byte, coding string, limit int64, memory *claim) (*[]byte, error) {
	s.decoding <- struct{}{}
	defer func() { <-s.decoding }()
	from, err := newDecoder(bytes.NewReader(sent), coding)
	var decoded *[]byte
	if err == nil {
		defer from.Close()
		decoded, err = readAll(io.LimitReader(from, limit+1), -1, memory)
	}
	if errors.Is(err, errNoMemory) {
		return nil, err
	}
	if err != nil {
		return nil, badRequest(fmt.Sprintf("the body is not %s, as its Content-Encoding promises: %v", coding, err))
	}
	if int64(len(*decoded)) > limit {
		release(decoded)
		return nil, &http.MaxBytesError{Limit: limit}
	}
	return decoded, nil
}

func newDecoder(from io.Reader, coding string) (io.ReadCloser, error) {
	if coding == "gzip" {
		return gzip.NewReader(from)
	}
	d, err := zstd.NewReader(from, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return nil, err
	}
	return d.IOReadCloser(), nil
}

// readAll reads to the end, into a buffer that is claimed as it grows and that the
// caller releases. expected is the number of bytes that are announced, or negative.
func readAll(from io.Reader, expected int64, memory *claim) (*[]byte, error) {
	buf := buffers.Get().(*[]byte)
	b := *buf
	err := memory.take(cap(b))
	for err == nil {
		if len(b) == cap(b) {
			size := nextSize(cap(b), int(expected))
			if err = memory.take(size - cap(b)); err != nil {
				break
			}
			b = append(make([]byte, 0, size), b...)
		}
		var n int
		n, err = from.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
	}
	*buf = b
	if err != io.EOF {
		release(buf)
		return nil, err
	}
	return buf, nil
}

// nextSize returns the size to which a full buffer grows: to twice its size, and, of a
// body of known length, not beyond that. A length costs nothing to announce, so it
// buys no more than a kept buffer.
func nextSize(size, expected int) int {
	next := max(2*size, bytes.MinRead)
	if expected >= size {
		next = min(max(next, keptBuffer), expected+1) // one more, to read the end into
	}
	return next
}

// A timedBody is a body that may take up to maxBodyTime, but must bring something
// every maxStall. A fixed deadline would cut off slow links, or let a stalled
// client hold a connection for minutes.
type timedBody struct {
	from    io.Reader
	control *http.ResponseController
	began   time.Time
}

func (b *timedBody) Read(p []byte) (int, error) {
	_ = b.control.SetReadDeadline(earlier(time.Now().Add(maxStall), b.began.Add(maxBodyTime))) // if it fails so does reading
	return b.from.Read(p)
}

// unmark overwrites the byte order mark, which some editors and shells put before a
// text, with spaces, so that offsets in it stay true. A text in UTF-16 is refused with
// 415.
func unmark(text []byte) error {
	switch {
	case bytes.HasPrefix(text, []byte("\xef\xbb\xbf")):
		copy(text, "   ")
	case bytes.HasPrefix(text, []byte("\xff\xfe")), bytes.HasPrefix(text, []byte("\xfe\xff")):
		return statusError{http.StatusUnsupportedMediaType, "the body is in UTF-16; send JSON in UTF-8"}
	}
	return nil
}
