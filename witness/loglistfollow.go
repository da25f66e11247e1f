package witness

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"
)

const (
	maxLogList     = 64 << 20 // bytes
	logListTimeout = time.Minute
	logListRetry   = time.Minute
)

// ReadLogList reads and parses the log list at an http or https URL, or in a file.
// A list at a URL has at most 64 MiB and must arrive within a minute.
func ReadLogList(ctx context.Context, place string) ([]ListedLog, error) {
	text, err := readLogList(ctx, place)
	if err != nil {
		return nil, fmt.Errorf("read log list: %w", err)
	}
	return ParseLogList(text)
}

func readLogList(ctx context.Context, place string) (string, error) {
	if !strings.HasPrefix(place, "https://") && !strings.HasPrefix(place, "http://") {
		text, err := os.ReadFile(place)
		return string(text), err
	}
	ctx, cancel := context.WithTimeout(ctx, logListTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, place, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("get %s: %s", place, resp.Status)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxLogList+1))
	if err == nil && len(text) > maxLogList {
		err = fmt.Errorf("get %s: more than %d bytes", place, maxLogList)
	}
	return string(text), err
}

// A LogListFollower keeps a witness up to date with log lists: it adds the logs
// that appear on them.
type LogListFollower struct {
	Store    Store
	Interval time.Duration // between two readings of a list; a minute at most after an error
	Logger   *slog.Logger
}

// Run adds the logs of the list at a URL or in a file, at once and then every
// interval, until the context ends. It logs errors and goes on. It may be called
// for several lists concurrently.
func (f LogListFollower) Run(ctx context.Context, place string) {
	for {
		wait := f.Interval
		if err := f.add(ctx, place); err != nil && ctx.Err() == nil {
			f.Logger.Warn("follow log list", "list", place, "error", err)
			wait = min(wait, logListRetry)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

func (f LogListFollower) add(ctx context.Context, place string) error {
	logs, err := ReadLogList(ctx, place)
	if err != nil {
		return err
	}
	added, skipped, err := AddLogList(ctx, f.Store, logs)
	if len(added) > 0 {
		f.Logger.Info("logs added from a list", "list", place, "logs", len(added), "skipped", len(skipped))
	}
	for _, reason := range skipped {
		f.Logger.Debug("log skipped", "list", place, "reason", reason)
	}
	return err
}
