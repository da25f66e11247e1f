package server

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// lookEvery is the least time between two looks at the files of a certificate.
const lookEvery = time.Second

// A certificate is read from files, and read again when they change, so that it can
// be renewed without restarting the server. It is safe for concurrent use.
type certificate struct {
	cert, key string // paths
	logger    *slog.Logger

	mu     sync.Mutex
	loaded *tls.Certificate
	state  [2]fileState // of the files when they were last read
	looked time.Time
}

// A fileState is compared to notice that a file has changed.
type fileState struct {
	modified time.Time
	size     int64
}

func openCertificate(cert, key string, logger *slog.Logger) (*certificate, error) {
	c := &certificate{cert: cert, key: key, logger: logger}
	state, err := c.look()
	if err != nil {
		return nil, fmt.Errorf("TLS certificate: %w", err)
	}
	return c, c.load(state)
}

// look returns the state of the files.
func (c *certificate) look() (state [2]fileState, err error) {
	for i, path := range []string{c.cert, c.key} {
		info, err := os.Stat(path)
		if err != nil {
			return state, err
		}
		state[i] = fileState{info.ModTime(), info.Size()}
	}
	return state, nil
}

func (c *certificate) load(state [2]fileState) error {
	c.state = state
	loaded, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return fmt.Errorf("TLS certificate %s with key %s: %w", c.cert, c.key, err)
	}
	c.loaded = &loaded
	return nil
}

// get returns the certificate for a connection. While the files cannot be read, or
// key and certificate do not match, it is the previous one.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.looked) < lookEvery {
		return c.loaded, nil
	}
	c.looked = time.Now()
	state, err := c.look()
	if err == nil && state == c.state {
		return c.loaded, nil
	}
	if err == nil {
		err = c.load(state)
	}
	if err != nil {
		c.logger.Error("the changed TLS certificate cannot be read; the previous one stays in use", "error", err)
	} else {
		c.logger.Info("TLS certificate read again", "file", c.cert, "expires", c.loaded.Leaf.NotAfter)
	}
	return c.loaded, nil
}
