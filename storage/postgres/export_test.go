package postgres

// Session is what a connection is set up with, and Reads the statements that read a log,
// by what for.
var (
	Session = sqlSession
	Reads   = map[string]string{
		"chunks of a range": sqlChunks, "chunks of bundles": sqlChunksOf, "the newest head": sqlHead, "a page of heads": sqlHeads,
		"a tile": sqlTile, "a range of tiles": sqlTiles, "roots of tiles": sqlTileRoots,
		"the last checkpoint": sqlLastCheckpoint, "a page of checkpoints": sqlCheckpoints,
	}
)
