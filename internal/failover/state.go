package failover

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// State is everything the core holds of one instance: the committed record,
// the facts seen since the start, and what is under way. It is a value: Step
// never changes the one it was given.
type State struct {
	rec     Record // as last committed
	found   bool   // the ledger has a record
	loaded  bool
	pending *Record // a commit in flight
	replies []Reply // of commands whose change is in the pending commit
	queue   []Command
	adoptAt time.Time // since when a command waits for the names to be read afresh

	lead    Lead
	since   time.Time // start of the adopting phase
	adopted bool
	// resuming: the record came with an operation that was begun by an
	// earlier life, and it is not yet decided whether it goes on.
	resuming bool

	sights  map[VantageName]sight
	kept    *kept   // only within a Step
	still   bool    // at the end of the last Step no vantage said down of a cluster, and no domain did before a short silence
	counted [2]Vote // the verdicts at the end of the last Step, in the order of the config
	lost    int     // domains that said down of the active cluster at the end of the last Step; nothing is decided by it
	blind   int     // votes that were unknown then, of both clusters; nothing is decided by it either
	clocks  map[clockKey]clock
	// correlated is set while both clusters were lost together and neither
	// has been up for ride_out since.
	correlated bool
	auth       time.Time // since when keys are refused at both clusters, until one has been up for ride_out
	tiltAt     time.Time
	detected   time.Time // when the verdict on the active cluster last turned down

	wanted    time.Time // since when a move waits for its names to be read
	names     map[RecordName]nameFact
	trouble   map[string]string // by provider
	published map[RecordName]NameAgreement
	verify    verifyFact
	served    map[RecordName][]servedFact // what caches may hold; never edited in place

	standby      *StandbyChanged // until it is in the record
	exposure     *Exposure
	clientFailed time.Time // since when no client write was accepted on the active cluster by a quorum
	gates        map[ClusterName]gateFact
	drained      *Drained
	cut          *CutDone
	askedAt      time.Time // when Drain or Cut was last asked for
	flood        *FloodVerdict
	floodAt      time.Time
	hooking      hookRun            // of the pre-hooks
	posts        map[string]hookRun // of the post-hooks, by the operation that has ended

	busy  map[string]time.Time // outcomes awaited
	paged map[string]bool      // what was said, by kind and key, so that it is said once
}

type sight struct {
	Report
	at time.Time
}

type clockKey struct {
	cluster ClusterName
	domain  DomainName
}

// clock keeps since when a domain has said down, through short silences. A
// vantage that restarts counts its misses anew; bridged says that downSince is
// from before such a silence, while the vantage's own count began at first.
type clock struct {
	downSince time.Time
	first     time.Time
	lastDown  time.Time
	gap       bool
	bridged   bool
}

type nameFact struct {
	read     NameRead
	readAt   time.Time
	fresh    bool // the read is newer than every write of ours
	failures int
	done     int       // writes that were said to be done and did not show
	nextTry  time.Time // of a read
	nextSend time.Time // of a write
	err      string    // of the last write
}

type verifyFact struct {
	rounds  int       // consecutive rounds in which all agreed
	first   time.Time // the first of them
	low     int       // of them, consecutive ones in which no TTL was above the record's
	at      time.Time
	dissent time.Time // since when not all agree, outside of operations; zero: they do
}

type gateFact struct {
	sent time.Time
	want GateWant  // of the last order
	done time.Time // when the driver answered it, without an error
	err  string
}

// New returns the state of an instance at the start of a process.
func New(now time.Time) State { return State{since: now} }

// set writes into a map of the state, which is nil while it is empty: there
// are thousands of states, and most of their maps stay so.
func set[K comparable, V any](m *map[K]V, k K, v V) {
	if *m == nil {
		*m = make(map[K]V)
	}
	(*m)[k] = v
}

// cloned copies a map of the state.
func cloned[K comparable, V any](m map[K]V) map[K]V {
	if len(m) == 0 {
		return nil
	}
	return maps.Clone(m)
}

// Record returns the record as last committed, and whether there is one.
func (s *State) Record() (Record, bool) { return s.rec.Clone(), s.found }

// Lead returns what this process was last told of its leading.
func (s *State) Lead() Lead { return s.lead }

// clone copies what Step may change. Reports and facts inside the maps are
// replaced whole, never edited.
func (s State) clone() State {
	s.sights = cloned(s.sights)
	s.clocks = cloned(s.clocks)
	s.names = cloned(s.names)
	s.trouble = cloned(s.trouble)
	s.published = cloned(s.published)
	s.served = cloned(s.served)
	s.gates = cloned(s.gates)
	s.busy = cloned(s.busy)
	s.posts = cloned(s.posts)
	s.paged = cloned(s.paged)
	s.replies = slices.Clone(s.replies)
	s.queue = slices.Clone(s.queue)
	return s
}

// term is the one under which this process acts.
func (s *State) term() uint64 { return termOver(s.lead.Term, s.rec.TermBase) }

// MaxTermBase is the largest base that a person may set: a term over it still
// fits into a mark (18 digits) and into the ledger.
const MaxTermBase = 9e17

// termOver lifts a term above the base that a person set when a ledger was
// rebuilt. From the next start on the ledger itself counts above it.
func termOver(term, base uint64) uint64 {
	if term > base {
		return term
	}
	return term + base
}

// phase is derived, never stored.
func (s *State) phase() Phase {
	switch {
	case !s.loaded || !s.found:
		return PhaseAdopting
	case s.rec.Op != nil && (!s.resuming || s.adopted):
		return PhaseOp
	case !s.adopted:
		return PhaseAdopting
	}
	return PhaseIdle
}

// strange says that the record and the config are about different clusters.
// Nothing is decided then: which cluster the name points at would be a guess.
func (s *State) strange(p *Policy) string {
	if s.found && !p.Has(s.rec.Active) {
		return fmt.Sprintf("the record says that %s is active, and the config knows only %s and %s", s.rec.Active, p.Clusters[0], p.Clusters[1])
	}
	if !s.found {
		return ""
	}
	for _, n := range s.rec.Names {
		np := p.Name(n.Name)
		if np == nil {
			continue
		}
		if np.Provider != n.Provider || np.Embedded != n.Embedded || np.Zone != n.Zone {
			return fmt.Sprintf("the record has %s at provider %s in zone %s, the config at %s in %s: take the name out of the config for one start, then add it again", n.Name, n.Provider, n.Zone, np.Provider, np.Zone)
		}
		if s.rec.Op == nil && n.Want == nil && np.Holder(n.Value) == p.Other(s.rec.Active) {
			return fmt.Sprintf("%s is active and %s points at %s, which the config gives to %s: were the targets swapped?", s.rec.Active, n.Name, n.Value, p.Other(s.rec.Active))
		}
	}
	if op := s.rec.Op; op != nil && (!p.Has(op.From) || !p.Has(op.To)) {
		return fmt.Sprintf("operation %s is from %s to %s, and the config knows only %s and %s", op.ID, op.From, op.To, p.Clusters[0], p.Clusters[1])
	}
	return ""
}

// shadow says whether nothing may be done outside.
func (s *State) shadow(p *Policy) bool { return p.ForceShadow || s.rec.Mode == ModeShadow }
