package alicloud

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Options say what there is at the start. The zero value is a usual one.
type Options struct {
	Listen      string // address of the API, ip:port; 127.0.0.1:0 if empty
	Manage      string // address of the management API; 127.0.0.1:0 if empty
	ManageToken string // opens it; a random one if empty
	Account     string // number of the account that owns all; 1234567890123456 if empty
	Keys        []Key  // who may call; one that may do everything is made if empty
	Roles       []Role // what may be assumed

	// DNS. Two authorities without delay if nil; an empty list is none.
	Authorities []Authority
	Subnets     []Subnet // who is on which line; the longest prefix counts, and who is in none is on default
	NameServers []string // the names of the authorities in NS, SOA and the API; those of the vendor if empty
	VPCs        []VPC    // networks that private zones can be bound to

	// ConflictTXT refuses a CNAME beside a TXT record below the apex, and the
	// other way round. The public tables of conflicts do not say; off allows it.
	ConflictTXT bool
	// AnyRemark takes remarks that the vendor would refuse for their length or
	// their characters.
	AnyRemark bool
	// NoQuota lets calls through that come faster than the vendor lets them.
	NoQuota bool
	// Rates are calls a second of an action, in place of the vendor's.
	Rates map[string]float64
}

// Key is an access key: of the account itself, or, with a policy, of a RAM
// user who may do what the policy allows.
type Key struct {
	ID       string  `json:"id"`
	Secret   string  `json:"secret"`
	User     string  `json:"user,omitempty"` // its owner in RAM; empty for the account itself
	Policy   *Policy `json:"policy,omitempty"`
	Inactive bool    `json:"inactive,omitempty"`

	// Of temporary credentials; STS makes these.
	Token   string    `json:"token,omitempty"`
	Expires time.Time `json:"expires,omitzero"`
}

type key struct {
	Key
	role    string  // the role that was assumed
	session *Policy // what it was narrowed to when it was assumed
}

// Server is the whole of it. Safe for concurrent use.
type Server struct {
	opts        Options
	ctx         context.Context
	cancel      context.CancelFunc
	done        sync.WaitGroup
	ln          net.Listener
	tlsLn       net.Listener
	proxyLn     net.Listener
	issuer      *issuer
	manageLn    net.Listener
	manageToken string
	servers     []*http.Server

	authorities []*authority
	vpcs        []*vpc

	open atomic.Int64 // connections of HTTP

	mu      sync.Mutex
	clock   func() time.Time
	keys    map[string]*key
	first   Key
	zones   []*zone
	serial  int64
	nonces  map[string]time.Time
	tidyAt  int // how many nonces are too many
	buckets map[string]*bucket
	faults  []*Pending
	faultID int
	offset  time.Duration
	stale   time.Duration
	loose   bool
	seen    []Request
	dropped int
}

// New starts a server; it answers when New returns. Close ends it.
func New(o Options) (*Server, error) {
	s, err := newStill(o)
	if err != nil {
		return nil, err
	}
	if s.ln, err = net.Listen("tcp", cmp.Or(o.Listen, "127.0.0.1:0")); err != nil {
		s.Close()
		return nil, fmt.Errorf("lab cloud: %w", err)
	}
	s.serve(s.ln, http.HandlerFunc(s.answer))
	for _, start := range []func() error{s.startFront, s.startDNS, s.startManage} {
		if err := start(); err != nil {
			s.Close()
			return nil, fmt.Errorf("lab cloud: %w", err)
		}
	}
	return s, nil
}

// newStill is a server that listens nowhere yet.
func newStill(o Options) (*Server, error) {
	s := &Server{opts: o, clock: time.Now, keys: map[string]*key{}, nonces: map[string]time.Time{}, buckets: map[string]*bucket{}}
	s.opts.Account = cmp.Or(o.Account, "1234567890123456")
	for _, r := range o.Roles {
		if err := r.Policy.validate(); err != nil {
			return nil, fmt.Errorf("policy of role %s: %w", r.Name, err)
		}
	}
	if len(o.Keys) == 0 {
		o.Keys = []Key{{ID: "LTAI5t" + random(9), Secret: random(15)}}
	}
	for _, k := range o.Keys {
		if err := s.AddKey(k); err != nil {
			return nil, err
		}
	}
	s.first = o.Keys[0]
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// serve answers on a listener until Close.
func (s *Server) serve(ln net.Listener, h http.Handler) {
	srv := &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: maxHeader,
		BaseContext: func(net.Listener) context.Context { return s.ctx },
		ErrorLog:    log.New(quiet{}, "", 0),
		// Close of an http.Server does not wait for its connections; ours does.
		ConnState: func(_ net.Conn, st http.ConnState) {
			switch st {
			case http.StateNew:
				s.done.Add(1)
				s.open.Add(1)
			case http.StateClosed, http.StateHijacked:
				s.open.Add(-1)
				s.done.Done()
			}
		},
	}
	s.servers = append(s.servers, srv)
	s.done.Go(func() { _ = srv.Serve(ln) })
}

