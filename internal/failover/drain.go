package failover

import (
	"fmt"
	"slices"
	"time"
)

// Left is what a drain left behind on the cluster that was active.
type Left struct {
	Begins time.Time `json:"begins,omitzero"` // everything written before is on the new cluster; zero is unknown
	Rows   int64     `json:"rows,omitempty"`  // read and not applied: at least so many
	Gap    string    `json:"gap,omitempty"`   // why nobody can say what is left
	Cut    string    `json:"cut,omitempty"`   // where the drain ended, in its own words
	Why    string    `json:"why,omitempty"`   // why it did not end by itself
}

// Words say it for people, of a move from one cluster to another.
func (l *Left) Words(from, to ClusterName) string {
	out := fmt.Sprintf("what was written on %s last may be missing on %s, and since when is unknown", from, to)
	if !l.Begins.IsZero() {
		out = fmt.Sprintf("everything written before %s is on %s; what was written on %s after it may be missing there", stamp(l.Begins), to, from)
	}
	if l.Gap != "" {
		out = fmt.Sprintf("what is missing on %s is unknown: %s", to, l.Gap)
	}
	if l.Rows > 0 {
		out += fmt.Sprintf("; %d rows were read and not applied", l.Rows)
	}
	if l.Cut != "" {
		out += "; " + l.Cut
	}
	if l.Why != "" {
		out += " (" + l.Why + ")"
	}
	return out
}

// stamp cuts below the millisecond: a time before which something holds may
// become earlier, never later.
func stamp(at time.Time) string { return at.UTC().Format("2006-01-02T15:04:05.000Z") }

func (t *turn) drainStep(op *Op) (verdictOn, string, Guard) {
	if !t.p.Replicated {
		return pass, "", ""
	}
	d := t.s.drained
	empty := d != nil && d.Empty
	if empty && !t.gapped() {
		t.edit().Op.Left = nil
		if op.Kind == Failover {
			t.rec.Op.LossBound = time.Duration(0).String()
		}
		t.note("step", "drained: nothing is left on "+string(op.From))
		return pass, "", ""
	}
	planned := stepDef(op.Kind, op.Step).Late == LateUnwind
	if empty && t.gapNamed(op) { // as much as can be read has crossed, and the rest was accepted by name
		return t.leave(op, 0, false)
	}
	if d != nil && d.Gone && !planned && !t.late(op) {
		if bound, known := t.left(d); t.lossAccepted(op, bound, known) {
			return t.leave(op, bound, known)
		}
	}
	if !t.late(op) {
		t.drain(op, op.StepSince.Add(t.p.budget(op.Kind, op.Step)))
		return stay, "", ""
	}
	// Only its answer proves that nothing is being applied any more. A process
	// that has started anew has none yet.
	_, out := t.s.busy["drain"]
	if d == nil && !out {
		t.drain(op, t.now.Add(t.p.budget(op.Kind, op.Step)))
		out = true
	}
	if out {
		if h := op.Held; h != nil && h.Guard == GuardExposure {
			return hold, h.Why, h.Guard
		}
		return stay, "", ""
	}
	if planned {
		return unwind, "not drained in time", GuardExposure
	}
	bound, known := t.left(d)
	if t.lossAccepted(op, bound, known) {
		return t.leave(op, bound, known)
	}
	why := fmt.Sprintf("what is left on %s is unknown%s", op.From, t.unknownWhy(d))
	if known {
		why = fmt.Sprintf("up to %s is left on %s, %s is allowed", bound, op.From, t.p.RPO)
	}
	t.drain(op, t.now.Add(t.p.budget(op.Kind, op.Step)))
	return hold, why, GuardExposure
}

func (t *turn) drain(op *Op, deadline time.Time) {
	t.again("drain", Drain{Op: op.ID, Kind: op.Kind, From: op.From, To: op.To, Until: op.CloseProofAt, Deadline: deadline})
}

