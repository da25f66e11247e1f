package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/stele-log/stele/internal/publisher"
	"github.com/stele-log/stele/pkg/policy"
	"github.com/stele-log/stele/witness"
)

// witnessFlags say who must cosign what a server publishes.
type witnessFlags struct {
	policy  string
	mode    string
	timeout time.Duration
}

const (
	modeQuorum = "quorum"
	modeOpen   = "open"
)

func (f *witnessFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.policy, "witness-policy", "", "C2SP tlog-policy file: witnesses that must cosign what is published, with their URLs; <data>/logs/<name>/witness-policy.txt is for one log, in its place")
	flags.StringVar(&f.mode, "witness-policy-mode", modeQuorum, "quorum: publish nothing that does not meet the policy; open: publish it all the same after the timeout, and say so")
	flags.DurationVar(&f.timeout, "witness-timeout", 5*time.Second, "how long to wait for a witness, 100ms or more")
}

// load returns who must cosign, by the flags.
func (f *witnessFlags) load() (w publisher.Witnessing, err error) {
	if f.mode != modeQuorum && f.mode != modeOpen {
		return w, fmt.Errorf("--witness-policy-mode is %s or %s, not %q", modeQuorum, modeOpen, f.mode)
	}
	if f.timeout < 100*time.Millisecond {
		return w, fmt.Errorf("--witness-timeout is 100ms or more")
	}
	w.Open = f.mode == modeOpen
	if f.policy == "" {
		return w, nil
	}
	text, err := os.ReadFile(f.policy)
	if err != nil {
		return w, fmt.Errorf("--witness-policy: %w", err)
	}
	if w.Policy, err = policy.Parse(text); err != nil {
		return w, fmt.Errorf("--witness-policy: %s: %w", f.policy, err)
	}
	for _, of := range w.Policy.Witnesses() {
		if of.URL == "" {
			return w, fmt.Errorf("--witness-policy: %s: witness %q has no URL to ask it at; write it after the key", f.policy, of.Name)
		}
	}
	return w, nil
}

// pool configures how witnesses are asked.
func (f *witnessFlags) pool() witness.PoolConfig { return witness.PoolConfig{Timeout: f.timeout} }
