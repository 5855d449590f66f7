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

// transitions compares two views of an instance.
func transitions(a, b *failover.View) []Transition {
	var ts []Transition
	add := func(t Transition) {
		t.Instance, t.At, t.Epoch = b.Instance, b.At, b.Token.Epoch
		if b.Op != nil && t.Op == "" {
			t.Op, t.Step = b.Op.ID, b.Op.Step
		}
		ts = append(ts, t)
	}
	if a.Leading != b.Leading {
		add(Transition{Kind: KindLead, From: leadWord(a), To: leadWord(b), Reason: b.LeadWhy})
	}
	if a.Phase != b.Phase {
		add(Transition{Kind: KindPhase, From: string(a.Phase), To: string(b.Phase), Reason: b.Waiting})
	}
	if a.Mode != b.Mode {
		add(Transition{Kind: KindMode, From: a.Mode, To: b.Mode})
	}
	for _, c := range b.Clusters {
		i := slices.IndexFunc(a.Clusters, func(x failover.ClusterView) bool { return x.Name == c.Name })
		was := failover.Unknown
		if i >= 0 {
			was = a.Clusters[i].Verdict
		}
		if was != c.Verdict {
			add(Transition{Kind: KindVerdict, Cluster: c.Name, From: was.String(), To: c.Verdict.String(), Reason: c.Why})
		}
	}
	operation(a, b, add)
	if a.Active != b.Active {
		add(Transition{Kind: KindActive, Cluster: b.Active, From: string(a.Active), To: string(b.Active)})
	}
	stops(a, b, add)
	return ts
}

func leadWord(v *failover.View) string {
	if v.Leading {
		return "leading"
	}
	return "not leading"
}

// operation reports the beginning, the steps and the end of operations, also
// when one ended and the next began between the two views.
func operation(a, b *failover.View, add func(Transition)) {
	same := a.Op != nil && b.Op != nil && a.Op.ID == b.Op.ID
	if l := b.LastOp; l != nil && (a.LastOp == nil || a.LastOp.Op.ID != l.Op.ID || a.LastOp.Outcome != l.Outcome) {
		add(Transition{
			Kind: KindOperation, Op: l.Op.ID, Step: l.Op.Step, Cluster: l.Op.To,
			From: string(l.Op.Kind), To: string(l.Outcome), Reason: l.Why,
		})
	}
	if b.Op == nil {
		return
	}
	if !same {
		add(Transition{Kind: KindOperation, Cluster: b.Op.To, To: string(b.Op.Kind) + " started", Reason: b.Op.Reason})
	}
	var was failover.Op
	if same {
		was = *a.Op
	}
	if was.Step != b.Op.Step || was.Unwind != b.Op.Unwind {
		add(Transition{Kind: KindStep, Cluster: b.Op.To, From: stepWord(was), To: stepWord(*b.Op)})
	}
	switch {
	case b.Op.Held != nil && (was.Held == nil || was.Held.Why != b.Op.Held.Why):
		add(Transition{Kind: KindHeld, Cluster: b.Op.To, To: "held", Reason: b.Op.Held.Why})
	case b.Op.Held == nil && was.Held != nil:
		add(Transition{Kind: KindHeld, Cluster: b.Op.To, From: "held", To: "going on"})
	}
}

func stepWord(o failover.Op) string {
	if o.Unwind {
		return string(o.Step) + " (unwinding)"
	}
	return string(o.Step)
}

func stops(a, b *failover.View, add func(Transition)) {
	has := func(ss []failover.Stop, k failover.StopKind) bool {
		return slices.ContainsFunc(ss, func(s failover.Stop) bool { return s.Kind == k })
	}
	for _, s := range b.Stops {
		if !has(a.Stops, s.Kind) {
			add(Transition{Kind: KindStop, To: string(s.Kind), Reason: s.Why})
		}
	}
	for _, s := range a.Stops {
		if !has(b.Stops, s.Kind) {
			add(Transition{Kind: KindStop, From: string(s.Kind), To: "lifted"})
		}
	}
}
