package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// ClusterConfig says what one cluster is and where it listens.
type ClusterConfig struct {
	Name   string         // what it answers in X-Cluster
	Listen netip.AddrPort // for clients; the port must not be 0, for it is opened again after a fault
	Manage netip.AddrPort // for the management API
	Token  string         // bearer token of the management API
}

// Seen is one request that a cluster has answered, as its history keeps it.
type Seen struct {
	At     time.Time `json:"at"`
	Host   string    `json:"host"`
	Path   string    `json:"path"`
	Remote string    `json:"remote"`
	Status int       `json:"status"`
}

// historyLimit is how many requests a cluster remembers.
const historyLimit = 256

// Cluster is one HTTP back end. It answers / and /healthz with the header
// X-Cluster and a JSON body that says who answered and for which Host.
//
// Its management API, on a second address, has GET and PUT /knobs and GET
// /requests. Safe for concurrent use.
type Cluster struct {
	cfg     ClusterConfig
	manage  net.Listener
	changed chan struct{} // holds at most one token: the knobs were set

	mu    sync.Mutex
	knobs Knobs
	since time.Time // when they were set: flapping begins here
	seen  []Seen
	next  int // where the ring goes on once it is full
}

// NewCluster binds the management address; the client port is bound by Run,
// according to the knobs.
func NewCluster(cfg ClusterConfig) (*Cluster, error) {
	if cfg.Name == "" || cfg.Listen.Port() == 0 || cfg.Token == "" {
		return nil, errors.New("a cluster needs a name, a port and a token")
	}
	ln, err := net.Listen("tcp", cfg.Manage.String())
	if err != nil {
		return nil, fmt.Errorf("management API of cluster %s: %w", cfg.Name, err)
	}
	return &Cluster{cfg: cfg, manage: ln, changed: make(chan struct{}, 1)}, nil
}

// ManageAddr is where the management API is bound.
func (c *Cluster) ManageAddr() netip.AddrPort {
	return c.manage.Addr().(*net.TCPAddr).AddrPort()
}

// Run serves until the context ends. A port that cannot be bound is an error.
func (c *Cluster) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return serve(ctx, c.manage, c.manageHandler()) })
	g.Go(func() error { return c.door(ctx) })
	return g.Wait()
}

// door opens and closes the client port as the knobs say.
func (c *Cluster) door(ctx context.Context) error {
	for ctx.Err() == nil {
		c.mu.Lock()
		open, until := c.knobs.open(c.since, time.Now())
		c.mu.Unlock()
		if err := c.hold(ctx, open, until); err != nil {
			return err
		}
	}
	return nil
}

// hold keeps the port open or closed until the given time, the next change of
// knobs that matters to it, or the end of the context.
func (c *Cluster) hold(ctx context.Context, open bool, until time.Time) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if !until.IsZero() {
		ctx, cancel = context.WithDeadline(ctx, until)
		defer cancel()
	}
	var g errgroup.Group
	if open {
		ln, err := net.Listen("tcp", c.cfg.Listen.String())
		if err != nil {
			return fmt.Errorf("port of cluster %s: %w", c.cfg.Name, err)
		}
		g.Go(func() error {
			defer cancel()
			return serve(ctx, ln, http.HandlerFunc(c.answer))
		})
	}
	for wait := true; wait; {
		select {
		case <-ctx.Done():
			wait = false
		case <-c.changed:
			c.mu.Lock()
			same, _ := c.knobs.open(c.since, time.Now())
			flaps := c.knobs.FlapMS > 0
			c.mu.Unlock()
			wait = same == open && !flaps && until.IsZero()
		}
	}
	cancel()
	return g.Wait()
}

// serve runs one HTTP server on a listener until the context ends, and then
// cuts its connections, as a closed port does.
func serve(ctx context.Context, ln net.Listener, h http.Handler) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	srv := &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	var g errgroup.Group
	g.Go(func() error {
		<-ctx.Done()
		_ = srv.Close() // cutting connections is the purpose; what they say to it is not
		return nil
	})
	err := srv.Serve(ln)
	cancel()
	_ = g.Wait()
	if err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", ln.Addr(), err)
	}
	return nil
}

// answer is what clients and probes get.
func (c *Cluster) answer(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	k := c.knobs
	c.mu.Unlock()
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
	name := c.cfg.Name
	if k.Identity != "" {
		name = k.Identity
	}
	c.remember(Seen{At: time.Now(), Host: r.Host, Path: r.URL.Path, Remote: r.RemoteAddr, Status: status})
	w.Header().Set("X-Cluster", name)
	writeJSON(w, status, map[string]string{"cluster": name, "host": r.Host})
}

func (c *Cluster) remember(s Seen) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.seen) < historyLimit {
		c.seen = append(c.seen, s)
		return
	}
	c.seen[c.next] = s
	c.next = (c.next + 1) % historyLimit
}

// Set changes the knobs.
func (c *Cluster) Set(k Knobs) error {
	if err := k.Validate(); err != nil {
		return err
	}
	c.mu.Lock()
	c.knobs, c.since = k, time.Now()
	c.mu.Unlock()
	select {
	case c.changed <- struct{}{}:
	default:
	}
	return nil
}

// Requests returns the history, oldest first.
func (c *Cluster) Requests() []Seen {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append(append([]Seen{}, c.seen[c.next:]...), c.seen[:c.next]...)
}

func (c *Cluster) manageHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /knobs", func(w http.ResponseWriter, _ *http.Request) {
		c.mu.Lock()
		k := c.knobs
		c.mu.Unlock()
		writeJSON(w, http.StatusOK, k)
	})
	mux.HandleFunc("PUT /knobs", func(w http.ResponseWriter, r *http.Request) {
		var k Knobs
		err := readJSON(r.Body, &k)
		if err == nil {
			err = c.Set(k)
		}
		if err != nil {
			writeJSON(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
			return
		}
		writeJSON(w, http.StatusOK, k)
	})
	mux.HandleFunc("GET /requests", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, c.Requests())
	})
	return bearer(c.cfg.Token, mux)
}

// bearer lets only the holder of the token in, so that no web page in a
// browser on this machine can turn knobs.
func bearer(token string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+token {
			writeJSON(w, http.StatusUnauthorized, map[string]string{"error": "the token of lab.json is needed"})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// readJSON decodes one strict, small JSON value.
func readJSON(r io.Reader, into any) error {
	d := json.NewDecoder(io.LimitReader(r, 1<<20))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("read JSON: %w", err)
	}
	return nil
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the other side may be gone; nothing depends on it
}
