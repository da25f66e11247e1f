package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stele-log/stele/pkg/client"
)

func newKeysCmd() *cobra.Command {
	return newGroup(&cobra.Command{
		Use:   "keys",
		Short: "Make, list, rotate and revoke the keys of applications and people",
		Long: `Keys say who a request comes from: STELE_TOKEN=KEY, or Authorization: Bearer KEY.
A key acts as a principal, to which "stele grants add" gives roles; several keys may
act as one, for instance while one takes the place of another.

A server keeps only the SHA-256 of a key, in its log named system. When it first starts
it makes a key with the role admin and writes it to admin.key in its data folder; on the
same machine these commands find it there.`,
	}, newKeysCreateCmd(), newKeysListCmd(), newKeysRotateCmd(), newKeysRevokeCmd())
}

func newKeysCreateCmd() *cobra.Command {
	var f adminFlags
	var expires string
	var claims []string
	cmd := &cobra.Command{
		Use:   "create PRINCIPAL",
		Short: "Make a key, and print it once",
		Long: `Create makes a key for a principal, such as the name of an application, and prints
it. It cannot be shown again. The principal's name becomes the source of events that
have none, and the recordedby of all events that it sends.`,
		Example: `  stele keys create billing > billing.key
  stele keys create tenant-7-portal --claim tenant=7 --expires 90d
  stele keys create ci --expires 2027-01-31`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			n := client.NewKey{Principal: args[0]}
			var err error
			if n.Expires, err = parseUntil(expires); err != nil {
				return exitError{fmt.Errorf("--expires: %w", err), exitUsage}
			}
			if n.Claims, err = parseClaims(claims); err != nil {
				return exitError{err, exitUsage}
			}
			c, err := f.admin()
			if err != nil {
				return err
			}
			k, err := c.CreateKey(cmd.Context(), n)
			if err != nil {
				return f.explain(err)
			}
			if f.json {
				return printJSON(cmd.OutOrStdout(), k)
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "key %s of %s, which is not shown again; what it may do: stele grants add %[2]s ROLE LOG\n", k.ID, k.Principal)
			_, err = fmt.Fprintln(cmd.OutOrStdout(), k.Text)
			return err
		},
	}
	f.register(cmd)
	cmd.Flags().StringVar(&expires, "expires", "", "when the key ends: a date, a time as in RFC 3339, or how long from now, such as 90d or 12h (default: never)")
	cmd.Flags().StringArrayVar(&claims, "claim", nil, "NAME=VALUE for the filters of grants; may be given more than once")
	return cmd
}

func newKeysListCmd() *cobra.Command {
	var f adminFlags
	var all bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List keys",
		Long:  `List prints the keys that can be used, by principal. It takes the role admin or auditor.`,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return list(cmd, &f, "keys", func(c *client.Client) ([]client.Key, error) {
				keys, err := c.Keys(cmd.Context())
				if !all {
					keys = slices.DeleteFunc(keys, func(k client.Key) bool { return !k.Live })
				}
				return keys, err
			}, printKeys)
		},
	}
	f.register(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "list revoked and expired keys too")
	return cmd
}

func newKeysRotateCmd() *cobra.Command {
	var f adminFlags
	var overlapText string
	cmd := &cobra.Command{
		Use:   "rotate ID",
		Short: "Make a key in the place of another, and print it once",
		Long: `Rotate makes a key with the principal and the claims of another, which ends once the
overlap is over: by then whoever has the old one must use the new one. The new key lives
as long as the old one was made for.`,
		Example: `  stele keys rotate qeabfwmwjf > billing.key
  stele keys rotate qeabfwmwjf --overlap 0s   # the old one ends at once`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			overlap, err := parsePeriod(overlapText)
			if err != nil {
				return exitError{fmt.Errorf("--overlap: %w", err), exitUsage}
			}
			c, err := f.admin()
			if err != nil {
				return err
			}
			k, err := c.RotateKey(cmd.Context(), args[0], overlap)
			if err != nil {
				return f.explain(err)
			}
			if f.json {
				return printJSON(cmd.OutOrStdout(), k)
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "key %s of %s, which is not shown again; key %s ends in %s\n", k.ID, k.Principal, args[0], overlapText)
			_, err = fmt.Fprintln(cmd.OutOrStdout(), k.Text)
			return err
		},
	}
	f.register(cmd)
	cmd.Flags().StringVar(&overlapText, "overlap", "1d", "how long the old key is still good for, such as 7d or 12h; 0s ends it at once")
	return cmd
}

func newKeysRevokeCmd() *cobra.Command {
	var f adminFlags
	cmd := &cobra.Command{
		Use:   "revoke ID",
		Short: "End a key, at once",
		Long: `Revoke ends a key: once the command has returned, no request with that key succeeds,
and within a second none does on other servers of the same database. The last key of an
admin cannot be revoked.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.change(cmd, map[string]string{"revoked": args[0]}, "revoked: "+args[0], func(c *client.Client) error {
				return c.RevokeKey(cmd.Context(), args[0])
			})
		},
	}
	f.register(cmd)
	return cmd
}

// parsePeriod reads a duration, which may be in days.
func parsePeriod(text string) (time.Duration, error) {
	days, ok := strings.CutSuffix(text, "d")
	if ok {
		text = days + "h"
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, errors.New("want a duration such as 7d or 12h")
	}
	if ok {
		d *= 24
	}
	return d, nil
}

func parseClaims(texts []string) (map[string]string, error) {
	claims := map[string]string{}
	for _, text := range texts {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" || value == "" {
			return nil, fmt.Errorf("--claim %q: want NAME=VALUE", text)
		}
		if _, twice := claims[name]; twice {
			return nil, fmt.Errorf("--claim %s is given twice; a claim has one value", name)
		}
		claims[name] = value
	}
	return claims, nil
}
