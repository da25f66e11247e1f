package server_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stele-log/stele/internal/server"
	"github.com/stele-log/stele/storage"
)

func TestTheDatabasesAbsenceIsLoggedNowAndThen(t *testing.T) {
	t.Parallel()
	away := fmt.Errorf("read head: %w", storage.ErrUnavailable)
	for level, want := range map[slog.Level]string{
		slog.LevelInfo:  "0 away, 1 other, 2 other, 10 away, 11 other, 25 away",
		slog.LevelDebug: "0 away, 1 away, 1 other, 2 other, 9 away, 10 away, 11 other, 12 away, 25 away, 26 away",
	} {
		var out bytes.Buffer
		h := server.NewAbsenceHandler(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: level}))
		one, two := h.WithAttrs([]slog.Attr{slog.String("log", "one")}), h.WithGroup("two")
		start := time.Unix(1, 0)
		for _, r := range []struct {
			to     slog.Handler
			after  time.Duration // seconds
			reason error
		}{
			{one, 0, away}, {two, 1, away}, {one, 1, errors.New("other")}, {two, 2, nil}, {one, 9, away}, {two, 10, away},
			{one, 11, errors.New("other")}, {one, 12, away}, {h, 25, away}, {one, 26, away},
		} {
			text := fmt.Sprint(int(r.after), " other")
			if errors.Is(r.reason, storage.ErrUnavailable) {
				text = fmt.Sprint(int(r.after), " away")
			}
			record := slog.NewRecord(start.Add(r.after*time.Second), slog.LevelError, text, 0)
			record.AddAttrs(slog.Any("error", r.reason), slog.Duration("after", time.Second))
			if err := r.to.Handle(context.Background(), record); err != nil {
				t.Fatal(err)
			}
		}
		var got []string
		for line := range strings.Lines(out.String()) {
			_, rest, _ := strings.Cut(line, `msg="`)
			text, _, _ := strings.Cut(rest, `"`)
			got = append(got, text)
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("at %v: %q, want %s", level, got, want)
		}
	}
}
