package replication

import (
	"fmt"
	"slices"
	"strings"

	"pointsman/internal/failover"
	"pointsman/replication/ots"
)

// At is a place where tables are: an instance of the service at a cluster.
type At struct {
	Cluster failover.ClusterName `json:"cluster"`
	Store   string               `json:"tablestore_instance"`
}

// Facts are what replication finds at both clusters before it begins.
type Facts struct {
	From, To At
	Pairs    []Pair
	Own      []OwnFacts
	Counts   map[At]int // tables that are there, secondary indexes among them
}

// OwnFacts are about one table of our own; nil is not there.
type OwnFacts struct {
	At
	For  string
	Want ots.Table
	Have *ots.Table
}

// StepState is how far a step is.
type StepState string

// States of a step.
const (
	StepPlanned StepState = "planned"
	StepDone    StepState = "done"
	StepFailed  StepState = "failed"
	StepLeft    StepState = "left" // not begun, since one before it failed
)

// PlanStep is one change that makes a table fit. None drops, shortens or lowers
// anything.
type PlanStep struct {
	At
	Table string    `json:"table"`
	Do    string    `json:"do"`
	Know  string    `json:"know,omitempty"` // what comes of it
	State StepState `json:"state"`
	Why   string    `json:"why,omitempty"` // of a failure

	have *ots.Table // nil: it is made
	want ots.Table
}

// Plan is what is missing, and what no step of it mends.
type Plan struct {
	From  At         `json:"from"`
	To    At         `json:"to"`
	Fits  []string   `json:"fits"` // tables that need nothing
	Steps []PlanStep `json:"steps"`
	Left  []Finding  `json:"left"` // would still be found after all steps
}

// Blocked says why nothing should be begun; empty: nothing is against it.
func (p *Plan) Blocked() string {
	for _, f := range p.Left {
		if f.ID == "quota.tables" && f.Level == LevelBlock && len(p.Steps) > 0 {
			return f.Evidence
		}
	}
	return ""
}

const (
	knowNewStream = "the stream has a new ID, and knows nothing from before: positions in an earlier one are void, and the table is copied in full"
	knowCreated   = "empty at first; what the source has is copied into it"
)

// NewPlan says what is to be done at both clusters. It is pure, and a plan of
// what the plan made is empty.
func NewPlan(f Facts) *Plan {
	p := &Plan{From: f.From, To: f.To, Fits: []string{}, Steps: []PlanStep{}, Left: []Finding{}}
	counts := map[At]int{}
	for at, n := range f.Counts {
		counts[at] = n
	}
	made := map[At]int{}
	add := func(at At, have *ots.Table, want ots.Table, know string) {
		if have == nil {
			made[at]++
		}
		p.Steps = append(p.Steps, stepsFor(at, have, want, know)...)
	}
	for _, o := range f.Own {
		want := o.Want
		if o.Have != nil {
			want = *o.Have
			want.TTL = longerLife(o.Have.TTL, o.Want.TTL)
		}
		add(o.At, o.Have, want, "of our own: "+o.For)
		p.Left = append(p.Left, OwnTable(o.Want, &want)...)
	}
	for _, pair := range f.Pairs {
		before := len(p.Steps)
		after := fitted(pair)
		if after.Source != nil {
			add(f.From, pair.Source, *after.Source, "")
		}
		if after.Target != nil {
			add(f.To, pair.Target, *after.Target, knowCreated)
		}
		left := Judge(after)
		p.Left = append(p.Left, left...)
		if len(left) == 0 && len(p.Steps) == before {
			p.Fits = append(p.Fits, pair.Table)
		}
	}
	for _, at := range placesOf(f) {
		p.Left = append(p.Left, Quota(at.Store, counts[at], made[at], TableQuota)...)
	}
	// Tables first, streams last: nothing follows a table that is not ready.
	slices.SortStableFunc(p.Steps, func(a, b PlanStep) int { return a.rank() - b.rank() })
	return p
}

func (s PlanStep) rank() int {
	switch {
	case s.have == nil:
		return 0
	case s.have.Stream == "" && s.want.Stream != "":
		return 2
	}
	return 1
}

