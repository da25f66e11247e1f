// Package inorder does work in parallel and hands out its results in order.
//
// What always holds:
//   - at most a given number of results are under way or wait to be handed out,
//     so that memory is bounded however slow the consumer is;
//   - no goroutine outlives the loop over the results, however it ends.
package inorder

import (
	"context"
	"iter"
	"sync"
)

// Map calls f with each argument, up to n calls at once, and yields what they
// return in the order of the arguments. The first error ends it: f's, which
// comes with f's value and after all results before it, or that of the context.
// At the end of the loop the context that f was given is cancelled, and calls
// that are under way are waited for.
func Map[A, B any](ctx context.Context, n int, args iter.Seq[A], f func(context.Context, A) (B, error)) iter.Seq2[B, error] {
	return func(yield func(B, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		var calls sync.WaitGroup
		defer calls.Wait()
		defer cancel()
		type result struct {
			value B
			err   error
		}
		var ahead []chan result // oldest first
		handOut := func() bool {
			r := <-ahead[0]
			ahead = ahead[1:]
			if r.err == nil {
				r.err = ctx.Err() // f need not take notice
			}
			return yield(r.value, r.err) && r.err == nil
		}
		for a := range args {
			if len(ahead) == n && !handOut() {
				return
			}
			done := make(chan result, 1)
			ahead = append(ahead, done)
			calls.Go(func() {
				var r result
				r.value, r.err = f(ctx, a)
				done <- r
			})
		}
		for len(ahead) > 0 {
			if !handOut() {
				return
			}
		}
	}
}
