package migrations

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"
)

// This file is the role that a server works as in PostgreSQL. Roles belong to a whole
// cluster, so each database has one of its own: a user who may serve one database has
// no rights in another. The files call it serverRole, and are read with its name there.

const (
	// serverRole stands in the files for the database's role. It was every database's
	// role up to version ownRole-1, so a database of such a version may have it.
	serverRole = "stele_server"
	ownRole    = 9
)

var (
	rolePattern = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`) // needs no quotes
	notInRole   = regexp.MustCompile(`[^a-z0-9_]`)
)

// DefaultRole returns the name of a database's role where none is chosen:
// stele_server_ and the database's name. A name that is too long for that, or has other
// characters than a to z, 0 to 9 and _, is shortened and has them replaced, and ends
// with a part of its hash.
func DefaultRole(database string) string {
	role := serverRole + "_" + database
	if rolePattern.MatchString(role) {
		return role
	}
	hash := sha256.Sum256([]byte(database))
	return fmt.Sprintf("%s_%.41s_%x", serverRole, notInRole.ReplaceAllString(database, "_"), hash[:4])
}

// chooseRole returns the role of a database whose schema has the given version. It is
// the one that the schema was made with; only before that it is wanted, or, if that is
// empty, the default.
func (s Schema) chooseRole(ctx context.Context, conn *pgx.Conn, version int64, wanted string) (string, error) {
	if wanted != "" && !rolePattern.MatchString(wanted) {
		return "", fmt.Errorf("a role's name must be 1 to 63 of a to z, 0 to 9 and _, and not begin with a digit: %q is not", wanted)
	}
	var database, have string
	if err := conn.QueryRow(ctx, sqlRole, s.name).Scan(&database, &have); err != nil {
		return "", err
	}
	switch {
	case version >= ownRole && wanted != "" && wanted != have:
		return "", fmt.Errorf("the server's role in database %s is %s, and cannot be changed to %s", database, have, wanted)
	case version >= ownRole:
		return have, nil
	case wanted != "":
		return wanted, nil
	}
	return DefaultRole(database), nil
}

// sqlRole finds the role by what it owns: the pages of the key indexes, which only their
// owner may vacuum.
const sqlRole = `
SELECT current_database(), coalesce((
  SELECT r.rolname FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_roles r ON r.oid = c.relowner
  WHERE n.nspname = $1 AND c.relname = 'key_pages'
), '')`

// A renamed is files in which the server's role has its name.
type renamed struct {
	fs.FS
	role string
}

func (r renamed) Open(name string) (fs.File, error) {
	f, err := r.FS.Open(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil || info.IsDir() {
		return f, err
	}
	text, err := io.ReadAll(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return renamedFile{f, strings.NewReader(strings.ReplaceAll(string(text), serverRole, r.role))}, nil
}

type renamedFile struct {
	fs.File
	text *strings.Reader
}

func (f renamedFile) Read(b []byte) (int, error) { return f.text.Read(b) }
