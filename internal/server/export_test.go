package server

var SenderOf = senderOf

var NewAbsenceHandler = newAbsenceHandler

// AllIdle reports whether no connection has a request that is answered. That is so a
// moment after the last client has read its answer.
func (l *Listener) AllIdle() bool {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	for _, conns := range l.net.conns {
		for c := range conns {
			if c.idle.Load() == 0 {
				return false
			}
		}
	}
	return true
}
