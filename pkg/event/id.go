package event

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"time"
)

// NewID returns a UUID of version 7 in lower case, 36 characters with 74 random
// bits from crypto/rand. UUIDs of one server sort by the time at which they were
// made, to the millisecond, which keeps the keys of recent events together in an
// index.
//
// SPEC: RFC 9562 section 5.7.
func NewID() string {
	var u [16]byte
	rand.Read(u[6:])
	millis := uint64(time.Now().UnixMilli())
	binary.BigEndian.PutUint16(u[0:], uint16(millis>>32))
	binary.BigEndian.PutUint32(u[2:], uint32(millis))
	u[6] = 0x70 | u[6]&0x0f // version
	u[8] = 0x80 | u[8]&0x3f // variant
	return formatUUID(u)
}

func formatUUID(u [16]byte) string {
	var b [36]byte
	for i, part := range [...]struct{ at, from, to int }{{0, 0, 4}, {9, 4, 6}, {14, 6, 8}, {19, 8, 10}, {24, 10, 16}} {
		if i > 0 {
			b[part.at-1] = '-'
		}
		hex.Encode(b[part.at:], u[part.from:part.to])
	}
	return string(b[:])
}

// isUUID7 reports whether NewID could have returned s. In an entry, an id that
// stands among the server's attributes must be such a one.
func isUUID7(s string) bool {
	if len(s) != 36 || s[14] != '7' || s[19] < '8' || s[19] > 'b' || s[19] > '9' && s[19] < 'a' {
		return false
	}
	for i, c := range []byte(s) {
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if !isHex(c) || 'A' <= c && c <= 'F' {
				return false
			}
		}
	}
	return true
}
