package api

import (
	"context"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// standing says what a connection has shown of itself, the most last.
type standing int

const (
	stranger standing = iota // nothing yet
	holder                   // the token
	reporter                 // a report with a right signature
)

// leastStay is how long a connection is let be at the least, so that whoever
// comes in a crowd has the time to show what it is; and so that a crowd that
// comes again and again is let in at a bounded rate.
const leastStay = 100 * time.Millisecond

// lobby is a listener that bounds the open connections. When it is full, the
// oldest of those that have shown the least makes room for a new one: slow or
// silent connections keep nobody out, and least of all reports, on which
// decisions rest.
type lobby struct {
	net.Listener
	most   int
	refuse func(reason string)

	freed  chan struct{} // holds a token after somebody left
	closed chan struct{}
	once   sync.Once

	mu     sync.Mutex
	guests []*guest // in the order of their coming
}

// guest is an open connection.
type guest struct {
	net.Conn
	lobby *lobby
	came  time.Time
	is    standing // guarded by the lobby's lock
	leave sync.Once
}

func newLobby(l net.Listener, most int, refuse func(string)) *lobby {
	return &lobby{Listener: l, most: most, refuse: refuse, freed: make(chan struct{}, 1), closed: make(chan struct{})}
}

// Accept lets the next one in (net.Listener). While nobody can make room, one
// connection waits in hand and the others wait in the kernel.
func (l *lobby) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	g := &guest{Conn: c, lobby: l}
	for {
		wait, ok := l.enter(g, time.Now())
		if ok {
			return g, nil
		}
		t := time.NewTimer(wait)
		select {
		case <-l.freed:
		case <-t.C:
		case <-l.closed:
			t.Stop()
			_ = c.Close()
			return nil, net.ErrClosed
		}
		t.Stop()
	}
}

// enter lets g in, sends somebody else away for it where it must, or says how
// long it is until somebody may be sent away.
func (l *lobby) enter(g *guest, now time.Time) (wait time.Duration, ok bool) {
	l.mu.Lock()
	var out *guest
	if len(l.guests) >= l.most {
		out = l.leastLocked()
		if wait = leastStay - now.Sub(out.came); wait > 0 {
			l.mu.Unlock()
			return wait, false
		}
		l.guests = slices.DeleteFunc(l.guests, func(x *guest) bool { return x == out })
	}
	g.came = now
	l.guests = append(l.guests, g)
	l.mu.Unlock()
	if out != nil {
		l.refuse(RefusedCrowded)
		_ = out.Close()
	}
	return 0, true
}

// leastLocked is the oldest of those that have shown the least.
func (l *lobby) leastLocked() *guest {
	return slices.MinFunc(l.guests, func(a, b *guest) int { return int(a.is - b.is) }) // the first of equals
}

// Close ends Accept (net.Listener).
func (l *lobby) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// Close leaves the lobby (net.Conn).
func (g *guest) Close() error {
	g.leave.Do(func() {
		l := g.lobby
		l.mu.Lock()
		l.guests = slices.DeleteFunc(l.guests, func(x *guest) bool { return x == g })
		l.mu.Unlock()
		select {
		case l.freed <- struct{}{}:
		default:
		}
	})
	return g.Conn.Close()
}

// rise notes what the connection has shown.
func (g *guest) rise(to standing) {
	g.lobby.mu.Lock()
	defer g.lobby.mu.Unlock()
	g.is = max(g.is, to)
}

type guestKey struct{}

func withGuest(ctx context.Context, c net.Conn) context.Context {
	if g, ok := c.(*guest); ok {
		return context.WithValue(ctx, guestKey{}, g)
	}
	return ctx
}

// shown notes what the connection of a request has shown.
func shown(ctx context.Context, what standing) {
	if g, ok := ctx.Value(guestKey{}).(*guest); ok {
		g.rise(what)
	}
}

// knowReporters notes the connections over which reports are taken.
func knowReporters(receive http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		receive.ServeHTTP(s, r)
		if s.status/100 == 2 {
			shown(r.Context(), reporter)
		}
	})
}

// statusWriter remembers the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (s *statusWriter) WriteHeader(status int) {
	s.status = status
	s.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (s *statusWriter) Unwrap() http.ResponseWriter { return s.ResponseWriter }
