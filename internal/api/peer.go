package api

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
)

// peerListener asks the kernel who connected and carries the answer as the
// remote address of the connection, which survives every wrapper around it.
type peerListener struct{ net.Listener }

func (l peerListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	uid, ok := peerUser(c)
	return peerConn{c, peer{uid, ok}}, nil
}

type peerConn struct {
	net.Conn
	peer peer
}

func (c peerConn) RemoteAddr() net.Addr { return c.peer }

// peer is the user at the other end of a Unix socket.
type peer struct {
	uid   uint32
	known bool
}

func (peer) Network() string  { return "unix" }
func (p peer) String() string { return fmt.Sprintf("uid %d", p.uid) }

type peerKey struct{}

func withPeer(ctx context.Context, c net.Conn) context.Context {
	if p, ok := c.RemoteAddr().(peer); ok && p.known {
		return context.WithValue(ctx, peerKey{}, p)
	}
	return ctx
}

// guardUnix lets in the user that runs the controller, and root.
func (s *Server) guardUnix(next http.Handler) http.Handler {
	own := uint32(os.Geteuid())
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p, ok := r.Context().Value(peerKey{}).(peer); !ok || p.uid != own && p.uid != 0 {
			writeProblem(w, Problem{
				Status: http.StatusForbidden, Message: "this user may not speak to the controller",
				Hint: "run the command as the user that runs the controller",
			})
			return
		}
		c := s.socketCaller()
		if r.Header.Get("Authorization") != "" {
			known := false
			if c, known = s.identify(r); !known {
				writeProblem(w, Problem{
					Status: http.StatusUnauthorized, Message: "token is wrong",
					Hint: "check --token-file; without one the socket is enough to look and to order",
				})
				return
			}
		}
		withRole(next, c, w, r)
	})
}

// signed adds to the name that a person gave what we know ourselves of the
// one who asks. A principal has the name of its token, whatever it says; what
// others say has no parentheses, lest it look like what we know.
func signed(r *http.Request, by string) string {
	c := callerOf(r)
	p, local := r.Context().Value(peerKey{}).(peer)
	switch {
	case c.name != "" && local:
		return fmt.Sprintf("%s (principal, %s)", c.name, p)
	case c.name != "":
		return fmt.Sprintf("%s (principal, from %s)", c.name, r.RemoteAddr)
	}
	by = strings.NewReplacer("(", "[", ")", "]").Replace(by)
	if local {
		return fmt.Sprintf("%s (%s)", by, p)
	}
	return fmt.Sprintf("%s (token, from %s)", by, r.RemoteAddr)
}
