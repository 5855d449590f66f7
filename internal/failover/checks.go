package failover

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

func leaderGuard(a *ask) (string, string) {
	if a.s.lead.Leading {
		return "", ""
	}
	why := a.s.lead.Why
	if why == "" {
		why = "another process leads"
	}
	return "this process does not lead: " + why, "ask the leading controller"
}

func leaseGuard(a *ask) (string, string) {
	need := a.p.LongestCall + a.p.LeaseMargin
	if left := a.s.lead.Until.Sub(a.now); left < need {
		return fmt.Sprintf("the lease ends in %s, the longest call and its margin need %s", left.Round(time.Millisecond), need), "wait for the renewal; look at the store's latency"
	}
	return "", ""
}

// unrecorded says what is missing where the ledger has no record, and how it
// comes to be. Names of our own authority are never adopted: there --shadow
// alone stands in the way.
func (p *Policy) unrecorded() (why, hint string) {
	if p.ForceShadow && p.AllEmbedded() {
		return noRecordInShadow, "end the controller and start it without --shadow: the instance stays in shadow until it is armed"
	}
	return "there is no record of this instance yet", "pointsman adopt " + string(p.Instance)
}

const noRecordInShadow = "no record yet, and --shadow makes none"

func adoptingGuard(a *ask) (string, string) {
	if !a.s.found {
		return a.p.unrecorded()
	}
	if why := a.s.strange(a.p); why != "" {
		return why, "name the clusters in the config as the record does"
	}
	if !a.s.adopted {
		return "just started: " + a.s.waiting(a.p, a.now), "wait three rounds"
	}
	return "", ""
}

func opInFlightGuard(a *ask) (string, string) {
	if op := a.s.rec.Op; op != nil {
		return fmt.Sprintf("operation %s (%s %s to %s) is at %s", op.ID, op.Kind, op.From, op.To, op.Step), "wait for it, or pointsman abort " + string(a.p.Instance)
	}
	return "", ""
}

func shadowGuard(a *ask) (string, string) {
	if a.p.ForceShadow {
		return "this process was started with --shadow: it decides all and does none", "start it without --shadow"
	}
	if a.s.rec.Mode == ModeShadow {
		return "the instance is not armed: everything is decided, nothing is done", "pointsman arm " + string(a.p.Instance) + " --mode propose|auto"
	}
	return "", ""
}

func driftGuard(a *ask) (string, string) {
	if st := a.s.rec.Stop(StopDrift); st != nil {
		return st.Why, fmt.Sprintf("pointsman adopt %s or pointsman restore %s", a.p.Instance, a.p.Instance)
	}
	for _, n := range a.s.rec.Names {
		if f := a.s.names[n.Name]; !n.Embedded && n.Want == nil && f.fresh && f.read.Err == "" && !showsRecord(&n, f.read) {
			return fmt.Sprintf("%s shows CNAME %s with mark %q, the record says CNAME %s", n.Name, f.read.Value, f.read.Mark, n.Value), "look again in a moment"
		}
		if n.Want != nil {
			why := fmt.Sprintf("a write to %s (%s) is not proved yet", n.Name, n.Want.Why)
			if err := a.s.names[n.Name].err; err != "" {
				why += ": " + err
			}
			return why, "wait until the name is read back"
		}
	}
	return "", ""
}

func tiltGuard(a *ask) (string, string) {
	if a.s.tiltAt.IsZero() {
		return "", ""
	}
	if left := a.s.tiltAt.Add(3 * a.p.Round).Sub(a.now); left > 0 {
		return fmt.Sprintf("the clock jumped or the loop stalled: three fresh rounds first, %s left", left.Round(time.Millisecond)), "wait"
	}
	return "", ""
}

func domainsGuard(a *ask) (string, string) {
	n := len(a.p.Domains())
	switch {
	case n == 1 && !a.p.SingleVantage:
		return "one failure domain sees one network: automation needs three, or two that agree", "add vantages, or say single_vantage: accept"
	case a.old.informed < a.p.Quorum():
		return fmt.Sprintf("%d of %d configured domains are informed about %s, %d needed", a.old.informed, n, a.from, a.p.Quorum()), "look at the vantages that abstain"
	}
	return "", ""
}

func sourceGuard(a *ask) (string, string) {
	if a.kind != Switchover {
		return "", ""
	}
	if a.old.downs > 0 || 2*a.old.ups <= a.old.informed || a.old.ups == 0 {
		return fmt.Sprintf("a switchover needs both sides alive, and %s is %s", a.from, a.old.words()), fmt.Sprintf("pointsman failover %s --to %s", a.p.Instance, a.to)
	}
	return "", ""
}

