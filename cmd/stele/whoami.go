package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newWhoamiCmd() *cobra.Command {
	var f clientFlags
	cmd := &cobra.Command{
		Use:   "whoami",
		Short: "Show who you are to a server, and what you may do",
		Long: `Whoami prints the principal of the token, in STELE_TOKEN, in --token or of "stele login",
and its grants.
Without a token you are nobody, except on a server that only its own machine can reach:
there you may do everything.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.client()
			if err != nil {
				return err
			}
			who, err := c.Whoami(cmd.Context())
			if err != nil {
				return f.explain(err)
			}
			w := cmd.OutOrStdout()
			if f.json {
				return printJSON(w, who)
			}
			switch {
			case who.Local:
				_, err = fmt.Fprintln(w, "somebody on the server's own machine, who may do everything")
			case who.Principal == "":
				_, err = fmt.Fprintln(w, "nobody: the request has no token, and may read what is public")
			case len(who.Grants) == 0:
				_, err = fmt.Fprintf(w, "%s, without any grant\n", who.Principal)
			default:
				by := "key " + who.Key
				if who.Issuer != "" {
					by = "the issuer " + who.Issuer
				}
				fmt.Fprintf(w, "%s, by %s\n\n", who.Principal, by)
				err = printGrants(w, who.Grants)
			}
			return err
		},
	}
	f.register(cmd)
	return cmd
}
