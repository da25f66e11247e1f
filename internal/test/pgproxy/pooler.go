package pgproxy

import (
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// Pooler starts a pooler before the database at a URL, until the end of the test, and
// returns the URL by way of it. It has n sessions of the database, and lends them for
// one transaction at a time, each time another one, as PgBouncer does in transaction
// mode at its worst.
func Pooler(t testing.TB, database string, n int) string {
	t.Helper()
	return start(t, database, n, false)
}

// SessionPooler starts a pooler that lends each session to one client, until it leaves, as
// PgBouncer does in session mode: it lets any number of clients connect, and has those wait
// with their first statement for which there is no session.
func SessionPooler(t testing.TB, database string, n int) string {
	t.Helper()
	return start(t, database, n, true)
}

func start(t testing.TB, database string, n int, whole bool) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &pooler{sessions: make(chan net.Conn, n), whole: whole}
	for range n {
		conn, err := pgconn.Connect(t.Context(), database)
		if err != nil {
			t.Fatal(err)
		}
		session, err := conn.Hijack()
		if err != nil {
			t.Fatal(err)
		}
		p.sessions <- session.Conn
		p.parameters = session.ParameterStatuses
	}
	var running sync.WaitGroup
	running.Go(func() { p.accept(listener, &running) })
	t.Cleanup(func() {
		listener.Close()
		running.Wait() // the clients are closed by then
		close(p.sessions)
		for session := range p.sessions {
			session.Close()
		}
	})
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	u.Host, u.RawQuery = listener.Addr().String(), "sslmode=disable"
	return u.String()
}

// A pooler lends sessions of a database.
type pooler struct {
	parameters map[string]string
	sessions   chan net.Conn // those that are not lent
	whole      bool          // they are lent until the client leaves
}

func (p *pooler) accept(listener net.Listener, running *sync.WaitGroup) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		running.Go(func() {
			defer client.Close()
			if p.greet(client) != nil {
				return
			}
			lend := p.transact
			if p.whole {
				lend = p.stay
			}
			for lend(client) == nil {
			}
		})
	}
}

// greet lets any client in. The process number and the key that it is given are made up.
func (p *pooler) greet(client net.Conn) error {
	backend := pgproto3.NewBackend(client, client)
	startup, err := backend.ReceiveStartupMessage()
	if err != nil {
		return err
	}
	if _, ok := startup.(*pgproto3.StartupMessage); !ok {
		return io.EOF // a request to cancel a statement
	}
	backend.Send(&pgproto3.AuthenticationOk{})
	for name, value := range p.parameters {
		backend.Send(&pgproto3.ParameterStatus{Name: name, Value: value})
	}
	backend.Send(&pgproto3.BackendKeyData{ProcessID: 1 << 30, SecretKey: []byte{1, 2, 3, 4}})
	backend.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	return backend.Flush()
}

// transact lends a client a session from its next message on, until the database says
// that it is in no transaction.
func (p *pooler) transact(client net.Conn) error {
	kind, msg, err := message(client)
	if err != nil || kind == 'X' { // Terminate
		return io.EOF
	}
	session := <-p.sessions
	if err := passOn(client, session, kind, msg); err != nil {
		session.Close() // nobody knows what it is in the middle of
		return err
	}
	p.sessions <- session
	return nil
}

// stay lends a client a session from its next message on, until it leaves.
func (p *pooler) stay(client net.Conn) error {
	kind, msg, err := message(client)
	if err != nil || kind == 'X' {
		return io.EOF
	}
	session := <-p.sessions
	defer func() { p.sessions <- session }()
	for err == nil && kind != 'X' {
		if err = passOn(client, session, kind, msg); err == nil {
			kind, msg, err = message(client)
		}
	}
	return io.EOF
}

// passOn passes on a client's messages, the first of which it has read, until the database
// says that it is in no transaction.
func passOn(client, session net.Conn, kind byte, msg []byte) (err error) {
	for {
		if _, err = session.Write(msg); err != nil {
			return err
		}
		switch kind {
		case 'S', 'Q', 'c', 'f': // Sync, Query, CopyDone, CopyFail: the database answers
			var idle bool
			if idle, err = answer(session, client); idle || err != nil {
				return err
			}
		}
		if kind, msg, err = message(client); err != nil {
			return err
		}
	}
}

// answer passes on what the database answers. It returns once the client is to send
// something, and reports whether the session is in no transaction then.
func answer(session, client net.Conn) (idle bool, err error) {
	for {
		kind, msg, err := message(session)
		if err != nil {
			return false, err
		}
		if _, err := client.Write(msg); err != nil {
			return false, err
		}
		switch kind {
		case 'G': // CopyInResponse
			return false, nil
		case 'Z': // ReadyForQuery
			return msg[5] == 'I', nil
		}
	}
}

// message reads one message: its type, its length without the type, and its body.
func message(r io.Reader) (kind byte, msg []byte, err error) {
	head := make([]byte, 5)
	if _, err := io.ReadFull(r, head); err != nil {
		return 0, nil, err
	}
	msg = make([]byte, 1+binary.BigEndian.Uint32(head[1:]))
	copy(msg, head)
	_, err = io.ReadFull(r, msg[5:])
	return head[0], msg, err
}
