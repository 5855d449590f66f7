package report

import (
	"encoding/json"
	"slices"
	"time"

	"pointsman/internal/failover"
	"pointsman/internal/ledger"
)

// Kinds of samples that are read. Others belong to other readers.
const (
	KindVerdict = "verdict" // a change of what the quorum says of a cluster
	KindOutcome = "outcome" // a finished operation
	KindPage    = "page"    // a call for people
	KindAlive   = "alive"   // the controller says that it records, see Alive
)

// Alive is the data of a sample that says that the controller records: without
// them nobody could tell a quiet time from one in which it did not run.
type Alive struct {
	What string `json:"what"` // start, beat or end
}

const (
	// AliveEvery is how often the controller says so.
	AliveEvery = 10 * time.Minute
	// silence is how long nothing may have been recorded before that is a gap:
	// one sample may have been dropped, or have come late.
	silence = 2*AliveEvery + 5*time.Minute

	maxSwitches = 50 // of one instance, the newest
	maxGaps     = 50 // of the coverage, the longest
)

// past is what the samples of a window say. They come newest first.
type past struct {
	from, to time.Time

	instances map[failover.InstanceName]*recorded
	wanted    func(failover.InstanceName) bool

	restarts []restart // newest first until sorted
	gaps     []Stretch
	newer    time.Time // of the sample that was read before
	started  bool      // that one was a start
	oldest   time.Time
	samples  int
	unread   int

	stopBase bool // a start was met before the window: nothing older tells what was
	cut      bool // one was met after it: what is now does not tell
}

// recorded is what was recorded of one instance.
type recorded struct {
	clusters map[failover.ClusterName]*trace
	switches []Switch
	dropped  int // older switches
	pages    map[string]int
	outcomes int
}

func newPast(from, to time.Time, wanted func(failover.InstanceName) bool) *past {
	return &past{from: from, to: to, wanted: wanted, instances: map[failover.InstanceName]*recorded{}}
}

func (p *past) of(i failover.InstanceName) *recorded {
	r := p.instances[i]
	if r == nil {
		r = &recorded{clusters: map[failover.ClusterName]*trace{}, pages: map[string]int{}}
		p.instances[i] = r
	}
	return r
}

// maxClusters is two, and those of a config in which they had other names: a
// damaged history cannot fill the memory.
const maxClusters = 8

// cluster is what was recorded of one, nil: there are too many.
func (r *recorded) cluster(c failover.ClusterName) *trace {
	t := r.clusters[c]
	if t == nil {
		if len(r.clusters) >= maxClusters || len(c) > 64 {
			return nil
		}
		t = &trace{}
		r.clusters[c] = t
	}
	return t
}

// sample takes one, and says whether older ones are wanted.
func (p *past) sample(s ledger.Sample) bool {
	if !s.At.Before(p.to) {
		p.later(&s)
		return true
	}
	p.evidence(&s)
	if s.At.Before(p.from) {
		return p.earlier(&s)
	}
	p.samples++
	p.oldest = s.At
	if s.Kind == KindAlive || !p.wanted(s.Instance) {
		return true
	}
	r := p.of(s.Instance)
	ok := true
	switch s.Kind {
	case KindVerdict:
		ok = r.verdict(&s)
	case KindOutcome:
		ok = r.outcome(&s)
	case KindPage:
		var x struct{ Kind string }
		if ok = json.Unmarshal(s.Data, &x) == nil && x.Kind != ""; ok && (len(r.pages) < maxPageKinds || r.pages[x.Kind] > 0) {
			r.pages[x.Kind]++
		}
	}
	if !ok {
		p.unread++
	}
	return true
}

