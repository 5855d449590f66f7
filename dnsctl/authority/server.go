package authority

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"

	"pointsman/internal/failover"
)

// Server answers DNS queries from the records that were published to it. Use
// New; then Load, Listen and Run in this order.
type Server struct {
	view     atomic.Pointer[view]
	stats    counters
	gate     gate
	couriers couriers

	limiter *limiter     // of answers over UDP
	pacer   *limiter     // of transfers
	secret  CookieSecret // for cookies where the configuration has none

	reloading sync.Mutex // orders what replaces the view; taken before publishing
	// publishing orders publishers. Nobody who answers a question takes it; a
	// transfer does, for as long as it takes to note what every name shows.
	publishing sync.Mutex
	source     Source // with publishing: of Load; nil before
	published  uint64 // with publishing: publications and swaps of the view

	mu    sync.Mutex
	binds []*bind
}

// view is a configuration and the names it makes. All but what the nodes show
// and the serials is fixed; Reload and Load put another one in its place.
type view struct {
	cfg     Config // with its defaults
	tree    *tree
	targets map[failover.RecordName][]failover.Target
	keys    keyring
	quota   quota // of each name or class
	total   quota // of all answers to a network
	paces   paces
	jar     jar
}

// bind is one address with its two sockets.
type bind struct {
	addr netip.AddrPort
	udp  *udpConn
	tcp  *tcpListener
}

// New builds every name of the configuration. It opens nothing. The error
// wraps ErrConfig and every fault that Validate found.
func New(cfg Config) (*Server, error) {
	if errs := cfg.Validate(); len(errs) > 0 {
		return nil, fmt.Errorf("%w: %w", ErrConfig, errors.Join(errs...))
	}
	cfg = cfg.withDefaults()
	t, err := newTree(cfg.Zones, nil)
	if err == nil {
		err = t.packAll()
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	s := &Server{limiter: newLimiter(answerSets), pacer: newLimiter(transferSets)}
	_, _ = rand.Read(s.secret[:]) // it never fails
	v := s.newView(cfg, t)
	s.view.Store(v)
	s.couriers.set(s, v)
	return s, nil
}

// newView makes the view of a configuration. Keys that stay as they were in
// the view before it remember what was signed by them.
func (s *Server) newView(cfg Config, t *tree) *view {
	var before keyring
	if v := s.view.Load(); v != nil {
		before = v.keys
	}
	v := &view{
		cfg: cfg, tree: t, targets: make(map[failover.RecordName][]failover.Target), keys: newKeyring(cfg.Keys, before),
		paces: pacesOf(cfg.TransfersPerMinute), jar: jar(slices.Clone(cfg.Cookies.Secrets)),
	}
	v.quota, v.total = cfg.RateLimit.quotas()
	if len(v.jar) == 0 {
		v.jar = jar{s.secret}
	}
	for _, z := range cfg.Zones {
		for name, list := range z.Targets {
			v.targets[canonical(name)] = slices.Clone(list)
		}
	}
	return v
}

// Listen opens a UDP and a TCP socket for every configured address. On an
// error it has closed what it opened. Run closes the sockets.
func (s *Server) Listen() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.binds != nil {
		return errors.New("authority listens already")
	}
	var binds []*bind
	for _, l := range s.view.Load().cfg.Listen {
		b, err := s.bind(l)
		if err != nil {
			for _, b := range binds {
				b.close()
			}
			return fmt.Errorf("listen on %s: %w%s", l, err, hint(err))
		}
		binds = append(binds, b)
	}
	s.binds = binds
	return nil
}

func hint(err error) string {
	switch {
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return ": a port below 1024 needs the capability CAP_NET_BIND_SERVICE, or take a higher port"
	case errors.Is(err, syscall.EADDRINUSE):
		return ": another process has this port, see ss -ltunp; or take another port"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return ": no interface of this machine has this address"
	}
	return ""
}

// bind opens both sockets on one port. A free port for one may be taken for
// the other, so with port 0 several are tried.
func (s *Server) bind(listen string) (*bind, error) {
	ap, err := parseListen(listen)
	if err != nil {
		return nil, err
	}
	for attempt := 0; ; attempt++ {
		l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(ap))
		if err != nil {
			return nil, err
		}
		addr := l.Addr().(*net.TCPAddr).AddrPort()
		c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
		if err == nil {
			var u *udpConn
			if u, err = newUDPConn(s, c); err == nil {
				return &bind{addr: addr, udp: u, tcp: newTCPListener(s, l)}, nil
			}
			c.Close()
		}
		l.Close()
		if ap.Port() != 0 || attempt == 16 || !errors.Is(err, syscall.EADDRINUSE) {
			return nil, err
		}
	}
}

func (b *bind) close() {
	b.udp.Close()
	b.tcp.Close()
}

// Addrs returns the addresses in the order of the configuration, with the
// ports that were taken. It is empty before Listen.
func (s *Server) Addrs() []netip.AddrPort {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []netip.AddrPort
	for _, b := range s.binds {
		out = append(out, b.addr)
	}
	return out
}

// Run answers until ctx ends and then closes the sockets. It returns after
// everything that it started has ended; nil when it was ctx that ended it.
func (s *Server) Run(ctx context.Context) error {
	s.mu.Lock()
	binds := s.binds
	s.mu.Unlock()
	if binds == nil {
		return ErrNotListening
	}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { s.couriers.run(gctx); return nil })
	for _, b := range binds {
		hu := &handler{s: s, over: overUDP, done: b.udp.done}
		ht := &handler{s: s, over: overTCP}
		serve(gctx, g, hu.server(func(d *dns.Server) {
			d.PacketConn = b.udp
			d.DecorateReader = func(dns.Reader) dns.Reader { return b.udp }
		}), func() {})
		serve(gctx, g, ht.server(func(d *dns.Server) {
			d.Listener = b.tcp
			d.DecorateReader = func(dns.Reader) dns.Reader { return tcpReader{s} }
			d.MaxTCPQueries = -1 // the idle time and the caps bound a connection
		}), b.tcp.closeConns)
	}
	return g.Wait()
}

func (h *handler) server(set func(*dns.Server)) *dns.Server {
	d := &dns.Server{Handler: h, MsgAcceptFunc: h.screen, MsgInvalidFunc: h.malformed}
	set(d)
	return d
}

// serve runs one miekg/dns server and ends it with ctx.
func serve(ctx context.Context, g *errgroup.Group, d *dns.Server, closeConns func()) {
	started, ended := make(chan struct{}), make(chan struct{})
	d.NotifyStartedFunc = func() { close(started) }
	g.Go(func() error {
		defer close(ended)
		if err := d.ActivateAndServe(); err != nil && ctx.Err() == nil {
			return fmt.Errorf("serve DNS: %w", err)
		}
		return nil
	})
	g.Go(func() error {
		select {
		case <-started: // before it, Shutdown would find nothing to end
		case <-ended:
			return nil
		}
		<-ctx.Done()
		closeConns()
		if err := d.Shutdown(); err != nil {
			return fmt.Errorf("end serving DNS: %w", err)
		}
		return nil
	})
}
