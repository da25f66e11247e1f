package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os/exec"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/stele-log/stele/bench/events"
	"github.com/stele-log/stele/bench/load"
	"github.com/stele-log/stele/bench/measure"
	"github.com/stele-log/stele/bench/stele"
)

const (
	readers      = 64 // connections
	entryReaders = 8  // goroutines
	provers      = 8  // goroutines, where proofs wait for the database

	warmCache  = 256 << 20 // bytes: all tiles of a log of a million
	smallCache = 64 << 20
)

const (
	proofsWarm  = "inclusion proofs, warm tiles, one core"
	proofsCold  = "inclusion proofs, 64 MiB of tiles, 8 goroutines on one core"
	proofsAlone = "inclusion proofs, 64 MiB of tiles, one goroutine on one core"
	receiptsGet = "receipts over HTTP, 64 connections"
	emptyGet    = "empty handler, GET, 64 connections"
	entryReads  = "entries by index, 8 goroutines"
	entryAlone  = "entries by index, one goroutine on one core"
	checkAll    = "stele check"
	hashAll     = "SHA-256 over the same leaves and nodes"
	bytesLog    = "Stele, bytes an event"
	bytesTable  = "indexed table, bytes an event"
)

// readGroup is reading a log of a million entries, and what it takes on disk.
func readGroup(l *lab) measure.Group {
	size := words(l.sizes.small)
	on := l.reading(l.sizes.small)
	return measure.Group{
		Name: "read",
		Contenders: []measure.Contender{
			{Name: proofsWarm, Unit: "proofs/s", Open: on(l.proveWarm)},
			{Name: entryReads, Unit: "entries/s", Open: on(l.readEntries)},
			{Name: entryAlone, Unit: "entries/s", Open: on(l.readEntriesAlone)},
			{Name: receiptsGet, Unit: requests, Open: on(l.getReceipts)},
			{Name: emptyGet, Unit: requests, Open: l.askNobody(getOK)},
			{Name: checkAll, Unit: "entries/s", Open: on(l.check)},
			{Name: hashAll, Unit: "entries/s", Open: on(l.hash)},
			{Name: bytesLog, Unit: "bytes", Open: on(l.weighLog)},
			{Name: bytesTable, Unit: "bytes", Open: l.weighTable},
		},
		Rows: []measure.Row{
			{What: "inclusion proofs in process, random indexes, log of " + size + ", warm tiles, one core", Subject: proofsWarm, Bar: 150_000},
			{What: "receipts over HTTP, warm, against the empty handler", Subject: receiptsGet, Baseline: emptyGet, Bar: 0.4},
			{What: "one entry by its index, random, log of " + size + " on PostgreSQL, no cache, 8 goroutines", Subject: entryReads, Bar: 8000},
			{What: "one entry by its index, one goroutine on one core", Subject: entryAlone},
			{What: checkRow(l.sizes.small), Subject: checkAll, Baseline: hashAll},
			{What: "bytes in the database an event, against the indexed table", Subject: bytesLog, Baseline: bytesTable, Bar: 0.4, AtMost: true},
		},
		Close: l.close,
	}
}

// checkGroup is checking a log in which the start of a process counts for little.
func checkGroup(l *lab) measure.Group {
	on := l.reading(l.sizes.checked)
	return measure.Group{
		Name: "check",
		Contenders: []measure.Contender{
			{Name: checkAll, Unit: "entries/s", Open: on(l.check)},
			{Name: hashAll, Unit: "entries/s", Open: on(l.hash)},
		},
		Rows:  []measure.Row{{What: checkRow(l.sizes.checked), Subject: checkAll, Baseline: hashAll, Bar: 0.4}},
		Close: l.close,
	}
}

func checkRow(size uint64) string {
	return "stele check of a log of " + words(size) + " on PostgreSQL, against SHA-256 alone over the same leaves and nodes on as many cores"
}

