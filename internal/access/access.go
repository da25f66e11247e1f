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
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stele-log/stele/pkg/query"
)

// The logs that the server itself writes.
const (
	SystemLog = "system" // the configuration, as events
	AccessLog = "access" // what was asked for and refused: sign-ins, refusals, reads
)

// IsOwn reports whether a log is one of those that only the server itself writes to.
func IsOwn(log string) bool { return log == SystemLog || log == AccessLog }

// LocalName is the recordedby of changes by somebody on the server's own machine, and of
// those of the server itself.
const LocalName = "local"

// A Role is what somebody may do with a log.
type Role string

const (
	Writer  Role = "writer"  // append events
	Reader  Role = "reader"  // read entries, all or those that a filter lets through
	Auditor Role = "auditor" // read everything, the server's own logs too, and change nothing
	Admin   Role = "admin"   // change the configuration; only for all logs
	Officer Role = "officer" // holds, retention and erasure, which no other role includes
)

// Roles are all roles.
var Roles = []Role{Writer, Reader, Auditor, Admin, Officer}

// A Principal is who a request comes from.
type Principal struct {
	Name   string              // empty for somebody who has not said who they are
	Key    string              // the id of the key that was used, if one was
	Issuer string              // the name of the issuer whose token was used, if one was
	Claims map[string]string   // what filters may refer to
	Lists  map[string][]string // claims with several values, such as groups
	Ends   time.Time           // when the token or the session ends; zero is never

	Session  bool      // signed in with a browser
	SignedIn time.Time // when

	// IssuerCreated is when the issuer was added. One that has the name of another, which
	// was removed, vouches for none of its principals.
	IssuerCreated time.Time

	// Missing are the names of claims that the token should have and has not, since they
	// are too many.
	Missing []string

	// Local is true for somebody on the server's own machine who may do everything
	// without a name.
	Local bool
}

// Person reports whether somebody has signed in, as people do and programs do not.
func (p Principal) Person() bool {
	return p.Session || p.Issuer != "" && p.Issuer != certificateIssuer
}

// Certified returns whom a client's certificate names: by a URI, such as a SPIFFE ID, or
// else by a DNS name. The certificate was verified.
func Certified(c *x509.Certificate) (Principal, error) {
	var names []string
	for _, u := range c.URIs {
		names = append(names, u.String())
	}
	if len(names) == 0 {
		names = c.DNSNames
		if slices.ContainsFunc(names, func(name string) bool { return strings.ContainsAny(name, ":/") }) {
			return Principal{}, errors.New("the DNS name in the client's certificate is not one")
		}
	}
	if len(names) != 1 {
		return Principal{}, errors.New("the client's certificate must have exactly one URI, or else one DNS name, as its subject alternative name")
	}
	p := Principal{Name: certificateIssuer + ":" + names[0], Issuer: certificateIssuer, Ends: c.NotAfter}
	if err := checkPrincipal(p.Name); err != nil {
		return Principal{}, fmt.Errorf("the name in the client's certificate cannot be that of a principal: %w", err)
	}
	return p, nil
}

// A Permit is the outcome of asking whether somebody may do something.
type Permit struct {
	Allowed bool

	// Role is that of the grant which allows it; empty for somebody local.
	Role Role

	// Sources are what the source of each event that a writer sends must begin with one
	// of; nil if it may be anything.
	Sources []string

	// Filter is what a reader may see, if it is not everything: an entry that matches.
	Filter   query.Query
	Narrowed bool

	// Ended is true if the principal's key, token or session has ended since it was
	// authenticated.
	Ended bool
}

// LetsWrite reports whether a writer may send an event of a source.
func (p Permit) LetsWrite(source string) bool {
	return p.Sources == nil || slices.ContainsFunc(p.Sources, func(start string) bool { return strings.HasPrefix(source, start) })
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

	// ErrExists and ErrNotFound are about what a change names, such as a key.
	ErrExists   = errors.New("exists already")
	ErrNotFound = errors.New("no such thing")

	// ErrLimit refuses what is more than a principal's limit.
	ErrLimit = errors.New("the limit is reached")

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
	if name == "" || len(name) > 200 || !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsGraphic(r) || unicode.IsSpace(r) }) {
		return fmt.Errorf("%w: a principal's name is 1 to 200 bytes of characters that can be seen, without white space", ErrInvalid)
	}
	return nil
}
