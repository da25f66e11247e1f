package notefmt

import (
	"bytes"
	"errors"
)

// CheckBytes returns an error, in plain words, if another program has written a text again
// in its own way: as UTF-16, with a mark, or with other line ends. Whatever is signed or
// hashed must stay as it is, byte for byte.
func CheckBytes(text []byte) error {
	switch {
	case bytes.HasPrefix(text, []byte("\xff\xfe")), bytes.HasPrefix(text, []byte("\xfe\xff")):
		return errors.New(`it is UTF-16, as ">" in Windows PowerShell writes, and must be UTF-8`)
	case bytes.HasPrefix(text, []byte("\xef\xbb\xbf")):
		return errors.New("it begins with a byte order mark, and must have none")
	case bytes.Contains(text, []byte("\r\n")):
		return errors.New("its line ends are CR LF, as Windows has them, and must be LF")
	}
	return nil
}
