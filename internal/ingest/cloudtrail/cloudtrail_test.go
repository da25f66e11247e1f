package cloudtrail_test

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stele-log/stele/internal/ingest"
	"github.com/stele-log/stele/internal/ingest/cloudtrail"
	"github.com/stele-log/stele/internal/test/ingesttest"
	"github.com/stele-log/stele/pkg/event"
)

const (
	record1 = `{"eventVersion":"1.08","userIdentity":{"type":"IAMUser","arn":"arn:aws:iam::111122223333:user/alex"},` +
		`"eventTime":"2026-11-21T09:42:00Z","eventSource":"s3.amazonaws.com","eventName":"GetObject","awsRegion":"eu-north-1",` +
		`"requestParameters":{"size": 1.0},"eventID":"e-1","recipientAccountId":"111122223333"}`
	record2 = `{"userIdentity":{"type":"AWSService","invokedBy":"x"},"eventTime":"2026-11-21T09:42:01Z",` +
		`"eventSource":"example.org","eventName":"Sync","eventID":"e-2"}`
	event1 = `{"specversion":"1.0","id":"e-1","source":"//cloudtrail.amazonaws.com/111122223333/eu-north-1",` +
		`"type":"com.amazonaws.s3.GetObject","subject":"arn:aws:iam::111122223333:user/alex","time":"2026-11-21T09:42:00Z",` +
		`"datacontenttype":"application/json","data":` + record1 + `}`
	event2 = `{"specversion":"1.0","id":"e-2","source":"//cloudtrail.amazonaws.com/-/-",` +
		`"type":"com.amazonaws.example.org.Sync","time":"2026-11-21T09:42:01Z","datacontenttype":"application/json","data":` + record2 + `}`
)

func TestCloudTrailRecordsBecomeEvents(t *testing.T) {
	t.Parallel()
	for name, file := range map[string]string{
		"as delivered":      `{"Records":[` + record1 + `,` + record2 + `]}`,
		"with white space":  " {\n \"Records\" : [ " + record1 + " , " + record2 + " ] }\n",
		"other members":     `{"Records":[` + record1 + `],"x":{"Records":[1]},"Records":[` + record2 + `]}`,
		"array":             `[` + record1 + `,` + record2 + `]`,
		"lines":             record1 + "\n" + record2 + "\n",
		"two files in one":  `{"Records":[` + record1 + `]}{"Records":[` + record2 + `]}`,
		"byte order mark":   "\ufeff" + `[` + record1 + `,` + record2 + `]`,
		"one after another": `[` + record1 + `]` + record2,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, r := range []io.Reader{strings.NewReader(file), ingesttest.Gzip(t, file)} {
				good, bad := ingesttest.Collect(cloudtrail.Read("f", r))
				if fmt.Sprint(good) != fmt.Sprint([]string{event1, event2}) || bad != nil {
					t.Errorf("got %s\n%v", strings.Join(good, "\n"), bad)
				}
			}
		})
	}
}

func TestRecordWithAnIDAndATimeIsKept(t *testing.T) {
	t.Parallel()
	for record, want := range map[string]string{ // the event's type
		`{"eventID":"i","eventTime":"2026-03-01T08:15:00Z","eventType":"AwsCloudTrailInsight",` +
			`"insightDetails":{"eventSource":"ec2.amazonaws.com","eventName":"RunInstances"}}`: "com.amazonaws.cloudtrail.AwsCloudTrailInsight",
		`{"eventID":"i","eventTime":"2026-03-01T08:15:00Z"}`:                                       "com.amazonaws.cloudtrail.record",
		`{"eventID":"i","eventTime":"2026-03-01T08:15:00Z","eventName":"Sync","eventType":"AwsX"}`: "com.amazonaws.cloudtrail.AwsX",
		`{"eventID":"i","eventTime":"2026-03-01T08:15:00Z","eventSource":"s3.amazonaws.com"}`:      "com.amazonaws.cloudtrail.record",
		`{"eventTime":"2026-03-01T08:15:00Z","eventSource":"s3.amazonaws.com","eventName":"Get"}`:  "",
		`{"eventID":"i","eventSource":"s3.amazonaws.com","eventName":"Get"}`:                       "",
	} {
		good, bad := ingesttest.Collect(cloudtrail.Read("f", strings.NewReader(record)))
		switch {
		case want == "" && len(bad) == 1:
		case len(good) == 1 && strings.Contains(good[0], `"type":"`+want+`"`) && strings.Contains(good[0], `"id":"i"`):
		default:
			t.Errorf("%s: %s %v, want type %q", record, good, bad, want)
		}
	}
}

func TestBadCloudTrailRecordIsNamed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		file string
		good int
		want []string
	}{
		"no file":        {"", 0, nil},
		"no records":     {`{"Records":[]}`, 0, nil},
		"not a record":   {`{"Records":[{"a":1},` + record1 + `,5]}`, 1, []string{"f: record 1: not a CloudTrail record: it has no eventID", "f: record 3: "}},
		"duplicate":      {`[{"a":1,"a":2,` + record1[1:] + `,` + record2 + `]`, 1, []string{"f: record 1: /a (byte 7): duplicate"}},
		"too large":      {`[{"a":"` + strings.Repeat("x", 70000) + `",` + record1[1:] + `,` + record2 + `]`, 1, []string{"f: record 1: too large"}},
		"bad time":       {`[` + strings.Replace(record1, "T09", " 09", 1) + `]`, 0, []string{"f: record 1: /time: not an RFC 3339 time"}},
		"broken":         {`{"Records":[` + record1 + `,{"a":`, 1, []string{"f: after record 1: "}},
		"no array":       {`{"Records":5}`, 0, []string{"f: after record 0: an object without"}},
		"record behind":  {`{"Records":[]}` + record1, 0, []string{"f: after record 0: an object without"}},
		"not JSON":       {`hello`, 0, []string{"f: after record 0: "}},
		"broken wrapper": {`{"Records":[` + record1 + `]`, 1, []string{"f: after record 1: "}},
		"endless record": {`["` + strings.Repeat("x", ingest.MaxRecord+70000) + `"]`, 0, []string{"f: after record 0: "}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			good, bad := ingesttest.Collect(cloudtrail.Read("f", strings.NewReader(c.file)))
			if len(good) != c.good || len(bad) != len(c.want) {
				t.Fatalf("%d good, errors %.500v", len(good), bad)
			}
			for i, w := range c.want {
				if !strings.HasPrefix(bad[i], w) {
					t.Errorf("error %.200s, want %s", bad[i], w)
				}
			}
		})
	}
}

func TestReadingCanStopEarly(t *testing.T) {
	t.Parallel()
	for range cloudtrail.Read("f", strings.NewReader(record1+record2+"x")) {
		break
	}
}

func FuzzCloudTrail(f *testing.F) {
	f.Add([]byte(`{"Records":[` + record1 + `,` + record2 + `]}`))
	f.Add([]byte(`[` + record1 + `]` + record2))
	f.Add([]byte(`{"Records":{},"Records":[1,{}],"x":[{}]} 5`))
	f.Fuzz(func(t *testing.T, file []byte) {
		for e, err := range cloudtrail.Read("f", bytes.NewReader(file)) {
			if (e == nil) != (err != nil) {
				t.Fatalf("event %s, error %v", e, err)
			}
			if err == nil {
				if _, err := event.Parse(e, event.Sender{Name: "w"}); err != nil {
					t.Fatalf("event %s: %v", e, err)
				}
			}
		}
	})
}
