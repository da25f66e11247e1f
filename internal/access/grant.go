package access

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/stele-log/stele/pkg/query"
)

// A Grant gives a role to a principal, or to everybody whose token has a claim.
type Grant struct {
	ID        string    `json:"id"`
	Principal string    `json:"principal,omitempty"`
	Claim     string    `json:"claim,omitempty"` // in place of a principal: ISSUER:NAME=VALUE
	Role      Role      `json:"role"`
	Log       string    `json:"log"`              // a name, a beginning with * after it, or * for all
	Filter    string    `json:"filter,omitempty"` // of a reader: a query in its canonical form
	Source    string    `json:"source,omitempty"` // of a writer: what the source of its events begins with
	Until     time.Time `json:"until,omitzero"`   // when it ends; zero is never

	filter query.Query
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
	return strings.HasPrefix(log, start) && (!IsOwn(log) || g.Role == Auditor || g.Role == Admin)
}

// subject is whom the grant is for: a principal, or a claim, which no principal's name
// can be taken for.
func (g Grant) subject() string {
	if g.Claim != "" {
		return claimMark + g.Claim
	}
	return g.Principal
}

// claimMark begins what stands for a claim where there may be a principal's name. Those
// have no white space.
const claimMark = " "

// claims returns the subjects of the grants that a principal has by what its token says.
func (p Principal) claims() (subjects []string) {
	if p.Issuer == "" {
		return nil
	}
	add := func(name, value string) {
		if !strings.Contains(name, "=") { // or it could be taken for another name with another value
			subjects = append(subjects, claimMark+p.Issuer+":"+name+"="+value)
		}
	}
	for name, value := range p.Claims {
		add(name, value)
	}
	for name, values := range p.Lists {
		for _, value := range values {
			add(name, value)
		}
	}
	return subjects
}

var claimPattern = regexp.MustCompile(`^[a-z0-9-]{1,40}:[^=\pC\pZ]{1,100}=[^\pC\pZ]([^\pC]{0,198}[^\pC\pZ])?$`)

// Check fails unless the grant can be made. It brings the filter into its canonical form.
func (g *Grant) Check() error {
	if g.Claim == "" {
		if err := checkPrincipal(g.Principal); err != nil {
			return err
		}
	} else if g.Principal != "" || !claimPattern.MatchString(g.Claim) {
		return fmt.Errorf("%w: a grant is for a principal, or for a claim in its place, as ISSUER:NAME=VALUE", ErrInvalid)
	}
	if !slices.Contains(Roles, g.Role) {
		return fmt.Errorf("%w: there is no role %.40q; roles are writer, reader, auditor, admin and officer", ErrInvalid, g.Role)
	}
	if err := checkPattern(g.Log); err != nil {
		return err
	}
	if g.Role == Admin && g.Log != "*" {
		return fmt.Errorf("%w: the role admin is for all logs: log must be *", ErrInvalid)
	}
	if g.Role == Writer && IsOwn(g.Log) {
		return fmt.Errorf("%w: only the server writes to the log %s", ErrInvalid, g.Log)
	}
	if g.Source != "" && (g.Role != Writer || len(g.Source) > 200 || strings.ContainsFunc(g.Source, func(r rune) bool { return r <= ' ' || r > '~' })) {
		return fmt.Errorf("%w: source is for writers: the beginning of a URI-reference, at most 200 bytes of ASCII without spaces", ErrInvalid)
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

// checkPattern fails unless a text can be the log of a grant.
func checkPattern(log string) error {
	name := strings.TrimSuffix(log, "*")
	if log == "" || len(log) > 64 ||
		strings.ContainsFunc(name, func(r rune) bool { return r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z') }) {
		return fmt.Errorf("%w: log is the name of a log, the beginning of one with * after it, or * for all", ErrInvalid)
	}
	return nil
}
