package failover

import (
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"
)

// carrier is replication in the small, with the truth beside it: which writes
// the active cluster has acknowledged, and which of them are on the standby. It
// is sometimes slow, and what it says sometimes arrives late; it never says more
// than is so.
type carrier struct {
	from    ClusterName
	acked   []time.Time // in order
	applied int         // of them
	stopped bool        // a drain has answered: nothing is applied
	read    int         // of acked, those of before that answer
	stuck   bool        // nothing crosses before a drain
	gap     string
	late    []Exposure // on their way
	// known says that the core was told of the gap while it could still heed it:
	// not while a decision of before was on its way to the disk.
	known bool

	consents map[string]time.Time // used, by operation
	told     int                  // exposures
	lossy    int                  // operations that left something behind, and said so
	consent  int                  // that went on by a consent
	refills  int
}

// writers says whether anybody can write to a cluster and a vantage sees it.
func (h *history) writers(c ClusterName) bool {
	if h.p.Gated && !h.open[c] {
		return false
	}
	for _, v := range h.p.Vantages {
		if h.said[v.Name][c].Client == ClientAccepted {
			return true
		}
	}
	return false
}

// readable says whether the carrier can read the cluster.
func (h *history) readable(c ClusterName) bool {
	for _, v := range h.p.Vantages {
		if h.said[v.Name][c].Vote == Up {
			return true
		}
	}
	return false
}

// upto is a moment before which everything that was acknowledged is applied.
func (c *carrier) upto(now time.Time) time.Time {
	if c.applied < len(c.acked) {
		return c.acked[c.applied]
	}
	return now
}

// carryOn lets clients write and the carrier work for a moment.
func (h *history) carryOn() {
	c := h.carrier
	if c == nil || h.ledger == nil {
		return
	}
	if c.from != h.ledger.Active {
		*c = carrier{from: h.ledger.Active, consents: c.consents, told: c.told, lossy: c.lossy, consent: c.consent, refills: c.refills}
	}
	if h.writers(c.from) {
		c.acked = append(c.acked, h.now)
	}
	if h.ledger.Op == nil || h.ledger.Op.Unwind {
		c.stopped = false
	}
	if to := h.p.Other(c.from); !c.stopped && !c.stuck && c.gap == "" && h.readable(c.from) && h.ledger.Standby.State != StandbyInvalidated && h.readable(to) {
		c.applied += rapid.IntRange(0, len(c.acked)-c.applied).Draw(h.t, "applies")
	}
	switch rapid.IntRange(0, 9).Draw(h.t, "tells") {
	case 0: // a word that is late, and then older than others
		c.late = append(c.late, h.exposure())
	case 1:
		for _, e := range c.late {
			h.tell(e)
		}
		c.late = nil
	case 2:
		if c.gap == "" {
			c.gap = "the stream was trimmed"
		} else {
			c.gap, c.applied = "", len(c.acked) // it was copied anew
		}
		h.tell(h.exposure())
	case 3, 4, 5, 6:
		h.tell(h.exposure())
	case 7:
		h.feed(StandbyChanged{Cluster: rapid.SampledFrom(h.p.Clusters[:]).Draw(h.t, "of"), State: rapid.SampledFrom([]StandbyState{StandbySynced, StandbySynced, StandbyRefilling, StandbyUnprotected, StandbyInvalidated}).Draw(h.t, "is")})
	}
}

func (h *history) exposure() Exposure {
	c := h.carrier
	e := Exposure{From: c.from, Known: true, Sampled: h.now, Rows: int64(len(c.acked) - c.applied), Gap: c.gap}
	e.Lag = h.now.Sub(c.upto(h.now)) + time.Duration(rapid.IntRange(0, 2).Draw(h.t, "more"))*300*time.Millisecond
	return e
}

func (h *history) tell(e Exposure) {
	h.carrier.told++
	h.carrier.known = e.Gap != "" && (h.carrier.known || h.s.pending == nil)
	h.feed(e)
}

