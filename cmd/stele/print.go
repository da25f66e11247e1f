package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

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
	if l.Settings != nil {
		fmt.Fprintf(w, "  public     %s\n  reads      %s\n", l.Settings.Public, l.Settings.Reads)
	}
	if l.Problem != "" {
		fmt.Fprintf(w, "  problem    %s\n", l.Problem)
	}
	return nil
}

func printKeys(w io.Writer, keys []client.Key) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tPRINCIPAL\tENDS\tLAST USED\tCLAIMS")
	for _, k := range keys {
		ends, used := untilText(k.Expires), ""
		if k.Revoked {
			ends = "revoked"
		}
		if !k.LastUsed.IsZero() {
			used = untilText(k.LastUsed)
		}
		var claims []string
		for _, name := range slices.Sorted(maps.Keys(k.Claims)) {
			claims = append(claims, name+"="+k.Claims[name])
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", k.ID, shown(k.Principal), ends, used, shown(strings.Join(claims, " ")))
	}
	return t.Flush()
}

func printGrants(w io.Writer, grants []client.Grant) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tPRINCIPAL\tROLE\tLOG\tENDS\tFILTER OR SOURCE")
	for _, g := range grants {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", g.ID, shown(cmp.Or(g.Principal, g.Claim)), g.Role, g.Log, untilText(g.Until),
			shown(cmp.Or(g.Filter, g.Source)))
	}
	return t.Flush()
}

func printLimits(w io.Writer, limits []client.Limit) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "PRINCIPAL\tEVENTS/S\tBYTES/S\tREQUESTS\tLOGS")
	text := func(n float64) string {
		if n == 0 {
			return "any"
		}
		return strconv.FormatFloat(n, 'f', -1, 64)
	}
	for _, l := range limits {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", l.Principal, text(l.Events), text(l.Bytes), text(float64(l.Requests)), text(float64(l.Logs)))
	}
	return t.Flush()
}

func printIssuers(w io.Writer, issuers []client.Issuer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tURL\tAUDIENCE\tUSER")
	for _, i := range issuers {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", i.Name, i.URL, i.Audience, cmp.Or(i.Username, "sub"))
	}
	return t.Flush()
}

// shown returns a text that others have chosen as it can be shown on a terminal.
func shown(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, text)
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
