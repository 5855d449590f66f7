package api

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/net/netutil"
	"golang.org/x/sync/errgroup"
)

// Config says where the server listens and whom it asks. Everything but
// Listen, Token, Principals, Secondaries, Names, Reloads, Notices, HealthReports,
// Hooks, Replication, Metrics, Report, ErrorLog and OnWrongToken is needed.
type Config struct {
	Socket string // path of the Unix socket, at most 107 bytes (unix(7))
	Listen string // host:port on loopback, or empty; port 0 is any
	Token  []byte // needed with Listen, at least MinToken bytes

	Principals []Principal // with tokens of their own, over TCP and the socket

	Instances Instances
	Decisions Decisions
	Audit     Audit
	History   History
	Probes    Probes
	Health    Health
	Version   Version

	Secondaries   Secondaries   // nil: there are none
	Names         Names         // how the world answers; nil: nobody asks it
	Reloads       Reloads       // of the configuration; nil: there are none
	Notices       Notices       // channels to people; nil: there are none
	Metrics       http.Handler  // mounted at /metrics
	Report        http.Handler  // mounted at /v1/report; authenticates every message itself
	ErrorLog      *log.Logger   // faults of connections; nil drops them
	HealthReports HealthReports // nil: none are made
	Hooks         Hooks         // nil: in shadow
	Replication   Replication   // nil: of no instance

	// OnWrongToken is told how many wrong tokens came over TCP since it was
	// told last: at the first and then at most once a minute. It must not block.
	OnWrongToken func(wrong uint64)
}

const (
	maxConns      = 256              // open connections for each listener
	headerTimeout = 5 * time.Second  // to send the headers
	readTimeout   = 15 * time.Second // to send the whole request
	writeTimeout  = 60 * time.Second // to take the answer; a watch renews it
	idleTimeout   = 2 * time.Minute
	maxHeader     = 16 << 10
	stopTimeout   = 2 * time.Second // for requests in hand when Run ends
)

// Server answers the API. Make one by New.
type Server struct {
	cfg     Config
	unix    net.Listener
	tcp     net.Listener
	addr    string // of the TCP listener
	token   atomic.Pointer[[]byte]
	people  atomic.Pointer[[]knownToken]
	closing chan struct{}
	door    *door
	looking chan struct{} // places of those who look anew at names
}

// New binds the socket and, where configured, the TCP address. On success the
// caller must call Run, which closes both. Errors: ErrNotLoopback, ErrNoToken,
// ErrSocketTaken, ErrSocketDir, or what the system says.
func New(cfg Config) (*Server, error) {
	if cfg.Instances == nil || cfg.Decisions == nil || cfg.Audit == nil || cfg.History == nil || cfg.Probes == nil || cfg.Health == nil {
		panic("api: a needed part of Config is nil")
	}
	if cfg.ErrorLog == nil {
		cfg.ErrorLog = log.New(nowhere{}, "", 0)
	}
	s := &Server{cfg: cfg, closing: make(chan struct{}), door: newDoor(cfg.OnWrongToken), looking: make(chan struct{}, maxLooking)}
	token := slices.Clone(cfg.Token)
	s.token.Store(&token)
	if err := s.SetPrincipals(cfg.Principals); err != nil {
		return nil, err
	}
	if cfg.Listen != "" {
		if err := checkListen(cfg.Listen); err != nil {
			return nil, err
		}
		if len(cfg.Token) < MinToken {
			return nil, fmt.Errorf("listen %s: %w (at least %d bytes)", cfg.Listen, ErrNoToken, MinToken)
		}
	}
	var err error
	if s.unix, err = listenSocket(cfg.Socket); err != nil {
		return nil, err
	}
	if cfg.Listen != "" {
		if s.tcp, err = net.Listen("tcp", cfg.Listen); err != nil {
			_ = s.unix.Close()
			return nil, fmt.Errorf("listen for the API: %w", err)
		}
		s.addr = s.tcp.Addr().String()
	}
	return s, nil
}

// Addr is the TCP address with its real port, or empty.
func (s *Server) Addr() string { return s.addr }

// Refused counts the requests over TCP that were turned away, by reason.
func (s *Server) Refused() map[string]uint64 { return s.door.stats() }

// Run serves until ctx ends, gives requests in hand a moment, and returns
// after everything it started has ended. The error is nil when ctx ended it.
func (s *Server) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	mux := s.routes()
	unix := s.httpServer(s.guardUnix(mux))
	unix.ConnContext = withPeer
	servers := []*http.Server{unix}
	g.Go(func() error { return serve(unix, netutil.LimitListener(peerListener{s.unix}, maxConns)) })
	if s.tcp != nil {
		tcp := s.httpServer(s.guardTCP(mux))
		tcp.ConnContext = withGuest
		servers = append(servers, tcp)
		g.Go(func() error { return serve(tcp, newLobby(s.tcp, maxConns, s.door.refuse)) })
	}
	g.Go(func() error {
		<-ctx.Done()
		close(s.closing) // ends every watch
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		for _, srv := range servers {
			if err := srv.Shutdown(last); err != nil {
				_ = srv.Close()
			}
		}
		return nil
	})
	return g.Wait()
}

func (s *Server) httpServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ErrorLog: s.cfg.ErrorLog,
		ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
	}
}

func serve(srv *http.Server, l net.Listener) error {
	err := srv.Serve(l)
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve the API: %w", err)
}

// listenSocket binds a Unix socket that only its owner can open. A socket
// that a dead process left behind is replaced; one that answers is not.
func listenSocket(path string) (net.Listener, error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make directory of the socket: %w", err)
	}
	if fi, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("look at directory of the socket: %w", err)
	} else if fi.Mode().Perm()&0o022 != 0 {
		return nil, fmt.Errorf("socket %s: %w (mode %#o)", path, ErrSocketDir, fi.Mode().Perm())
	}
	if fi, err := os.Lstat(path); err == nil {
		if fi.Mode()&os.ModeSocket == 0 {
			return nil, fmt.Errorf("socket %s: something else stands there", path)
		}
		if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
			_ = c.Close()
			return nil, fmt.Errorf("socket %s: %w", path, ErrSocketTaken)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("remove old socket: %w", err)
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen for the API: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("close socket to others: %w", err)
	}
	return l, nil
}

type nowhere struct{}

func (nowhere) Write(p []byte) (int, error) { return len(p), nil }