// carryDrain reads what it can, and answers, or does not.
func (h *history) carryDrain(a Drain, how string) {
	c := h.carrier
	op := h.ledger.Op
	if op == nil || a.Op != op.ID || op.Step != StepDrain || op.Unwind || a.From != c.from {
		h.feed(Drained{Op: a.Op, Bound: -1, Err: "another operation is in hand"})
		return
	}
	if !a.Deadline.After(op.StepSince) || a.Kind != op.Kind || a.To != op.To {
		h.fail("drain %+v of %+v", a, op)
	}
	c.stopped, c.read = true, len(c.acked)
	d := Drained{Op: a.Op, Bound: -1}
	if h.readable(c.from) && h.readable(a.To) {
		left := len(c.acked) - c.applied
		n := left
		if rapid.IntRange(0, 3).Draw(h.t, "slow") == 0 {
			n = rapid.IntRange(0, left).Draw(h.t, "drained")
		}
		c.applied += n
		d.Empty = c.applied == len(c.acked)
	} else {
		d.Gone = rapid.Bool().Draw(h.t, "gone")
	}
	if rapid.IntRange(0, 9).Draw(h.t, "gap in the drain") == 0 {
		c.gap = "found by the drain"
	}
	d.Gap, d.Begins, d.Rows = c.gap, c.upto(h.now), int64(rapid.IntRange(0, len(c.acked)-c.applied).Draw(h.t, "read"))
	if d.Gap != "" {
		d.Begins = time.Time{}
	}
	if how == "lost" || how == "dropped" {
		d = Drained{Op: a.Op, Bound: -1, Err: "no answer"}
	}
	h.feed(d)
}

// checkExposure: I10, what is shown is never less than what is so.
func (h *history) checkExposure() {
	c := h.carrier
	if c == nil || h.ledger == nil || c.from != h.ledger.Active || h.s.pending != nil || c.applied == len(c.acked) {
		return
	}
	last, first := c.acked[len(c.acked)-1], c.acked[c.applied]
	v := h.s.exposureView(&h.p, h.now)
	if v.Known && v.Bound < last.Sub(first) {
		h.fail("I10: at most %s is shown, and %s would be lost: %+v", v.Bound, last.Sub(first), h.s.exposure)
	}
}

// checkLeft: I9, I21, I22, when an operation goes on from its drain.
func (h *history) checkLeft(before, r *Record, audit []AuditEntry) {
	c := h.carrier
	if c == nil || before == nil {
		return
	}
	h.checkStandby(before, r, audit)
	op := r.Op
	if op == nil && r.LastOp != nil && before.Op != nil && r.LastOp.Op.ID == before.Op.ID {
		op = &r.LastOp.Op
	}
	was := before.Op
	if op == nil || op.Unwind || stepIndex(op.Step) <= stepIndex(StepDrain) || was != nil && was.ID == op.ID && stepIndex(was.Step) > stepIndex(StepDrain) {
		return
	}
	missing := c.acked[c.applied:]
	if c.stopped { // what an unproved gate lets in after it is named as such
		missing = c.acked[c.applied:max(c.applied, c.read)]
	}
	switch {
	case op.Left == nil && c.gap != "" && c.known && h.s.exposure != nil && h.s.exposure.Gap != "":
		h.fail("I21: %s went on over a gap that it was told of, as if nothing were left", op.ID)
	case op.Left == nil && len(missing) > 0:
		h.fail("I9: %s went on as drained, and %d writes are missing", op.ID, len(missing))
	case op.Left == nil:
		return
	case op.Kind == Switchover:
		h.fail("I9: the switchover %s left %+v", op.ID, op.Left)
	}
	c.lossy++
	l := op.Left
	if !l.Begins.IsZero() && len(missing) > 0 && missing[0].Before(l.Begins) {
		h.fail("I9: %s says that everything before %s has crossed, and a write of %s has not", op.ID, l.Begins, missing[0])
	}
	bound, err := time.ParseDuration(op.LossBound)
	known := err == nil
	if lost := len(missing); known && lost > 0 && missing[lost-1].Sub(missing[0]) > bound {
		h.fail("I9: %s goes on with a bound of %s, and %s are lost", op.ID, bound, missing[lost-1].Sub(missing[0]))
	}
	if l.Gap != "" && known {
		h.fail("I21: %s goes on over a gap with a bound of %s", op.ID, bound)
	}
	policy := h.p.RPO.Kind == RPONone || known && bound <= h.p.RPO.Bound
	named := l.Gap != "" && slices.Contains(op.Override, GuardStreamGap)
	if policy || named {
		return
	}
	u := op.Consent
	if u == nil || u.Used.IsZero() || !h.now.Before(u.Expires) || u.Loss >= 0 && (!known || bound > u.Loss) {
		h.fail("I22: %s goes on with a bound of %s by the consent %+v", op.ID, op.LossBound, u)
	}
	if at, used := c.consents[op.ID]; used {
		h.fail("I22: the consent of %s is used again, after %s", op.ID, at)
	}
	c.consents[op.ID] = h.now
	c.consent++
}

