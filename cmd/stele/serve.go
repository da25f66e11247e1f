package main

import "github.com/spf13/cobra"

func newServeCmd() *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run a server",
		Long: `Serve runs a server. Without flags it keeps everything in ./stele-data (SQLite,
keys), listens on 127.0.0.1:8080, and creates a log named default when it first
starts.

Once it accepts requests it prints one line to standard output with its address;
everything else goes to standard error. SIGINT or SIGTERM ends it, once everything
accepted is committed and published. With --tls-cert and --tls-key it serves
HTTPS, over HTTP/2 and HTTP/1.1.

With a witness policy, checkpoints are published once a quorum of its witnesses has
cosigned them, and receipts are made only under such checkpoints. Events are still
accepted while witnesses are down, and publication continues by itself when they are
back. If a witness proves that it knows another history of a log, or more of it, the
server neither signs that log any more nor takes events for it (503): /readyz and the
metrics show it until the server is restarted. The same holds for a database that is
not the one that was signed, because it was rolled back or rewritten; see "stele
restore --help".

A witness policy, as "stele witness policy" writes it, with a quorum of two of three:

  witness bank bank.example/w+5ba8a9b1+BA... https://witness.bank.example
  witness city city.example/w+0f4ba8b1+BA... https://witness.city.example
  witness union union.example/w+77a1c0de+BA... https://witness.union.example
  group witnesses 2 bank city union
  quorum witnesses`,
		Example: `  stele serve
  stele serve --data /var/lib/stele --listen 0.0.0.0:8080 --origin-prefix logs.example.com
  stele serve --listen 0.0.0.0:443 --tls-cert /etc/stele/tls.crt --tls-key /etc/stele/tls.key
  stele serve --database postgres://stele@localhost/stele
  stele serve --witness-policy policy.txt`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			logger, err := f.logger(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			s, release, err := f.start(cmd.Context(), logger)
			if err != nil {
				return err
			}
			defer release()
			f.printReady(cmd.OutOrStdout(), s.URL())
			return s.Run(cmd.Context())
		},
	}
	f.register(cmd)
	return cmd
}
