package witness_test

import (
	"strings"

	"github.com/stele-log/stele/pkg/tree"
)

// edited returns a good request from size 5 to 8 with a part replaced.
func edited(old, with string) func(*statusRig) string {
	return func(r *statusRig) string {
		body := r.log.request(r, r.honest, 5, 8)
		if !strings.Contains(body, old) {
			r.Errorf("the request has no %q to replace", old)
		}
		return strings.Replace(body, old, with, 1)
	}
}

// malformedCases are requests that cannot be understood, or are in another than
// the one spelling.
func malformedCases() []statusCase {
	const known = 5
	hash := tree.LeafHash(nil).String()
	return []statusCase{
		{"nothing", 0, func(*statusRig) string { return "" }, 400, "no empty line"},
		{"only line feeds", 0, func(*statusRig) string { return "\n\n\n" }, 400, "line 1"},
		{"no empty line before the checkpoint", known, edited("\n\n", "\n"), 400, ""},
		{"no old size", known, edited("old 5\n", ""), 400, "line 1"},
		{"another word than old", known, edited("old 5\n", "size 5\n"), 400, "line 1"},
		{"old size with a leading zero", known, edited("old 5\n", "old 05\n"), 400, "line 1"},
		{"old size with a plus", known, edited("old 5\n", "old +5\n"), 400, "line 1"},
		{"negative old size", known, edited("old 5\n", "old -5\n"), 400, "line 1"},
		{"old size with a space behind", known, edited("old 5\n", "old 5 \n"), 400, "line 1"},
		{"old size above 2^63-1", known, edited("old 5\n", "old 9223372036854775808\n"), 400, "line 1"},
		{"carriage return", known, edited("old 5\n", "old 5\r\n"), 400, "line 1"},
		{"line before the old size", known, edited("old 5\n", "\nold 5\n"), 400, "line 1"},
		{"hash that is too short", known, edited("old 5\n", "old 5\nAAAA\n"), 400, "line 2"},
		{"hash in URL base64", known, edited("old 5\n", "old 5\n"+strings.Repeat("_", 43)+"=\n"), 400, "line 2"},
		{"hash with trailing bits", known, edited("old 5\n", "old 5\n"+strings.Repeat("A", 42)+"B=\n"), 400, "line 2"},
		{"hash without padding", known, edited("old 5\n", "old 5\n"+strings.Repeat("A", 43)+"\n"), 400, "line 2"},
		{"more than 63 hashes", known, edited("old 5\n", "old 5\n"+strings.Repeat(hash+"\n", 63)), 400, "hashes, want at most 63"},
		{"two empty lines", known, edited("\n\n", "\n\n\n"), 400, "line 1"},
		{"checkpoint size with a leading zero", known, edited("\n8\n", "\n08\n"), 400, "line 2"},
		{"no checkpoint", known, func(*statusRig) string { return "old 5\n\n" }, 400, "checkpoint"},
		{"signature line twice", known, func(r *statusRig) string {
			lines := strangerLines(1, 64)
			return r.log.request(r, r.honest, 5, 8) + lines + lines
		}, 400, "two signatures by the key"},
		{"signature line of the log's twice", known, func(r *statusRig) string {
			body := r.log.request(r, r.honest, 5, 8)
			return body + body[strings.LastIndex(body, "— "):]
		}, 400, "two signatures by the key"},
		{"origin of 256 bytes, one of them a control character", known, unknownOrigin(strings.Repeat("o", 255) + "\r"), 400, ""},
		{"origin of 256 bytes, one of them not UTF-8", known, unknownOrigin(strings.Repeat("o", 255) + "\xff"), 400, ""},
		{"no origin", known, unknownOrigin(""), 400, "origin"},
		{"signature that is not base64", known, func(r *statusRig) string {
			return r.log.request(r, r.honest, 5, 8) + "— a.example AAAA*AAA\n"
		}, 400, "malformed"},
		{"102 signature lines", known, func(r *statusRig) string {
			return r.log.request(r, r.honest, 5, 8) + strangerLines(100, 64)
		}, 400, "malformed"},
		{"no signature", known, func(r *statusRig) string {
			body := r.log.request(r, r.honest, 5, 8)
			return body[:strings.LastIndex(body, "\n\n")+2]
		}, 400, ""},
		{"not ended by a line feed", known, func(r *statusRig) string {
			return strings.TrimSuffix(r.log.request(r, r.honest, 5, 8), "\n")
		}, 400, "malformed"},
	}

}
