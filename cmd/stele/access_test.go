package main_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestKeysAndGrantsOpenAServer goes through docs/access.md on a server that others could
// reach, by commands alone.
func TestKeysAndGrantsOpenAServer(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	s := serve(t, "--listen", "0.0.0.0:0", "--data", dir)
	_, port, _ := strings.Cut(strings.TrimPrefix(s.url, "http://"), ":")
	url := "http://127.0.0.1:" + port[strings.LastIndex(port, ":")+1:]
	files := t.TempDir()
	one := putFile(t, filepath.Join(files, "one"), `{"type":"one"}`)
	wantParts(t, second(run(t, 1, "append", "--url", url, one)), "takes the role writer*Authorization: Bearer")

	if out, _ := run(t, 0, "whoami", "--url", url); !strings.Contains(out, "nobody") {
		t.Errorf("without a key whoami prints %q", out)
	}
	out, stderr := run(t, 0, "keys", "create", "billing", "--url", url, "--data", dir)
	key := strings.TrimSpace(out)
	wantParts(t, stderr, "of billing*not shown again")
	wantParts(t, second(run(t, 1, "append", "--url", url, "--token", key, one)), `"billing" does not have the role writer`)
	run(t, 0, "grants", "add", "billing", "writer", "default", "--url", url, "--data", dir)
	run(t, 0, "append", "--wait", "--url", url, "--token", key, one)
	wantParts(t, first(run(t, 0, "whoami", "--url", url, "--token", key)), "billing*writer*default")
	wantParts(t, second(run(t, 1, "get", "0", "--url", url, "--token", key)), "reader or auditor")

	auditor := strings.TrimSpace(first(run(t, 0, "keys", "create", "ann", "--expires", "30d", "--url", url, "--data", dir)))
	run(t, 0, "grants", "add", "ann", "auditor", "*", "--until", "30d", "--url", url, "--data", dir)
	wantParts(t, first(run(t, 0, "get", "0", "--url", url, "--token", auditor)), `"recordedby":"billing"`)
	var log struct{ VKey string }
	if err := json.Unmarshal([]byte(first(run(t, 0, "logs", "show", "default", "--url", url, "--json"))), &log); err != nil {
		t.Fatal(err)
	}
	keyFile := putFile(t, filepath.Join(files, "auditor.key"), auditor+"\n")
	wantParts(t, second(run(t, 3, "check", url+"/logs/default", "--key", log.VKey)), "401")
	run(t, 0, "check", url+"/logs/default", "--key", log.VKey, "--token-file", keyFile)
	run(t, 0, "mirror", url+"/logs/default", filepath.Join(files, "copy"), "--key", log.VKey, "--token-file", keyFile, "--once")
	run(t, 0, "audit", url+"/logs/default", "--key", log.VKey, "--token-file", keyFile, "--state", filepath.Join(files, "state"), "--once")

	var list struct {
		Keys []struct{ ID, Principal string }
	}
	if err := json.Unmarshal([]byte(first(run(t, 0, "keys", "list", "--json", "--url", url, "--data", dir))), &list); err != nil {
		t.Fatal(err)
	}
	for _, k := range list.Keys {
		if k.Principal == "billing" {
			run(t, 0, "keys", "revoke", k.ID, "--url", url, "--data", dir)
		}
	}
	wantParts(t, second(run(t, 1, "append", "--url", url, "--token", key, one)), "not valid")
	wantParts(t, first(run(t, 0, "state", "--url", url, "--token", auditor)), "entries of the log system*admin*ann*billing*revoked*writer")
	wantParts(t, first(run(t, 0, "state", "--at", "1", "--url", url, "--token", auditor)), "after 2 entries*admin*admin")
	for _, bad := range []struct {
		status int
		args   []string
		says   string
	}{
		{2, []string{"keys", "create", "x", "--expires", "soon"}, "--expires*90d"},
		{2, []string{"keys", "create", "x", "--claim", "tenant"}, "NAME=VALUE"},
		{2, []string{"state", "--at", "x"}, "--at"},
		{1, []string{"grants", "add", "x", "owner", "default"}, "no role"},
		{1, []string{"grants", "add", "x", "reader", "default", "--filter", "type"}, "filter*at byte 0"},
		{1, []string{"grants", "remove", "aaaaaaaaaa"}, "no such thing"},
	} {
		wantParts(t, second(run(t, bad.status, append(bad.args, "--url", url, "--data", dir)...)), bad.says)
	}
	s.end(syscall.SIGTERM)
	wantParts(t, s.errs.String(), "the first key was made*admin.key")
	if text, err := os.ReadFile(filepath.Join(dir, "admin.key")); err != nil || strings.Contains(s.errs.String(), strings.TrimSpace(string(text))) {
		t.Errorf("the first key is in the log, or %v", err)
	}
}

func first(out, _ string) string  { return out }
func second(_, err string) string { return err }
