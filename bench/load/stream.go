package load

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http/httputil"
	"strconv"
	"time"
)

// A Stream is a request whose lines are answered one by one while others are
// sent. One goroutine may send while another receives.
type Stream struct {
	conn  *Conn
	lines *bufio.Reader
}

const linesType = "application/x-ndjson"

// OpenStream begins a stream at a path of a server.
func OpenStream(ctx context.Context, server, path string) (*Stream, error) {
	c, err := Dial(ctx, server)
	if err != nil {
		return nil, err
	}
	c.begin("POST", path)
	c.out = append(c.out, "Content-Type: "+linesType+"\r\nAccept: "+linesType+"\r\nTransfer-Encoding: chunked\r\n\r\n"...)
	status, length := 0, int64(0)
	if err = c.conn.SetDeadline(time.Now().Add(timeout)); err == nil {
		if _, err = c.conn.Write(c.out); err == nil {
			status, length, err = c.readHead()
		}
	}
	if err == nil && (status != 200 || length >= 0) {
		err = fmt.Errorf("status %d, not a stream", status)
	}
	if err == nil {
		err = c.conn.SetDeadline(time.Time{})
	}
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("open a stream: %w", err)
	}
	return &Stream{c, bufio.NewReaderSize(httputil.NewChunkedReader(c.in), 64<<10)}, nil
}

// Send sends whole lines.
func (s *Stream) Send(lines []byte) error {
	out := strconv.AppendInt(s.conn.out[:0], int64(len(lines)), 16)
	out = append(append(append(out, "\r\n"...), lines...), "\r\n"...)
	s.conn.out = out
	_, err := s.conn.conn.Write(out)
	return err
}

var stored = []byte(`{"status":201,`)

// Receive reads the answer to the next line, which must be that of a new entry.
func (s *Stream) Receive() error {
	for {
		line, err := s.lines.ReadSlice('\n')
		switch {
		case err != nil:
			return err
		case bytes.HasPrefix(line, stored):
			return nil
		case !bytes.HasPrefix(line, []byte(`{"heartbeat"`)):
			return errors.New("answered: " + string(bytes.TrimSpace(line)))
		}
	}
}

// End tells the server that no more is sent.
func (s *Stream) End() error {
	_, err := s.conn.conn.Write([]byte("0\r\n\r\n"))
	return err
}

// Close closes the connection.
func (s *Stream) Close() { s.conn.Close() }