// quiet drops what an HTTP server says of connections that faults have cut.
type quiet struct{}

func (quiet) Write(p []byte) (int, error) { return len(p), nil }

// Close ends everything, also the calls that hang, and waits for it.
func (s *Server) Close() {
	s.cancel()
	for _, srv := range s.servers {
		_ = srv.Close()
	}
	for _, a := range s.authorities {
		closeDNS(a.servers)
	}
	for _, v := range s.vpcs {
		closeDNS(v.servers)
	}
	s.done.Wait()
}

// Endpoint is host and port of the API over plain HTTP.
func (s *Server) Endpoint() string { return s.ln.Addr().String() }

// Connections are those that clients hold open at the HTTP ports. Where a client
// has closed all of its own and none is left, nothing that it sent, and nobody
// waits for any more, can still take effect.
func (s *Server) Connections() int { return int(s.open.Load()) }

// Key is the first key of the options, or the one that was made.
func (s *Server) Key() Key { return s.first }

// AddKey lets one more key in, or replaces the one of its ID.
func (s *Server) AddKey(k Key) error {
	if k.ID == "" || k.Secret == "" {
		return errors.New("a key needs an ID and a secret")
	}
	if err := k.Policy.validate(); err != nil {
		return fmt.Errorf("policy of key %s: %w", k.ID, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys[k.ID] = &key{Key: k}
	return nil
}

// SetClockOffset moves the clock that requests are held against; above 0 it is
// fast. Requests off by more than 15 minutes are refused.
func (s *Server) SetClockOffset(d time.Duration) { s.set(func() { s.offset = d }) }

// SetStale lets all reads of the API show zones as they were that long ago.
func (s *Server) SetStale(d time.Duration) { s.set(func() { s.stale = d }) }

// SetLoose answers numbers as strings and null where there is nothing, which
// clients have to bear as well.
func (s *Server) SetLoose(on bool) { s.set(func() { s.loose = on }) }

func (s *Server) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *Server) now() time.Time { return s.clock() }

// wall is the time of day as this server believes it.
func (s *Server) wall() time.Time { return s.now().Add(s.offset) }

// longestDelay is how far back somebody may still look.
func (s *Server) longestDelay() time.Duration {
	d := max(time.Second, s.stale)
	for _, a := range s.authorities {
		d = max(d, a.Delay)
		if a.Frozen {
			d = max(d, s.now().Sub(a.frozenAt))
		}
	}
	return d
}

// product is one API of the vendor.
type product struct {
	name    string
	host    string
	version string
	private bool // whether its zones are those of PrivateZone
	actions map[string]action
}

// action is one operation of an API.
type action struct {
	needs []string // parameters that must be there
	write bool
	do    func(*call) (obj, *apiError)
}

// call is one request that is who it says.
type call struct {
	s         *Server
	product   product
	action    string
	params    map[string]string
	key       *key
	client    string // its IP address
	requestID string
	fault     *Fault
}

// answer is the handler of the APIs.
func (s *Server) answer(w http.ResponseWriter, r *http.Request) {
	seen := Request{At: time.Now(), Method: r.Method, TLS: r.TLS != nil, UserAgent: clip(r.UserAgent()), RequestID: requestID()}
	seen.Client, _, _ = net.SplitHostPort(r.RemoteAddr)
	in, c, e := readCall(r, &seen)
	result, fault := s.handle(r.Host, in, c, e, &seen)
	deliver(w, r, fault, seen.Status, result)
}

// readCall reads what is asked, without looking at who asks.
func readCall(r *http.Request, seen *Request) (*wire, claim, *apiError) {
	in, e := readWire(r)
	if e != nil {
		return in, claim{}, e
	}
	c, e := readClaim(in)
	seen.describe(in, c)
	if e == nil && r.URL.Path != "/" && r.URL.Path != "" {
		e = refuse(http.StatusNotFound, "InvalidAction.NotFound", "Specified api is not found, please check your url and method.")
	}
	return in, c, e
}

// handle does what is asked, unless e says already why not, and remembers it in
// the same moment: who sees the effect of a call, or that its fault has struck,
// finds it in the history.
func (s *Server) handle(host string, in *wire, c claim, e *apiError, seen *Request) (result obj, fault *Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := product{name: "Gateway", host: host}
	if e == nil {
		result, fault, e = s.call(&p, in, c, seen)
	}
	seen.Status, seen.Code = http.StatusOK, ""
	if e != nil {
		result = e.answer(p, seen.RequestID)
		seen.Status, seen.Code = e.status, e.code
	} else {
		result["RequestId"] = seen.RequestID
		if s.loose {
			result = loosen(result).(obj)
		}
	}
	if fault != nil {
		seen.Fault = fault.Kind
		switch {
		case fault.Kind == HTML:
			seen.Status = http.StatusBadGateway
		case fault.Kind == Hang || fault.Kind == Reset:
			seen.Status = 0
		}
	}
	s.remember(*seen)
	return result, fault
}

// call finds who asks for which action of which product, and lets it be done.
// s.mu is held.
func (s *Server) call(p *product, in *wire, c claim, seen *Request) (obj, *Fault, *apiError) {
	k, e := s.authenticate(c)
	if e != nil {
		return nil, nil, e
	}
	i := slices.IndexFunc(products, func(p product) bool { return p.version == c.version })
	if i < 0 {
		return nil, nil, bad("InvalidVersion", "Specified parameter Version is not valid.")
	}
	*p = products[i]
	seen.Product = p.name
	a, ok := p.actions[c.action]
	if !ok {
		return nil, nil, refuse(http.StatusNotFound, "InvalidAction.NotFound", "Specified api is not found, please check your url and method.")
	}
	return s.perform(&call{
		s: s, product: *p, action: c.action, params: in.params, key: k,
		client: seen.Client, requestID: seen.RequestID,
	}, a)
}

// perform does an action, or not, as its fault says. s.mu is held, so that
// nobody comes between what it checks and what it writes.
func (s *Server) perform(c *call, a action) (obj, *Fault, *apiError) {
	if !s.admit(c.action) {
		return nil, nil, throttled()
	}
	if e := s.authorize(c); e != nil {
		return nil, nil, e
	}
	for _, name := range a.needs {
		if c.params[name] == "" {
			return nil, nil, missing(name)
		}
	}
	t := s.aim(c)
	c.fault = s.strike(t)
	if c.fault == nil {
		o, e := a.do(c)
		return o, nil, e
	}
	prevented, stands := c.fault.prevents()
	if prevented {
		return obj{}, c.fault, stands
	}
	switch c.fault.Kind {
	case Vanish, SomebodyElse:
		e := Edit{Delete: true}
		if c.fault.Edit != nil {
			e = *c.fault.Edit
		}
		id := t.id
		if id == 0 && t.zone != nil {
			for _, r := range t.zone.records() {
				if strings.EqualFold(r.RR, t.rr) && r.Line == cmp.Or(t.line, "default") {
					id = r.ID
					break
				}
			}
		}
		_ = s.change(id, e) // where there is no such record any more there is nothing to edit
	case NotAsked:
		if a.write {
			return obj{"RecordId": c.params["RecordId"]}, c.fault, nil
		}
	}
	o, e := a.do(c)
	if stands != nil {
		e = stands
	}
	return o, c.fault, e
}

// seen is what the call sees of a zone: not always the newest.
func (c *call) records(z *zone) []*Record {
	switch {
	case c.fault != nil && c.fault.Kind == Stale:
		return z.before()
	case c.s.stale > 0:
		return z.seenAt(c.s.now().Add(-c.s.stale)).records
	}
	return z.records()
}

// products are the APIs behind the one address; the version tells them apart.
var products []product

func init() {
	products = []product{alidnsAPI(), pvtzAPI(), stsAPI()}
}

// loosen turns numbers into strings and empty strings into null.
func loosen(v any) any {
	switch v := v.(type) {
	case obj:
		out := make(obj, len(v))
		for k, e := range v {
			out[k] = loosen(e)
		}
		return out
	case []obj:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = loosen(e)
		}
		return out
	case int, int64:
		return fmt.Sprint(v)
	case string:
		if v == "" {
			return nil
		}
	}
	return v
}

