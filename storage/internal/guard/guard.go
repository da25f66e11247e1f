// Package guard compares what keeps a database's core insert-only with what the
// migrations have made: triggers, constraints, functions, rights.
//
// All functions may be called by many goroutines at once.
package guard

import (
	"fmt"
	"slices"
)

// A Set has guards by what they are, such as "trigger insert_only of stele.heads", with
// how they are made.
type Set map[string]string

// Differences returns a sentence for each guard that was made and that a database does
// not have so, and for each that it has and was not made, in order.
func Differences(made, have Set) []string {
	var all []string
	for what, how := range made {
		switch now, ok := have[what]; {
		case !ok:
			all = append(all, fmt.Sprintf("the %s is missing", what))
		case now != how:
			all = append(all, fmt.Sprintf("the %s was changed: it is %q, and was made as %q", what, now, how))
		}
	}
	for what, how := range have {
		if _, ok := made[what]; !ok {
			all = append(all, fmt.Sprintf("the %s is not one of Stele's: %q", what, how))
		}
	}
	slices.Sort(all)
	return all
}
