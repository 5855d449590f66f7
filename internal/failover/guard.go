package failover

import (
	"slices"
	"time"
)

// ask is one question to the guards: may this operation start (or go on) now?
type ask struct {
	s    *State
	p    *Policy
	now  time.Time
	kind OpKind
	from ClusterName
	to   ClusterName
	auto bool

	old, new tally // of from and to

	override     []Guard
	acceptLoss   *time.Duration
	acceptPinned bool
	approved     bool // the people that the policy wants have said yes
}

func (s *State) ask(p *Policy, kind OpKind, to ClusterName, auto bool, now time.Time) *ask {
	from := p.Other(to)
	return &ask{
		s: s, p: p, now: now, kind: kind, from: from, to: to, auto: auto,
		old: s.tally(p, from, now), new: s.tally(p, to, now),
	}
}

// guardDef is one guard: what it is for, whom it binds, and its check. The
// check returns an empty why to allow.
type guardDef struct {
	name     Guard
	auto     bool // binds automatic starts only
	world    bool // is about the world: asked again before an operation goes on
	override bool // a person may override it by name
	check    func(*ask) (why, hint string)
}

// guards is the visible list; their order is the order of explanations. Each
// stands on a line of its own: a test takes each away once and must fail.
var guards = []guardDef{
	{GuardLeader, false, true, false, leaderGuard},
	{GuardLease, false, true, false, leaseGuard},
	{GuardAdopting, false, false, false, adoptingGuard},
	{GuardOpInFlight, false, false, false, opInFlightGuard},
	{GuardShadow, false, false, false, shadowGuard},
	{GuardApproval, false, false, false, approvalGuard},
	{GuardDrift, false, true, false, driftGuard},
	{GuardTilt, false, true, false, tiltGuard},
	{GuardDomains, true, true, false, domainsGuard},
	{GuardSource, false, true, false, sourceGuard},
	{GuardTarget, false, true, false, targetGuard},
	{GuardMoveProof, false, true, true, moveProofGuard},
	{GuardStandby, false, true, false, standbyGuard},
	{GuardExposure, false, true, false, exposureGuard},
	{GuardStreamGap, false, true, true, streamGapGuard},
	{GuardCorrelated, false, true, true, correlatedGuard},
	{GuardContradicted, true, true, false, contradictedGuard},
	{GuardPaused, false, false, true, pausedGuard},
	{GuardFreeze, false, false, true, freezeGuard},
	{GuardMaintenance, false, false, true, maintenanceGuard},
	{GuardCooldown, true, false, false, cooldownGuard},
	{GuardUnacknowledged, true, false, false, unacknowledgedGuard},
	{GuardLockout, true, false, false, lockoutGuard},
	{GuardWritePath, false, true, true, writePathGuard},
	{GuardSettling, false, false, true, settlingGuard},
	{GuardFence, false, true, true, fenceGuard},
	{GuardPinned, false, false, true, pinnedGuard},
	{GuardHooks, true, false, true, hooksGuard},
	{GuardFlood, true, false, false, floodGuard},
}

// Guards lists the names of all guards, for completion and documents.
func Guards() []Guard {
	out := make([]Guard, 0, len(guards))
	for _, g := range guards {
		out = append(out, g.name)
	}
	return out
}

// Overridable says whether a person may override the guard by name.
func Overridable(g Guard) bool {
	return slices.ContainsFunc(guards, func(d guardDef) bool { return d.name == g && d.override })
}

// verdicts asks every guard.
func (a *ask) verdicts() []Verdict {
	out := make([]Verdict, 0, len(guards))
	for _, g := range guards {
		why, hint := g.check(a)
		v := Verdict{Guard: g.name, Allow: why == "", Why: why, Hint: hint, Binds: a.auto || !g.auto}
		if why != "" && g.override && slices.Contains(a.override, g.name) {
			v.Allow, v.Why, v.Hint = true, "overridden: "+why, ""
		}
		out = append(out, v)
	}
	return out
}

// refusals are the guards that bind and refuse.
func (a *ask) refusals() []Refusal {
	return a.filter(func(guardDef) bool { return true })
}

// worldRefusals are those about the world; an operation that was begun needs
// them again, but no stop can take away its right to finish.
func (a *ask) worldRefusals() []Refusal {
	return a.filter(func(g guardDef) bool { return g.world })
}

func (a *ask) filter(keep func(guardDef) bool) []Refusal {
	var out []Refusal
	for _, g := range guards {
		if !keep(g) || g.auto && !a.auto || g.override && slices.Contains(a.override, g.name) {
			continue
		}
		if why, hint := g.check(a); why != "" {
			out = append(out, Refusal{g.name, why, hint})
		}
	}
	return out
}
