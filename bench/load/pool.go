package load

import "context"

// A Pool is connections to one server, one a worker.
type Pool []*Conn

// DialPool opens n connections.
func DialPool(ctx context.Context, server string, n int) (Pool, error) {
	var p Pool
	for range n {
		c, err := Dial(ctx, server)
		if err != nil {
			p.Close()
			return nil, err
		}
		p = append(p, c)
	}
	return p, nil
}

// Close closes all connections.
func (p Pool) Close() {
	for _, c := range p {
		c.Close()
	}
}
