// Package query is the language in which conditions on entries are written: of readers
// who may see a part of a log only, and wherever else entries are chosen.
//
//	type:user.login and not outcome:success     member equals value
//	subject:invoice/* and data.user.name:"Ann Lee"   * at the end is a prefix
//	type:(login or logout) -source:/batch       alternatives; - is not; side by side is and
//	recordedby:*                                the member is there
//	subject:{claims.tenant}                     the value is one of the reader's claims
//
// The grammar is in docs/query.md. [Parse] reads a query, [Query.String] prints it in its
// one canonical form, and [Query.Matches] says whether an entry satisfies it.
//
// What always holds:
//   - a query that was printed and parsed again is the same;
//   - what cannot be decided is refused: a query with claims matches nothing, and says so,
//     before [Query.Bind] has put values in their place.
//
// A Query is not changed once it is made, and may be shared.
package query

import (
	"slices"
	"strconv"
	"strings"
)

// A Query is a condition on entries. The zero Query is true of every entry.
type Query struct{ root node }

// A node is a part of a query: and, or, not, or a term. A nil node is true.
type node interface {
	print(b *strings.Builder, within int)
}

type (
	and []node // at least two, none of which is an and
	or  []node // at least two, none of which is an or
	not struct{ node }
)

// A term compares the values of one member with a text.
type term struct {
	field string // the member's path, its names joined by dots
	is    comparison
	text  string // of a claim its name
}

type comparison int

const (
	present    comparison = iota // text is empty
	equal                        // to text
	prefix                       // begins with text
	claim                        // equal to the claim that text names
	claimStart                   // begins with the claim that text names
)

// The binding strengths of operators.
const (
	looseOr = iota
	looseAnd
	tight
)

// String returns the query in its canonical form, and "" for one that is true of every
// entry.
func (q Query) String() string {
	if q.root == nil {
		return ""
	}
	var b strings.Builder
	q.root.print(&b, looseOr)
	return b.String()
}

func (n or) print(b *strings.Builder, within int) { join(b, n, " or ", looseOr, within) }

func (n and) print(b *strings.Builder, within int) { join(b, n, " and ", looseAnd, within) }

func join(b *strings.Builder, parts []node, operator string, strength, within int) {
	if within > strength {
		b.WriteByte('(')
		defer b.WriteByte(')')
	}
	for i, n := range parts {
		if i > 0 {
			b.WriteString(operator)
		}
		n.print(b, strength+1)
	}
}

func (n not) print(b *strings.Builder, _ int) {
	b.WriteString("not ")
	n.node.print(b, tight)
}

func (n term) print(b *strings.Builder, _ int) {
	b.WriteString(spell(n.field))
	b.WriteByte(':')
	switch n.is {
	case present:
	case claim, claimStart:
		b.WriteString("{claims.")
		b.WriteString(n.text)
		b.WriteByte('}')
	default:
		b.WriteString(spell(n.text))
	}
	if n.is == present || n.is == prefix || n.is == claimStart {
		b.WriteByte('*')
	}
}

// spell writes a text as a word, or between quotes where it is none.
func spell(text string) string {
	if text == "" || text[0] == '-' || isOperator(text) || strings.ContainsFunc(text, endsWord) {
		return strconv.Quote(text)
	}
	return text
}

func isOperator(word string) bool {
	return slices.Contains([]string{"and", "or", "not"}, strings.ToLower(word))
}

// Fields returns the paths of the members that the query looks at, sorted.
func (q Query) Fields() []string {
	var fields []string
	q.eachTerm(func(t term) { fields = append(fields, t.field) })
	slices.Sort(fields)
	return slices.Compact(fields)
}

// Claims returns the names of the claims in the query, sorted.
func (q Query) Claims() []string {
	var names []string
	q.eachTerm(func(t term) {
		if t.is == claim || t.is == claimStart {
			names = append(names, t.text)
		}
	})
	slices.Sort(names)
	return slices.Compact(names)
}

func (q Query) eachTerm(f func(term)) {
	var walk func(node)
	walk = func(n node) {
		switch n := n.(type) {
		case and:
			for _, part := range n {
				walk(part)
			}
		case or:
			for _, part := range n {
				walk(part)
			}
		case not:
			walk(n.node)
		case term:
			f(n)
		}
	}
	walk(q.root)
}

// Or returns a query that is true where one of two is.
func (q Query) Or(other Query) Query {
	if q.root == nil || other.root == nil {
		return Query{}
	}
	return Query{combine[or]([]node{q.root, other.root})}
}

// combine makes one node of at least one, with those of its own kind taken in.
func combine[T interface {
	~[]node
	node
}](parts []node) node {
	var flat T
	for _, n := range parts {
		if inner, ok := n.(T); ok {
			flat = append(flat, inner...)
		} else {
			flat = append(flat, n)
		}
	}
	if len(flat) == 1 {
		return flat[0]
	}
	return flat
}