// checkStandby: only a person ends an invalidation, and what did not cross is
// never given up without a word.
func (h *history) checkStandby(before, r *Record, audit []AuditEntry) {
	c := h.carrier
	if before.Standby.State == StandbyInvalidated && r.Standby.State != StandbyInvalidated {
		said := count(audit, func(e AuditEntry) bool {
			return e.Kind == "command" && strings.HasPrefix(e.Text, "refill of ")
		})
		if r.Standby.State != StandbyRefilling || said == 0 {
			h.fail("an invalidated standby became %s", r.Standby.State)
		}
		c.refills++
	}
	settled := r.Op == nil && before.Op != nil && r.LastOp != nil && r.LastOp.Outcome == Settled && r.LastOp.Op.Kind == Failover
	if !settled {
		return
	}
	if r.Standby.State != StandbyInvalidated {
		h.fail("after a failover the standby is %s", r.Standby.State)
	}
	if from := r.LastOp.Op.From; r.Standby.Unsynced == "" && c.from == from && c.applied < len(c.acked) {
		h.fail("%d writes are missing after %s, and the record says that %s holds nothing alone", len(c.acked)-c.applied, r.LastOp.Op.ID, from)
	}
}

// consents gives an order of a person a number, or the names of guards.
func (h *history) consents(c *Command) {
	op := h.s.rec.Op
	switch {
	case !h.wanted() || rapid.IntRange(0, 3).Draw(h.t, "something else") == 0:
	case op != nil:
		c.Do, c.To = DoFailover, op.To
	case h.carrier.stuck:
		c.Do, c.To = DoFailover, h.p.Other(h.carrier.from)
	default:
		c.Do = DoRefill
	}
	switch c.Do {
	case DoFailover:
		if rapid.IntRange(0, 4).Draw(h.t, "accepts") > 0 {
			loss := rapid.SampledFrom([]time.Duration{-1, time.Second, 3 * time.Second, 10 * time.Second, time.Minute}).Draw(h.t, "loss")
			c.AcceptLoss = &loss
		}
		if rapid.IntRange(0, 3).Draw(h.t, "names the gap") == 0 {
			c.Override = []Guard{GuardStreamGap}
		}
	case DoRefill:
		c.To = ""
		if rapid.Bool().Draw(h.t, "gives up") {
			c.Override = []Guard{GuardUnsynced}
		}
	}
}

// wanted says whether something of replication waits for a person.
func (h *history) wanted() bool {
	if op := h.s.rec.Op; op != nil {
		return op.Held != nil && op.Held.Guard == GuardExposure
	}
	return h.carrier.stuck || h.s.rec.Standby.State == StandbyInvalidated
}
