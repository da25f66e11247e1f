package policy

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/stele-log/stele/pkg/internal/notefmt"
)

// MaxFile is the size of the largest policy, in bytes: that of some hundred
// ML-DSA-44 keys.
const MaxFile = 1 << 20

// Parse parses a policy. Errors name the line.
//
// SPEC: https://c2sp.org/tlog-policy#policy-file-syntax-and-structure
func Parse(text []byte) (*Policy, error) {
	if len(text) > MaxFile {
		return nil, fmt.Errorf("policy of %d bytes, want at most %d", len(text), MaxFile)
	}
	if err := notefmt.CheckBytes(text[:min(len(text), 3)]); err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	p := &parser{policy: &Policy{}, defined: map[string]bool{}, memberOf: map[string]string{}}
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		if err := p.line(line); err != nil {
			return nil, fmt.Errorf("policy line %d: %w", n, err)
		}
	}
	// SPEC: https://c2sp.org/tlog-policy#defining-the-quorum: exactly one.
	if p.policy.quorum == "" {
		return nil, errors.New(`policy: no quorum line: want "quorum <name>", or "quorum none" to ask for no witness`)
	}
	return p.policy, nil
}

type parser struct {
	policy   *Policy
	defined  map[string]bool   // names of witnesses and groups so far
	memberOf map[string]string // the group that each name is a member of
}

func (p *parser) line(line string) error {
	line, ended := strings.CutSuffix(line, "\n")
	if !ended {
		return errors.New("not ended by a line feed: is the file whole?")
	}
	if strings.HasSuffix(line, "\r") {
		return errors.New("it ends in CR LF, as on Windows, and must end in LF")
	}
	// SPEC: https://c2sp.org/tlog-policy#character-set
	if i := strings.IndexFunc(line, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7F }); i >= 0 {
		return fmt.Errorf("control character %q", line[i])
	}
	items := strings.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '\t' })
	if len(items) == 0 || items[0][0] == '#' {
		return nil
	}
	switch args := items[1:]; items[0] {
	case "log":
		return p.log(args)
	case "witness":
		return p.witness(args)
	case "group":
		return p.group(args)
	case "quorum":
		return p.quorum(args)
	default:
		return fmt.Errorf("unknown keyword %.40q: want log, witness, group or quorum", items[0])
	}
}

func (p *parser) log(args []string) error {
	if len(args) < 1 || len(args) > 2 {
		return errors.New(`want "log <vkey> [<url>]"`)
	}
	return p.policy.addLog(args[0], optional(args, 1))
}

func (p *parser) witness(args []string) error {
	if len(args) < 2 || len(args) > 3 {
		return errors.New(`want "witness <name> <vkey> [<url>]"`)
	}
	if err := p.define(args[0]); err != nil {
		return err
	}
	return p.policy.addWitness(args[0], args[1], optional(args, 2))
}

func (p *parser) group(args []string) error {
	if len(args) < 3 {
		return errors.New(`want "group <name> all|any|<k> <member>..."`)
	}
	g := group{name: args[0], members: args[2:]}
	k, err := threshold(args[1], len(g.members))
	if err != nil {
		return fmt.Errorf("group %q: %w", g.name, err)
	}
	g.k = k
	for _, m := range g.members {
		if !p.defined[m] {
			return fmt.Errorf("group %q: member %q is not defined above", g.name, m)
		}
		// SPEC: https://c2sp.org/tlog-policy#defining-a-witness-group: each
		// name at most once, so that a witness contributes in one way only.
		if other, ok := p.memberOf[m]; ok {
			return fmt.Errorf("group %q: %q is a member of group %q already", g.name, m, other)
		}
		p.memberOf[m] = g.name
	}
	if err := p.define(g.name); err != nil {
		return err
	}
	if len(p.policy.groups) == maxOfEach {
		return fmt.Errorf("more than %d groups", maxOfEach)
	}
	p.policy.groups = append(p.policy.groups, g)
	return nil
}

// threshold returns how many of n members "all", "any" or a number asks for.
func threshold(s string, n int) (int, error) {
	switch s {
	case "all":
		return n, nil
	case "any":
		return 1, nil
	}
	k, err := strconv.Atoi(s)
	if err != nil || strconv.Itoa(k) != s || k < 1 || k > n {
		return 0, fmt.Errorf("threshold %.40q: want all, any or a number from 1 to %d", s, n)
	}
	return k, nil
}

func (p *parser) quorum(args []string) error {
	if len(args) != 1 {
		return errors.New(`want "quorum <name>"`)
	}
	if p.policy.quorum != "" {
		return errors.New("a second quorum line: want exactly one")
	}
	if args[0] != none && !p.defined[args[0]] {
		return fmt.Errorf("quorum %q is not defined above", args[0])
	}
	p.policy.quorum = args[0]
	return nil
}

// define takes a name for a witness or a group, which share one namespace.
func (p *parser) define(name string) error {
	if name == none {
		return fmt.Errorf("the name %q is reserved", none)
	}
	if p.defined[name] {
		return fmt.Errorf("the name %q is taken already", name)
	}
	p.defined[name] = true
	return nil
}

func optional(args []string, i int) string {
	if i < len(args) {
		return args[i]
	}
	return ""
}

// String returns the policy as [Parse] reads it: without comments, one space
// between items, thresholds as numbers.
func (p *Policy) String() string {
	var b strings.Builder
	write := func(items ...string) {
		items = slices.DeleteFunc(items, func(s string) bool { return s == "" })
		b.WriteString(strings.Join(items, " ") + "\n")
	}
	for _, l := range p.logs {
		write("log", l.VKey, l.URL)
	}
	for _, w := range p.witnesses {
		write("witness", w.Name, w.VKey, w.URL)
	}
	for _, g := range p.groups {
		write(append([]string{"group", g.name, strconv.Itoa(g.k)}, g.members...)...)
	}
	write("quorum", p.quorum)
	return b.String()
}
