package replication

import (
	"net/http"
	"path"
)

// mortal is a connection of a process that may die at any request: before it is
// sent, or when it was carried out and nobody hears of it.
type mortal struct {
	next http.RoundTripper
	r    *Replicator
	who  string
}

func (m *mortal) RoundTrip(req *http.Request) (*http.Response, error) {
	point := m.who + "/" + path.Base(req.URL.Path)
	if err := m.r.fail(point + "/before"); err != nil {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, err
	}
	resp, err := m.next.RoundTrip(req)
	if dead := m.r.fail(point + "/after"); dead != nil {
		if err == nil {
			_ = resp.Body.Close()
		}
		return nil, dead
	}
	return resp, err
}
