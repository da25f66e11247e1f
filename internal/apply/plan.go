package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stele-log/stele/internal/access"
	"github.com/stele-log/stele/pkg/client"
)

// A Change is one step of a plan.
type Change struct {
	Text string `json:"change"` // begins with + for what is added, - for what goes, ~ for what changes

	make func(context.Context, *client.Client) error
}

// A Plan is the changes that bring a server from one state to another.
type Plan struct {
	Changes []Change `json:"changes"`

	size uint64 // of the state that it was made for
}

// Make returns the changes that bring a server in a state to what a file says. With prune,
// grants, limits and issuers that are not in the file go, but no admins if the file names
// none; logs stay for ever. The error is that a grant is for a log that there is not, or
// that prune would leave nothing.
func Make(f File, s client.State, prune bool, now time.Time) (Plan, error) {
	p := Plan{size: s.Size, Changes: []Change{}}
	if prune && len(f.Grants)+len(f.Issuers)+len(f.Limits) == 0 {
		return p, errors.New("the file has no grants, issuers and limits, so that --prune would take all away")
	}
	if err := f.checkLogs(s); err != nil {
		return p, err
	}
	p.logs(f, s)
	p.issuers(f, s, prune)
	p.grants(f, s, prune, now)
	p.limits(f, s, prune)
	return p, nil
}

// checkLogs fails if a grant is for a log that neither is there nor is in the file, or if a
// log is to have another origin than it has.
func (f File) checkLogs(s client.State) error {
	for _, l := range f.Logs {
		i := slices.IndexFunc(s.Logs, func(have client.RecordedLog) bool { return have.Name == l.Name })
		if i >= 0 && l.Origin != "" && l.Origin != s.Logs[i].Origin {
			return fmt.Errorf("log %s has the origin %s, which cannot be changed to %s", l.Name, s.Logs[i].Origin, l.Origin)
		}
	}
	for i, g := range f.Grants {
		there := strings.HasSuffix(g.Log, "*") ||
			slices.ContainsFunc(s.Logs, func(l client.RecordedLog) bool { return l.Name == g.Log }) ||
			slices.ContainsFunc(f.Logs, func(l Log) bool { return l.Name == g.Log })
		if !there {
			return fmt.Errorf("grant %d: there is no log %q", i+1, g.Log)
		}
	}
	return nil
}

func (p *Plan) add(text string, make func(context.Context, *client.Client) error) {
	p.Changes = append(p.Changes, Change{text, make})
}

func (p *Plan) logs(f File, s client.State) {
	for _, l := range f.Logs {
		i := slices.IndexFunc(s.Logs, func(have client.RecordedLog) bool { return have.Name == l.Name })
		settings := client.LogSettings{Public: l.Public, Reads: l.Reads}
		if i < 0 {
			p.add("+ log "+l.Name, func(ctx context.Context, c *client.Client) error {
				_, err := c.CreateLog(ctx, client.NewLog{Name: l.Name, Origin: l.Origin, MLDSA44: l.MLDSA44, LogSettings: settings})
				return err
			})
			continue
		}
		changes := difference("public", s.Logs[i].Public, l.Public) + difference("reads", s.Logs[i].Reads, l.Reads)
		if changes != "" {
			p.add("~ log "+l.Name+changes, func(ctx context.Context, c *client.Client) error {
				return c.ForLog(l.Name).ChangeLog(ctx, settings)
			})
		}
	}
}

// difference describes how a setting changes; empty if it does not, or is not given.
func difference(name, have, want string) string {
	if want == "" || want == have {
		return ""
	}
	return fmt.Sprintf(", %s: %s -> %s", name, have, want)
}

