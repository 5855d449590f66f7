package tablestore

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Options say what there is at the start. The zero value is a usual one.
type Options struct {
	Listen      string     // address of the service, ip:port; 127.0.0.1:0 if empty
	TLSListen   string     // address of the service over TLS; 127.0.0.1:0 if empty and there are TLSNames, else none
	TLSNames    []string   // what its certificate is for, beside localhost and the loopback addresses
	Manage      string     // address of the management API; 127.0.0.1:0 if empty
	ManageToken string     // opens it; a random one if empty
	Instances   []Instance // several on one listener, told apart by header; one called lab if none
	Keys        []Key      // who may call; one is made if none
	Region      string     // what V4 signatures have to be made for; any region if empty
	DataDir     string     // where an acknowledged write survives kill -9; in memory if empty

	Control string           // address of the control API; 127.0.0.1:0 if empty
	Account string           // number of the account that owns all; 1234567890123456 if empty
	VPCs    []VPC            // networks that clients are in, by their addresses; a client in none is outside
	Policy  *PolicyRules     // DefaultPolicyRules if nil
	Globals *Globals         // what servers of one process share to have global tables; its own if nil
	Clock   func() time.Time // what policies and global tables come into force by; time.Now if nil

	// HeaderTimeout and BodyTimeout are how long a client may take for the head
	// and the body of a request, and AnswerTimeout how long to take a piece of
	// the answer, of which 4 MB may be one; 10 s, 15 s and 30 s if 0.
	HeaderTimeout time.Duration
	BodyTimeout   time.Duration
	AnswerTimeout time.Duration
	// Ready is how long a table is not ready after it was created; the service
	// takes seconds, this none if 0.
	Ready time.Duration
}

// Instance is a namespace of tables.
type Instance struct {
	Name    string `json:"name"`
	Region  string `json:"region,omitempty"` // that of the options, or cn-hangzhou, if empty
	Stopped bool   `json:"stopped"`          // calls are refused: the instance is not running
}

// Key is an access key.
type Key struct {
	ID        string    `json:"id"`
	Secret    string    `json:"secret"`
	Instances []string  `json:"instances,omitempty"` // which it may use; all if empty
	Disabled  bool      `json:"disabled,omitempty"`
	Token     string    `json:"token,omitempty"` // of temporary credentials: what every request has to bring
	Expires   time.Time `json:"expires,omitzero"`

	// Of a RAM user, who may do what the policy allows. Without one the key is
	// of the account itself.
	Policy *Policy `json:"policy,omitempty"`
	User   string  `json:"user,omitempty"` // name of the RAM user; the ID if empty
}

func (k *Key) mayUse(instance string) bool {
	return len(k.Instances) == 0 || slices.Contains(k.Instances, instance)
}

// Server is the whole of it. Safe for concurrent use.
type Server struct {
	opts        Options
	ctx         context.Context
	cancel      context.CancelFunc
	done        sync.WaitGroup // of all that runs
	doors       []*door        // of the service
	issuer      *issuer
	manage      *door
	manageToken string
	control     *door
	nonces      nonces // of the control API
	store       *store

	instances map[string]*instance // those of the options
	first     Key
	mu        sync.RWMutex // of keys
	keys      map[string]*access

	seen       history
	faults     faults
	offset     atomic.Int64 // of the clock, ns
	readyDelay atomic.Int64 // ns
	gate       gate

	policyRules atomic.Pointer[PolicyRules]
	globals     *Globals

	ending sync.Once
	ended  error
}

// New starts a server; it answers when New returns. Close ends it.
func New(opts Options) (*Server, error) {
	s, err := newStill(opts)
	if err != nil {
		return nil, fmt.Errorf("lab tablestore: %w", err)
	}
	if err := s.open(); err != nil {
		return nil, fmt.Errorf("lab tablestore: %w", errors.Join(err, s.Close()))
	}
	return s, nil
}

