// Package events makes the events that are measured with: the same ones as JSON
// for logs and as columns for tables.
//
// Made-up events ([New]) have about 300 bytes and repeat themselves as real ones
// do: a few sources and types, thousands of actors, tens of thousands of
// subjects, times that advance, and fields that are random. Real ones
// ([CloudTrail]) have about 1.3 kB.
//
// A stream goes round a pool of events that were made before anything is
// measured, and gives each the id, and if it is made up the time, that make it
// new: this costs about a tenth of a microsecond. The pool is larger than anything that is
// compressed at once.
package events

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	mathrand "math/rand/v2"
	"time"
)

// poolSize is the number of made-up events that differ in more than id and time.
const poolSize = 1 << 15

// Every event begins with its id, and if it is made up with its time.
const (
	idStart   = `{"specversion":"1.0","id":"`
	timeStart = `","time":"`

	idAt       = len(idStart)
	idLen      = 36
	timeAt     = idAt + idLen + len(timeStart)
	timeFormat = "2006-01-02T15:04:05.000000Z"
)

// IDs says what the ids of a stream are.
type IDs int

// The kinds of ids.
const (
	UUIDv7 IDs = iota // by time: new ones sort behind all others
	UUIDv4            // random
)

// A Row is an event as the columns of a table. The payload is what has no
// column of its own.
type Row struct {
	ID      [16]byte
	Time    time.Time
	Actor   string
	Action  string
	Target  string
	Payload []byte // JSON
}

// A template is an event without its id and time.
type template struct {
	text []byte // has room for them
	row  Row    // Time is set if the event's time stays as it is
}

// A Stream makes events without end, no two with the same id, whatever other
// streams make. It is not safe for concurrent use.
type Stream struct {
	pool   []template
	next   int
	ids    IDs
	random *mathrand.ChaCha8
}

// New returns a stream of made-up events. All streams of a seed have the same
// pool.
func New(seed uint64, ids IDs) *Stream {
	return newStream(makePool(seed), ids)
}

// Fork returns another stream over the same pool.
func (s *Stream) Fork() *Stream {
	f := newStream(s.pool, s.ids)
	f.next = int(f.random.Uint64() % uint64(len(s.pool)))
	return f
}

func newStream(pool []template, ids IDs) *Stream {
	var seed [32]byte
	rand.Read(seed[:])
	return &Stream{pool: pool, ids: ids, random: mathrand.NewChaCha8(seed)}
}

// Lines appends n events as NDJSON.
func (s *Stream) Lines(dst []byte, n int) []byte {
	now := s.now()
	for range n {
		t := s.take()
		start := len(dst)
		dst = append(append(dst, t.text...), '\n')
		s.renew(dst[start:], t, now)
		now.micros++
	}
	return dst
}

// Rows fills rows with events.
func (s *Stream) Rows(rows []Row) {
	now := s.now()
	for i := range rows {
		t := s.take()
		rows[i] = t.row
		rows[i].ID = s.id(now.millis)
		if t.row.Time.IsZero() {
			rows[i].Time = now.time.Add(time.Duration(i) * time.Microsecond)
		}
	}
}

// Split returns the lines of NDJSON.
func Split(lines []byte) [][]byte {
	return bytes.Split(bytes.TrimSuffix(lines, []byte{'\n'}), []byte{'\n'})
}

func (s *Stream) take() *template {
	t := &s.pool[s.next]
	s.next = (s.next + 1) % len(s.pool)
	return t
}

// An instant is the time at which a batch of events is made.
type instant struct {
	time   time.Time
	millis uint64 // of Unix time
	second string // as text, up to the point
	micros int    // after it; the events of a batch are a microsecond apart
}

func (s *Stream) now() instant {
	now := time.Now().UTC()
	return instant{now, uint64(now.UnixMilli()), now.Format("2006-01-02T15:04:05."), now.Nanosecond() / 1000}
}

// renew gives the text of an event a new id and, if it is made up, the time.
func (s *Stream) renew(text []byte, t *template, now instant) {
	id := s.id(now.millis)
	at := text[idAt : idAt+idLen]
	hex.Encode(at[0:], id[0:4])
	hex.Encode(at[9:], id[4:6])
	hex.Encode(at[14:], id[6:8])
	hex.Encode(at[19:], id[8:10])
	hex.Encode(at[24:], id[10:16])
	if !t.row.Time.IsZero() {
		return
	}
	at = text[timeAt : timeAt+len(timeFormat)]
	at = at[copy(at, now.second):]
	micros := now.micros % 1_000_000
	for i := 5; i >= 0; i-- {
		at[i] = byte('0' + micros%10)
		micros /= 10
	}
}

// id returns a new UUID.
//
// SPEC: RFC 9562 sections 5.4 and 5.7.
func (s *Stream) id(millis uint64) [16]byte {
	var id [16]byte
	s.random.Read(id[:])
	version := byte(0x40)
	if s.ids == UUIDv7 {
		version = 0x70
		for i := range 6 {
			id[i] = byte(millis >> (40 - 8*i))
		}
	}
	id[6] = version | id[6]&0x0f
	id[8] = 0x80 | id[8]&0x3f
	return id
}

// makePool makes up events.
func makePool(seed uint64) []template {
	random := mathrand.New(mathrand.NewPCG(seed, seed))
	pool := make([]template, poolSize)
	for i := range pool {
		pool[i] = makeUp(random)
	}
	return pool
}

var (
	services = []string{"billing", "identity", "payroll", "records", "storage", "console"}
	objects  = []string{"invoice", "account", "role", "document", "payment", "report", "session", "policy"}
	verbs    = []string{"created", "read", "changed", "deleted", "approved"}
	agents   = []string{"web/7.2", "mobile/3.11", "cli/1.4", "service/2.0"}
)

func makeUp(random *mathrand.Rand) template {
	service := services[random.IntN(len(services))]
	object := objects[random.IntN(len(objects))]
	row := Row{
		Actor:  fmt.Sprintf("user-%04d", random.IntN(5000)),
		Action: "com.example." + object + "." + verbs[random.IntN(len(verbs))],
		Target: fmt.Sprintf("%s/%05d", object, random.IntN(50_000)),
	}
	details := fmt.Sprintf(`"ip":"10.%d.%d.%d","agent":"%s","session":"%08x","outcome":"ok"}`,
		random.IntN(4), random.IntN(256), random.IntN(256), agents[random.IntN(len(agents))], random.Uint32())
	source := "//" + service + ".example.com"
	row.Payload = fmt.Appendf(nil, `{"source":"%s",%s`, source, details)
	text := fmt.Appendf(nil, `%s%*s%s%*s","source":"%s","type":"%s","subject":"%s","data":{"actor":"%s",%s}`,
		idStart, idLen, "--------", timeStart, len(timeFormat), "Z", source, row.Action, row.Target, row.Actor, details)
	for _, at := range []int{8, 13, 18, 23} {
		text[idAt+at] = '-'
	}
	return template{text, row}
}
