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
	pl.Asks = p.Approvals
	a.approved = true // where nothing else refuses, the order waits for them
	pl.Refused = pl.Changes && len(a.refusals()) > 0
	for _, n := range s.rec.Names {
		np := p.Name(n.Name)
		if np == nil || n.Value == np.Targets[to] {
			continue
		}
		m := Mark{Token: Token{s.term(), s.rec.Epoch + 1}, Op: fmt.Sprintf("%s-%s", p.Instance, Token{s.term(), s.rec.Epoch + 1}), By: p.By}
		pl.Diff = append(pl.Diff, NameDiff{Name: n.Name, Provider: n.Provider, From: n.Value, To: np.Targets[to], TTL: p.TTL, Mark: m.String(), Limits: np.Limits})
	}
	pl.Steps = planSteps(s, p, kind)
	pl.Hooks = planHooks(p, &c, kind)
	pl.Bound = bound(s, p, kind, pl.Hooks, now)
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
					ps.Budget = max(ps.Budget, p.budget(kind, d.Step)+seconds(s.carries(&n)))
				}
			} else if kind == Switchover {
				ps.Skip = "the TTL is low already; only the commit is left"
			}
		default:
			ps.Skip = p.skips(d.Step)
		}
		out = append(out, ps)
	}
	return out
}

func (s *State) lowerFirst(p *Policy) bool {
	return slices.ContainsFunc(s.rec.Names, func(n NameRecord) bool { return s.carries(&n) > p.LowTTL() })
}

// carries is the TTL of a name: by the record, or more where its write point was
// seen with more, as after somebody's edit.
func (s *State) carries(n *NameRecord) uint32 {
	if f := s.names[n.Name]; !n.Embedded && f.fresh && f.read.Err == "" && f.read.Value == n.Value {
		return max(n.TTL, f.read.TTL)
	}
	return n.TTL
}

// bound is the honest time bound of a plan, term by term: that of the policy
// with the TTLs that the names have now.
func bound(s *State, p *Policy, kind OpKind, hooks []PlanHook, now time.Time) []BoundTerm {
	ttl, floor := p.TTL, p.TTLFloor
	for _, n := range s.rec.Names {
		ttl = max(ttl, n.TTL, s.cached(n.Name, "", now))
		floor = max(floor, s.names[n.Name].read.Floor)
	}
	return terms(p, kind, ttl, floor, s.lowerFirst(p), preTime(hooks))
}
