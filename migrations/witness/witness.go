// Package witness holds the schema of a witness's database, as package
// migrations holds that of the logs', under the same rules.
//
// Package witnessdb applies it.
package witness

import "embed"

// Postgres holds the schema of PostgreSQL, in the folder "postgres".
//
//go:embed postgres/*.sql
var Postgres embed.FS

// SQLite holds the schema of SQLite, in the folder "sqlite".
//
//go:embed sqlite/*.sql
var SQLite embed.FS
