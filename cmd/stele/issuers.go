package main

import (
	"github.com/spf13/cobra"

	"github.com/stele-log/stele/pkg/client"
)

func newIssuersCmd() *cobra.Command {
	return newGroup(&cobra.Command{
		Use:   "issuers",
		Short: "Say whose OpenID tokens are good",
		Long: `An issuer is an OpenID provider, such as Keycloak or Entra, whose tokens say who a
request comes from: Authorization: Bearer TOKEN. A token must be signed by the issuer, for
the audience, and in force. Its principal is NAME:USER, such as corp:ann@example.com; grants
are for that, or for a claim of the token ("stele grants add --claim").`,
	}, newIssuersAddCmd(), newIssuersRemoveCmd(), newIssuersListCmd())
}

func newIssuersAddCmd() *cobra.Command {
	var f adminFlags
	var i client.Issuer
	cmd := &cobra.Command{
		Use:   "add NAME URL",
		Short: "Take the tokens of an issuer",
		Long: `Add takes the tokens of an issuer. The URL is what the tokens have as iss; the server
reads the issuer's keys from URL/.well-known/openid-configuration. While the issuer does
not answer, keys that were read before are good for a day.`,
		Example: `  stele issuers add corp https://login.example.com/realms/corp --audience stele --username email`,
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			i.Name, i.URL = args[0], args[1]
			return f.change(cmd, i, "added: "+i.Name, func(c *client.Client) error { return c.AddIssuer(cmd.Context(), i) })
		},
	}
	f.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&i.Audience, "audience", "", "what the tokens have as aud: the id of the client that the issuer knows this server by")
	flags.StringVar(&i.Username, "username", "", "claim that names the user; one that users cannot choose, and that the issuer gives to no other (default: sub)")
	flags.StringVar(&i.Secret, "secret", "", "where the server finds the client's secret: env:STELE_SECRET_NAME, or file:NAME in the folder secrets of its data folder")
	_ = cmd.MarkFlagRequired("audience")
	return cmd
}

func newIssuersRemoveCmd() *cobra.Command {
	var f adminFlags
	cmd := &cobra.Command{
		Use:   "remove NAME",
		Short: "End all tokens of an issuer, at once",
		Long: `Remove ends all tokens and sessions of an issuer. Grants for its users and claims stay: they
would be those of another issuer that is added by that name. Take them away, too.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.change(cmd, map[string]string{"removed": args[0]}, "removed: "+args[0], func(c *client.Client) error {
				return c.RemoveIssuer(cmd.Context(), args[0])
			})
		},
	}
	f.register(cmd)
	return cmd
}

func newIssuersListCmd() *cobra.Command {
	var f adminFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List issuers",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return list(cmd, &f, "issuers", func(c *client.Client) ([]client.Issuer, error) { return c.Issuers(cmd.Context()) }, printIssuers)
		},
	}
	f.register(cmd)
	return cmd
}