func targetGuard(a *ask) (string, string) {
	t := &a.new
	name := a.p.Instance
	hint := fmt.Sprintf("look at pointsman status %s", name)
	if a.auto {
		if t.verdict != Up {
			return fmt.Sprintf("%s is not proved up by the quorum: %s", a.to, t.words()), hint
		}
		if up := a.now.Sub(t.upSince); up < a.p.MinUp {
			return fmt.Sprintf("%s has been up for %s of %s", a.to, up.Round(time.Millisecond), a.p.MinUp), "wait"
		}
	} else if t.downs > 0 || t.ups == 0 || 2*t.ups <= t.informed {
		return fmt.Sprintf("%s is not up for a majority of the informed domains with none against: %s", a.to, t.words()), hint
	}
	if a.p.Canary && !t.canary {
		return fmt.Sprintf("no fresh write with the service identity on %s", a.to), hint
	}
	return "", ""
}

func moveProofGuard(a *ask) (string, string) {
	if a.p.MoveProof == MoveProofWaived || a.new.identity {
		return "", ""
	}
	if pr, ok := a.s.rec.Proofs[a.to]; ok && a.now.Sub(pr.At) < MoveProofLife {
		return "", ""
	}
	return fmt.Sprintf("it was not shown within 7 days that clients under their own name are served by %s itself", a.to), "give the check an identity, or say move_proof: waived"
}

func standbyGuard(a *ask) (string, string) {
	st := a.s.rec.Standby
	switch {
	case st.State == StandbyInvalidated || st.State == StandbyRefilling,
		a.p.Replicated && st.State != StandbySynced:
		why := fmt.Sprintf("%s is %s", a.to, st.State)
		if len(st.Why) > 0 {
			why += ": " + strings.Join(st.Why, "; ")
		}
		return why, standbyHint(a.p, st.State)
	}
	return "", ""
}

// standbyHint says what brings the standby back.
func standbyHint(p *Policy, st StandbyState) string {
	switch st {
	case StandbyInvalidated:
		return fmt.Sprintf("look at what it holds alone, then pointsman refill %s --reason TEXT", p.Instance)
	case StandbyRefilling:
		return "wait until it is refilled: pointsman replication status " + string(p.Instance)
	}
	return "look at pointsman replication status " + string(p.Instance)
}

func exposureGuard(a *ask) (string, string) {
	if !a.p.Replicated || a.p.RPO.Kind == RPONone || a.kind == Switchover {
		return "", "" // a switchover drains: what is open now says nothing of its loss
	}
	if e := a.s.exposure; e != nil && e.Gap != "" && slices.Contains(a.override, GuardStreamGap) {
		return "", "" // an unknown loss is accepted by name
	}
	bound, known := a.s.bound(a.p, a.now)
	limit := a.p.RPO.Bound
	if a.p.RPO.Kind == RPOZero {
		limit = 0
	}
	if known && bound <= limit {
		return "", ""
	}
	if l := a.acceptLoss; l != nil && (*l < 0 || known && bound <= *l) {
		return "", ""
	}
	if !known {
		return fmt.Sprintf("the exposure is unknown%s, and unknown counts as above %s", a.s.exposureWhy(), a.p.RPO), fmt.Sprintf("pointsman failover %s --to %s --accept-loss DURATION once it is known", a.p.Instance, a.to)
	}
	return fmt.Sprintf("up to %s would be lost%s, %s is allowed", bound.Round(time.Millisecond), a.s.exposureWhy(), a.p.RPO), fmt.Sprintf("pointsman failover %s --to %s --accept-loss %s", a.p.Instance, a.to, roundUp(bound))
}

// exposureWhy is what the exposure hangs on, in brackets, where replication
// said it.
func (s *State) exposureWhy() string {
	if s.exposure == nil || s.exposure.Why == "" {
		return ""
	}
	return " (" + s.exposure.Why + ")"
}

func roundUp(d time.Duration) time.Duration {
	return d.Truncate(time.Second) + 5*time.Second
}

func streamGapGuard(a *ask) (string, string) {
	if e := a.s.exposure; a.p.Replicated && e != nil && e.Gap != "" {
		return "the loss is unknown: " + e.Gap, "pointsman failover --override stream-gap accepts an unknown loss"
	}
	return "", ""
}

func correlatedGuard(a *ask) (string, string) {
	if a.s.correlated {
		return "both clusters were lost together; neither has been up for ride_out since", "probably our network, or something that both depend on"
	}
	if !a.s.auth.IsZero() {
		return "keys were refused at both clusters together; neither has been up for ride_out since", "probably the provider's access-key service, or a key that is used at both"
	}
	if a.old.verdict == Down {
		if n := independentDowns(a.p, &a.old, &a.new); n < a.p.Quorum() {
			return fmt.Sprintf("only %d domains lost %s without losing %s at the same time, %d needed", n, a.from, a.to, a.p.Quorum()), "probably the network of the others"
		}
	}
	return "", ""
}

func contradictedGuard(a *ask) (string, string) {
	e := a.s.exposure
	if e == nil || e.FromOld.IsZero() || a.now.Sub(e.FromOld) > a.p.Stale() {
		return "", ""
	}
	if f := a.s.clientFailed; !f.IsZero() && a.now.Sub(f) >= 3*a.p.RideOut {
		return "", ""
	}
	return fmt.Sprintf("fresh records still arrive from %s, so it is not down", a.from), "wait for the client canary, or fail over by hand"
}

