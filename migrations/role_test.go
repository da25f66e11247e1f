package migrations_test

import (
	"strings"
	"testing"

	"github.com/stele-log/stele/migrations"
)

func TestDefaultRole(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 63)
	for database, want := range map[string]string{
		"db_a":    "stele_server_db_a",
		"2026":    "stele_server_2026",
		"Prod-1":  "stele_server__rod_1_",
		"größe":   "stele_server_gr__e_",
		long:      "stele_server_" + long[:41] + "_",
		long[:50]: "stele_server_" + long[:50],
	} {
		role := migrations.DefaultRole(database)
		hash, cut := strings.CutPrefix(role, want)
		if !cut || len(role) > 63 || len(hash) != 0 && len(hash) != 8 || (len(hash) == 0) == strings.HasSuffix(want, "_") {
			t.Errorf("the role of database %q is %q, want %q, or a hash after it if that ends with _", database, role, want)
		}
	}
	if migrations.DefaultRole("a-b") == migrations.DefaultRole("a.b") {
		t.Error("two databases have one role")
	}
}
