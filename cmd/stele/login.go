package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/stele-log/stele/internal/logintoken"
)

func newLoginCmd() *cobra.Command {
	var f clientFlags
	cmd := &cobra.Command{
		Use:   "login",
		Short: "Keep a token for a server, so that commands need not be given one",
		Long: `Login reads a key, or another token, from the terminal or from standard input, makes sure
that the server knows it, and keeps it in a file that only you can read. Commands with that
--url then use it, unless STELE_TOKEN or --token gives another.`,
		Example: `  stele login --url https://logs.example.com
  stele login --url https://logs.example.com < ann.key`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.token == "" {
				var err error
				if f.token, err = readSecret(cmd); err != nil {
					return err
				}
			}
			c, err := f.client()
			if err != nil {
				return err
			}
			who, err := c.Whoami(cmd.Context())
			if err != nil {
				return f.explain(err)
			}
			if err := logintoken.Keep(f.url, f.token); err != nil {
				return err
			}
			if f.json {
				return printJSON(cmd.OutOrStdout(), who)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "logged in to %s as %s\n", f.url, who.Principal)
			return err
		},
	}
	f.register(cmd)
	return cmd
}

func newLogoutCmd() *cobra.Command {
	var f clientFlags
	cmd := &cobra.Command{
		Use:   "logout",
		Short: "Forget the token for a server",
		Long: `Logout forgets the token that login has kept. The token itself stays good: an admin ends a
key with "stele keys revoke".`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if logintoken.Of(f.url) == "" {
				return fmt.Errorf("there is no token for %s", f.url)
			}
			if err := logintoken.Keep(f.url, ""); err != nil {
				return err
			}
			if f.json {
				return printJSON(cmd.OutOrStdout(), map[string]string{"logged_out": f.url})
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "logged out of", f.url)
			return err
		},
	}
	f.register(cmd)
	return cmd
}

// readSecret reads a line that is not shown while it is typed.
func readSecret(cmd *cobra.Command) (string, error) {
	if term.IsTerminal(int(os.Stdin.Fd())) {
		fmt.Fprint(cmd.ErrOrStderr(), "key or token: ")
		text, err := term.ReadPassword(int(os.Stdin.Fd()))
		fmt.Fprintln(cmd.ErrOrStderr())
		return strings.TrimSpace(string(text)), err
	}
	text, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
	if text = strings.TrimSpace(text); text == "" {
		if err != nil && !errors.Is(err, io.EOF) {
			return "", err
		}
		return "", errors.New("there is no key on standard input")
	}
	return text, nil
}