// bucket lets so many calls a second through.
type bucket struct {
	tokens float64
	at     time.Time
}

// rates are calls a second of one account, as the vendor's quota pages say.
var rates = map[string]float64{
	"DescribeDomainRecords": 100, "DescribeSubDomainRecords": 300, "DescribeDomainRecordInfo": 200,
	"AddDomainRecord": 60, "UpdateDomainRecord": 60, "DeleteDomainRecord": 60,
	"DeleteSubDomainRecords": 20, "AddDomain": 10, "DeleteDomain": 10,
}

const usualRate = 100

// admit takes a token of the action. s.mu is held.
func (s *Server) admit(action string) bool {
	if s.opts.NoQuota {
		return true
	}
	rate, ok := s.opts.Rates[action]
	if !ok {
		rate = cmp.Or(rates[action], usualRate)
	}
	now := s.now()
	b := s.buckets[action]
	if b == nil {
		b = &bucket{tokens: rate, at: now}
		s.buckets[action] = b
	}
	b.tokens = min(rate, b.tokens+now.Sub(b.at).Seconds()*rate)
	b.at = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

func random(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // it never fails
	return hex.EncodeToString(b)
}

// requestID looks like the vendor's: a UUID in upper case.
func requestID() string {
	h := strings.ToUpper(random(16))
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// Bounds of the history: requests, parameters of one, bytes of a parameter.
const (
	maxSeen       = 10_000
	maxSeenParams = 50
	maxSeenText   = 1024
)

// Request is one call as it was asked and answered, without secrets: neither
// signature nor token, but the ID of the key.
type Request struct {
	At        time.Time         `json:"at"`
	Client    string            `json:"client"`
	Method    string            `json:"method"`
	TLS       bool              `json:"tls"`
	Signature string            `json:"signature"` // HMAC-SHA1, ACS3-HMAC-SHA256, …
	In        string            `json:"in"`        // where the parameters were: query, form, both
	Product   string            `json:"product"`
	Version   string            `json:"version"`
	Action    string            `json:"action"`
	KeyID     string            `json:"key_id"`
	Params    map[string]string `json:"params"` // those of the action alone
	UserAgent string            `json:"user_agent"`
	Status    int               `json:"status"`         // 0 for no answer
	Code      string            `json:"code,omitempty"` // of an error
	RequestID string            `json:"request_id"`
	Fault     Kind              `json:"fault,omitempty"`
}

// common parameters are no part of an action, and some are secrets.
var common = []string{
	"Signature", "SignatureMethod", "SignatureVersion", "SignatureNonce", "SignatureType", "Timestamp", "Format",
	"AccessKeyId", "SecurityToken", "BearerToken", "Action", "Version", "OIDCToken",
}

func (q *Request) describe(w *wire, c claim) {
	q.Signature, q.Action, q.Version, q.KeyID = c.family, clip(c.action), clip(c.version), clip(c.keyID)
	q.Params = map[string]string{}
	for k, v := range w.params {
		if !slices.Contains(common, k) && len(q.Params) < maxSeenParams && len(k) <= maxSeenText {
			q.Params[k] = v[:min(len(v), maxSeenText)]
		}
	}
	switch {
	case w.inForm && w.inQuery:
		q.In = "both"
	case w.inForm:
		q.In = "form"
	case w.inQuery:
		q.In = "query"
	}
}

func (s *Server) remember(q Request) {
	if len(s.seen) >= maxSeen {
		s.dropped += maxSeen / 2
		s.seen = slices.Delete(s.seen, 0, maxSeen/2)
	}
	s.seen = append(s.seen, q)
}

// Requests are the calls so far, oldest first, those of these actions or all.
// The oldest are forgotten beyond 5,000 to 10,000.
func (s *Server) Requests(actions ...string) []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Request
	for _, q := range s.seen {
		if len(actions) == 0 || slices.Contains(actions, q.Action) {
			out = append(out, q)
		}
	}
	return out
}

// Forget empties the history.
func (s *Server) Forget() { s.set(func() { s.seen, s.dropped = nil, 0 }) }
