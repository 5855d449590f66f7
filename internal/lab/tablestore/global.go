package tablestore

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"google.golang.org/protobuf/proto"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore/otsprotocol"
)

// Globals is what servers of one process share so that tables of theirs can be
// replicas of each other: the members of global tables, and who of them may be
// written. Each server also keeps what its tables are members of.
//
// Exact are the messages. Guessed, for no page says it: the refusals and their
// codes, that an update is in force when Delay has passed, when a role moves
// (see settle), and that a batch with one row for a replica is refused as a
// whole. Rows are copied between members of this process, see copier; rpoNanos
// is how old the oldest change is that was not, unless SetRPO says otherwise.
type Globals struct {
	rules atomic.Pointer[GlobalRules]
	size  atomic.Int32 // how many tables: none costs a write nothing

	mu      sync.RWMutex
	servers map[*Server]bool
	tables  map[string]*globalTable // by ID
	copiers map[route]*copier
}

// route is where rows of a global table come from and go to.
type route struct {
	id       string
	from, to site
}

// NewGlobals is for the Options of several servers.
func NewGlobals() *Globals {
	g := &Globals{servers: map[*Server]bool{}, tables: map[string]*globalTable{}, copiers: map[route]*copier{}}
	rules := DefaultGlobalRules()
	g.rules.Store(&rules)
	return g
}

// GlobalRules are what the vendor's pages leave open of global tables.
type GlobalRules struct {
	// Delay is how long an acknowledged update takes until it is in force; the
	// global table is in reconfiguration until then. None at the start.
	Delay time.Duration `json:"-"` // delay_ms
	// Lag is how long a change takes until it is copied to the other members;
	// 100 ms at the start. An hour is as good as never.
	Lag time.Duration `json:"-"` // lag_ms
	// Code and Message of a refused write to a replica that is not writable.
	Code    string `json:"code"`
	Message string `json:"message"`
	// OneWritable refuses an update that would leave no member writable. Off:
	// it is accepted, as the order of a switch that loses nothing wants it.
	OneWritable bool `json:"one_writable"`
}

// DefaultGlobalRules are those at the start.
func DefaultGlobalRules() GlobalRules {
	return GlobalRules{Lag: 100 * time.Millisecond, Code: codeNoPermission, Message: "The table is a replica of a global table and is not writable."}
}

// MarshalJSON tells durations in ms, as the rest of the management API.
func (r GlobalRules) MarshalJSON() ([]byte, error) {
	type plain GlobalRules
	return json.Marshal(struct {
		Delay int64 `json:"delay_ms"`
		Lag   int64 `json:"lag_ms"`
		plain
	}{r.Delay.Milliseconds(), r.Lag.Milliseconds(), plain(r)})
}

// UnmarshalJSON reads that; an element that is not known is an error, and what
// is absent stays.
func (r *GlobalRules) UnmarshalJSON(text []byte) error {
	type plain GlobalRules
	in := struct {
		Delay int64 `json:"delay_ms"`
		Lag   int64 `json:"lag_ms"`
		plain
	}{r.Delay.Milliseconds(), r.Lag.Milliseconds(), plain(*r)}
	if err := strictly(text, &in); err != nil {
		return err
	}
	*r = GlobalRules(in.plain)
	r.Delay, r.Lag = millis(in.Delay), millis(in.Lag)
	return nil
}

// GlobalRules are those of now.
func (s *Server) GlobalRules() GlobalRules { return *s.globals.rules.Load() }

// SetGlobalRules sets all of them, for all servers that share global tables; an
// empty code or message is the default's.
func (s *Server) SetGlobalRules(r GlobalRules) error {
	r.Code, r.Message = cmp.Or(r.Code, DefaultGlobalRules().Code), cmp.Or(r.Message, DefaultGlobalRules().Message)
	for name, d := range map[string]time.Duration{"delay": r.Delay, "lag": r.Lag} {
		if d < 0 || d > time.Hour {
			return fmt.Errorf("global rules: the %s %s is not from 0 to 1h", name, d)
		}
	}
	if _, ok := codes[r.Code]; !ok {
		return fmt.Errorf("global rules: there is no code %q", clip(r.Code))
	}
	g := s.globals
	g.rules.Store(&r)
	g.mu.RLock()
	defer g.mu.RUnlock()
	for _, k := range g.copiers {
		k.nudge()
	}
	return nil
}

