package heads

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/stele-log/stele/pkg/checkpoint"
	"github.com/stele-log/stele/pkg/internal/notefmt"
	"github.com/stele-log/stele/pkg/policy"
)

// A Reader reads an archive and verifies nothing: see [Verify].
type Reader struct {
	in     *bufio.Reader
	line   int // lines read
	policy *policy.Policy
	order  order
	ended  bool
}

// NewReader reads the beginning of an archive.
func NewReader(r io.Reader) (*Reader, error) {
	a := &Reader{in: bufio.NewReader(r)}
	first, _ := a.in.Peek(len(header) + 2)
	if err := notefmt.CheckBytes(first); err != nil {
		return nil, a.fail(1, fmt.Errorf("%w: get the archive again, byte for byte", err))
	}
	part, err := a.part(maxPolicy)
	if err == nil {
		a.policy, err = parseHeader(part)
	}
	if err != nil {
		return nil, a.fail(1, unexpected(err))
	}
	return a, nil
}

// Policy returns the policy under which the archive was written. It comes from
// the archive, and must not be trusted.
func (a *Reader) Policy() *policy.Policy { return a.policy }

// Next returns the next checkpoint, or io.EOF after the last, once the archive
// is known to be complete.
func (a *Reader) Next() (Checkpoint, error) {
	if a.ended {
		return Checkpoint{}, io.EOF
	}
	start := a.line + 1
	c, err := a.next()
	if err != nil && err != io.EOF {
		err = a.fail(start, err)
	}
	a.ended = err != nil
	return c, err
}

func (a *Reader) next() (Checkpoint, error) {
	first, err := a.part(checkpoint.MaxSize)
	// The last line has no empty line after it.
	if err == io.EOF && first == a.order.end() {
		return Checkpoint{}, io.EOF
	}
	if err != nil {
		return Checkpoint{}, unexpected(err)
	}
	text, err := a.part(checkpoint.MaxSize)
	if err != nil {
		return Checkpoint{}, unexpected(err)
	}
	signatures, err := a.part(checkpoint.MaxSize)
	if err != nil {
		return Checkpoint{}, unexpected(err)
	}
	c, err := parseCheckpoint(first, text, signatures)
	if err != nil {
		return Checkpoint{}, err
	}
	return c, a.order.follow(c)
}

// part returns the lines up to an empty one, which is left out. At the end of
// the archive it returns the lines so far, and io.EOF.
func (a *Reader) part(limit int) (string, error) {
	var b strings.Builder
	for {
		line, err := a.readLine(limit - b.Len())
		if err != nil {
			return b.String(), err
		}
		if line == "\n" {
			return b.String(), nil
		}
		b.WriteString(line)
	}
}

// readLine returns a line with its line feed, of at most limit bytes, or io.EOF
// if there is none.
func (a *Reader) readLine(limit int) (string, error) {
	var b []byte
	for {
		piece, err := a.in.ReadSlice('\n')
		if len(b)+len(piece) > max(limit, 1) {
			return "", errors.New("the part of the archive that begins here is too large")
		}
		b = append(b, piece...)
		switch {
		case err == nil:
			a.line++
			return string(b), nil
		case err == io.EOF && len(b) > 0:
			return "", io.ErrUnexpectedEOF
		case !errors.Is(err, bufio.ErrBufferFull):
			return "", err
		}
	}
}

func (a *Reader) fail(line int, err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("%w: it was cut short, or changed at its end: the last line must have the number of checkpoints", err)
	}
	return fmt.Errorf("archive of heads, line %d: %w", line, err)
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// An order checks that each checkpoint of an archive may follow the one before it.
// Reader and Writer share it, so that neither lets pass what the other refuses.
type order struct {
	count  uint64
	number uint64 // of the last
	last   checkpoint.Checkpoint
}

func (o *order) follow(c Checkpoint) error {
	head, err := c.head()
	if err != nil {
		return fmt.Errorf("checkpoint %d: %w", c.Number, err)
	}
	switch {
	case o.count == 0 && len(c.Proof) > 0:
		return fmt.Errorf("checkpoint %d: it is the first, and has a proof", c.Number)
	case o.count == 0:
	case c.Number != o.number+1:
		return fmt.Errorf("checkpoint %d: it follows checkpoint %d", c.Number, o.number)
	case head.Origin != o.last.Origin:
		return fmt.Errorf("checkpoint %d: its origin is %q, that of the one before %q", c.Number, head.Origin, o.last.Origin)
	case head.Size < o.last.Size:
		return fmt.Errorf("checkpoint %d: its size is %d, that of the one before %d", c.Number, head.Size, o.last.Size)
	}
	o.count, o.number, o.last = o.count+1, c.Number, head
	return nil
}

// end returns the archive's last line.
func (o *order) end() string { return fmt.Sprintf("end %d\n", o.count) }
