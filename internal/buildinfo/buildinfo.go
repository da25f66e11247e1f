// Package buildinfo describes how a program was built: its version, its commit, and
// what it was built with. It keeps nothing, and is safe for concurrent use.
package buildinfo

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
)

// Info describes a build. Commit and CommitTime are empty if the program was not
// built from a Git repository.
type Info struct {
	Version    string `json:"version"`               // "devel" if nothing better is known
	Commit     string `json:"commit,omitempty"`      // in full
	CommitTime string `json:"commit_time,omitempty"` // RFC 3339, UTC
	Dirty      bool   `json:"dirty"`                 // it has changes that are not in the commit
	Go         string `json:"go"`                    // such as "go1.26.8"
	Platform   string `json:"platform"`              // such as "linux/amd64"
}

// Of returns the Info in what Go has stored in a program, see
// [debug.ReadBuildInfo]; nil is a program without. The version is the release,
// unless that is empty.
func Of(stored *debug.BuildInfo, release string) Info {
	i := Info{Version: "devel", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if stored != nil {
		i.Go = stored.GoVersion
		if v := stored.Main.Version; v != "" && v != "(devel)" {
			i.Version = v
		}
		for _, s := range stored.Settings {
			switch s.Key {
			case "vcs.revision":
				i.Commit = s.Value
			case "vcs.time":
				i.CommitTime = s.Value
			case "vcs.modified":
				i.Dirty = s.Value == "true"
			}
		}
	}
	if release != "" {
		i.Version = release
	}
	return i
}

// String returns the version, Go and the platform.
func (i Info) String() string { return fmt.Sprintf("%s (%s, %s)", i.Version, i.Go, i.Platform) }

// Metric returns stele_build_info, whose value is 1 and whose labels are the Info.
func (i Info) Metric() prometheus.Collector {
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "stele_build_info", Help: "How the program was built.",
		ConstLabels: prometheus.Labels{"version": i.Version, "commit": i.Commit, "go": i.Go, "platform": i.Platform},
	})
	g.Set(1)
	return g
}
