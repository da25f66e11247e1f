package sqlite

import (
	"database/sql"

	"github.com/stele-log/stele/storage"
)

func (s *Store) Connections() storage.Connections {
	return connectionsOf(s.reader.db).Add(connectionsOf(s.writer.db))
}

func connectionsOf(db *sql.DB) storage.Connections {
	stat := db.Stats()
	return storage.Connections{InUse: stat.InUse, Idle: stat.Idle, Max: stat.MaxOpenConnections,
		Waits: uint64(stat.WaitCount), Waited: stat.WaitDuration}
}
