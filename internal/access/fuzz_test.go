package access_test

import (
	"strings"
	"testing"
)

// FuzzKey authenticates texts: only the key itself is good, and no error has a text in it.
func FuzzKey(f *testing.F) {
	c := open(f, newLog())
	_, good := key(f, c, "app", nil)
	for _, seed := range []string{good, strings.ToUpper(good), good + " ", "stele_", "a.b.c", "eyJhbGciOiJub25lIn0.eyJpc3MiOiJ4In0.", "stele_aaaaaaaaaa_\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := c.Authenticate(t.Context(), text)
		if (err == nil) != (text == good) {
			t.Fatalf("%q: %+v, %v", text, p, err)
		}
		if err != nil && len(text) > 20 && strings.Contains(err.Error(), text) {
			t.Errorf("the text is in the error: %v", err)
		}
		if id := c.Known(text); id != "" && !strings.HasPrefix(text, "stele_"+id+"_") {
			t.Errorf("the id of %q is %q", text, id)
		}
	})
}
