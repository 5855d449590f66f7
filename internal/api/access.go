package api

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// MinToken is the least length of the bearer token, in bytes.
const MinToken = 16

// Errors of starting the server.
var (
	// ErrNotLoopback: the TCP address can be reached from other machines.
	ErrNotLoopback = errors.New("address is not loopback")
	// ErrNoToken: TCP was asked for without a token, or with a short one.
	ErrNoToken = errors.New("token is missing or too short")
	// ErrSocketTaken: another process answers at the socket.
	ErrSocketTaken = errors.New("another process answers at the socket")
	// ErrSocketDir: other users could replace the socket.
	ErrSocketDir = errors.New("directory of the socket is writable by others")
)

// checkListen refuses every address that is not a literal loopback address:
// a name could resolve to something else tomorrow.
func checkListen(hostPort string) error {
	host, _, err := net.SplitHostPort(hostPort)
	if err != nil {
		return fmt.Errorf("listen %s: %w", hostPort, err)
	}
	if host == "localhost" {
		return nil
	}
	if ip, err := netip.ParseAddr(host); err != nil || !ip.Unmap().IsLoopback() {
		return fmt.Errorf("listen %s: %w", hostPort, ErrNotLoopback)
	}
	return nil
}

// guardTCP is the door of the TCP listener: the Host must be one of ours
// (against DNS rebinding), no request may come from another origin, and
// everything under /v1/ wants the token. The receiver of reports checks every
// message by itself, may stand behind a forwarder, and is no browser's
// business, so it is let through first.
func (s *Server) guardTCP(next http.Handler) http.Handler {
	cross := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == reportPath {
			next.ServeHTTP(w, r)
			return
		}
		if !s.hostAllowed(r.Host) {
			s.door.refuse(RefusedHost)
			writeProblem(w, Problem{Status: http.StatusForbidden, Message: "host is not served here"})
			return
		}
		if err := cross.Check(r); err != nil || r.Header.Get("Origin") != "" {
			s.door.refuse(RefusedOrigin)
			writeProblem(w, Problem{Status: http.StatusForbidden, Message: "requests of web pages are refused"})
			return
		}
		c, known := s.identify(r)
		if strings.HasPrefix(r.URL.Path, "/v1/") && !known {
			if !s.door.wrongToken(r.Context()) {
				w.Header().Set("Retry-After", "60")
				writeProblem(w, Problem{Status: http.StatusTooManyRequests, Message: "too many wrong tokens", Hint: "check --token-file, and try again in a minute"})
				return
			}
			w.Header().Set("WWW-Authenticate", `Bearer realm="pointsman"`)
			writeProblem(w, Problem{
				Status: http.StatusUnauthorized, Message: "token is missing or wrong",
				Hint: "give --token-file with the file that controller.token_file names",
			})
			return
		}
		if strings.HasPrefix(r.URL.Path, "/v1/") {
			shown(r.Context(), holder)
			withRole(next, c, w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Server) hostAllowed(host string) bool {
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		return false
	}
	if _, want, _ := net.SplitHostPort(s.addr); port != want {
		return false
	}
	listen, _, _ := net.SplitHostPort(s.cfg.Listen)
	return slices.Contains([]string{"localhost", "127.0.0.1", "::1", listen}, name)
}
