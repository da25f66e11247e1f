// Package cloudtrail reads what AWS CloudTrail delivers. What always holds is in
// package ingest.
package cloudtrail

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/url"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/stele-log/stele/internal/ingest"
)

// Read reads a file that AWS CloudTrail has delivered, called name in
// errors, and returns an event, or an error, for each record. It takes
// {"Records":[...]}, and records one after the other or in an array.
//
// The event's id is eventID, its source
// //cloudtrail.amazonaws.com/<recipientAccountId>/<awsRegion>, its type
// com.amazonaws.<service>.<eventName>, its time eventTime, its subject
// userIdentity.arn if there is one. A record that names no service or event of its
// own, such as an Insight, has the type com.amazonaws.cloudtrail.<eventType>. A
// record needs no more than an id and a time.
//
// See https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html
func Read(name string, r io.Reader) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		in, err := ingest.Open(r)
		if err != nil {
			yield(nil, fmt.Errorf("%s: %w", name, err))
			return
		}
		record := 0
		err = readRecords(in, func(value []byte) bool {
			record++
			event, err := toEvent(value)
			if err != nil {
				err = fmt.Errorf("%s: record %d: %w", name, record, err)
			}
			return yield(event, err)
		})
		if err != nil {
			yield(nil, fmt.Errorf("%s: after record %d: %w", name, record, err))
		}
	}
}

// errStop says that the caller wants no more.
var errStop = errors.New("stopped")

// readRecords calls f with each record, until that returns false.
func readRecords(in *bufio.Reader, f func(record []byte) bool) error {
	src := &meter{in: in}
	dec := jsontext.NewDecoder(src, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	read := func() error {
		src.read = 0
		v, err := dec.ReadValue()
		if err != nil {
			return err
		}
		if !f(v) {
			return errStop
		}
		return nil
	}
	wrapped := isWrapped(in)
	var err error
	for err == nil {
		switch kind := dec.PeekKind(); {
		case kind == jsontext.KindBeginObject && wrapped:
			err = readWrapped(dec, read)
		case kind == jsontext.KindBeginArray:
			err = readArray(dec, read)
		default:
			err = read()
		}
	}
	if errors.Is(err, io.EOF) || errors.Is(err, errStop) {
		return nil
	}
	return err
}

// isWrapped reports whether what comes is an object whose first member is
// Records, as CloudTrail writes its files.
func isWrapped(in *bufio.Reader) bool {
	head, _ := in.Peek(512)
	head, object := bytes.CutPrefix(bytes.TrimSpace(head), []byte{'{'})
	return object && bytes.HasPrefix(bytes.TrimSpace(head), []byte(`"Records"`))
}

// readWrapped calls read before each element of the arrays called Records in
// the object that comes next, of which there must be one, and skips its other
// members.
func readWrapped(dec *jsontext.Decoder, read func() error) error {
	found := false
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	for dec.PeekKind() != jsontext.KindEndObject {
		name, err := dec.ReadToken()
		if err != nil {
			return err
		}
		if name.String() == "Records" && dec.PeekKind() == jsontext.KindBeginArray {
			found, err = true, readArray(dec, read)
		} else {
			err = dec.SkipValue()
		}
		if err != nil {
			return err
		}
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	if !found {
		return errors.New("an object without an array of Records")
	}
	return nil
}

// readArray calls read before each element of the array that comes next.
func readArray(dec *jsontext.Decoder, read func() error) error {
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	for dec.PeekKind() != jsontext.KindEndArray {
		if err := read(); err != nil {
			return err
		}
	}
	_, err := dec.ReadToken()
	return err
}

// A meter keeps the decoder from holding a record that does not end.
type meter struct {
	in   io.Reader
	read int // since the last record
}

func (m *meter) Read(p []byte) (int, error) {
	if m.read > ingest.MaxRecord {
		return 0, fmt.Errorf("a record of more than %d bytes", ingest.MaxRecord)
	}
	n, err := m.in.Read(p[:min(len(p), ingest.MaxRecord+1-m.read)])
	m.read += n
	return n, err
}

// toEvent returns the event for one record.
func toEvent(record []byte) ([]byte, error) {
	var text [8]string
	for i, f := range [...]ingest.Field{
		{"eventID"}, {"eventTime"}, {"eventSource"}, {"eventName"}, {"awsRegion"}, {"recipientAccountId"},
		{"userIdentity", "arn"}, {"eventType"},
	} {
		var err error
		if text[i], err = f.Text(record); err != nil {
			return nil, err
		}
		if i < 2 && text[i] == "" {
			return nil, fmt.Errorf("not a CloudTrail record: it has no %s", f)
		}
	}
	service, name := strings.TrimSuffix(text[2], ".amazonaws.com"), text[3]
	if service == "" || name == "" {
		service, name = "cloudtrail", cmp.Or(text[7], "record")
	}
	account, region := cmp.Or(text[5], "-"), cmp.Or(text[4], "-")
	return ingest.Attributes{
		ID:      text[0],
		Time:    text[1],
		Source:  "//cloudtrail.amazonaws.com/" + url.PathEscape(account) + "/" + url.PathEscape(region),
		Type:    "com.amazonaws." + service + "." + name,
		Subject: text[6],
	}.Event(record)
}