// newStill is a server that listens nowhere yet.
func newStill(opts Options) (*Server, error) {
	if len(opts.Instances) == 0 {
		opts.Instances = []Instance{{Name: "lab"}}
	}
	if len(opts.Keys) == 0 {
		opts.Keys = []Key{{ID: "LTAI" + random(8), Secret: random(15)}}
	}
	opts.HeaderTimeout = cmp.Or(opts.HeaderTimeout, 10*time.Second)
	opts.BodyTimeout = cmp.Or(opts.BodyTimeout, 15*time.Second)
	opts.AnswerTimeout = cmp.Or(opts.AnswerTimeout, 30*time.Second)
	s := &Server{opts: opts, instances: map[string]*instance{}, keys: map[string]*access{}, first: opts.Keys[0]}
	s.readyDelay.Store(int64(opts.Ready))
	s.ctx, s.cancel = context.WithCancel(context.Background())
	for _, k := range opts.Keys {
		if err := s.AddKey(k); err != nil {
			return nil, err
		}
	}
	for i, in := range opts.Instances {
		if err := in.validate(); err != nil {
			return nil, err
		}
		if slices.ContainsFunc(opts.Instances[:i], func(o Instance) bool { return o.Name == in.Name }) {
			return nil, fmt.Errorf("instance %s is given twice", in.Name)
		}
	}
	rules := DefaultPolicyRules()
	if opts.Policy != nil {
		rules = *opts.Policy
	}
	if err := s.SetPolicyRules(rules); err != nil {
		return nil, err
	}
	var err error
	if s.store, err = openStore(opts.DataDir); err != nil {
		return nil, err
	}
	for _, in := range opts.Instances {
		opened, err := s.store.openInstance(in.Name)
		if err == nil {
			err = opened.openGuard(cmp.Or(in.Region, opts.Region, defaultRegion), s.clock())
		}
		if err != nil {
			return nil, errors.Join(err, s.store.close())
		}
		opened.stopped.Store(in.Stopped)
		s.instances[in.Name] = opened
	}
	if s.globals = opts.Globals; s.globals == nil {
		s.globals = NewGlobals()
	}
	if err := s.globals.join(s); err != nil {
		return nil, errors.Join(err, s.store.close())
	}
	return s, nil
}

// validate checks a name: 3 to 16 letters, digits and hyphens, with a letter
// at the front and no hyphen at the end (naming conventions of Tablestore).
func (in Instance) validate() error {
	ok := len(in.Name) >= 3 && len(in.Name) <= 16 && in.Name[len(in.Name)-1] != '-'
	for i, c := range []byte(in.Name) {
		letter, digit := c|0x20 >= 'a' && c|0x20 <= 'z', c >= '0' && c <= '9'
		ok = ok && (letter || i > 0 && (digit || c == '-'))
	}
	if !ok {
		return fmt.Errorf("instance %q: 3 to 16 letters, digits and hyphens, a letter first, no hyphen last", clip(in.Name))
	}
	return nil
}

// open opens the doors.
func (s *Server) open() error {
	service := http.HandlerFunc(s.serve)
	d, err := s.newDoor(cmp.Or(s.opts.Listen, "127.0.0.1:0"), service, nil, &s.gate)
	if err != nil {
		return err
	}
	s.doors = append(s.doors, d)
	s.done.Go(s.endTransactions)
	if s.opts.TLSListen != "" || len(s.opts.TLSNames) > 0 {
		if s.issuer, err = newIssuer(s.opts.TLSNames); err != nil {
			return err
		}
		if d, err = s.newDoor(cmp.Or(s.opts.TLSListen, "127.0.0.1:0"), service, s.issuer.config(), &s.gate); err != nil {
			return err
		}
		s.doors = append(s.doors, d)
	}
	s.manageToken = cmp.Or(s.opts.ManageToken, random(16))
	if s.control, err = s.newDoor(cmp.Or(s.opts.Control, "127.0.0.1:0"), http.HandlerFunc(s.serveControl), nil, nil); err != nil {
		return err
	}
	s.manage, err = s.newDoor(cmp.Or(s.opts.Manage, "127.0.0.1:0"), s.manageHandler(), nil, nil)
	return err
}

