package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// ClusterConfig says what one cluster is and where it listens.
type ClusterConfig struct {
	Name   string         // who it is: X-Cluster, or the table that only it has
	Listen netip.AddrPort // for clients; the port must not be 0, for it is opened again after a fault
	Manage netip.AddrPort // for the management API
	Token  string         // bearer token of the management API
	Tables *TablesConfig  // a Tablestore instead of a web server
}

// Seen is one request that a cluster has answered, as its history keeps it.
type Seen struct {
	At     time.Time `json:"at"`
	Host   string    `json:"host"`
	Path   string    `json:"path"`
	Remote string    `json:"remote"`
	Status int       `json:"status"`
	Code   string    `json:"code,omitempty"`   // of an error of Tablestore; there Host is the instance
	Tables []string  `json:"tables,omitempty"` // that it was about
}

// historyLimit is how many requests a cluster remembers.
const historyLimit = 256

// service is what stands behind the port of a cluster. One at a time calls
// open, shut and turn.
type service interface {
	// open lets clients in, shut refuses them and cuts those who are in. Where
	// that is so already nothing is done.
	open() error
	shut() error
	// turn makes the knobs true, all but those of the port.
	turn(Knobs) error
	// requests is the history, oldest first.
	requests() []Seen
	// close ends it.
	close() error
}

// Cluster is one back end behind a port that can be closed: a web server
// (webService) or a Tablestore (tableService).
//
// Its management API, on a second address, has GET and PUT /knobs and GET
// /requests. Safe for concurrent use.
type Cluster struct {
	cfg     ClusterConfig
	manage  net.Listener
	service service
	changed chan struct{} // holds at most one token: the knobs were set

	turning sync.Mutex // of the service

	mu    sync.Mutex
	knobs Knobs
	since time.Time // when they were set: flapping begins here
}

// NewCluster binds the management address; the client port is bound by Run,
// according to the knobs.
func NewCluster(cfg ClusterConfig) (*Cluster, error) {
	if cfg.Name == "" || cfg.Listen.Port() == 0 || cfg.Token == "" {
		return nil, errors.New("a cluster needs a name, a port and a token")
	}
	if cfg.Tables != nil {
		if err := cfg.Tables.validate(); err != nil {
			return nil, fmt.Errorf("cluster %s: %w", cfg.Name, err)
		}
	}
	ln, err := net.Listen("tcp", cfg.Manage.String())
	if err != nil {
		return nil, fmt.Errorf("management API of cluster %s: %w", cfg.Name, err)
	}
	c := &Cluster{cfg: cfg, manage: ln, changed: make(chan struct{}, 1)}
	if cfg.Tables != nil {
		c.service = &tableService{name: cfg.Name, listen: cfg.Listen, cfg: *cfg.Tables}
	} else {
		c.service = &webService{name: cfg.Name, listen: cfg.Listen}
	}
	return c, nil
}

// ManageAddr is where the management API is bound.
func (c *Cluster) ManageAddr() netip.AddrPort {
	return c.manage.Addr().(*net.TCPAddr).AddrPort()
}

// Run serves until the context ends. A port that cannot be bound is an error.
// Who is answered by the management API may turn knobs: the service is open.
func (c *Cluster) Run(ctx context.Context) error {
	if _, err := c.door(); err != nil {
		return errors.Join(fmt.Errorf("cluster %s: %w", c.cfg.Name, err), c.manage.Close(), c.service.close())
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return serve(ctx, c.manage, c.manageHandler()) })
	g.Go(func() error { return c.keep(ctx) })
	return errors.Join(g.Wait(), c.service.close())
}

// keep opens and closes the client port as the knobs say.
func (c *Cluster) keep(ctx context.Context) error {
	for {
		until, err := c.door()
		if err != nil {
			return fmt.Errorf("port of cluster %s: %w", c.cfg.Name, err)
		}
		var next <-chan time.Time
		if !until.IsZero() {
			next = time.After(time.Until(until))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-c.changed:
		case <-next:
		}
	}
}

// door opens or closes the client port, and says until when that holds.
func (c *Cluster) door() (until time.Time, err error) {
	c.turning.Lock()
	defer c.turning.Unlock()
	c.mu.Lock()
	open, until := c.knobs.open(c.since, time.Now())
	c.mu.Unlock()
	if open {
		return until, c.service.open()
	}
	return until, c.service.shut()
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

// Set changes the knobs.
func (c *Cluster) Set(k Knobs) error {
	if err := k.Validate(); err != nil {
		return err
	}
	c.turning.Lock()
	defer c.turning.Unlock()
	if err := c.service.turn(k); err != nil {
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
	c.turning.Lock()
	defer c.turning.Unlock()
	return c.service.requests()
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