// placesOf are all that the facts count tables of, in a steady order.
func placesOf(f Facts) []At {
	all := []At{f.From, f.To}
	for _, o := range f.Own {
		all = append(all, o.At)
	}
	var out []At
	for _, at := range all {
		if !slices.Contains(out, at) {
			out = append(out, at)
		}
	}
	return out
}

// newStream stands for the ID that the service will choose.
const newStream = "(new)"

// fitted is a pair as it should be, as far as that is to be had without
// dropping, shortening or lowering anything.
func fitted(p Pair) Pair {
	out := Pair{Table: p.Table}
	if p.Source == nil {
		return Pair{Table: p.Table, Target: p.Target}
	}
	s := *p.Source
	streamOn(&s)
	if !s.UpdateFullRow {
		s.Deviation = max(s.Deviation, WideDeviation)
	}
	out.Source = &s
	var t ots.Table
	switch {
	case p.Target == nil:
		t = ots.Table{Name: s.Name, TTL: s.TTL, MaxVersions: s.MaxVersions, Deviation: WideDeviation, AllowUpdate: s.AllowUpdate}
		for _, k := range s.Key {
			t.Key = append(t.Key, ots.KeySchema{Name: k.Name, Type: k.Type})
		}
		streamOn(&t)
	case hopeless(s, *p.Target):
		t = *p.Target // whoever made it must look at it first
	default:
		t = *p.Target
		t.TTL = longerLife(t.TTL, s.TTL)
		t.MaxVersions = max(t.MaxVersions, s.MaxVersions)
		t.Deviation = max(t.Deviation, WideDeviation)
		t.AllowUpdate = t.AllowUpdate || s.AllowUpdate
		streamOn(&t)
	}
	out.Target = &t
	return out
}

// hopeless says that the target's table cannot be made to fit.
func hopeless(s, t ots.Table) bool {
	return t.UpdateFullRow || !slices.EqualFunc(s.Key, t.Key, func(a, b ots.KeySchema) bool { return a.Name == b.Name && a.Type == b.Type && !b.AutoIncrement })
}

// streamOn enables a stream that is off. The hours of one that is on cannot be
// changed but by enabling it again, which would lose positions: they stay.
func streamOn(t *ots.Table) {
	if t.Stream == "" {
		t.Stream, t.Retention = newStream, LongRetention
	}
}

func longerLife(a, b int) int {
	if lifeOf(a) >= lifeOf(b) {
		return a
	}
	return b
}

// stepsFor says in words how one table becomes another; know is what comes of
// making it.
func stepsFor(at At, have *ots.Table, want ots.Table, know string) []PlanStep {
	if have == nil {
		text := fmt.Sprintf("make it: key (%s), rows live %s, %d versions within %s", keyText(want.Key), lifeText(want.TTL), want.MaxVersions, secondsText(want.Deviation))
		if want.Stream != "" {
			text += fmt.Sprintf(", stream of %s", hoursText(want.Retention))
		}
		return []PlanStep{{At: at, Table: want.Name, Do: text, Know: know, State: StepPlanned, want: want}}
	}
	var out []PlanStep
	var changes []string
	options := *have
	options.TTL, options.MaxVersions, options.Deviation, options.AllowUpdate = want.TTL, want.MaxVersions, want.Deviation, want.AllowUpdate
	if have.TTL != want.TTL {
		changes = append(changes, fmt.Sprintf("let rows live %s instead of %s", lifeText(want.TTL), lifeText(have.TTL)))
	}
	if have.MaxVersions != want.MaxVersions {
		changes = append(changes, fmt.Sprintf("keep %d versions instead of %d", want.MaxVersions, have.MaxVersions))
	}
	if have.Deviation != want.Deviation {
		changes = append(changes, fmt.Sprintf("take versions within %s of now instead of %s", secondsText(want.Deviation), secondsText(have.Deviation)))
	}
	if have.AllowUpdate != want.AllowUpdate {
		changes = append(changes, "take updates of rows")
	}
	if len(changes) > 0 {
		out = append(out, PlanStep{At: at, Table: want.Name, Do: strings.Join(changes, ", "), State: StepPlanned, have: have, want: options})
	}
	if have.Stream == "" && want.Stream != "" {
		out = append(out, PlanStep{At: at, Table: want.Name, Do: fmt.Sprintf("enable its stream, of %s", hoursText(want.Retention)), Know: knowNewStream, State: StepPlanned, have: have, want: want})
	}
	return out
}
