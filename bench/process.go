package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/stele-log/stele/bench/peer"
)

// A process is a server that runs by itself, so that it shares no garbage
// collector with the client.
type process struct {
	url     string
	started time.Duration // from its start to its saying where it is

	cmd    *exec.Cmd
	stderr string // path
	log    func(format string, args ...any)
}

const stopTime = 30 * time.Second

// start runs a server that says on its first line of output where it is, as
// `stele serve` does.
func (l *lab) start(binary string, args ...string) (*process, error) {
	dir, err := l.folder()
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.Command(binary, args...), stderr: filepath.Join(dir, "stderr"), log: l.log}
	stderr, err := os.Create(p.stderr)
	if err != nil {
		return nil, err
	}
	defer stderr.Close()
	p.cmd.Stderr = stderr
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	start := time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	l.onClose(p.stop)
	line, err := bufio.NewReader(stdout).ReadString('\n')
	p.started = time.Since(start)
	_, url, ok := strings.Cut(strings.TrimSpace(line), " is ready at ")
	if err != nil || !ok {
		said, _ := os.ReadFile(p.stderr)
		return nil, fmt.Errorf("%s did not start: %s", filepath.Base(binary), strings.TrimSpace(string(said)))
	}
	p.url = url
	return p, nil
}

// stop ends the process as an operator would, waits, and logs what it had to
// say. It does nothing the second time.
func (p *process) stop() {
	if p.cmd.ProcessState != nil {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	kill := time.AfterFunc(stopTime, func() { _ = p.cmd.Process.Kill() })
	defer kill.Stop()
	_ = p.cmd.Wait()
	if said, _ := os.ReadFile(p.stderr); len(said) > 0 {
		p.log("%s had said: %s", filepath.Base(p.cmd.Path), strings.TrimSpace(string(said)))
	}
}

// peakMemory returns the most resident memory that the process has had, in
// bytes.
func (p *process) peakMemory() (uint64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			return kib << 10, err
		}
	}
	return 0, errors.New("the kernel does not say how much memory a process has had")
}

// serveStele starts `stele serve` on a PostgreSQL database.
func (l *lab) serveStele(database, data string, args ...string) (*process, error) {
	if err := l.needsBinary(); err != nil {
		return nil, err
	}
	return l.start(l.stele, append([]string{"serve", "--database", database, "--data", data,
		"--listen", "127.0.0.1:0", "--origin-prefix", "logs.example.com", "--log-level", "warn"}, args...)...)
}

// The servers that this program is itself, as subcommands.
const (
	serveEmpty   = "serve-empty"
	serveTessera = "serve-tessera"
)

// serveSelf starts this program as one of its servers.
func (l *lab) serveSelf(args ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return l.start(self, args...)
}

func isServer(args []string) bool {
	return len(args) > 0 && (args[0] == serveEmpty || args[0] == serveTessera)
}

// serve is what runs in a process that serveSelf started.
func serve(ctx context.Context, args []string) error {
	handler := http.Handler(http.HandlerFunc(peer.Empty))
	if args[0] == serveTessera {
		t, err := peer.OpenTessera(ctx, args[1], tesseraSingle)
		if err != nil {
			return err
		}
		defer t.Close(context.WithoutCancel(ctx))
		handler = t
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Printf("%s is ready at http://%s\n", args[0], listener.Addr())
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