// readLargeGroup is proofs from a log that does not fit into the cache.
func readLargeGroup(l *lab) measure.Group {
	on := l.reading(l.sizes.medium)
	cold := func(workers int) openFunc {
		return on(func(ctx context.Context, log *storedLog) (measure.Turn, error) {
			return proving(ctx, log.Prover(smallCache), workers)
		})
	}
	what := "inclusion proofs in process, random indexes, log of " + words(l.sizes.medium) + ", 64 MiB tile cache, "
	return measure.Group{
		Name: "read a large log",
		Contenders: []measure.Contender{
			{Name: proofsCold, Unit: "proofs/s", Open: cold(provers)},
			{Name: proofsAlone, Unit: "proofs/s", Open: cold(1)},
		},
		Rows: []measure.Row{
			{What: what + "one core, 8 goroutines", Subject: proofsCold, Bar: 6000},
			{What: what + "one core, one goroutine", Subject: proofsAlone},
		},
		Close: l.close,
	}
}

// reading returns what makes contenders of turns that read one log of n entries;
// the first writes it.
func (l *lab) reading(n uint64) func(func(context.Context, *storedLog) (measure.Turn, error)) openFunc {
	var log *storedLog
	return func(open func(context.Context, *storedLog) (measure.Turn, error)) openFunc {
		return func(ctx context.Context) (_ measure.Turn, err error) {
			if log == nil {
				if log, err = l.storeLog(ctx, n); err != nil {
					return nil, err
				}
			}
			return open(ctx, log)
		}
	}
}

// A storedLog is a log that was written and is only read.
type storedLog struct {
	*stele.Stored
	database, dir string
	vkey          string
	server        *process // nil until it is asked for
}

// serve returns the URL of a server of the log.
func (l *lab) serve(log *storedLog) (url string, err error) {
	if log.server == nil {
		if log.server, err = l.serveStele(log.database, log.dir); err != nil {
			return "", err
		}
	}
	return log.server.url, nil
}

// storeLog writes a log of n entries.
func (l *lab) storeLog(ctx context.Context, n uint64) (*storedLog, error) {
	s := &storedLog{}
	var err error
	if s.database, err = l.database(ctx); err != nil {
		return nil, err
	}
	if s.dir, err = l.folder(); err != nil {
		return nil, err
	}
	log, err := stele.Open(ctx, stele.Config{Database: s.database, Dir: s.dir})
	if err != nil {
		return nil, err
	}
	err = log.Fill(ctx, events.New(1, events.UUIDv7), n)
	s.vkey = log.VKeys[0]
	log.Close()
	if err != nil {
		return nil, err
	}
	if s.Stored, err = stele.OpenStored(ctx, s.database); err != nil {
		return nil, err
	}
	l.onClose(s.Close)
	return s, nil
}

func (l *lab) proveWarm(ctx context.Context, log *storedLog) (measure.Turn, error) {
	p := log.Prover(warmCache)
	if err := p.Warm(ctx); err != nil {
		return nil, err
	}
	return proving(ctx, p, 1)
}

// proving is a turn of making proofs, some of which are verified before.
func proving(ctx context.Context, p *stele.Prover, workers int) (measure.Turn, error) {
	if err := p.Verify(ctx, 100); err != nil {
		return nil, err
	}
	return onOneCore(measure.Loop{Workers: workers, Work: func(ctx context.Context, _ int) (int, error) {
		return 1, p.Prove(ctx)
	}}.Rate), nil
}

// onOneCore is a turn during which this process uses one core.
func onOneCore(turn measure.Turn) measure.Turn {
	return func(ctx context.Context, d time.Duration) (float64, error) {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
		return turn(ctx, d)
	}
}

func (l *lab) readEntries(_ context.Context, log *storedLog) (measure.Turn, error) {
	return readingEntries(log, entryReaders).Rate, nil
}

func (l *lab) readEntriesAlone(_ context.Context, log *storedLog) (measure.Turn, error) {
	return onOneCore(readingEntries(log, 1).Rate), nil
}

func readingEntries(log *storedLog, workers int) measure.Loop {
	return measure.Loop{Workers: workers, Work: func(ctx context.Context, _ int) (int, error) {
		return 1, log.ReadEntry(ctx)
	}}
}

