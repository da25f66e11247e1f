package httpserver

// SetConnections sets the number of connections that a server has at a time. It
// returns what it was.
func SetConnections(s *Server, n int) (was int) {
	was, s.fast.Concurrency = s.fast.Concurrency, n
	return was
}
