package ingest

import (
	"fmt"
	"io"
	"iter"
	"os"
)

// An Input is an event to append, or the reason why there is none.
type Input struct {
	Place string // where it was read, such as "events.ndjson: line 7"
	Event []byte // in JSON
	Err   error  // names the place itself
}

// A Format reads a file, called name in errors, and returns an event, in JSON, or
// an error for each of its records.
type Format func(name string, r io.Reader) iter.Seq2[[]byte, error]

// Files reads files one after the other. A file that cannot be opened is an Input
// with that error. It calls progress with the number of bytes read so far.
func Files(names []string, read Format, progress func(read uint64)) iter.Seq[Input] {
	return func(yield func(Input) bool) {
		count := &counter{progress: progress}
		for _, name := range names {
			if !readFile(name, read, count, yield) {
				return
			}
		}
	}
}

// readFile reads one file. It reports whether to go on with the next.
func readFile(name string, read Format, count *counter, yield func(Input) bool) bool {
	file, err := os.Open(name)
	if err != nil {
		return yield(Input{Err: err})
	}
	defer file.Close()
	n := 0
	for event, err := range read(name, io.TeeReader(file, count)) {
		n++
		if !yield(Input{fmt.Sprintf("%s: record %d", name, n), event, err}) {
			return false
		}
	}
	return true
}

// A counter counts the bytes written to it.
type counter struct {
	total    uint64
	progress func(uint64)
}

func (c *counter) Write(p []byte) (int, error) {
	c.total += uint64(len(p))
	c.progress(c.total)
	return len(p), nil
}

// Size returns how many bytes files have, or 0 if one of them, such as a pipe, has
// no size. The error is about the first that is not there, or is a folder.
func Size(names []string) (uint64, error) {
	total, known := uint64(0), true
	for _, name := range names {
		info, err := os.Stat(name)
		switch {
		case err != nil:
			return 0, err
		case info.IsDir():
			return 0, fmt.Errorf("%s is a folder: name the files in it", name)
		}
		known = known && info.Mode().IsRegular()
		total += uint64(info.Size())
	}
	if !known {
		return 0, nil
	}
	return total, nil
}
