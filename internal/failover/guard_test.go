package failover

import (
	"slices"
	"testing"
	"time"
)

// ready is a world in which nothing refuses an automatic failover from a to b
// any more: a has been down for longer than ride_out.
func ready(change ...func(*Policy)) *world {
	p := testPolicy()
	p.Names = []NamePolicy{externalName("orders.test.")}
	p.CanCut = true
	for _, f := range change {
		f(&p)
	}
	w := newWorld(p)
	w.start()
	w.settleUp()
	w.command(Command{Do: DoAdopt})
	w.command(Command{Do: DoArm, Mode: ModeAuto})
	if p.Replicated {
		w.feed(StandbyChanged{State: StandbySynced})
		w.feed(Exposure{Known: true, Lag: time.Second, Sampled: w.now, Watermark: "w1"})
	}
	w.manual = true
	w.all("a", "down", "connection refused")
	w.now = w.now.Add(p.RideOut + time.Second)
	w.all("a", "down", "connection refused")
	if p.Replicated {
		w.feed(Exposure{Known: true, Lag: time.Second, Sampled: w.now, Watermark: "w1"})
	}
	return w
}

// alone: one story per guard, in which every other guard allows the start.
var alone = map[Guard]struct {
	kind   OpKind
	manual bool
	policy func(*Policy)
	world  func(*world)
	person func(*world) // where a person is refused for another reason than automation
}{
	GuardLeader:     {world: func(w *world) { w.s.lead.Leading = false }},
	GuardLease:      {world: func(w *world) { w.s.lead.Until = w.now.Add(time.Second) }},
	GuardAdopting:   {world: func(w *world) { w.s.adopted, w.s.since = false, w.now }},
	GuardOpInFlight: {world: func(w *world) { w.s.rec.Op = &Op{ID: "orders-1.1", Kind: Failover, From: "a", To: "b"} }},
	GuardShadow:     {world: func(w *world) { w.s.rec.Mode = ModeShadow }},
	GuardApproval:   {world: func(w *world) { w.s.rec.Mode = ModePropose }, person: func(w *world) { w.p.Approvals = 1 }},
	GuardDrift:      {world: func(w *world) { w.s.rec.Stops = []Stop{{Kind: StopDrift, Why: "x"}} }},
	GuardTilt: {world: func(w *world) {
		w.s.tiltAt = w.now.Add(-time.Millisecond)
		w.all("a", "down", "refused")
		w.all("b", "up", "200")
	}},
	GuardDomains: {policy: func(p *Policy) { p.Vantages = p.Vantages[:1] }},
	GuardSource:  {kind: Switchover, manual: true},
	GuardTarget: {policy: func(p *Policy) { p.MinUp = 48 * time.Hour }, person: func(w *world) {
		v := w.p.Vantages[0].Name
		w.vote(v, "b", "down", "refused")
		w.report(v)
	}},
	GuardMoveProof:    {world: func(w *world) { w.s.rec.Proofs = nil; w.all("b", "up", "anonymous") }},
	GuardStandby:      {world: func(w *world) { w.s.rec.Standby = Standby{State: StandbyInvalidated} }},
	GuardExposure:     {policy: replicated, world: func(w *world) { w.s.exposure.Lag = time.Hour }},
	GuardStreamGap:    {policy: func(p *Policy) { replicated(p); p.RPO = RPO{Kind: RPONone} }, world: func(w *world) { w.s.exposure.Gap = "the stream was re-created" }},
	GuardCorrelated:   {world: func(w *world) { w.s.correlated = true }},
	GuardContradicted: {policy: replicated, world: func(w *world) { w.s.exposure.FromOld = w.now }},
	GuardPaused:       {world: stopped(StopPause)},
	GuardFreeze:       {world: stopped(StopFreeze)},
	GuardMaintenance: {policy: func(p *Policy) {
		p.Maintenance = []Window{{Cluster: "b", From: time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC), To: time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC), Reason: "new disks"}}
	}},
	GuardCooldown:       {world: stopped(StopCooldown)},
	GuardUnacknowledged: {world: stopped(StopUnacknowledged)},
	GuardLockout:        {world: stopped(StopLockout)},
	GuardWritePath:      {world: func(w *world) { set(&w.s.trouble, "bind", "throttled") }},
	GuardSettling:       {world: func(w *world) { w.s.rec.ConfigSince = w.now }},
	GuardFence:          {policy: func(p *Policy) { p.Gated, p.Fence, p.GateDriver = true, FencePrefer, FenceNone }},
	GuardPinned:         {kind: Switchover, manual: true, policy: func(p *Policy) { p.Gated, p.Fence, p.GateDriver, p.CanCut = true, FencePrefer, FencePrefer, false }, world: func(w *world) { w.all("a", "up", "200") }},
	GuardHooks:          {world: stopped(StopHooks)},
	GuardFlood:          {world: func(w *world) { w.s.flood, w.s.floodAt = &FloodVerdict{Wanting: 9, Limit: 3}, w.now }},
}

func replicated(p *Policy) {
	p.Replicated, p.RPO = true, RPO{Kind: RPOBounded, Bound: 30 * time.Second}
}

func stopped(k StopKind) func(*world) {
	return func(w *world) { w.s.rec.Stops = []Stop{{Kind: k, By: "ann", Why: "x"}} }
}

