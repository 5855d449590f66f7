package controller

import (
	"log/slog"
	"slices"
	"time"

	"pointsman/internal/failover"
)

// Kind names what changed in a transition.
type Kind string

const (
	KindLead      Kind = "lead"
	KindPhase     Kind = "phase"
	KindMode      Kind = "mode"
	KindVerdict   Kind = "verdict"
	KindActive    Kind = "active"
	KindOperation Kind = "operation"
	KindStep      Kind = "step"
	KindHeld      Kind = "held"
	KindStop      Kind = "stop"
	KindTilt      Kind = "tilt"
	KindConfig    Kind = "config" // a reload
	KindFault     Kind = "fault"  // of this program or of what it depends on
)

// Transition is one change of an instance that people may want to hear of.
type Transition struct {
	Instance failover.InstanceName `json:"instance"`
	At       time.Time             `json:"at"`
	Kind     Kind                  `json:"kind"`
	From     string                `json:"from,omitempty"`
	To       string                `json:"to,omitempty"`
	Cluster  failover.ClusterName  `json:"cluster,omitempty"`
	Epoch    uint64                `json:"epoch,omitempty"`
	Op       string                `json:"op,omitempty"`
	Step     failover.StepName     `json:"step,omitempty"`
	Reason   string                `json:"reason,omitempty"`
}

// attrs are the log attributes, always under the same keys.
func (t Transition) attrs() []slog.Attr {
	as := []slog.Attr{slog.String("instance", string(t.Instance))}
	add := func(key, v string) {
		if v != "" {
			as = append(as, slog.String(key, v))
		}
	}
	add("cluster", string(t.Cluster))
	if t.Epoch != 0 {
		as = append(as, slog.Uint64("epoch", t.Epoch))
	}
	add("op", t.Op)
	add("step", string(t.Step))
	add("from", t.From)
	add("to", t.To)
	add("reason", t.Reason)
	return as
}

// glance is what of a view transitions are told by; it is kept, and the view
// is not.
type glance struct {
	leading  bool
	phase    failover.Phase
	mode     string
	active   failover.ClusterName
	verdicts []opinion
	op       *opGlance
	last     opEnd
	stops    []failover.StopKind
}

type opinion struct {
	of failover.ClusterName
	is failover.Vote
}

type opGlance struct {
	id, step string
	held     string // why; empty: it is not
	isHeld   bool
}

type opEnd struct {
	id      string // empty: there was none
	outcome failover.Outcome
}

func glanceAt(v *failover.View) glance {
	g := glance{leading: v.Leading, phase: v.Phase, mode: v.Mode, active: v.Active}
	for _, c := range v.Clusters {
		g.verdicts = append(g.verdicts, opinion{c.Name, c.Verdict})
	}
	if o := v.Op; o != nil {
		g.op = &opGlance{id: o.ID, step: stepWord(*o)}
		if o.Held != nil {
			g.op.held, g.op.isHeld = o.Held.Why, true
		}
	}
	if l := v.LastOp; l != nil {
		g.last = opEnd{l.Op.ID, l.Outcome}
	}
	for _, s := range v.Stops {
		g.stops = append(g.stops, s.Kind)
	}
	return g
}

// transitions says what is different in b.
func transitions(a *glance, b *failover.View) []Transition {
	var ts []Transition
	add := func(t Transition) {
		t.Instance, t.At, t.Epoch = b.Instance, b.At, b.Token.Epoch
		if b.Op != nil && t.Op == "" {
			t.Op, t.Step = b.Op.ID, b.Op.Step
		}
		ts = append(ts, t)
	}
	if a.leading != b.Leading {
		add(Transition{Kind: KindLead, From: leadWord(a.leading), To: leadWord(b.Leading), Reason: b.LeadWhy})
	}
	if a.phase != b.Phase {
		add(Transition{Kind: KindPhase, From: string(a.phase), To: string(b.Phase), Reason: b.Waiting})
	}
	if a.mode != b.Mode {
		add(Transition{Kind: KindMode, From: a.mode, To: b.Mode})
	}
	for _, c := range b.Clusters {
		was := failover.Unknown
		if i := slices.IndexFunc(a.verdicts, func(x opinion) bool { return x.of == c.Name }); i >= 0 {
			was = a.verdicts[i].is
		}
		if was != c.Verdict {
			add(Transition{Kind: KindVerdict, Cluster: c.Name, From: was.String(), To: c.Verdict.String(), Reason: c.Why})
		}
	}
	operation(a, b, add)
	if a.active != b.Active {
		add(Transition{Kind: KindActive, Cluster: b.Active, From: string(a.active), To: string(b.Active)})
	}
	stops(a.stops, b, add)
	return ts
}

func leadWord(leading bool) string {
	if leading {
		return "leading"
	}
	return "not leading"
}

// operation reports the beginning, the steps and the end of operations, also
// when one ended and the next began between the two views.
func operation(a *glance, b *failover.View, add func(Transition)) {
	if l := b.LastOp; l != nil && a.last != (opEnd{l.Op.ID, l.Outcome}) {
		add(Transition{
			Kind: KindOperation, Op: l.Op.ID, Step: l.Op.Step, Cluster: l.Op.To,
			From: string(l.Op.Kind), To: string(l.Outcome), Reason: l.Why,
		})
	}
	if b.Op == nil {
		return
	}
	var was opGlance
	if a.op != nil && a.op.id == b.Op.ID {
		was = *a.op
	} else {
		add(Transition{Kind: KindOperation, Cluster: b.Op.To, To: string(b.Op.Kind) + " started", Reason: b.Op.Reason})
	}
	if is := stepWord(*b.Op); was.step != is {
		add(Transition{Kind: KindStep, Cluster: b.Op.To, From: was.step, To: is})
	}
	switch {
	case b.Op.Held != nil && (!was.isHeld || was.held != b.Op.Held.Why):
		add(Transition{Kind: KindHeld, Cluster: b.Op.To, To: "held", Reason: b.Op.Held.Why})
	case b.Op.Held == nil && was.isHeld:
		add(Transition{Kind: KindHeld, Cluster: b.Op.To, From: "held", To: "going on"})
	}
}

func stepWord(o failover.Op) string {
	if o.Unwind {
		return string(o.Step) + " (unwinding)"
	}
	return string(o.Step)
}

func stops(was []failover.StopKind, b *failover.View, add func(Transition)) {
	for _, s := range b.Stops {
		if !slices.Contains(was, s.Kind) {
			add(Transition{Kind: KindStop, To: string(s.Kind), Reason: s.Why})
		}
	}
	for _, k := range was {
		if !slices.ContainsFunc(b.Stops, func(s failover.Stop) bool { return s.Kind == k }) {
			add(Transition{Kind: KindStop, From: string(k), To: "lifted"})
		}
	}
}
