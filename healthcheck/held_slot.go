package healthcheck

import (
	"context"
	"net"
	"sync"
	"time"
)

// slot is whether a place at the target is taken by our own held connection.
// A server that serves one connection at a time may then turn probes away.
type slot struct {
	grace time.Duration // after we let go, until the server surely knows

	mu     sync.Mutex
	taken  bool
	let    bool // go, by the scheduler
	guilty bool // and what came next was answered
	conn   *net.TCPConn
	cancel context.CancelFunc
	clean  time.Time // from when on a probe that is sent meets a free place
}

// take begins before the connection does: dialling may take the place too.
func (s *slot) take(cancel context.CancelFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken, s.let, s.guilty, s.conn, s.cancel = true, false, false, nil, cancel
}

// fill notes the connection; false when it was let go meanwhile.
func (s *slot) fill(c *net.TCPConn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn = c
	return !s.let
}

func (s *slot) released() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.let
}

// free ends it. Some servers take a moment to notice.
func (s *slot) free(now time.Time, grace time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken, s.conn, s.cancel = false, nil, nil
	s.clean = later(s.clean, now.Add(grace))
}

// release gives the place back at once, in favour of the probes.
func (s *slot) release(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.taken || s.let {
		return
	}
	s.let, s.clean = true, now.Add(s.grace)
	if s.conn != nil {
		drop(s.conn)
	}
	s.cancel()
}

// occupied says whether a probe that was sent then, and has ended now, may
// have met a place that our own connection held.
func (s *slot) occupied(sent time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.taken && !s.let || sent.Before(s.clean)
}

// cleanFrom is from when on a probe meets a free place.
func (s *slot) cleanFrom() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clean
}

// blame says that probes failed only while a connection was held.
func (s *slot) blame() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.guilty = true
}

// blamed says so once.
func (s *slot) blamed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	guilty := s.guilty
	s.guilty = false
	return guilty
}
