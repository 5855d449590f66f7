package lab

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// webService is a web server as a cluster. It answers / and /healthz with the
// header X-Cluster and a JSON body that says who answered and for which Host.
type webService struct {
	name   string
	listen netip.AddrPort

	end   context.CancelFunc // of the server; nil while the port is closed
	ended chan error

	mu    sync.Mutex
	knobs Knobs
	seen  []Seen
	next  int // where the ring goes on once it is full
}

func (s *webService) open() error {
	if s.end != nil {
		return nil
	}
	ln, err := net.Listen("tcp", s.listen.String())
	if err != nil {
		return err
	}
	var ctx context.Context
	ctx, s.end = context.WithCancel(context.Background())
	s.ended = make(chan error, 1)
	go func() { s.ended <- serve(ctx, ln, http.HandlerFunc(s.answer)) }()
	return nil
}

func (s *webService) shut() error {
	if s.end == nil {
		return nil
	}
	s.end()
	s.end = nil
	return <-s.ended
}

func (s *webService) close() error { return s.shut() }

func (s *webService) turn(k Knobs) error {
	if k.Refuse != "" || k.PartitionMS > 0 {
		return errors.New("a web server refuses nobody and has no partitions: those are knobs of Tablestore")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.knobs = k
	return nil
}

// answer is what clients and probes get.
func (s *webService) answer(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	k := s.knobs
	s.mu.Unlock()
	if k.SlowMS > 0 {
		t := time.NewTimer(time.Duration(k.SlowMS) * time.Millisecond)
		defer t.Stop()
		select {
		case <-t.C:
		case <-r.Context().Done():
			return
		}
	}
	status := http.StatusOK
	switch {
	case r.URL.Path != "/" && r.URL.Path != "/healthz":
		status = http.StatusNotFound
	case k.ErrorRate > 0 && rand.Float64() < k.ErrorRate:
		status = http.StatusServiceUnavailable
	}
	name := s.name
	if k.Identity != "" {
		name = k.Identity
	}
	s.remember(Seen{At: time.Now(), Host: r.Host, Path: r.URL.Path, Remote: r.RemoteAddr, Status: status})
	w.Header().Set("X-Cluster", name)
	writeJSON(w, status, map[string]string{"cluster": name, "host": r.Host})
}

func (s *webService) remember(one Seen) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.seen) < historyLimit {
		s.seen = append(s.seen, one)
		return
	}
	s.seen[s.next] = one
	s.next = (s.next + 1) % historyLimit
}

func (s *webService) requests() []Seen {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append(append([]Seen{}, s.seen[s.next:]...), s.seen[:s.next]...)
}
