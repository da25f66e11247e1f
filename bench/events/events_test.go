package events_test

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stele-log/stele/bench/events"
	"github.com/stele-log/stele/pkg/event"
)

func TestEventsAreValidAndNew(t *testing.T) {
	t.Parallel()
	stream := events.New(1, events.UUIDv7)
	seen := map[string]bool{}
	for _, s := range []*events.Stream{stream, stream.Fork(), events.New(1, events.UUIDv4)} {
		lines := s.Lines(nil, 40_000)
		if size := len(lines) / 40_000; size < 280 || size > 320 {
			t.Errorf("an event has %d bytes, want about 300", size)
		}
		for _, item := range event.ParseLines(lines, event.Sender{Name: "w"}) {
			if item.Err != nil {
				t.Fatal(item.Err)
			}
			if seen[item.Event.ID] {
				t.Fatalf("id %s comes twice", item.Event.ID)
			}
			seen[item.Event.ID] = true
		}
	}
	if want := 3 * 40_000; len(seen) != want {
		t.Errorf("%d events, want %d", len(seen), want)
	}
}

func TestTimesAdvance(t *testing.T) {
	t.Parallel()
	last := ""
	for _, item := range event.ParseLines(events.New(1, events.UUIDv7).Lines(nil, 3), event.Sender{Name: "w"}) {
		now := item.Event.Time.Format("2006-01-02T15:04:05.000000Z")
		if now <= last {
			t.Errorf("%s follows %s", now, last)
		}
		last = now
	}
}

// TestRowsSayTheSame holds the columns against the JSON of the same event.
func TestRowsSayTheSame(t *testing.T) {
	t.Parallel()
	text := events.New(1, events.UUIDv7).Lines(nil, 1)
	rows := make([]events.Row, 1)
	events.New(1, events.UUIDv7).Rows(rows)
	row := rows[0]
	var e struct {
		Source, Type, Subject string
		Data                  map[string]string
	}
	if err := json.Unmarshal(text, &e); err != nil {
		t.Fatal(err)
	}
	var payload map[string]string
	if err := json.Unmarshal(row.Payload, &payload); err != nil {
		t.Fatal(err)
	}
	if e.Type != row.Action || e.Subject != row.Target || e.Data["actor"] != row.Actor ||
		e.Source != payload["source"] || e.Data["session"] != payload["session"] {
		t.Errorf("%s is not %+v with %s", text, row, row.Payload)
	}
	if version := hex.EncodeToString(row.ID[6:7])[0]; version != '7' || row.Time.IsZero() {
		t.Errorf("id %x of version %c at %v", row.ID, version, row.Time)
	}
}

func TestCloudTrail(t *testing.T) {
	t.Parallel()
	data := os.Getenv("STELE_TEST_DATA")
	if data == "" {
		t.Skip("STELE_TEST_DATA is not set")
	}
	stream, err := events.CloudTrail(filepath.Join(data, "cloudtrail"))
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	for _, item := range event.ParseLines(stream.Lines(nil, 6000), event.Sender{Name: "w"}) {
		if item.Err != nil || !strings.HasPrefix(item.Event.Type, "com.amazonaws.") {
			t.Fatalf("%q, %v", item.Event.Type, item.Err)
		}
		ids[item.Event.ID] = true
	}
	if len(ids) != 6000 {
		t.Errorf("%d ids, want 6000", len(ids))
	}
}

func BenchmarkLines(b *testing.B) {
	s := events.New(1, events.UUIDv7)
	var buf []byte
	for b.Loop() {
		buf = s.Lines(buf[:0], 1000)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/event")
}
