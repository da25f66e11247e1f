// Package access decides who may do what. Its configuration is events: the log named
// system holds every key and every grant that was ever made or taken back, and the
// [State] is their fold, from the first entry on. There is no other place where a right
// could come from, so whoever owns the database can give nobody any: what is added to the
// log there is not built on (package headmac), and what is changed there has another hash
// than the log's root.
//
//	request -> Authenticate -> Principal -> May -> Permit
//	change  -> validate -> append to the log -> fold -> answer
//
// A change is validated against the state, appended, and folded before it is answered.
// Other servers of the log read what was appended within a second. A state that cannot
// be brought up to date stays as it was verified last, and nothing is changed until it
// can be.
//
// Secrets are not in the log: of a key it holds the SHA-256.
//
// A [Control] is safe for concurrent use.
package access

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stele-log/stele/pkg/query"
)

// The logs that the server itself writes.
const (
	SystemLog = "system" // the configuration, as events
)

// LocalName is the recordedby of changes by somebody on the server's own machine, and of
// those of the server itself.
const LocalName = "local"

// A Role is what somebody may do with a log.
type Role string

const (
	Writer  Role = "writer"  // append events
	Reader  Role = "reader"  // read entries, all or those that a filter lets through
	Auditor Role = "auditor" // read everything, the system log too, and change nothing
	Admin   Role = "admin"   // make and change keys, grants and logs; only for all logs
)

// Roles are all roles.
var Roles = []Role{Writer, Reader, Auditor, Admin}

// A Principal is who a request comes from.
type Principal struct {
	Name   string            // empty for somebody who has not said who they are
	Key    string            // the id of the key that was used, if one was
	Claims map[string]string // what filters may refer to

	// Local is true for somebody on the server's own machine who may do everything
	// without a name.
	Local bool
}

// A Grant gives a principal a role.
type Grant struct {
	ID        string    `json:"id"`
	Principal string    `json:"principal"`
	Role      Role      `json:"role"`
	Log       string    `json:"log"`              // a name, a beginning with * after it, or * for all
	Filter    string    `json:"filter,omitempty"` // of a reader: a query in its canonical form
	Until     time.Time `json:"until,omitzero"`   // when it ends; zero is never

	filter query.Query
}

// A Key lets whoever has its secret act as a principal.
type Key struct {
	ID        string            `json:"id"`
	Principal string            `json:"principal"`
	Hash      string            `json:"sha256"` // of the whole key, in hexadecimal
	Claims    map[string]string `json:"claims,omitempty"`
	Expires   time.Time         `json:"expires,omitzero"` // zero is never
	Revoked   bool              `json:"revoked,omitempty"`
}

// Live reports whether the key can be used.
func (k Key) Live(now time.Time) bool {
	return !k.Revoked && (k.Expires.IsZero() || now.Before(k.Expires))
}

// Live reports whether the grant is in force.
func (g Grant) Live(now time.Time) bool { return g.Until.IsZero() || now.Before(g.Until) }

// Covers reports whether the grant is about a log. The server's own logs have to be named,
// except for auditors and admins.
func (g Grant) Covers(log string) bool {
	start, pattern := strings.CutSuffix(g.Log, "*")
	if !pattern {
		return log == g.Log
	}
	return strings.HasPrefix(log, start) && (log != SystemLog || g.Role == Auditor || g.Role == Admin)
}

// A Permit is the outcome of asking whether somebody may do something.
type Permit struct {
	Allowed bool

	// Filter is what a reader may see, if it is not everything: an entry that matches.
	Filter   query.Query
	Narrowed bool

	// Ended is true if the principal's key has ended since it was authenticated.
	Ended bool
}

// Lets reports whether a reader may see an entry. What cannot be decided is not seen.
func (p Permit) Lets(entry []byte) bool {
	if !p.Narrowed {
		return true
	}
	ok, err := p.Filter.Matches(entry)
	return ok && err == nil
}

var (
	// ErrUnknownKey means that a key is malformed, unknown, revoked or expired. Which of
	// these is not said.
	ErrUnknownKey = errors.New("this key is not valid: it may be mistyped, revoked or expired")

	// ErrRolledBack means that the system log was rolled back: keys are not valid until it is
	// restored.
	ErrRolledBack = errors.New("the log system was rolled back, so no key is valid until it is restored, see stele restore --help")

	// ErrStale means that a change was made for another state than there is now.
	ErrStale = errors.New("the configuration has changed meanwhile")

	// ErrInvalid is the error of a change that cannot be made, whatever the state.
	ErrInvalid = errors.New("this cannot be")

	// ErrExists and ErrNotFound are about a key or a grant.
	ErrExists   = errors.New("exists already")
	ErrNotFound = errors.New("no such thing")

	// ErrLastAdmin refuses a change after which nobody could make another.
	ErrLastAdmin = errors.New("after this no key would have the role admin any more")
)

// checkPrincipal fails unless a text can be the name of a principal. It becomes the source
// and recordedby of what the principal writes.
func checkPrincipal(name string) error {
	if name == LocalName || name == "anonymous" {
		return fmt.Errorf("%w: %q is the name of those who have none", ErrInvalid, name)
	}
	if strings.HasPrefix(name, "stele_") {
		return fmt.Errorf("%w: a principal's name does not begin like a key, with stele_", ErrInvalid)
	}
	if name == "" || len(name) > 200 || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return fmt.Errorf("%w: a principal's name is 1 to 200 characters without white space", ErrInvalid)
	}
	return nil
}

// check fails unless the grant can be made. It brings the filter into its canonical form.
func (g *Grant) check() error {
	if err := checkPrincipal(g.Principal); err != nil {
		return err
	}
	if !slices.Contains(Roles, g.Role) {
		return fmt.Errorf("%w: there is no role %.40q; roles are writer, reader, auditor and admin", ErrInvalid, g.Role)
	}
	if name := strings.TrimSuffix(g.Log, "*"); g.Log == "" || len(g.Log) > 64 ||
		strings.ContainsFunc(name, func(r rune) bool { return r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z') }) {
		return fmt.Errorf("%w: log is the name of a log, the beginning of one with * after it, or * for all", ErrInvalid)
	}
	if g.Role == Admin && g.Log != "*" {
		return fmt.Errorf("%w: the role admin is for all logs: log must be *", ErrInvalid)
	}
	if g.Role == Writer && g.Log == SystemLog {
		return fmt.Errorf("%w: only the server writes to the log %s", ErrInvalid, SystemLog)
	}
	if g.Filter != "" && g.Role != Reader {
		return fmt.Errorf("%w: only a reader can have a filter, not %s", ErrInvalid, g.Role)
	}
	filter, err := query.Parse(g.Filter)
	if err != nil {
		return fmt.Errorf("%w: filter: %w", ErrInvalid, err)
	}
	g.filter, g.Filter = filter, filter.String()
	return nil
}
