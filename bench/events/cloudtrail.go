package events

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/stele-log/stele/internal/ingest/cloudtrail"
)

// CloudTrail returns a stream over the CloudTrail records in the files of a
// folder, as `stele import cloudtrail` would send them, but with new ids.
func CloudTrail(dir string) (*Stream, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		return nil, err
	}
	var pool []template
	for _, path := range paths {
		if pool, err = readCloudTrail(pool, path); err != nil {
			return nil, err
		}
	}
	if len(pool) == 0 {
		return nil, fmt.Errorf("no CloudTrail records in %s", dir)
	}
	return newStream(pool, UUIDv4), nil
}

func readCloudTrail(pool []template, path string) ([]template, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for text, err := range cloudtrail.Read(path, f) {
		if err != nil {
			continue // too large for an entry
		}
		var e struct {
			ID, Source, Type, Subject string
			Time                      time.Time
			Data                      json.RawMessage
		}
		if err := json.Unmarshal(text, &e); err != nil {
			return nil, err
		}
		if len(e.ID) != idLen || string(text[:idAt]) != idStart {
			continue // has no room for a new id
		}
		pool = append(pool, template{text, Row{
			Time: e.Time, Actor: e.Subject, Action: e.Type, Target: e.Source, Payload: e.Data}})
	}
	return pool, nil
}