// later reads what came after the window, as far as it says what was at its end.
func (p *past) later(s *ledger.Sample) {
	p.newer, p.started = s.At, startOf(s)
	if p.started {
		p.cut = true
		for _, r := range p.instances {
			for _, t := range r.clusters {
				t.after = nil
			}
		}
		return
	}
	var v verdictData
	if s.Kind == KindVerdict && p.wanted(s.Instance) && json.Unmarshal(s.Data, &v) == nil && v.Cluster != "" {
		if t := p.of(s.Instance).cluster(v.Cluster); t != nil {
			t.after = &v.From
		}
	}
}

const maxPageKinds = 64 // a damaged history cannot fill the memory

// evidence notes what the time since the sample before says of recording.
func (p *past) evidence(s *ledger.Sample) {
	newer := p.newer
	if newer.IsZero() {
		newer = p.to
	}
	switch {
	case p.started:
		p.restarts = append(p.restarts, restart{s.At, newer})
		p.gap(s.At, newer)
	case newer.Sub(s.At) > silence:
		p.gap(s.At, newer)
	}
	p.newer, p.started = s.At, startOf(s)
}

func (p *past) gap(from, to time.Time) {
	if g, ok := clip(Stretch{State: IsGap, From: from, To: to}, p.from, p.to); ok {
		p.gaps = append(p.gaps, g)
	}
}

func startOf(s *ledger.Sample) bool {
	var a Alive
	return s.Kind == KindAlive && json.Unmarshal(s.Data, &a) == nil && a.What == "start"
}

// earlier reads before the window, as far as clusters need it whose state at
// its beginning nothing in it tells. It says whether to go on.
func (p *past) earlier(s *ledger.Sample) bool {
	if len(p.restarts) == 0 && !p.cut {
		return false // changes tell what was before them, and what is now tells the rest
	}
	if startOf(s) {
		p.stopBase = true
		return false
	}
	if s.Kind != KindVerdict || !p.wanted(s.Instance) {
		return true
	}
	var v verdictData
	if json.Unmarshal(s.Data, &v) != nil || v.Cluster == "" {
		return true
	}
	if t := p.of(s.Instance).cluster(v.Cluster); t != nil && t.before == nil {
		t.before = &v.To
	}
	return true
}

// end closes the reading.
func (p *past) end() {
	if p.started {
		p.restarts = append(p.restarts, restart{time.Time{}, p.newer})
	}
	first := p.newer
	if first.IsZero() || first.After(p.to) {
		first = p.to
	}
	p.gap(p.from, first) // before the oldest sample
	slices.Reverse(p.restarts)
	slices.Reverse(p.gaps)
	p.restarts = slices.DeleteFunc(p.restarts, func(r restart) bool { return r.at.Before(p.from) })
	if p.stopBase {
		unknown := failover.Unknown
		for _, r := range p.instances {
			for _, t := range r.clusters {
				if t.before == nil {
					t.before = &unknown
				}
			}
		}
	}
}

type verdictData struct {
	Cluster  failover.ClusterName
	From, To failover.Vote
}

func (r *recorded) verdict(s *ledger.Sample) bool {
	var v verdictData
	if json.Unmarshal(s.Data, &v) != nil || v.Cluster == "" {
		return false
	}
	t := r.cluster(v.Cluster)
	if t == nil {
		return false
	}
	t.changes = append(t.changes, change{s.At.UnixMilli(), s.ID, v.From, v.To})
	return true
}

func (r *recorded) outcome(s *ledger.Sample) bool {
	var sum failover.OpSummary
	if json.Unmarshal(s.Data, &sum) != nil || sum.Op.ID == "" {
		return false
	}
	r.outcomes++
	if len(r.switches) >= maxSwitches {
		r.dropped++
		return true
	}
	o := &sum.Op
	x := Switch{
		At: sum.At, ID: o.ID, Kind: o.Kind, From: o.From, To: o.To, Auto: o.Auto, By: o.By, Reason: o.Reason,
		Outcome: sum.Outcome, Why: sum.Why, Phases: sum.Phases(),
	}
	x.RTO, _ = sum.RTO()
	x.Slowest = failover.Slowest(x.Phases).Phase
	r.switches = append(r.switches, x)
	return true
}
