package inspect

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/stele-log/stele/internal/engine"
	"github.com/stele-log/stele/pkg/client"
	"github.com/stele-log/stele/pkg/policy"
	"github.com/stele-log/stele/pkg/tile"
	"github.com/stele-log/stele/storage"
)

// readFolder reads what the data folder has on record of the log, and which logs it
// has records of.
func (in *inspection) readFolder(ctx context.Context) error {
	if in.Dir == "" {
		return nil
	}
	in.record = engine.RecordOf(in.Dir, in.Name)
	msg, err := in.record.Load()
	if err != nil {
		return tile.Unchecked(fmt.Errorf("read what was signed last: %w", err))
	}
	if msg != nil {
		if err := in.knowSigned(msg); err != nil {
			return err
		}
	}
	if in.published, err = in.record.LoadPublished(); err != nil {
		return tile.Unchecked(fmt.Errorf("read what was published last: %w", err))
	}
	if in.published != nil {
		in.report.Published = &in.published.Number
	}
	return in.findLost(ctx)
}

// knowSigned adds the record of what was signed last to the known heads. It is signed by
// the log's key, and perhaps by no witness yet.
func (in *inspection) knowSigned(msg []byte) error {
	path := string(in.record)
	result, err := in.signedBy(msg)
	other, ok := errors.AsType[*policy.UnknownLogError](err)
	switch {
	case ok && other.Origin != "":
		return fmt.Errorf("%s: %w", path, err)
	case err != nil:
		return fmt.Errorf("%s, which records what was signed last, is damaged: %v", path, err)
	}
	in.Known = append(in.Known, client.KnownHead{Name: path, Head: result.Head, Unpublished: true})
	in.report.Signed = &result.Size
	return nil
}

// signedBy opens a checkpoint with the log's keys of any policy.
func (in *inspection) signedBy(msg []byte) (r policy.Result, err error) {
	for _, p := range slices.Backward(in.Policies) {
		if r, err = p.WithoutWitnesses().Check(msg); err == nil {
			return r, nil
		}
	}
	return r, err
}

// findLost finds folders of logs that the database does not have.
func (in *inspection) findLost(ctx context.Context) error {
	folders, err := engine.LogsIn(in.Dir)
	if err != nil {
		return tile.Unchecked(err)
	}
	stored, err := in.Store.Logs(ctx)
	if err != nil {
		return tile.Unchecked(err)
	}
	for _, name := range folders {
		if slices.ContainsFunc(stored, func(i storage.Info) bool { return i.Name == name }) {
			continue
		}
		record := engine.RecordOf(in.Dir, name)
		msg, err := record.Load()
		switch {
		case err != nil:
			return tile.Unchecked(err)
		case msg == nil:
			in.report.Unused = append(in.report.Unused, name)
		default:
			in.missing = errors.Join(in.missing, fmt.Errorf(
				"log %s: it has signed checkpoints, as %s shows, and the database has no such log: it was deleted", name, string(record)))
		}
	}
	return nil
}
