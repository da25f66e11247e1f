package postgres

import (
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/stele-log/stele/storage"
)

func (s *Store) Connections() storage.Connections { return connectionsOf(s.pool) }

func connectionsOf(pool *pgxpool.Pool) storage.Connections {
	stat := pool.Stat()
	return storage.Connections{
		InUse: int(stat.AcquiredConns() + stat.ConstructingConns()), Idle: int(stat.IdleConns()), Max: int(stat.MaxConns()),
		Waits: uint64(stat.EmptyAcquireCount()), Waited: stat.EmptyAcquireWaitTime(),
	}
}
