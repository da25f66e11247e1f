package buildinfo_test

import (
	"runtime"
	"runtime/debug"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/stele-log/stele/internal/buildinfo"
)

func TestInfoOfABuild(t *testing.T) {
	t.Parallel()
	platform := runtime.GOOS + "/" + runtime.GOARCH
	stored := func(version string, settings ...debug.BuildSetting) *debug.BuildInfo {
		return &debug.BuildInfo{GoVersion: "go1.99", Main: debug.Module{Version: version}, Settings: settings}
	}
	commit := []debug.BuildSetting{{Key: "vcs", Value: "git"}, {Key: "vcs.revision", Value: "abc"},
		{Key: "vcs.time", Value: "2026-11-28T08:04:57Z"}, {Key: "vcs.modified", Value: "true"}}
	for _, test := range []struct {
		name    string
		stored  *debug.BuildInfo
		release string
		want    buildinfo.Info
	}{
		{"nothing known", nil, "", buildinfo.Info{Version: "devel", Go: runtime.Version()}},
		{"a release", nil, "v1.2.3", buildinfo.Info{Version: "v1.2.3", Go: runtime.Version()}},
		{"a tree of files", stored("(devel)"), "", buildinfo.Info{Version: "devel", Go: "go1.99"}},
		{"a module", stored("v1.0.0"), "", buildinfo.Info{Version: "v1.0.0", Go: "go1.99"}},
		{"a changed repository", stored("v1.0.1-0.2026-abc+dirty", commit...), "", buildinfo.Info{
			Version: "v1.0.1-0.2026-abc+dirty", Commit: "abc", CommitTime: "2026-11-28T08:04:57Z", Dirty: true, Go: "go1.99"}},
		{"a release from a clean one", stored("v1.0.1", commit[:3]...), "v2.0.0", buildinfo.Info{
			Version: "v2.0.0", Commit: "abc", CommitTime: "2026-11-28T08:04:57Z", Go: "go1.99"}},
	} {
		test.want.Platform = platform
		if got := buildinfo.Of(test.stored, test.release); got != test.want {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
	}
}

func TestMetricHasTheBuildInItsLabels(t *testing.T) {
	t.Parallel()
	i := buildinfo.Info{Version: "v1.2.3", Commit: "abc", Go: "go1.99", Platform: "linux/amd64"}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(i.Metric())
	families, err := registry.Gather()
	if err != nil || len(families) != 1 || families[0].GetName() != "stele_build_info" {
		t.Fatalf("gathered %v, %v", families, err)
	}
	m := families[0].GetMetric()[0]
	var labels []string
	for _, l := range m.GetLabel() {
		labels = append(labels, l.GetName()+"="+l.GetValue())
	}
	want := []string{"commit=abc", "go=go1.99", "platform=linux/amd64", "version=v1.2.3"}
	if !slices.Equal(labels, want) || m.GetGauge().GetValue() != 1 {
		t.Errorf("labels %q, value %v", labels, m.GetGauge().GetValue())
	}
}
