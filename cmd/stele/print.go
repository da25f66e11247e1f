package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"golang.org/x/term"

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

// printLog prints what a server knows of a log.
func printLog(w io.Writer, l client.LogInfo, asJSON bool) error {
	if asJSON {
		return printJSON(w, l)
	}
	fmt.Fprintf(w, "%s\n  origin     %s\n  size       %d, of which %d published\n  created    %s\n",
		l.Name, l.Origin, l.Size, l.Published, l.Created.Format(time.RFC3339))
	for _, vkey := range l.VKeys {
		if len(vkey) > maxShown {
			vkey = vkey[:len(l.Origin)+60] + "... (all of it with --json)"
		}
		fmt.Fprintf(w, "  key        %s\n", vkey)
	}
	if l.Problem != "" {
		fmt.Fprintf(w, "  problem    %s\n", l.Problem)
	}
	return nil
}

// version is set by the linker in releases: -ldflags "-X main.version=v1.2.3".
var version = ""

// A build is what a program knows of how it was built. The commit is missing if it
// was not built in a repository.
type build struct {
	Version    string `json:"version"`
	Commit     string `json:"commit,omitempty"`
	CommitTime string `json:"commit_time,omitempty"`
	Dirty      bool   `json:"dirty"` // there were changes that are not in the commit
	Go         string `json:"go"`
	Platform   string `json:"platform"`
}

func thisBuild() build {
	b := build{Version: "devel", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		if info.Main.Version != "" && info.Main.Version != "(devel)" {
			b.Version = info.Main.Version
		}
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				b.Commit = s.Value
			case "vcs.time":
				b.CommitTime = s.Value
			case "vcs.modified":
				b.Dirty = s.Value == "true"
			}
		}
	}
	if version != "" {
		b.Version = version
	}
	return b
}

// String returns the version for people.
func (b build) String() string { return fmt.Sprintf("%s (%s, %s)", b.Version, b.Go, b.Platform) }

// buildVersion returns the release, or what the build knows of itself.
func buildVersion() string { return thisBuild().Version }
