package main_test

import (
	"crypto/rand"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stele-log/stele/internal/test/pgtest"
)

// TestRolesOfTheOperatorsGuide runs the block of roles in docs/operations.md as a role that
// may create databases and roles, and then migrates and serves as the users that it makes.
func TestRolesOfTheOperatorsGuide(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Empty(t)
	super := pgtest.Connect(t, cluster)
	creator := "stele_test_" + strings.ToLower(rand.Text())
	name := "stele_test_" + strings.ToLower(rand.Text())
	block := regexp.MustCompile("(?s)```sql\n(.*?)```").FindStringSubmatch(operations(t))
	if block == nil {
		t.Fatal("docs/operations.md has no block of SQL")
	}
	sql := strings.NewReplacer("stele_owner", name+"_o", "stele_app", name+"_a",
		"stele_server_stele", "stele_server_"+name, "DATABASE stele", "DATABASE "+name).Replace(block[1])
	exec := func(statement string) {
		t.Helper()
		if _, err := super.Exec(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	exec("CREATE ROLE " + creator + " LOGIN CREATEDB CREATEROLE")
	t.Cleanup(func() {
		for _, statement := range []string{"DROP DATABASE IF EXISTS " + name + " WITH (FORCE)",
			"DROP ROLE IF EXISTS stele_server_" + name + ", " + name + "_o, " + name + "_a, " + creator} {
			pgtest.Exec(t, cluster, statement)
		}
	})
	as := pgtest.Connect(t, pgtest.WithUser(t, cluster, creator))
	for statement := range strings.SplitSeq(strings.TrimSpace(sql), ";\n") {
		if _, err := as.Exec(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	u, err := url.Parse(cluster)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	owner, app := pgtest.WithUser(t, u.String(), name+"_o"), pgtest.WithUser(t, u.String(), name+"_a")
	if out, _ := run(t, 0, "migrate", "--database", owner); !strings.Contains(out, "GRANT stele_server_"+name+" TO ") {
		t.Errorf("migrate prints %q", out)
	}
	s := serve(t, "--migrate=false", "--data", t.TempDir(), "--database", app)
	key := fill(t, s)
	run(t, 0, "check", s.url+"/logs/default", "--key", key)
	if ready := get(t, s.url+"/readyz"); !strings.Contains(ready, `"guards":"present"`) {
		t.Errorf("readyz says %s", ready)
	}
}

// TestMetricsOfTheOperatorsGuide looks for each metric of the server that docs/operations.md
// names.
func TestMetricsOfTheOperatorsGuide(t *testing.T) {
	t.Parallel()
	s := serve(t)
	get(t, s.url+"/readyz") // a request, to be counted
	metrics := get(t, s.url+"/metrics")
	found := 0
	for _, name := range regexp.MustCompile(`stele_(log|guards|follower|http)_[a-z_]+`).FindAllString(operations(t), -1) {
		found++
		if !strings.Contains(metrics, name) {
			t.Errorf("there is no metric %s", name)
		}
	}
	if found < 10 {
		t.Errorf("docs/operations.md names %d metrics", found)
	}
}

func operations(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