// SetRPO says how far behind a replica tells that it is, in rpoNanos; below 0
// it tells how far it is.
func (s *Server) SetRPO(instance, table string, behind time.Duration) error {
	in, err := s.only(instance)
	if err != nil {
		return err
	}
	g := s.globals
	g.mu.Lock()
	defer g.mu.Unlock()
	t := g.of(in.site(table))
	if t == nil {
		return fmt.Errorf("table %q of instance %s is not a member of a global table", clip(table), instance)
	}
	t = t.clone()
	for _, list := range [][]member{t.Members, t.Before} {
		for i := range list {
			if list[i].site == in.site(table) {
				list[i].RPO = nil
				if behind >= 0 {
					list[i].RPO = proto.Int64(behind.Nanoseconds())
				}
			}
		}
	}
	return g.keep(t)
}

// site is where a table is.
type site struct{ Region, Instance, Table string }

func (in *instance) site(table string) site { return site{in.guard.region, in.name, table} }

// globalTable is a global table. One that is in Globals is never changed, but
// replaced.
type globalTable struct {
	ID      string
	Name    string
	Version int64 // the newer of two copies counts
	Peers   bool  // PEER_TO_PEER
	Columns bool  // SYNC_MODE_COLUMN
	Members []member
	// Before are the members until the newest update is in force.
	Before []member  `json:",omitempty"`
	From   time.Time // when it is
}

type member struct {
	site
	Writable bool
	Eligible bool   `json:",omitempty"`
	Role     string // primary, secondary, primary_eligible; peer [guessed]
	Status   otsprotocol.PhyTableStatus
	At       int64  // when its status came, ms
	RPO      *int64 `json:",omitempty"` // ns, if it is not to be measured
}

// Roles, as the page of PhyTable has them.
const (
	rolePrimary   = "primary"
	roleSecondary = "secondary"
	roleEligible  = "primary_eligible"
	rolePeer      = "peer"
)

func (t *globalTable) clone() *globalTable {
	c := *t
	c.Members, c.Before = slices.Clone(t.Members), slices.Clone(t.Before)
	return &c
}

// inForce are the members as writes see them.
func (t *globalTable) inForce(now time.Time) []member {
	if t.Before != nil && t.From.After(now) {
		return t.Before
	}
	return t.Members
}

// settle gives the role of primary on: if the primary is not writable any more
// and another member is writable and eligible, that one becomes the primary.
func (t *globalTable) settle() {
	if t.Peers {
		return
	}
	old := slices.IndexFunc(t.Members, func(m member) bool { return m.Role == rolePrimary })
	if old < 0 || !t.Members[old].Writable {
		if next := slices.IndexFunc(t.Members, func(m member) bool { return m.Writable && m.Eligible }); next >= 0 {
			if old >= 0 {
				t.Members[old].Role, t.Members[old].Eligible = roleSecondary, false
			}
			t.Members[next].Role, t.Members[next].Eligible = rolePrimary, false
		}
	}
	for i := range t.Members {
		m := &t.Members[i]
		switch {
		case m.Role == rolePrimary:
		case m.Eligible:
			m.Role = roleEligible
		default:
			m.Role = roleSecondary
		}
	}
}

func globalKey(id string) []byte { return []byte("g/" + id) }

// join makes the servers' tables members of what the server's store says. Of a
// table that others know too, the newer copy counts.
func (g *Globals) join(s *Server) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	it, err := s.store.db.NewIter(&pebble.IterOptions{LowerBound: globalKey(""), UpperBound: after(globalKey(""))})
	if err != nil {
		return err
	}
	defer it.Close()
	for it.First(); it.Valid(); it.Next() {
		t := &globalTable{}
		if err := json.Unmarshal(it.Value(), t); err != nil {
			return fmt.Errorf("global table %s: %w", it.Key(), err)
		}
		if known := g.tables[t.ID]; known == nil || known.Version < t.Version {
			g.tables[t.ID] = t
		}
	}
	g.servers[s] = true
	g.size.Store(int32(len(g.tables)))
	g.wire()
	return it.Error()
}

// leave ends what reads and writes the store of a server.
func (g *Globals) leave(s *Server) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.servers, s)
	g.wire()
}

