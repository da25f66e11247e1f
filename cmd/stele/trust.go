package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stele-log/stele/pkg/client"
	"github.com/stele-log/stele/pkg/policy"
	"github.com/stele-log/stele/pkg/tile"
)

// trustFlags are what a verifier trusts: all of it comes from outside the log.
type trustFlags struct {
	keys     []string
	policies []string // in the order of time
}

func (f *trustFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&f.keys, "key", nil, "the log's verifier key, or a file that holds it; can be given more than once, and a signature of any one of the keys is enough")
	cmd.Flags().StringArrayVar(&f.policies, "policy", nil, "C2SP tlog-policy file: the witnesses that must have cosigned and, without --key, the logs to trust")
}

// registerPast registers the flags of a verifier of what may be older than the newest
// policy.
func (f *trustFlags) registerPast(cmd *cobra.Command) {
	f.register(cmd)
	cmd.Flags().Lookup("policy").Usage += "; can be given more than once, the newest last, and each counts in its time"
}

// load returns the policy that the flags describe. The error is about how the command
// was given.
func (f *trustFlags) load() (*policy.Policy, error) {
	if len(f.policies) > 1 {
		return nil, exitError{errors.New("give one --policy: this command looks at what is newest"), exitUsage}
	}
	all, err := f.loadAll()
	if err != nil {
		return nil, err
	}
	return all[0], nil
}

// loadAll returns the policies that the flags describe, in the order of time: one at
// least. The error is about how the command was given.
func (f *trustFlags) loadAll() ([]*policy.Policy, error) {
	all, err := f.read()
	if err != nil {
		return nil, exitError{err, exitUsage}
	}
	return all, nil
}

func (f *trustFlags) read() ([]*policy.Policy, error) {
	vkeys := make([]string, len(f.keys))
	for i, key := range f.keys {
		var err error
		if vkeys[i], err = loadKey(key); err != nil {
			return nil, err
		}
	}
	if len(f.policies) == 0 {
		if len(vkeys) == 0 {
			return nil, errors.New("say whom to trust with --key or --policy; the log's owner publishes its key")
		}
		p, err := policy.ForLog(vkeys...)
		return []*policy.Policy{p}, err
	}
	all := make([]*policy.Policy, len(f.policies))
	for i, name := range f.policies {
		text, err := readFile(name, policy.MaxFile)
		if err != nil {
			return nil, err
		}
		if all[i], err = policy.Parse(text); err == nil && len(vkeys) > 0 {
			all[i], err = all[i].WithLogs(vkeys...)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return all, nil
}

// maxKeyFile is the size of the largest file with a verifier key, in bytes. One of
// ML-DSA-44 has 1.8 KB and a name.
const maxKeyFile = 64 << 10

// loadKey returns the key, which has two "+", or the one in the file.
func loadKey(key string) (string, error) {
	if strings.Count(key, "+") >= 2 {
		return key, nil
	}
	text, err := readFile(key, maxKeyFile)
	if err != nil {
		return "", fmt.Errorf("--key %q is neither a verifier key (name+id+key) nor a file: %w", key, err)
	}
	return strings.TrimSpace(string(text)), nil
}

// readFile reads a file of at most limit bytes, or standard input if it is called "-".
func readFile(name string, limit int) ([]byte, error) {
	f, err := openFile(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	if err == nil && len(b) > limit {
		err = fmt.Errorf("%s: %w", name, errTooLarge)
	}
	return b, err
}

// readToVerify reads a file that is to be verified. One that is too large cannot be what
// it is taken for; any other error only shows that it cannot be read.
func readToVerify(name string, limit int) ([]byte, error) {
	b, err := readFile(name, limit)
	if err != nil && !errors.Is(err, errTooLarge) {
		return nil, tile.Unchecked(err)
	}
	return b, err
}

// errTooLarge is why a file is not read to its end.
var errTooLarge = errors.New("the file is larger than it can be")

// readFlags are how a log is read that not everybody may read. The token is not taken from
// STELE_TOKEN, which is for one server: logs to verify are anybody's.
type readFlags struct {
	tokenFile string
}

func (f *readFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.tokenFile, "token-file", "", "file with a key that may read the log's entries; sent to the servers of the URLs that are given")
}

// client returns what reads the logs at some URLs.
func (f *readFlags) client(urls ...string) (*http.Client, error) {
	c := &http.Client{Timeout: time.Minute, Transport: readTransport()}
	if f.tokenFile == "" {
		return c, nil
	}
	text, err := os.ReadFile(f.tokenFile)
	if err == nil {
		c.Transport, err = client.WithToken(c.Transport, strings.TrimSpace(string(text)), urls...)
	}
	if err != nil {
		return nil, exitError{fmt.Errorf("--token-file: %w", err), exitUsage}
	}
	return c, nil
}

// open returns a reader of the log at a URL or in a folder, and, for a URL, the client
// that reads it.
func (f *readFlags) open(place string) (tile.Reader, *http.Client, error) {
	if !isURL(place) {
		return tile.FS(os.DirFS(place)), nil, nil
	}
	c, err := f.client(place)
	if err != nil {
		return nil, nil, err
	}
	return tile.HTTP(c, place), c, nil
}

func isURL(place string) bool {
	return strings.HasPrefix(place, "http://") || strings.HasPrefix(place, "https://")
}

// errNotALog means that what a URL serves as a checkpoint is none.
var errNotALog = errors.New("this is not the URL of a log")

// notALog returns an error of reading a log at a place, told more closely. A web site may answer anything to
// a URL that was mistyped, so what is not a checkpoint is only damage in a folder.
func notALog(err error, place string) error {
	if errors.Is(err, client.ErrNoLog) && !isURL(place) {
		return fmt.Errorf("%s: %w", place, err)
	}
	other, ok := errors.AsType[*policy.UnknownLogError](err)
	if !ok || other.Origin != "" || !isURL(place) {
		return err
	}
	return tile.Unchecked(fmt.Errorf("%w: %w", errNotALog, err))
}

// readTransport returns a transport for many requests to the same few servers.
func readTransport() *http.Transport {
	return &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 64, DisableCompression: true}
}