func stopGuard(a *ask, k StopKind, hint string) (string, string) {
	st := a.s.rec.Stop(k)
	if st == nil || !st.Until.IsZero() && !a.now.Before(st.Until) {
		return "", ""
	}
	return stopWords(st, a.now), hint
}

// stopWords says who stopped it, why, and how much of it is left.
func stopWords(st *Stop, now time.Time) string {
	why := fmt.Sprintf("%s by %s: %s", st.Kind, st.By, st.Why)
	if !st.Until.IsZero() {
		why += fmt.Sprintf(", %s left", st.Until.Sub(now).Round(time.Second))
	}
	return why
}

func pausedGuard(a *ask) (string, string) {
	return stopGuard(a, StopPause, "pointsman resume "+string(a.p.Instance))
}

func freezeGuard(a *ask) (string, string) {
	hint := "wait for its end, or name the guard: --override freeze --reason TEXT"
	if st, on := a.p.frozen(a.now); on {
		return stopWords(&st, a.now), hint
	}
	return stopGuard(a, StopFreeze, hint)
}

func cooldownGuard(a *ask) (string, string) {
	return stopGuard(a, StopCooldown, "wait, or move by hand")
}

func unacknowledgedGuard(a *ask) (string, string) {
	return stopGuard(a, StopUnacknowledged, "pointsman ack "+string(a.p.Instance))
}

func lockoutGuard(a *ask) (string, string) {
	return stopGuard(a, StopLockout, "find out why it moves so often, then pointsman ack "+string(a.p.Instance))
}

func writePathGuard(a *ask) (string, string) {
	for _, n := range a.p.Names {
		if n.Embedded {
			continue
		}
		f, ok := a.s.names[n.Name]
		switch {
		case !ok || f.readAt.IsZero():
			return fmt.Sprintf("the write point of %s has not been read yet", n.Name), "wait"
		case f.read.Err != "":
			return fmt.Sprintf("the write point of %s cannot be read: %s", n.Name, f.read.Err), "repair the provider first"
		case a.s.trouble[n.Provider] != "":
			return fmt.Sprintf("provider %s: %s", n.Provider, a.s.trouble[n.Provider]), "repair the provider first"
		}
	}
	return "", ""
}

func settlingGuard(a *ask) (string, string) {
	if a.s.rec.ConfigSince.IsZero() {
		return "", ""
	}
	if left := a.s.rec.ConfigSince.Add(a.p.Settle).Sub(a.now); left > 0 {
		return fmt.Sprintf("the config of the instance changed less than %s ago, %s left", a.p.Settle, left.Round(time.Second)), "wait"
	}
	return "", ""
}

func fenceGuard(a *ask) (string, string) {
	if a.p.GateDriver.strength() < a.p.Fence.strength() {
		return fmt.Sprintf("the strongest gate driver that answers is %s, the policy wants %s", a.p.GateDriver, a.p.Fence), "repair the gate driver"
	}
	return "", ""
}

func pinnedGuard(a *ask) (string, string) {
	if a.kind == Switchover && a.p.Gated && a.p.Fence != FenceNone && !a.p.CanCut && !a.acceptPinned {
		return "a closed gate gives pooled clients errors, not a new look-up, and nothing here can cut them", "--accept-pinned-clients, or configure a way to cut"
	}
	return "", ""
}

func floodGuard(a *ask) (string, string) {
	if f := a.s.flood; f != nil && !f.OK && a.now.Sub(a.s.floodAt) <= a.p.Stale() {
		return fmt.Sprintf("%d instances want to move within 5 minutes, at most %d may: %s", f.Wanting, f.Limit, f.Hint), "probably our network; move by hand where you know better"
	}
	return "", ""
}

// floodLeave says whether the breaker over all instances gave a leave that is
// still fresh. Automation asks for it when nothing else refuses.
func (s *State) floodLeave(p *Policy, now time.Time) bool {
	return s.flood != nil && s.flood.OK && now.Sub(s.floodAt) <= p.Stale()
}

// bound is an upper bound of what would be lost by switching now. Its age
// stops growing at the first miss while no client write is accepted: a
// cluster that nobody can write to does not lose more.
func (s *State) bound(p *Policy, now time.Time) (time.Duration, bool) {
	e := s.exposure
	if e == nil || !e.Known || e.Gap != "" {
		return 0, false
	}
	return e.Lag + max(s.lossEnds(p, now).Sub(e.Sampled), 0), true
}

// lossEnds is when the last write that could be lost was made: now, or when the
// active cluster was lost, where nobody can write to it.
func (s *State) lossEnds(p *Policy, now time.Time) time.Time {
	t := s.tally(p, s.rec.Active, now)
	switch {
	case t.verdict != Down || s.clientFailed.IsZero():
		return now
	case s.clientFailed.After(t.downSince):
		return s.clientFailed
	}
	return t.downSince
}
