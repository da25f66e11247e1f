package httpserver

// SetConnections sets the number of connections that a server has at a time.
func SetConnections(s *Server, n int) { s.fast.Concurrency = n }