func (l *lab) getReceipts(_ context.Context, log *storedLog) (measure.Turn, error) {
	url, err := l.serve(log)
	if err != nil {
		return nil, err
	}
	return getting(url, "c2sp.org/tlog-proof@v1\n", func(path []byte) []byte {
		path = append(append(path, eventsPath...), '/')
		path = strconv.AppendUint(path, rand.Uint64N(log.Size()), 10)
		return append(path, "/receipt"...)
	}), nil
}

// getOK is a turn of requests to the empty handler.
func getOK(url string) measure.Turn {
	return getting(url, "ok\n", func(path []byte) []byte { return append(path, '/') })
}

// getting is a turn of requests for paths that are answered with what begins
// with prefix.
func getting(url, prefix string, appendPath func([]byte) []byte) measure.Turn {
	return connected(url, readers, func(pool load.Pool) measure.Turn {
		paths := make([][]byte, len(pool))
		return measure.Loop{Workers: len(pool), Work: func(_ context.Context, w int) (int, error) {
			paths[w] = appendPath(paths[w][:0])
			status, reply, err := pool[w].Get(string(paths[w]))
			if err == nil && (status != http.StatusOK || !bytes.HasPrefix(reply, []byte(prefix))) {
				err = fmt.Errorf("%s was answered with %d %.200s", paths[w], status, reply)
			}
			return 1, err
		}}.Rate
	})
}

// check runs `stele check`, from its start to its end.
func (l *lab) check(_ context.Context, log *storedLog) (measure.Turn, error) {
	url, err := l.serve(log)
	if err != nil {
		return nil, err
	}
	args := l.checkArgs(log, url)
	return measure.Loop{Workers: 1, Work: func(ctx context.Context, _ int) (int, error) {
		out, err := exec.CommandContext(ctx, l.stele, args...).CombinedOutput()
		if err != nil {
			return 0, fmt.Errorf("stele check: %w: %s", err, out)
		}
		return int(log.Size()), nil
	}}.Rate, nil
}

// checkArgs has `stele check` read the database if it can, and a server else.
func (l *lab) checkArgs(log *storedLog, url string) []string {
	help, _ := exec.Command(l.stele, "check", "--help").Output()
	if bytes.Contains(help, []byte("--database")) {
		return []string{"check", "--database", log.database, "--log", "default", "--key", log.vkey}
	}
	return []string{"check", url + "/logs/default", "--key", log.vkey}
}

// hash hashes what the leaves and the nodes of a log are made of, by as many
// goroutines as there are cores.
func (l *lab) hash(ctx context.Context, log *storedLog) (measure.Turn, error) {
	const block = 4096
	leaves, err := log.Leaves(ctx)
	if err != nil {
		return nil, err
	}
	var next atomic.Uint64
	return measure.Loop{Workers: runtime.GOMAXPROCS(0), Work: func(context.Context, int) (int, error) {
		start := int((next.Add(block) - block) % uint64(len(leaves)))
		part := leaves[start:min(start+block, len(leaves))]
		var node [1 + 2*sha256.Size]byte // a tree has as many nodes as leaves, but for one
		for _, leaf := range part {
			hash := sha256.Sum256(leaf)
			copy(node[1:], hash[:])
			sha256.Sum256(node[:])
		}
		return len(part), nil
	}}.Rate, nil
}

func (l *lab) weighLog(_ context.Context, log *storedLog) (measure.Turn, error) {
	return weighing(log.database, log.Size()), nil
}

// weighTable copies as many events into an indexed table as the log has.
func (l *lab) weighTable(ctx context.Context) (measure.Turn, error) {
	database, err := l.database(ctx)
	if err != nil {
		return nil, err
	}
	table, err := l.makeTable(ctx, database, 1, false)
	if err != nil {
		return nil, err
	}
	stream := events.New(1, events.UUIDv7)
	err = measure.Fill(ctx, 1, l.sizes.small, batchSize, func(ctx context.Context, _, n int) error {
		rows := make([]events.Row, n)
		stream.Rows(rows)
		return table.Copy(ctx, rows)
	})
	return weighing(database, l.sizes.small), err
}

// weighing is a turn that returns the bytes in a database for each of n events.
func weighing(database string, n uint64) measure.Turn {
	return func(ctx context.Context, _ time.Duration) (float64, error) {
		total, err := storedBytes(ctx, database)
		return total / float64(n), err
	}
}
