package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stele-log/stele/internal/durable"
	"github.com/stele-log/stele/pkg/policy"
)

func newWitnessPolicyCmd() *cobra.Command {
	var f witnessPolicyFlags
	cmd := &cobra.Command{
		Use:   "policy NAME=VKEY[@URL]...",
		Short: "Write a policy file: who must cosign, and how many of them",
		Long: `Policy writes a C2SP tlog-policy (https://c2sp.org/tlog-policy) for a quorum of
witnesses, each given by a name of your choice, its verifier key or a file that holds
it, and its URL. "stele serve --witness-policy" needs the URLs; verifiers need the
log's key as well, from --key here or beside the policy. For example

  log logs.example.com/audit+5c4b1f3e+ARpc...
  witness bank bank.example/w+5ba8a9b1+BA... https://witness.bank.example
  witness city city.example/w+0f4ba8b1+BA... https://witness.city.example
  witness union union.example/w+77a1c0de+BA... https://witness.union.example
  group witnesses 2 bank city union
  quorum witnesses

trusts checkpoints that the log has signed and two of the three have cosigned.`,
		Example: `  stele witness policy bank="$BANK"@https://witness.bank.example city=city.vkey@https://witness.city.example \
      union=union.vkey@https://witness.union.example --quorum 2 --key log.vkey -o policy.txt`,
		Args: cobra.MinimumNArgs(1),
		RunE: f.run,
	}
	flags := cmd.Flags()
	flags.IntVar(&f.quorum, "quorum", 0, "number of these witnesses that must have cosigned")
	flags.StringArrayVar(&f.keys, "key", nil, "the log's verifier key, or a file that holds it; can be given more than once")
	flags.StringVarP(&f.out, "output", "o", "", "file to write (default: standard output)")
	if err := cmd.MarkFlagRequired("quorum"); err != nil {
		panic(err) // the flag is registered above
	}
	return cmd
}

type witnessPolicyFlags struct {
	quorum int
	keys   []string
	out    string
}

func (f *witnessPolicyFlags) run(cmd *cobra.Command, args []string) error {
	var text bytes.Buffer
	for _, key := range f.keys {
		vkey, err := loadKey(key)
		if err != nil {
			return err
		}
		fmt.Fprintf(&text, "log %s\n", vkey)
	}
	var names []string
	for _, arg := range args {
		name, line, err := witnessLine(arg)
		if err != nil {
			return err
		}
		names = append(names, name)
		text.WriteString(line)
	}
	fmt.Fprintf(&text, "group witnesses %d %s\nquorum witnesses\n", f.quorum, strings.Join(names, " "))
	if _, err := policy.Parse(text.Bytes()); err != nil {
		return err
	}
	if f.out == "" {
		_, err := cmd.OutOrStdout().Write(text.Bytes())
		return err
	}
	return durable.Replace(durable.System, f.out, text.Bytes(), 0o644)
}

// witnessLine returns the name and the line of a witness that is given as
// NAME=VKEY[@URL]. In a key there is no "@http".
func witnessLine(arg string) (name, line string, err error) {
	name, rest, ok := strings.Cut(arg, "=")
	if !ok || name == "" || strings.ContainsAny(arg, " \t\n") {
		return "", "", fmt.Errorf("witness %.100q: want NAME=VKEY@URL, without spaces", arg)
	}
	key, url := rest, ""
	if at := strings.Index(rest, "@http"); at >= 0 {
		key, url = rest[:at], rest[at+1:]
	}
	vkey, err := loadKey(key)
	if err != nil {
		return "", "", err
	}
	if url != "" && !isURL(url) {
		return "", "", errors.New("the URL of witness " + name + " is none of http or https")
	}
	return name, strings.TrimSpace(fmt.Sprintf("witness %s %s %s", name, vkey, url)) + "\n", nil
}
