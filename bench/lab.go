package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stele-log/stele/bench/measure"
)

// A lab is where contenders are set up: the cluster, a folder, and what is to be
// closed when the group that is measured ends.
type lab struct {
	cluster  string // URL of a PostgreSQL superuser; empty if there is none
	dir      string
	stele    string // the binary
	data     string // real events; empty if there are none
	trillian string // file with its schema; empty if there is none
	sizes    sizes
	log      func(format string, args ...any)

	closers []func()
}

// sizes are those of the logs that are read and grown, in entries.
type sizes struct{ small, checked, medium, large uint64 }

// words says a size.
func words(n uint64) string {
	if n%million == 0 {
		return fmt.Sprintf("%d million", n/million)
	}
	return measure.Format(float64(n))
}

// onClose has f called when the group ends; what was opened last is closed first.
func (l *lab) onClose(f func()) { l.closers = append(l.closers, f) }

func (l *lab) close() {
	for i := len(l.closers) - 1; i >= 0; i-- {
		l.closers[i]()
	}
	l.closers = nil
}

// part returns a lab for what is closed before the group ends.
func (l *lab) part() *lab {
	p := *l
	p.closers = nil
	return &p
}

// folder returns a new folder.
func (l *lab) folder() (string, error) {
	dir, err := os.MkdirTemp(l.dir, "")
	if err == nil {
		l.onClose(func() { _ = os.RemoveAll(dir) })
	}
	return dir, err
}

// database returns the URL of a new database.
func (l *lab) database(ctx context.Context) (string, error) {
	if l.cluster == "" {
		return "", fmt.Errorf("%w: no PostgreSQL", measure.ErrSkip)
	}
	name := "bench_" + strings.ToLower(rand.Text())
	if err := l.exec(ctx, "CREATE DATABASE "+name+" TEMPLATE template0"); err != nil {
		return "", fmt.Errorf("create database: %w", err)
	}
	l.onClose(func() {
		_ = l.exec(context.WithoutCancel(ctx), "DROP DATABASE "+name+" WITH (FORCE)")
	})
	u, err := url.Parse(l.cluster)
	if err != nil {
		return "", err
	}
	u.Path = "/" + name
	return u.String(), nil
}

func (l *lab) exec(ctx context.Context, statement string) error {
	conn, err := pgx.Connect(ctx, l.cluster)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, statement)
	return err
}

const (
	pause      = 200 * time.Millisecond
	vacuumWait = 20 * time.Second
)

// settle has what a turn has left behind done: written pages, garbage, and
// vacuuming in the background.
func (l *lab) settle(ctx context.Context) error {
	debug.FreeOSMemory()
	if l.cluster != "" {
		if err := l.settleCluster(ctx); err != nil {
			return err
		}
	}
	syscall.Sync()
	time.Sleep(pause)
	return nil
}

func (l *lab) settleCluster(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, l.cluster)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	for end := time.Now().Add(vacuumWait); time.Now().Before(end); time.Sleep(pause) {
		var working bool
		err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'autovacuum worker')").Scan(&working)
		if err != nil {
			return err
		}
		if !working {
			break
		}
	}
	_, err = conn.Exec(ctx, "CHECKPOINT")
	return err
}

// vacuum vacuums a database, which PostgreSQL would do by itself over the next
// minutes.
func vacuum(ctx context.Context, database string) error {
	conn, err := pgx.Connect(ctx, database)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, "VACUUM")
	return err
}

// storedBytes returns what a database takes for the tables that were made in it,
// with their indexes, vacuumed, in bytes.
func storedBytes(ctx context.Context, database string) (n float64, err error) {
	if err := vacuum(ctx, database); err != nil {
		return 0, err
	}
	conn, err := pgx.Connect(ctx, database)
	if err != nil {
		return 0, err
	}
	defer conn.Close(ctx)
	err = conn.QueryRow(ctx, `
		SELECT sum(pg_total_relation_size(c.oid))::float8
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind = 'r' AND n.nspname IN ('stele', 'public')`).Scan(&n)
	return n, err
}

// realEvents returns the folder of real events of a kind.
func (l *lab) realEvents(kind string) (string, error) {
	if l.data == "" {
		return "", fmt.Errorf("%w: STELE_TEST_DATA does not say where the real events are", measure.ErrSkip)
	}
	return l.data + "/" + kind, nil
}

// needsBinary is the error of contenders that run `stele serve` where there is
// no binary.
func (l *lab) needsBinary() error {
	if l.stele == "" {
		return fmt.Errorf("%w: no stele binary", measure.ErrSkip)
	}
	if _, err := os.Stat(l.stele); errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
