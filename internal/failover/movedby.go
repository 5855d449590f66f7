package failover

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// ClientPolicy is what people know of the clients beyond DNS. None of it can be
// measured from here; it only goes into the bound that is shown.
type ClientPolicy struct {
	// ResolverAllowance is for caches that do not keep to a TTL: nscd (hosts
	// cache, an hour by default), a JVM (30 s, or for ever). 0: none is counted.
	ResolverAllowance time.Duration `json:",omitempty"`
	// RequestTimeout is the longest that a request under way may take; 0 is
	// DefaultRequestTimeout.
	RequestTimeout time.Duration `json:",omitempty"`
	// ConnectionLife is the longest that any client keeps a connection; 0 is
	// unbounded, which is what pools of most SDKs do while they are busy.
	ConnectionLife time.Duration `json:",omitempty"`
}

// DefaultRequestTimeout is the longest of Tablestore's SDKs: Java waits 30 s
// for a connection and 30 s for its answer; Go 30 s, Python 50 s in all.
const DefaultRequestTimeout = 60 * time.Second

func (c ClientPolicy) request() time.Duration {
	if c.RequestTimeout > 0 {
		return c.RequestTimeout
	}
	return DefaultRequestTimeout
}

// AgreeRounds is in how many consecutive rounds every address of every
// authority must show a value for it to count as published: behind one address
// there may be several machines (anycast, load balancers), and one round sees
// one of them.
const AgreeRounds = 2

// Remark is said with every bound.
const Remark = "resolvers that stretch TTLs or serve stale answers (RFC 8767) are outside of every bound; listed resolvers that do are named"

// The terms of the bound that lie after the write.
const (
	termPublication = "publication"
	termOld         = "old answers in resolvers"
	termAllowance   = "resolver allowance"
	termConnections = "open connections"
)

// MovedBy is the honest bound of when the clients of a finished move have left
// the old cluster: published + the largest TTL of the old value + allowance +
// max(request time-out, connection life).
type MovedBy struct {
	Op        string      `json:"op"`
	To        ClusterName `json:"to"`
	Written   time.Time   `json:"written"`                // when every write point showed the new value
	Published time.Time   `json:"published,omitzero"`     // when the last address of an authority agreed; zero: not all do
	TTLOld    uint32      `json:"ttl_old"`                // seconds
	Terms     []BoundTerm `json:"terms"`                  // from Written on
	LookupsBy time.Time   `json:"lookups_by,omitzero"`    // when every cache that keeps to TTLs has forgotten the old value
	By        time.Time   `json:"moved_by,omitzero"`      // zero: something is unbounded
	Vantage   string      `json:"vantage"`                // from where the authorities were asked
	Verified  []string    `json:"verified,omitempty"`     // addresses that showed the value
	Missing   []string    `json:"not_verified,omitempty"` // those that did not
	Remark    string      `json:"remark"`
}

// clientTerms are what comes after the authorities: caches and connections.
func (c ClientPolicy) clientTerms(ttl uint32) []BoundTerm {
	out := []BoundTerm{
		{Term: termOld, Is: time.Duration(ttl) * time.Second, Note: "the TTL that was served with the old value; resolvers that clamp or ignore it are not bounded"},
		{Term: termAllowance, Is: c.ResolverAllowance, Note: "for caches at the clients that do not keep to the TTL, by clients.resolver_allowance"},
	}
	if c.ResolverAllowance == 0 {
		out[1].Note = "none is configured: caches at the clients (nscd, JVM, browsers) are not counted; see clients.resolver_allowance"
	}
	if c.ConnectionLife == 0 {
		return append(out, BoundTerm{Term: termConnections, Unbounded: true, Note: "clients that keep a connection do not look the name up again until it closes; without one a request may take " + span(c.request())})
	}
	return append(out, BoundTerm{
		Term: termConnections, Is: max(c.request(), c.ConnectionLife),
		Note: fmt.Sprintf("the longer of a request (%s) and a connection (%s), by clients.connection_life", span(c.request()), span(c.ConnectionLife)),
	})
}

// movedBy is the bound of an operation whose write points all show the new
// value, or nil.
func (s *State) movedBy(p *Policy, op *Op) *MovedBy {
	if op == nil || op.MovedAt.IsZero() {
		return nil
	}
	m := &MovedBy{
		Op: op.ID, To: op.To, Written: op.MovedAt, Published: op.PublishedAt, TTLOld: op.TTLOld, Vantage: p.By,
		Verified: slices.Clone(op.Verified), Missing: slices.Clone(op.Stragglers), Remark: Remark,
	}
	if m.Published.IsZero() && s.verify.rounds >= AgreeRounds {
		// It settled with stragglers, and by now they agree. After a restart this
		// is later than it was, which a bound may be.
		m.Published, m.Missing, m.Verified = s.verify.first, nil, s.askedAddresses()
	}
	if ttl, again := s.oldAgain(op, m.Published); again {
		// An authority that had agreed came back with what it had before: clients
		// that ask it now get the old value anew, and its TTL begins anew.
		m.TTLOld = max(m.TTLOld, ttl)
		if s.verify.rounds >= AgreeRounds {
			m.Published = s.verify.first
		} else {
			m.Published, m.Verified, m.Missing = time.Time{}, nil, s.dissenting(op)
		}
	}
	pub := BoundTerm{Term: termPublication, Is: max(0, m.Published.Sub(m.Written)), Note: "measured: until the last address of an authority agreed"}
	if m.Published.IsZero() {
		pub = BoundTerm{Term: termPublication, Unbounded: true, Note: "not every authority shows it yet: " + orNothing(strings.Join(m.Missing, ", "), "they are being asked")}
	}
	m.Terms = append([]BoundTerm{pub}, p.Clients.clientTerms(m.TTLOld)...)
	if m.Published.IsZero() {
		return m
	}
	m.LookupsBy = m.Published.Add(time.Duration(m.TTLOld)*time.Second + p.Clients.ResolverAllowance)
	if c := m.Terms[len(m.Terms)-1]; !c.Unbounded {
		m.By = m.LookupsBy.Add(c.Is)
	}
	return m
}

