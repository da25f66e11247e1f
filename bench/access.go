package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/stele-log/stele/bench/events"
	"github.com/stele-log/stele/bench/load"
	"github.com/stele-log/stele/bench/measure"
)

const (
	principals = 10_000
	grants     = 1_000

	openBatches = "Stele over HTTP, batches of 1000, without access control"
	keyBatches  = "Stele over HTTP, batches of 1000, with a key of 10,000"
	openSingle  = "Stele over HTTP, 256 connections, without access control"
	keySingle   = "Stele over HTTP, 256 connections, with a key of 10,000"
)

// accessGroup is what it costs to ask who a request comes from, and what they may do.
func accessGroup(l *lab) measure.Group {
	return measure.Group{
		Name: "access control",
		Contenders: []measure.Contender{
			{Name: openBatches, Unit: perSecond, Open: l.withoutAccess(httpConnections, postingBatches)},
			{Name: keyBatches, Unit: perSecond, Open: l.withKey(httpConnections, postingBatches)},
			{Name: openSingle, Unit: perSecond, Open: l.withoutAccess(writers, postingNew)},
			{Name: keySingle, Unit: perSecond, Open: l.withKey(writers, postingNew)},
		},
		Rows: []measure.Row{
			{What: "batches of 1000 by one of 10,000 principals, against no access control", Subject: keyBatches, Baseline: openBatches, Bar: 0.97},
			{What: "one event a request by one of 10,000 principals, against no access control", Subject: keySingle, Baseline: openSingle, Bar: 0.97},
		},
		Close: l.close,
	}
}

func postingBatches(pool load.Pool) measure.Loop {
	return posting(pool, events.New(1, events.UUIDv7), batchSize)
}

func (l *lab) withoutAccess(connections int, loop func(load.Pool) measure.Loop) openFunc {
	return func(ctx context.Context) (measure.Turn, error) {
		server, err := l.newServer(ctx, "--insecure-no-access-control")
		if err != nil {
			return nil, err
		}
		return connected(server.url, connections, func(pool load.Pool) measure.Turn { return loop(pool).Rate }), nil
	}
}

// withKey is turns of a writer whose key is one of many, and which has to give it.
func (l *lab) withKey(connections int, loop func(load.Pool) measure.Loop) openFunc {
	return func(ctx context.Context) (measure.Turn, error) {
		database, dir, err := l.home(ctx)
		if err != nil {
			return nil, err
		}
		server, err := l.serveStele(database, dir)
		if err != nil {
			return nil, err
		}
		key, err := makePrincipals(ctx, server.url, dir)
		if err != nil {
			return nil, err
		}
		return connected(server.url, connections, func(pool load.Pool) measure.Turn {
			for _, conn := range pool {
				conn.Authorize(key)
			}
			return loop(pool).Rate
		}), nil
	}
}

// makePrincipals makes keys and grants, and returns the key of one who may write and read
// the log that is measured.
func makePrincipals(ctx context.Context, url, dir string) (key string, err error) {
	conn, err := load.Dial(ctx, url)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	admin, err := os.ReadFile(filepath.Join(dir, "admin.key"))
	if err != nil {
		return "", err
	}
	conn.Authorize(strings.TrimSpace(string(admin)))
	change := func(path, body string, reply any) error {
		status, text, err := conn.Post(path, "application/json", []byte(body))
		if err == nil && status != http.StatusCreated {
			err = fmt.Errorf("POST %s: %d %.200s", path, status, text)
		}
		if err != nil {
			return err
		}
		return json.Unmarshal(text, reply)
	}
	start := time.Now()
	for i := range principals {
		var made struct{ Key string }
		if err := change("/keys", fmt.Sprintf(`{"principal":"app-%d"}`, i), &made); err != nil {
			return "", err
		}
		if i == principals/2 {
			key = made.Key
		}
		if time.Since(start) > 10*time.Minute {
			return "", fmt.Errorf("%d keys took longer than 10 minutes", i)
		}
	}
	for i := range grants {
		app := i
		if i == grants/2 {
			app = principals / 2
		}
		for _, role := range []string{"writer", "reader"} {
			body := fmt.Sprintf(`{"principal":"app-%d","role":%q,"log":"default"}`, app, role)
			if err := change("/grants", body, new(struct{})); err != nil {
				return "", err
			}
		}
	}
	return key, nil
}