// askedOf tells the story of a guard and asks, by automation or as a person.
func askedOf(g Guard, auto bool) *ask {
	c := alone[g]
	var change []func(*Policy)
	if c.policy != nil {
		change = append(change, c.policy)
	}
	w := ready(change...)
	if c.world != nil {
		c.world(w)
	}
	if c.person != nil && !auto {
		c.person(w)
	}
	w.s.kept = nil
	kind := Failover
	if c.kind != "" {
		kind = c.kind
	}
	return w.s.ask(&w.p, kind, "b", auto, w.now)
}

func refusalsOf(g Guard) []Refusal { return askedOf(g, !alone[g].manual).refusals() }

func TestNothingRefusesWhenAllIsWell(t *testing.T) {
	w := ready()
	if r := w.s.ask(&w.p, Failover, "b", true, w.now).refusals(); len(r) != 0 {
		t.Fatalf("refused: %v", r)
	}
	if len(w.queued) == 0 {
		t.Fatal("an automatic failover was not asked for")
	}
}

// TestEachGuardAloneRefuses: every guard has a story in which it is the only
// one that says no.
func TestEachGuardAloneRefuses(t *testing.T) {
	for _, g := range Guards() {
		t.Run(string(g), func(t *testing.T) {
			if _, ok := alone[g]; !ok {
				t.Fatalf("no story for guard %s", g)
			}
			r := refusalsOf(g)
			if len(r) != 1 || r[0].Guard != g {
				t.Fatalf("want a refusal by %s alone, got %v", g, r)
			}
			if r[0].Why == "" {
				t.Fatal("it refuses without a word")
			}
		})
	}
	if len(alone) != len(guards) {
		t.Fatalf("%d stories for %d guards", len(alone), len(guards))
	}
}

// TestNoGuardNoRefusal takes each guard out of the list and sees its story
// start: so no other guard stands in for it.
func TestNoGuardNoRefusal(t *testing.T) {
	all := guards
	defer func() { guards = all }()
	for i, g := range all {
		guards = slices.Delete(slices.Clone(all), i, i+1)
		if r := refusalsOf(g.name); len(r) != 0 {
			t.Errorf("without %s still refused by %v", g.name, r)
		}
	}
}

// TestOverrides: a person may override by name what the list says, and
// nothing else.
func TestOverrides(t *testing.T) {
	want := map[Guard]bool{
		GuardMoveProof: true, GuardStreamGap: true, GuardCorrelated: true,
		GuardPaused: true, GuardFreeze: true, GuardWritePath: true, GuardSettling: true, GuardFence: true, GuardPinned: true,
		GuardMaintenance: true, GuardHooks: true,
	}
	for _, g := range Guards() {
		if Overridable(g) != want[g] {
			t.Errorf("overridable(%s) = %v", g, Overridable(g))
		}
		w := ready()
		w.queued, w.manual, w.s.busy = nil, false, map[string]time.Time{}
		w.s.rec.Mode = ModePropose // only a person moves it
		r := w.command(Command{Do: DoFailover, To: "b", Override: []Guard{g}, Reason: "x"})
		if !want[g] && r.Code != ReplyBad {
			t.Errorf("override of %s: %v", g, r)
		}
		if want[g] {
			if r := w.command(Command{Do: DoFailover, To: "b", Override: []Guard{g}}); r.Code != ReplyBad && r.Code != "" {
				t.Errorf("override of %s without a reason: %v", g, r)
			}
		}
	}
}

// TestWhomAGuardBinds: what a person may do all the same is a list that is
// meant, and everything else stops a person, too.
func TestWhomAGuardBinds(t *testing.T) {
	automation := []Guard{
		GuardCooldown, GuardUnacknowledged, GuardLockout, GuardFlood, GuardDomains, GuardContradicted, GuardHooks,
	}
	for _, g := range Guards() {
		var want []Guard
		if !slices.Contains(automation, g) {
			want = []Guard{g}
		}
		if got := guardsOf(askedOf(g, false).refusals()); !slices.Equal(got, want) {
			t.Errorf("in the story of %s a person is refused by %v, want %v", g, got, want)
		}
	}
}

// TestWhatIsAskedAgain: an operation that was begun needs the world to be fit
// for it at each step, and no stop and no order takes away its right to finish.
func TestWhatIsAskedAgain(t *testing.T) {
	world := []Guard{
		GuardLeader, GuardLease, GuardDrift, GuardTilt, GuardDomains, GuardSource, GuardTarget, GuardMoveProof, GuardStandby,
		GuardExposure, GuardStreamGap, GuardCorrelated, GuardContradicted, GuardWritePath, GuardFence,
	}
	for _, g := range Guards() {
		var want []Guard
		if slices.Contains(world, g) {
			want = []Guard{g}
		}
		if got := guardsOf(askedOf(g, !alone[g].manual).worldRefusals()); !slices.Equal(got, want) {
			t.Errorf("in the story of %s an operation is held by %v, want %v", g, got, want)
		}
	}
}

func guardsOf(rs []Refusal) []Guard {
	var out []Guard
	for _, r := range rs {
		out = append(out, r.Guard)
	}
	return out
}