// oldAgain says whether a value other than the operation's was seen after the
// publication, with the largest TTL of those that a cache may hold.
func (s *State) oldAgain(op *Op, published time.Time) (ttl uint32, again bool) {
	if published.IsZero() {
		return 0, false
	}
	for n, to := range op.Targets {
		if r := s.rec.Name(n); r == nil || r.Value != to {
			continue // it was taken elsewhere since
		}
		for _, f := range s.served[n] {
			if f.value != to && f.last.After(published) {
				ttl, again = max(ttl, f.ttl), true
			}
		}
	}
	return ttl, again
}

// dissenting is what the last round said that is not the operation's value.
func (s *State) dissenting(op *Op) []string {
	var out []string
	for _, n := range s.rec.Names {
		if _, ok := op.Targets[n.Name]; ok {
			out = append(out, s.published[n.Name].Dissent...)
		}
	}
	return out
}

func orNothing(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// lastMove is the operation that the view speaks of: the one in hand, once it
// has moved, or else the last that did.
func (s *State) lastMove() *Op {
	if op := s.rec.Op; op != nil && !op.MovedAt.IsZero() {
		return op
	}
	if l := s.rec.LastOp; s.rec.Op == nil && l != nil && l.Outcome == Settled {
		return &l.Op
	}
	return nil
}

// Words say the bound in one line.
func (m *MovedBy) Words() string {
	at := func(t time.Time) string { return t.UTC().Format("15:04:05Z") }
	switch {
	case m.Published.IsZero():
		return fmt.Sprintf("written at %s, not yet published everywhere: when clients have moved is not bounded", at(m.Written))
	case m.By.IsZero():
		return fmt.Sprintf("published at %s; new look-ups moved by %s (TTL %d s); open connections: unbounded", at(m.Published), at(m.LookupsBy), m.TTLOld)
	default:
		return fmt.Sprintf("published at %s; new look-ups moved by %s (TTL %d s); all by %s", at(m.Published), at(m.LookupsBy), m.TTLOld, at(m.By))
	}
}

// servedFact is a value and TTL that an authority or the write point showed.
type servedFact struct {
	value Target
	ttl   uint32
	last  time.Time // when it was last seen
}

// until is when the last cache that keeps to TTLs forgets it.
func (f servedFact) until() time.Time { return f.last.Add(time.Duration(f.ttl) * time.Second) }

// mostServed bounds what is remembered of one name: those that live longest.
const mostServed = 8

// noteServed remembers what a name was seen to carry, for as long as a cache
// may hold it: lowering a TTL helps only when the earlier one is over.
func (s *State) noteServed(n RecordName, v Target, ttl uint32, now time.Time) {
	if v == "" || ttl == 0 {
		return
	}
	kept := make([]servedFact, 0, len(s.served[n])+1)
	for _, f := range s.served[n] {
		if (f.value != v || f.ttl != ttl) && f.until().After(now) {
			kept = append(kept, f)
		}
	}
	kept = append(kept, servedFact{v, ttl, now})
	if len(kept) > mostServed {
		slices.SortStableFunc(kept, func(a, b servedFact) int { return b.until().Compare(a.until()) })
		kept = kept[:mostServed]
	}
	set(&s.served, n, kept)
}

// cached is the largest TTL that a value other than wanted may still have in a
// cache, as it was seen; 0 when none was.
func (s *State) cached(n RecordName, wanted Target, now time.Time) uint32 {
	var most uint32
	for _, f := range s.served[n] {
		if f.value != wanted && f.until().After(now) {
			most = max(most, f.ttl)
		}
	}
	return most
}

// ttlOld is the largest TTL with which any name's value other than its target
// may be cached now: by the record, by what was seen, by a lowering that is not
// waited out.
func (s *State) ttlOld(r *Record, to map[RecordName]Target, now time.Time) uint32 {
	var most uint32
	for _, n := range r.Names {
		if n.Value != to[n.Name] {
			most = max(most, n.TTL)
		}
		most = max(most, s.cached(n.Name, to[n.Name], now))
	}
	if op := r.Op; op != nil && (op.LoweredAt.IsZero() || now.Before(op.LoweredAt.Add(seconds(op.OldTTL))) || op.notLow() && s.verify.low < AgreeRounds) {
		most = max(most, op.OldTTL)
	}
	if l := r.LastOp; l != nil && now.Before(l.At.Add(seconds(l.Op.OldTTL))) {
		most = max(most, l.Op.OldTTL)
	}
	return most
}

// notLow says that the wait for the old TTL began although an authority was not
// seen with the lowered one.
func (o *Op) notLow() bool {
	return slices.ContainsFunc(o.Notes, func(n string) bool { return strings.HasPrefix(n, noteNotLow) })
}

func seconds(ttl uint32) time.Duration { return time.Duration(ttl) * time.Second }

// askedAddresses are those of the last round, each once.
func (s *State) askedAddresses() []string {
	var out []string
	for _, n := range s.rec.Names {
		out = append(out, s.published[n.Name].At...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}
