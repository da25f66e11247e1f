package storage

import "context"

// A Lane is the kind of work that a statement is part of. A driver gives each lane
// connections of its own, where they are limited, so that readers, however many, keep
// neither a log's writer nor its signer waiting.
type Lane int

const (
	Reading    Lane = iota // whatever is not one of the others
	Sequencing             // what writes to a log
	Publishing             // what signs its heads

	Lanes = iota // the number of lanes
)

// laneKey is the key of a context's lane.
type laneKey struct{}

// InLane returns a context whose statements are part of a kind of work.
func InLane(ctx context.Context, lane Lane) context.Context {
	return context.WithValue(ctx, laneKey{}, lane)
}

// LaneOf returns the kind of work that a context's statements are part of.
func LaneOf(ctx context.Context) Lane {
	lane, _ := ctx.Value(laneKey{}).(Lane)
	return lane
}
