package main

import (
	"context"
	"errors"
	"testing"

	"github.com/stele-log/stele/pkg/client"
)

func TestSendEndsWithItsContextWhileNothingComes(t *testing.T) {
	t.Parallel()
	c, err := client.New(client.Config{URL: "http://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	inputs := func(func(input) bool) {
		cancel()
		<-t.Context().Done()
	}
	err = send(ctx, c, inputs, func(in input, _ client.Result) { t.Errorf("reported %+v", in) })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
}
