package notefmt_test

import (
	"testing"

	"github.com/stele-log/stele/pkg/internal/notefmt"
)

func FuzzParseVKey(f *testing.F) {
	f.Add(notefmt.FormatVKey("log.example/one", notefmt.Ed25519, make([]byte, 32)))
	f.Add(notefmt.FormatVKey("w\u00e9", notefmt.CosignMLDSA, make([]byte, 1312)))
	f.Fuzz(func(t *testing.T, vkey string) {
		k, err := notefmt.ParseVKey(vkey)
		if err != nil {
			return
		}
		if got := notefmt.FormatVKey(k.Name, k.Type, k.Material); got != vkey {
			t.Fatalf("%q parses, and prints as %q", vkey, got)
		}
	})
}

func TestDecodeBase64HasOneSpelling(t *testing.T) {
	t.Parallel()
	if b, err := notefmt.DecodeBase64("AAE="); err != nil || string(b) != "\x00\x01" {
		t.Errorf("%x, %v", b, err)
	}
	for _, bad := range []string{"AAF=", "AAE", "AAE=\n", "A\rAE=", "AA_=", " AAE=", "AAE=="} {
		if b, err := notefmt.DecodeBase64(bad); err == nil {
			t.Errorf("%q is taken for %x", bad, b)
		}
	}
}

func TestParseSizeHasOneSpelling(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]uint64{"0": 0, "7": 7, "9223372036854775807": 1<<63 - 1} {
		if n, ok := notefmt.ParseSize(s); !ok || n != want {
			t.Errorf("%s is %d, %t", s, n, ok)
		}
	}
	for _, bad := range []string{"", "00", "07", "-0", "-1", "+7", " 7", "7 ", "0x7", "1_0", "9223372036854775808"} {
		if n, ok := notefmt.ParseSize(bad); ok {
			t.Errorf("%q is taken for %d", bad, n)
		}
	}
}