// Address is host and port of the service.
func (s *Server) Address() string {
	if len(s.doors) == 0 {
		return ""
	}
	return s.doors[0].address
}

// Endpoint is what a client is given: http://host:port.
func (s *Server) Endpoint() string { return "http://" + s.Address() }

// Key is the first key of the options, or the one that was made.
func (s *Server) Key() Key { return s.first }

// Keys are the access keys of now.
func (s *Server) Keys() []Key {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make([]Key, 0, len(s.keys))
	for _, k := range s.keys {
		out = append(out, k.Key)
	}
	slices.SortFunc(out, func(a, b Key) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// AddKey lets one more key in, or replaces the one of its ID.
func (s *Server) AddKey(k Key) error {
	if k.ID == "" || k.Secret == "" {
		return errors.New("a key needs an ID and a secret")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys[k.ID] = &access{Key: k, signer: newSigner(k.Secret)}
	return nil
}

// RemoveKey takes a key away.
func (s *Server) RemoveKey(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keys[id] == nil {
		return fmt.Errorf("there is no key %s", clip(id))
	}
	delete(s.keys, id)
	return nil
}

func (s *Server) access(id string) *access {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.keys[id]
}

func (s *Server) instance(name string) *instance { return s.instances[name] }

// only is the instance of a name, or the only one where the name is empty.
func (s *Server) only(name string) (*instance, error) {
	if name == "" && len(s.instances) == 1 {
		for _, in := range s.instances {
			return in, nil
		}
	}
	if in := s.instances[name]; in != nil {
		return in, nil
	}
	if name == "" {
		return nil, errors.New("there are several instances: which one")
	}
	return nil, fmt.Errorf("there is no instance %s", clip(name))
}

// Instances are the instances and how they are.
func (s *Server) Instances() []Instance {
	out := make([]Instance, 0, len(s.instances))
	for _, in := range s.instances {
		out = append(out, Instance{Name: in.name, Region: in.guard.region, Stopped: in.stopped.Load()})
	}
	slices.SortFunc(out, func(a, b Instance) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// SetStopped stops an instance, or lets it run again. Calls of one that is
// stopped are refused; what it holds stays.
func (s *Server) SetStopped(name string, stopped bool) error {
	in, err := s.only(name)
	if err == nil {
		in.stopped.Store(stopped)
	}
	return err
}

// SetClockOffset moves the server's clock; above 0 it is fast. It is what
// requests are held against, and what dates answers and versions of cells.
func (s *Server) SetClockOffset(d time.Duration) { s.offset.Store(int64(d)) }

// SetReady sets how long tables are not ready after they were created.
func (s *Server) SetReady(d time.Duration) { s.readyDelay.Store(int64(d)) }

// clock is what policies and global tables come into force by.
func (s *Server) clock() time.Time {
	if s.opts.Clock != nil {
		return s.opts.Clock()
	}
	return time.Now()
}

// Close ends it and what it started, also the calls that hang. It may be
// called more than once.
func (s *Server) Close() error {
	s.ending.Do(func() { s.ended = s.end() })
	return s.ended
}

func (s *Server) end() error {
	s.cancel()
	s.gate.open()
	var err error
	for _, d := range append(slices.Clone(s.doors), s.control, s.manage) {
		if d != nil {
			err = errors.Join(err, d.close())
		}
	}
	s.done.Wait()
	s.globals.leave(s)
	if e := s.store.close(); e != nil {
		err = errors.Join(err, fmt.Errorf("close the store: %w", e))
	}
	return err
}

// quiet drops what an HTTP server says of connections that faults have cut.
type quiet struct{}

func (quiet) Write(p []byte) (int, error) { return len(p), nil }

var noLog = log.New(quiet{}, "", 0)

func random(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails, by its documentation
	return hex.EncodeToString(b)
}

// NewSecret makes a secret of a key.
func NewSecret() string { return random(15) }
