package pgtest

import (
	"io"
	"net"
	"net/url"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// pooled are the parameters with which PgBouncer lets a client start a session, unless
// it is configured to ignore others.
var pooled = []string{"user", "database", "application_name", "client_encoding",
	"DateStyle", "TimeZone", "standard_conforming_strings"}

// Pooler returns the URL of a database behind a stand-in for PgBouncer in session mode,
// to the end of the test: it refuses clients whose sessions start with parameters that
// PgBouncer does not know, and passes on whatever the others say.
func Pooler(t testing.TB, database string) string {
	t.Helper()
	config, err := pgconn.ParseConfig(database)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go passOn(client, config)
		}
	}()
	u := url.URL{Scheme: "postgres", User: url.User(config.User), Host: l.Addr().String(),
		Path: "/" + config.Database, RawQuery: "sslmode=disable"}
	return u.String()
}

// passOn gives a client a session, if it may have one.
func passOn(client net.Conn, config *pgconn.Config) {
	defer client.Close()
	backend := pgproto3.NewBackend(client, client)
	first, err := backend.ReceiveStartupMessage()
	startup, ok := first.(*pgproto3.StartupMessage)
	if err != nil || !ok {
		return // such as a request to cancel
	}
	for name := range startup.Parameters {
		if !slices.Contains(pooled, name) {
			backend.Send(&pgproto3.ErrorResponse{Severity: "FATAL", Code: "08P01",
				Message: "unsupported startup parameter: " + name})
			_ = backend.Flush()
			return
		}
	}
	network, address := pgconn.NetworkAddress(config.Host, config.Port)
	server, err := net.Dial(network, address)
	if err != nil {
		return
	}
	message, err := startup.Encode(nil)
	if err == nil {
		_, err = server.Write(message)
	}
	if err == nil {
		go func() {
			_, _ = io.Copy(server, client)
			server.Close()
		}()
		_, _ = io.Copy(client, server)
	}
	server.Close()
}
