package postgres

import (
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/stele-log/stele/storage"
)

// Connections counts those of all lanes.
func (s *Store) Connections() (all storage.Connections) {
	conns, err := s.current()
	if err != nil {
		return all
	}
	for _, pool := range conns.lanes {
		all = all.Add(connectionsOf(pool))
	}
	return all
}

func connectionsOf(pool *pgxpool.Pool) storage.Connections {
	stat := pool.Stat()
	return storage.Connections{
		InUse: int(stat.AcquiredConns() + stat.ConstructingConns()), Idle: int(stat.IdleConns()), Max: int(stat.MaxConns()),
		Waits: uint64(stat.EmptyAcquireCount()), Waited: stat.EmptyAcquireWaitTime(),
	}
}