// left is the bound of what a drain has left, and whether one is known.
func (t *turn) left(d *Drained) (time.Duration, bool) {
	switch {
	case t.gapped():
		return 0, false
	case d == nil || d.Err != "":
	case !d.Begins.IsZero():
		ends := t.s.lossEnds(t.p, t.now)
		if d.Rows > 0 && !ends.After(d.Begins) {
			ends = t.now // somebody wrote whom no vantage saw
		}
		return max(ends.Sub(d.Begins), 0), true
	case d.Bound >= 0:
		return d.Bound, true
	}
	return t.s.bound(t.p, t.now)
}

func (t *turn) unknownWhy(d *Drained) string {
	switch e := t.s.exposure; {
	case d != nil && d.Gap != "":
		return ": " + d.Gap
	case d != nil && d.Err != "":
		return ": " + d.Err
	case e != nil && e.Gap != "":
		return ": " + e.Gap
	case e != nil && !e.Known && e.Why != "":
		return ": " + e.Why
	}
	return ""
}

// leave goes on without what was not read, and writes down what that is.
func (t *turn) leave(op *Op, bound time.Duration, known bool) (verdictOn, string, Guard) {
	d, e := t.s.drained, t.s.exposure
	o := t.edit().Op
	o.LossBound = bound.String()
	if !known {
		o.LossBound = "unknown"
	}
	l := &Left{}
	switch {
	case d != nil && d.Err == "":
		l.Begins, l.Rows, l.Gap, l.Cut = d.Begins, d.Rows, d.Gap, d.Cut
	case d != nil:
		l.Why = d.Err
	default:
		l.Why = "the drain gave no answer"
	}
	if e != nil && l.Gap == "" {
		l.Gap = e.Gap
	}
	if l.Begins.IsZero() && l.Gap == "" && e != nil && e.Known {
		l.Begins = e.Sampled.Add(-e.Lag)
	}
	o.Left = l
	t.useConsent(o, bound, known)
	t.note("step", fmt.Sprintf("not drained to the end, a loss of %s is accepted: %s", lossWords(bound, known), l.Words(op.From, op.To)))
	return pass, "", ""
}

// lossAccepted: by the policy, or by a person's consent that is neither over
// nor smaller than the bound.
func (t *turn) lossAccepted(op *Op, bound time.Duration, known bool) bool {
	return t.policyAccepts(bound, known) || t.gapNamed(op) || op.Consent.covers(bound, known, t.now)
}

// gapNamed says whether an unknown loss over a gap was accepted by name.
func (t *turn) gapNamed(op *Op) bool {
	return t.gapped() && slices.Contains(op.Override, GuardStreamGap)
}

func (t *turn) policyAccepts(bound time.Duration, known bool) bool {
	switch {
	case t.p.RPO.Kind == RPONone:
		return true
	case known && t.p.RPO.Kind == RPOBounded && bound <= t.p.RPO.Bound:
		return true
	}
	return known && bound == 0
}

// gapped says whether replication found that a stream was trimmed or re-created.
func (t *turn) gapped() bool {
	d, e := t.s.drained, t.s.exposure
	return d != nil && d.Gap != "" || e != nil && e.Gap != ""
}

// covers says whether the consent still stands and is as large as the bound.
func (c *Consent) covers(bound time.Duration, known bool, now time.Time) bool {
	return c != nil && now.Before(c.Expires) && (c.Loss < 0 || known && bound <= c.Loss)
}

// useConsent notes that the operation goes on by a person's consent alone.
func (t *turn) useConsent(op *Op, bound time.Duration, known bool) {
	c := op.Consent
	if !c.covers(bound, known, t.now) || t.policyAccepts(bound, known) {
		return
	}
	used := *c
	used.Used = t.now
	op.Consent = &used
	t.note("consent", fmt.Sprintf("the consent of %s to a loss of %s is used for one of %s", c.By, lossWords(c.Loss, c.Loss >= 0), lossWords(bound, known))).By = c.By
}

func lossWords(bound time.Duration, known bool) string {
	if !known {
		return "unknown size"
	}
	return "up to " + bound.String()
}
