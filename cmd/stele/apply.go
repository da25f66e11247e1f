package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stele-log/stele/internal/apply"
)

func newApplyCmd() *cobra.Command {
	var f adminFlags
	var yes, prune bool
	cmd := &cobra.Command{
		Use:   "apply FILE",
		Short: "Bring logs, grants, limits and issuers to what a file says",
		Long: `Apply compares a YAML file with the configuration of a server, prints the changes that
bring it to what the file says, and makes them once somebody agrees, or with --yes. What is
not in the file stays, unless --prune is given; logs and keys stay in any case, and admins
if the file names none. It can be run any number of times: a second time there is nothing
to do.

  logs:
    - name: payroll
      public: nothing
  issuers:
    - {name: corp, url: "https://login.example.com/realms/corp", audience: stele}
  grants:
    - {principal: billing, role: writer, log: payroll}
    - {claim: "corp:groups=audit", role: auditor, log: "*", until: 2027-01-31T00:00:00Z}
  limits:
    - {principal: billing, events: 1000}

Somebody else's change in between is noticed, and ends it: run it again then. It exits with 1 if there are
changes that were not made.`,
		Example: `  stele apply access.yaml
  stele apply access.yaml --yes --prune`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			file, err := openFile(args[0])
			if err != nil {
				return err
			}
			defer file.Close()
			text, err := io.ReadAll(io.LimitReader(file, maxConfig))
			if err != nil {
				return err
			}
			wanted, err := apply.Read(text)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			return f.apply(cmd, wanted, prune, yes)
		},
	}
	f.register(cmd)
	cmd.Flags().BoolVar(&yes, "yes", false, "make the changes without asking")
	cmd.Flags().BoolVar(&prune, "prune", false, "take away grants, limits and issuers that are not in the file")
	return cmd
}

// maxConfig bounds a configuration file, in bytes.
const maxConfig = 16 << 20

// apply shows the plan, and makes its changes if somebody agrees.
func (f *adminFlags) apply(cmd *cobra.Command, wanted apply.File, prune, yes bool) error {
	c, err := f.admin()
	if err != nil {
		return err
	}
	state, err := c.State(cmd.Context(), nil)
	if err != nil {
		return f.explain(err)
	}
	plan, err := apply.Make(wanted, state, prune, time.Now())
	if err != nil {
		return err
	}
	w := cmd.OutOrStdout()
	if !f.json {
		for _, change := range plan.Changes {
			fmt.Fprintln(w, shown(change.Text))
		}
	}
	made := 0
	if len(plan.Changes) > 0 && (yes || agrees(cmd.ErrOrStderr(), len(plan.Changes))) {
		err = f.explain(plan.Run(cmd.Context(), c, func(apply.Change) { made++ }))
	}
	if f.json {
		err = errors.Join(err, printJSON(w, struct {
			apply.Plan
			Made int `json:"made"`
		}{plan, made}))
	} else if len(plan.Changes) == 0 {
		fmt.Fprintln(w, "nothing to change")
	} else {
		fmt.Fprintf(w, "%d of %d changes made\n", made, len(plan.Changes))
	}
	if err == nil && made < len(plan.Changes) {
		err = errors.New("the changes were not made: --yes makes them without asking")
	}
	return err
}

// agrees asks whether to go on, if somebody is there to answer.
func agrees(w io.Writer, changes int) bool {
	if !isTerminal(w) || !isTerminal(os.Stdin) {
		return false
	}
	fmt.Fprintf(w, "make these %d changes? [y/N] ", changes)
	answer, _ := bufio.NewReader(os.Stdin).ReadString('\n')
	return strings.EqualFold(strings.TrimSpace(answer), "y")
}
