package report

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5"
)

// Machine returns what machine this is; dir is where the contenders write.
func Machine(dir string) []Fact {
	return []Fact{
		{"processor", fmt.Sprintf("%s, %d cores", after("/proc/cpuinfo", "model name"), runtime.NumCPU())},
		{"memory", memory()},
		{"kernel", kernel()},
		{"file system", fileSystem(dir)},
	}
}

// after returns what follows a name and a colon in a file of the kernel's.
func after(path, name string) string {
	text, _ := os.ReadFile(path)
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

func memory() string {
	kib, err := strconv.ParseFloat(strings.TrimSuffix(after("/proc/meminfo", "MemTotal"), " kB"), 64)
	if err != nil {
		return "unknown"
	}
	return fmt.Sprintf("%.1f GiB", kib/(1<<20))
}

// kernel returns the kernel's release, without what a builder has named it.
func kernel() string {
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	version, _, _ := strings.Cut(strings.TrimSpace(string(release)), "-")
	return runtime.GOOS + " " + version
}

func fileSystem(dir string) string {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return "unknown"
	}
	switch uint32(s.Type) {
	case 0xef53:
		return "ext4"
	case 0x58465342:
		return "xfs"
	case 0x9123683e:
		return "btrfs"
	case 0x01021994:
		return "tmpfs"
	case 0x794c7630:
		return "overlayfs"
	}
	return fmt.Sprintf("of type %#x", s.Type)
}

// peers are the modules that Stele is measured against, or with.
var peers = []string{
	"github.com/jackc/pgx/v5", "github.com/transparency-dev/tessera", "github.com/google/trillian", "modernc.org/sqlite",
}

// Versions returns what was measured; stele is the binary.
func Versions(stele string) []Fact {
	facts := []Fact{{"Go", runtime.Version()}}
	if out, err := exec.Command(stele, "version").Output(); err == nil {
		facts = append(facts, Fact{"stele", strings.TrimPrefix(strings.TrimSpace(string(out)), "stele ")})
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, path := range peers {
			for _, dep := range info.Deps {
				if dep.Path == path {
					facts = append(facts, Fact{path, dep.Version})
				}
			}
		}
	}
	return facts
}

// settings of PostgreSQL that decide what durability costs.
var settings = []string{
	"server_version", "fsync", "synchronous_commit", "full_page_writes", "wal_level", "wal_sync_method",
	"shared_buffers", "max_wal_size", "checkpoint_timeout", "autovacuum",
}

// Settings returns those of the cluster at a URL.
func Settings(ctx context.Context, url string) ([]Fact, error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx)
	var facts []Fact
	for _, name := range settings {
		var value string
		if err := conn.QueryRow(ctx, "SHOW "+name).Scan(&value); err != nil {
			return nil, err
		}
		facts = append(facts, Fact{name, value})
	}
	return facts, nil
}
