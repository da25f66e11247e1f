package event_test

import (
	"testing"
	"time"

	"github.com/stele-log/stele/pkg/event"
)

// small is a usual event of 311 bytes.
const small = `{"specversion":"1.0","id":"3f1d2c8a-0c53-4b8e-9f52-7f0b1d9d9a11","source":"//shop.example.com/orders",` +
	`"type":"com.example.order.placed","time":"2026-11-21T09:42:00.123Z","subject":"order/48151",` +
	`"datacontenttype":"application/json","data":{"customer":"c-2342","total":"149.90","currency":"EUR","items":[{"sku":"a"}]}}`

func BenchmarkParse(b *testing.B) {
	w := event.Sender{Name: "shop", Authenticated: true}
	for name, json := range map[string]string{
		"whole": small,
		"short": `{"type":"door.opened","data":{"door":7}}`,
	} {
		b.Run(name, func(b *testing.B) {
			body := []byte(json)
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				if _, err := event.Parse(body, w); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/parallel", func(b *testing.B) {
			body := []byte(json)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := event.Parse(body, w); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

func BenchmarkAppendEntry(b *testing.B) {
	e, err := event.Parse([]byte(small), event.Sender{Name: "shop", Authenticated: true})
	if err != nil {
		b.Fatal(err)
	}
	now := time.Now()
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = e.AppendEntry(dst[:0], now)
	}
}

func BenchmarkDecode(b *testing.B) {
	e, err := event.Parse([]byte(small), event.Sender{Name: "shop", Authenticated: true})
	if err != nil {
		b.Fatal(err)
	}
	entry := e.AppendEntry(nil, time.Now())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := event.Decode(entry); err != nil {
			b.Fatal(err)
		}
	}
}
