package failover

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// PlanVersion is the format of a plan.
const PlanVersion = 1

// PlanMove says what a command would do, and does nothing.
func PlanMove(s *State, p *Policy, c Command, now time.Time) Plan {
	kind := OpKind(c.Do)
	to := c.To
	if to == "" && s.found {
		to = p.Other(s.rec.Active)
	}
	pl := Plan{
		Version: PlanVersion, Instance: p.Instance, Kind: kind, From: p.Other(to), To: to, Epoch: s.rec.Epoch,
		MadeAt: now, Mode: s.rec.Mode.String(), Override: c.Override, AcceptLoss: c.AcceptLoss,
		AcceptPinned: c.AcceptPinned, OrFailover: c.OrFailover, Reason: c.Reason,
	}
	if s.found && to == s.rec.Active {
		pl.From = to // nothing would move
	}
	if p.ForceShadow {
		pl.Mode = "shadow"
	}
	pl.Hash = planHash(s, p, &pl)
	if !s.found || !p.Has(to) {
		pl.Refused = true
		return pl
	}
	for _, cl := range p.Clusters {
		pl.Clusters = append(pl.Clusters, s.clusterView(p, cl, now))
	}
	a := s.ask(p, kind, to, false, now)
	a.override, a.acceptLoss, a.acceptPinned = c.Override, c.AcceptLoss, c.AcceptPinned
	pl.Guards = a.verdicts()
	pl.Changes = to != s.rec.Active
	pl.Refused = pl.Changes && len(a.refusals()) > 0
	for _, n := range s.rec.Names {
		np := p.Name(n.Name)
		if np == nil || n.Value == np.Targets[to] {
			continue
		}
		m := Mark{Token: Token{s.term(), s.rec.Epoch + 1}, Op: fmt.Sprintf("%s-%s", p.Instance, Token{s.term(), s.rec.Epoch + 1}), By: p.By}
		pl.Diff = append(pl.Diff, NameDiff{Name: n.Name, Provider: n.Provider, From: n.Value, To: np.Targets[to], TTL: p.TTL, Mark: m.String()})
	}
	pl.Steps = planSteps(s, p, kind)
	pl.Hooks = planHooks(p, &c, kind)
	pl.Bound = bound(s, p, kind, pl.Hooks)
	return pl
}

// planHash covers the world that the plan was made for: if any of it has
// moved, the plan is stale. What changes with every probe is left out; the
// guards are asked again at the start anyhow.
func planHash(s *State, p *Policy, pl *Plan) string {
	type name struct {
		Name  RecordName
		Value Target
		TTL   uint32
		Mark  string
	}
	world := struct {
		Instance   InstanceName
		Kind       OpKind
		From, To   ClusterName
		Epoch      uint64
		Active     ClusterName
		Config     string
		Mode       Mode
		Names      []name
		Standby    StandbyState
		Stops      []StopKind
		Op         string
		Watermark  string
		Override   []Guard
		AcceptLoss *time.Duration
		Pinned     bool
		OrFailover bool
	}{
		pl.Instance, pl.Kind, pl.From, pl.To, s.rec.Epoch, s.rec.Active, p.Expected, s.rec.Mode, nil,
		s.rec.Standby.State, nil, "", "", slices.Clone(pl.Override), pl.AcceptLoss, pl.AcceptPinned, pl.OrFailover,
	}
	for _, n := range s.rec.Names {
		world.Names = append(world.Names, name{n.Name, n.Value, n.TTL, markText(n.Mark)})
	}
	for _, st := range s.rec.Stops {
		world.Stops = append(world.Stops, st.Kind)
	}
	if s.rec.Op != nil {
		world.Op = s.rec.Op.ID
	}
	if s.exposure != nil {
		world.Watermark = s.exposure.Watermark
	}
	b, err := json.Marshal(world)
	if err != nil {
		panic("failover: plan world does not marshal: " + err.Error())
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func planSteps(s *State, p *Policy, kind OpKind) []PlanStep {
	out := make([]PlanStep, 0, len(stepOrder))
	for _, d := range stepTable[kind] {
		ps := PlanStep{Step: d.Step, Does: d.Does, Proof: d.Proof, Budget: p.budget(kind, d.Step), Late: string(d.Late)}
		switch d.Step {
		case StepIntent:
			if kind == Switchover && s.lowerFirst(p) {
				for _, n := range s.rec.Names {
					ps.Budget = max(ps.Budget, p.budget(kind, d.Step)+time.Duration(n.TTL)*time.Second)
				}
			} else if kind == Switchover {
				ps.Skip = "the TTL is low already; only the commit is left"
			}
		case StepClose, StepOpen:
			if !p.Gated || p.Fence == FenceNone {
				ps.Skip = "no gate is configured"
			}
		case StepDrain:
			if !p.Replicated {
				ps.Skip = "nothing is replicated"
			}
		case StepCut:
			if !p.CanCut {
				ps.Skip = "no way to cut is configured: pooled connections stay until they close"
			}
		}
		out = append(out, ps)
	}
	return out
}

func (s *State) lowerFirst(p *Policy) bool {
	return slices.ContainsFunc(s.rec.Names, func(n NameRecord) bool { return n.TTL > p.LowTTL() })
}

// bound is the honest time bound, term by term. A connection's life is shown
// as unbounded, never folded into a sum.
func bound(s *State, p *Policy, kind OpKind, hooks []PlanHook) []BoundTerm {
	var out []BoundTerm
	add := func(term string, d time.Duration, note string) {
		out = append(out, BoundTerm{Term: term, Is: d, Note: note})
	}
	ttl := p.TTL
	for _, n := range s.rec.Names {
		ttl = max(ttl, n.TTL)
	}
	asked := preTime(hooks)
	if kind == Failover {
		add("detect", p.Round+p.Timeout+time.Duration(p.Count.Fall-1)*max(p.Burst, p.Timeout), "one round until the first probe, then the misses that make a vote")
		add("ride out", p.RideOut, "the longest blip that is never acted upon")
		if p.RideOut > 0 {
			add("confirm", p.Round+p.Timeout, "a fresh miss of a quorum after that")
		}
		if asked > 0 {
			add("pre-hooks", asked, preNote)
		}
	} else {
		if asked > 0 {
			add("pre-hooks", asked, preNote)
		}
		if s.lowerFirst(p) {
			add("lower the TTL", time.Duration(ttl)*time.Second, "the old TTL is waited out first; clients are served meanwhile")
		}
		ttl = p.LowTTL()
	}
	for _, ps := range planSteps(s, p, kind) {
		if ps.Skip == "" && ps.Budget > 0 && stepIndex(ps.Step) < stepIndex(StepMove) && ps.Step != StepIntent {
			add(string(ps.Step), ps.Budget, "at most; then: "+ps.Late)
		}
	}
	if p.AllEmbedded() {
		add("write", 0, "one ledger commit: it is the DNS write")
	} else {
		add("write", p.LongestCall, "one conditional write per name; retried forward when it fails")
	}
	add("old answers in resolvers", time.Duration(ttl)*time.Second, "the TTL that was served with the old value; resolvers that clamp or ignore it are not bounded")
	out = append(out, BoundTerm{Term: "open connections", Unbounded: true, Note: "clients that keep a connection do not look the name up again until it closes"})
	return out
}
