package heads

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/stele-log/stele/pkg/policy"
)

// A Writer writes an archive, one checkpoint at a time. What it writes a [Reader]
// accepts; that it verifies too is for the caller to ensure, as [Export] does.
type Writer struct {
	w     io.Writer
	order order
}

// NewWriter begins an archive on w. The policy is written for people to read.
func NewWriter(w io.Writer, p *policy.Policy) (*Writer, error) {
	if _, err := io.WriteString(w, formatHeader(p)); err != nil {
		return nil, fmt.Errorf("write archive of heads: %w", err)
	}
	return &Writer{w: w}, nil
}

// Add writes the next checkpoint. It refuses one that a [Reader] would not
// accept, and verifies nothing.
func (a *Writer) Add(c Checkpoint) error {
	text, signatures, ok := strings.Cut(string(c.Note), "\n\n")
	if !ok {
		return fmt.Errorf("write archive of heads: checkpoint %d is not a signed note", c.Number)
	}
	own, _, _ := strings.Cut(c.format(), "\n\n")
	if _, err := parseCheckpoint(own+"\n", text+"\n", signatures); err != nil {
		return fmt.Errorf("write archive of heads: %w", err)
	}
	if err := a.order.follow(c); err != nil {
		return fmt.Errorf("write archive of heads: %w", err)
	}
	if _, err := io.WriteString(a.w, c.format()); err != nil {
		return fmt.Errorf("write archive of heads: %w", err)
	}
	return nil
}

// Close writes the archive's end. It does not close what it writes to.
func (a *Writer) Close() error {
	if a.w == nil {
		return errors.New("write archive of heads: closed already")
	}
	_, err := io.WriteString(a.w, a.order.end())
	a.w = nil
	if err != nil {
		return fmt.Errorf("write archive of heads: %w", err)
	}
	return nil
}
