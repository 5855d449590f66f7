package report

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"

	"pointsman/internal/failover"
	"pointsman/internal/ledger"
)

// Kinds of samples that are read. Others belong to other readers.
const (
	KindVerdict   = "verdict"   // a change of what the quorum says of a cluster
	KindOutcome   = "outcome"   // a finished operation
	KindPage      = "page"      // a call for people
	KindRecording = "recording" // a life of the controller, see Life
)

// Life is the data of a sample that says from when until when a controller
// recorded: without it nobody could tell a quiet time from one in which it did
// not run. Of several with the same beginning the latest end counts.
type Life struct {
	From  time.Time `json:"from"`
	Until time.Time `json:"until"`
	Ended bool      `json:"ended,omitempty"` // in good order
}

const (
	// BeatEvery is how often the controller says that it still records.
	BeatEvery = 10 * time.Minute
	// silence is for how long a life that goes on may have said nothing.
	silence = 2*BeatEvery + 5*time.Minute

	maxSwitches  = 50     // of one instance, the newest
	maxGaps      = 50     // of the coverage, the longest
	maxPageKinds = 64     // a damaged history cannot fill the memory
	maxLives     = 10_000 // the newest
)

// past is what the samples of a window say. First come the lives, then all
// samples, newest first.
type past struct {
	from, to time.Time

	instances map[failover.InstanceName]*recorded
	wanted    func(failover.InstanceName) bool

	lives    []Life
	restarts []restart // within the window
	gaps     []Stretch
	begun    time.Time // of the newest life from before the window; zero: none is known
	next     time.Time // of the first life from after it; zero: there is none
	oldest   time.Time
	reached  time.Time // of the sample taken last, in the window or not; zero: there was none
	samples  int
	unread   int

	clocks map[failover.VantageName]*clockPast
}

// recorded is what was recorded of one instance.
type recorded struct {
	clusters map[failover.ClusterName]*trace
	switches []Switch
	dropped  int // older switches
	pages    map[string]int
	outcomes int
	reached  map[string][]Reach // by operation
	exposure *exposurePast      // nil: nothing was recorded
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

// life takes one. One that cannot be read is a time that nobody saw.
func (p *past) life(s *ledger.Sample) {
	var l Life
	if json.Unmarshal(s.Data, &l) != nil || l.From.IsZero() || l.Until.Before(l.From) {
		p.unread++
		return
	}
	if len(p.lives) < maxLives {
		p.lives = append(p.lives, l)
	}
}

// lived makes gaps and restarts of the lives.
func (p *past) lived() {
	slices.SortFunc(p.lives, func(a, b Life) int { return cmp.Or(a.From.Compare(b.From), a.Until.Compare(b.Until)) })
	var seen time.Time // until when it was recorded
	for i, l := range p.lives {
		if i+1 < len(p.lives) && p.lives[i+1].From.Equal(l.From) {
			continue // a later one of the same life
		}
		if seen.IsZero() || l.From.After(seen) {
			from := seen
			if from.IsZero() {
				from = p.from
			}
			p.gap(from, l.From)
		}
		switch {
		case !l.From.After(p.from):
			p.begun = l.From
		case l.From.Before(p.to):
			p.restarts = append(p.restarts, restart{seen, l.From})
		case p.next.IsZero():
			p.next = l.From
		}
		if l.Until.After(seen) {
			seen = l.Until
		}
	}
	switch {
	case seen.IsZero(): // nobody ever said that it records
		p.gap(p.from, p.to)
	case p.to.Sub(seen) > silence || p.ended():
		p.gap(seen, p.to)
	}
}

// lost makes a gap of what older samples would have told of the window.
func (p *past) lost() {
	until := p.to
	if !p.reached.IsZero() && p.reached.Before(until) {
		until = p.reached
	}
	p.gap(p.from, until)
}

// ended says that the newest life has said goodbye.
func (p *past) ended() bool {
	return len(p.lives) > 0 && p.lives[len(p.lives)-1].Ended
}

func (p *past) gap(from, to time.Time) {
	if g, ok := clip(Stretch{State: IsGap, From: from, To: to}, p.from, p.to); ok {
		p.gaps = union(append(p.gaps, g))
	}
}

// union puts stretches of one state in order and apart.
func union(in []Stretch) []Stretch {
	slices.SortFunc(in, func(a, b Stretch) int { return a.From.Compare(b.From) })
	out := in[:0]
	for _, s := range in {
		if n := len(out); n > 0 && !s.From.After(out[n-1].To) {
			out[n-1].To = latest(out[n-1].To, s.To)
			continue
		}
		out = append(out, s)
	}
	return out
}

// sample takes one, and says whether older ones are wanted.
func (p *past) sample(s ledger.Sample) bool {
	p.reached = s.At
	if s.Kind == KindExposure && p.wanted(s.Instance) && s.At.Before(p.to) && s.At.After(p.from.Add(-time.Hour)) && !p.exposure(&s) {
		p.unread++
	}
	switch {
	case !s.At.Before(p.to):
		p.later(&s)
		return true
	case s.At.Before(p.from):
		return p.earlier(&s)
	}
	p.samples++
	p.oldest = s.At
	if s.Kind == KindClock {
		if !p.clock(&s) {
			p.unread++
		}
		return true
	}
	if !p.wanted(s.Instance) {
		return true
	}
	r := p.of(s.Instance)
	ok := true
	switch s.Kind {
	case KindVerdict:
		ok = r.verdict(&s)
	case KindOutcome:
		ok = r.outcome(&s)
	case KindPropagation:
		ok = r.propagation(&s)
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

// later reads what came after the window, in the same life, as far as it says
// what was at its end.
func (p *past) later(s *ledger.Sample) {
	var v verdictData
	if s.Kind != KindVerdict || !p.wanted(s.Instance) || !p.next.IsZero() && !s.At.Before(p.next) || json.Unmarshal(s.Data, &v) != nil || v.Cluster == "" {
		return
	}
	if t := p.of(s.Instance).cluster(v.Cluster); t != nil {
		t.after = &v.From
	}
}

// earlier reads before the window, as far as clusters need it whose state at
// its beginning nothing in it tells: changes tell what was before them, and what
// is now tells the rest, but for a start in between. It says whether to go on.
func (p *past) earlier(s *ledger.Sample) bool {
	if len(p.restarts) == 0 && p.next.IsZero() || s.At.Before(p.begun) {
		return s.At.After(p.from.Add(-time.Hour)) // a line of exposures is filed under the beginning of its hour
	}
	var v verdictData
	if s.Kind != KindVerdict || !p.wanted(s.Instance) || json.Unmarshal(s.Data, &v) != nil || v.Cluster == "" {
		return true
	}
	if t := p.of(s.Instance).cluster(v.Cluster); t != nil && t.before == nil {
		t.before = &v.To
	}
	return true
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
	x.Moved, x.TTLOld = !o.MovedAt.IsZero() && sum.Outcome == failover.Settled, o.TTLOld
	if d := o.PublishedAt.Sub(o.MovedAt); x.Moved && !o.PublishedAt.IsZero() {
		d = max(d, 0)
		x.Published = &d
	}
	x.Slowest = failover.Slowest(x.Phases).Phase
	r.switches = append(r.switches, x)
	return true
}