// wire makes a copier of every route between tables that are here, and ends
// those of all others. g.mu is held.
func (g *Globals) wire() {
	want := map[route][2]*table{}
	full := map[route]bool{}
	for _, t := range g.tables {
		here := map[site]*table{}
		for _, m := range t.Members {
			if _, in, ref := g.find(m.Region, m.Instance); ref == nil {
				if x, ref := in.table(m.Table); ref == nil {
					here[m.site] = x
				}
			}
		}
		for _, a := range t.Members {
			for _, b := range t.Members {
				if r := (route{t.ID, a.site, b.site}); a.site != b.site && here[a.site] != nil && here[b.site] != nil {
					want[r], full[r] = [2]*table{here[a.site], here[b.site]}, t.Peers || a.Role == rolePrimary
				}
			}
		}
	}
	for r, k := range g.copiers {
		if pair := want[r]; pair != [2]*table{k.from, k.to} {
			k.end()
			delete(g.copiers, r)
		}
	}
	for r, pair := range want {
		if g.copiers[r] == nil {
			g.copiers[r] = startCopier(pair[0], pair[1], full[r], func() time.Duration { return g.rules.Load().Lag })
		}
	}
}

// state is how far the copies to a member are. g.mu is held.
func (g *Globals) state(t *globalTable, to site, now time.Time) (behind time.Duration, filling bool) {
	for _, m := range t.Members {
		if k := g.copiers[route{t.ID, m.site, to}]; k != nil {
			behind, filling = max(behind, k.behind(now)), filling || k.filling()
		}
	}
	return behind, filling
}

// keep stores a table at all servers that have a member, takes it away from
// those that have none, and makes it the one that counts. g.mu is held.
func (g *Globals) keep(t *globalTable) error {
	t.Version++
	text, err := json.Marshal(t)
	if err != nil {
		return err
	}
	for s := range g.servers {
		ours := slices.ContainsFunc(t.Members, func(m member) bool { return s.has(m.Region, m.Instance) != nil })
		b := s.store.db.NewBatch()
		if ours {
			err = b.Set(globalKey(t.ID), text, nil)
		} else {
			err = b.Delete(globalKey(t.ID), nil)
		}
		if err != nil {
			return err
		}
		durable, err := s.store.commit(b)
		if err == nil {
			err = durable()
		}
		if err != nil {
			return fmt.Errorf("keep global table %s: %w", t.ID, err)
		}
	}
	g.tables[t.ID] = t
	if len(t.Members) == 0 {
		delete(g.tables, t.ID)
	}
	g.size.Store(int32(len(g.tables)))
	g.wire()
	return nil
}

// of is the global table that a table is a member of; nil if of none. g.mu is
// held.
func (g *Globals) of(p site) *globalTable {
	for _, t := range g.tables {
		if slices.ContainsFunc(t.Members, func(m member) bool { return m.site == p }) {
			return t
		}
	}
	return nil
}

func (s *Server) has(region, instance string) *instance {
	if in := s.instance(instance); in != nil && in.guard.region == region {
		return in
	}
	return nil
}

// find is the one server that has an instance. g.mu is held.
func (g *Globals) find(region, instance string) (*Server, *instance, *refusal) {
	var found []*Server
	for s := range g.servers {
		if s.has(region, instance) != nil {
			found = append(found, s)
		}
	}
	if len(found) != 1 {
		return nil, nil, invalid("%d instances are called %s in region %s.", len(found), clip(instance), clip(region))
	}
	return found[0], found[0].instance(instance), nil
}

// rowWrites are the operations that a replica refuses.
var rowWrites = map[string]bool{"PutRow": true, "UpdateRow": true, "DeleteRow": true, "BatchWriteRow": true, "CommitTransaction": true}

// writable refuses a write to a replica that is not to be written, and to drop
// a table that is a member.
func (s *Server) writable(c *call) *refusal {
	if s.globals.size.Load() == 0 || !rowWrites[c.op] && c.op != "DeleteTable" {
		return nil
	}
	g, now := s.globals, s.clock()
	g.mu.RLock()
	defer g.mu.RUnlock()
	for _, table := range subjects(c) {
		t := g.of(c.inst.site(table))
		if t == nil {
			continue
		}
		if c.op == "DeleteTable" {
			return invalid("The table %s is a member of the global table %s.", clip(table), t.ID)
		}
		for _, m := range t.inForce(now) {
			if m.site == c.inst.site(table) && !m.Writable {
				rules := g.rules.Load()
				return refuse(rules.Code, "%s", rules.Message)
			}
		}
	}
	return nil
}

// globalID is the global table that a table is a member of, for DescribeTable;
// nil if of none.
func (s *Server) globalID(in *instance, table string) *string {
	g := s.globals
	g.mu.RLock()
	defer g.mu.RUnlock()
	if t := g.of(in.site(table)); t != nil {
		return &t.ID
	}
	return nil
}