func (p *Plan) issuers(f File, s client.State, prune bool) {
	for _, want := range f.Issuers {
		if at := slices.IndexFunc(s.Issuers, func(have client.Issuer) bool { return have.Name == want.Name }); at >= 0 {
			have := s.Issuers[at]
			have.Created = time.Time{} // which a file does not have
			if have == want {
				continue
			}
			p.removeIssuer(want.Name)
		}
		p.add(fmt.Sprintf("+ issuer %s, %s for %s", want.Name, want.URL, want.Audience), func(ctx context.Context, c *client.Client) error {
			return c.AddIssuer(ctx, want)
		})
	}
	for _, have := range s.Issuers {
		if prune && !slices.ContainsFunc(f.Issuers, func(i client.Issuer) bool { return i.Name == have.Name }) {
			p.removeIssuer(have.Name)
		}
	}
}

func (p *Plan) removeIssuer(name string) {
	p.add("- issuer "+name, func(ctx context.Context, c *client.Client) error { return c.RemoveIssuer(ctx, name) })
}

// grants adds before it removes, so that nobody is without a right in between.
func (p *Plan) grants(f File, s client.State, prune bool, now time.Time) {
	var have []client.Grant
	for _, g := range s.Grants {
		if g.Until.IsZero() || now.Before(g.Until) {
			have = append(have, g)
		}
	}
	same := func(g Grant, h client.Grant) bool {
		return g == Grant{h.Principal, h.Claim, h.Role, h.Log, h.Filter, h.Source, g.Until, h.Until.UTC()}
	}
	admins := slices.ContainsFunc(f.Grants, func(g Grant) bool { return g.Role == string(access.Admin) })
	for _, g := range f.Grants {
		ended := !g.until.IsZero() && !now.Before(g.until)
		if ended || slices.ContainsFunc(have, func(h client.Grant) bool { return same(g, h) }) {
			continue
		}
		want := client.Grant{Principal: g.Principal, Claim: g.Claim, Role: g.Role, Log: g.Log, Filter: g.Filter, Source: g.Source, Until: g.until}
		p.add("+ grant "+describe(want), func(ctx context.Context, c *client.Client) error {
			_, err := c.AddGrant(ctx, want)
			return err
		})
	}
	for _, h := range have {
		kept := h.Role == string(access.Admin) && !admins // a file that names no admin is not about admins
		if prune && !kept && !slices.ContainsFunc(f.Grants, func(g Grant) bool { return same(g, h) }) {
			p.add("- grant "+describe(h), func(ctx context.Context, c *client.Client) error { return c.RemoveGrant(ctx, h.ID) })
		}
	}
}

// describe describes a grant in a line.
func describe(g client.Grant) string {
	var b strings.Builder
	if b.WriteString(g.Principal); g.Claim != "" {
		b.WriteString("to all with " + g.Claim)
	}
	fmt.Fprintf(&b, ", %s on %s", g.Role, g.Log)
	if g.Filter != "" {
		b.WriteString(", entries that match " + g.Filter)
	}
	if g.Source != "" {
		b.WriteString(", source " + g.Source)
	}
	if !g.Until.IsZero() {
		b.WriteString(", until " + g.Until.Format(time.RFC3339))
	}
	return b.String()
}

func (p *Plan) limits(f File, s client.State, prune bool) {
	for _, want := range f.Limits {
		if slices.Contains(s.Limits, want) {
			continue
		}
		sign := "+"
		if slices.ContainsFunc(s.Limits, func(have client.Limit) bool { return have.Principal == want.Principal }) {
			sign = "~"
		}
		p.add(fmt.Sprintf("%s limit of %s", sign, want.Principal), func(ctx context.Context, c *client.Client) error { return c.SetLimit(ctx, want) })
	}
	for _, have := range s.Limits {
		if prune && !slices.ContainsFunc(f.Limits, func(l client.Limit) bool { return l.Principal == have.Principal }) {
			p.add("- limit of "+have.Principal, func(ctx context.Context, c *client.Client) error { return c.RemoveLimit(ctx, have.Principal) })
		}
	}
}

// Run makes the changes, and calls done after each. It stops at the first that fails: what
// was made until then stays.
func (p Plan) Run(ctx context.Context, c *client.Client, done func(Change)) error {
	for i, change := range p.Changes {
		if err := change.make(ctx, c.IfState(p.size+uint64(i))); err != nil {
			return fmt.Errorf("%s: %w", change.Text, err)
		}
		done(change)
	}
	return nil
}
