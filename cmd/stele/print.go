package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/term"

	"github.com/stele-log/stele/internal/buildinfo"
	"github.com/stele-log/stele/pkg/client"
)

// printJSON prints a value on one line.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// isTerminal reports whether somebody may be looking at w.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// maxShown is the size of the longest key that is shown in full, in bytes: keys
// for Ed25519 are shorter with any origin, those for ML-DSA-44 are not.
const maxShown = 320

// shortKey returns a verifier key, or the beginning of a long one.
func shortKey(vkey string) string {
	if len(vkey) <= maxShown {
		return vkey
	}
	return vkey[:strings.IndexByte(vkey, '+')+60] + "... (all of it with --json)"
}

// printLog prints what a server knows of a log.
func printLog(w io.Writer, l client.LogInfo, asJSON bool) error {
	if asJSON {
		return printJSON(w, l)
	}
	fmt.Fprintf(w, "%s\n  origin     %s\n  size       %d, of which %d published\n  created    %s\n",
		l.Name, l.Origin, l.Size, l.Published, l.Created.Format(time.RFC3339))
	if l.Writer != "" {
		fmt.Fprintf(w, "  writer     %s\n", l.Writer)
	}
	for _, vkey := range l.VKeys {
		fmt.Fprintf(w, "  key        %s\n", shortKey(vkey))
	}
	if l.Problem != "" {
		fmt.Fprintf(w, "  problem    %s\n", l.Problem)
	}
	return nil
}

func printKeys(w io.Writer, keys []client.Key) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tPRINCIPAL\tENDS\tCLAIMS")
	for _, k := range keys {
		ends := untilText(k.Expires)
		if k.Revoked {
			ends = "revoked"
		}
		var claims []string
		for _, name := range slices.Sorted(maps.Keys(k.Claims)) {
			claims = append(claims, name+"="+k.Claims[name])
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", k.ID, k.Principal, ends, strings.Join(claims, " "))
	}
	return t.Flush()
}

func printGrants(w io.Writer, grants []client.Grant) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tPRINCIPAL\tROLE\tLOG\tENDS\tFILTER")
	for _, g := range grants {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", g.ID, g.Principal, g.Role, g.Log, untilText(g.Until), g.Filter)
	}
	return t.Flush()
}

func untilText(at time.Time) string {
	if at.IsZero() {
		return "never"
	}
	return at.UTC().Format(time.RFC3339)
}

// version is set by the linker in releases: -ldflags "-X main.version=v1.2.3".
var version = ""

// thisBuild returns what is known of how the program was built.
func thisBuild() buildinfo.Info {
	stored, _ := debug.ReadBuildInfo()
	return buildinfo.Of(stored, version)
}

// buildVersion returns the release, or what the build knows of itself.
func buildVersion() string { return thisBuild().Version }
