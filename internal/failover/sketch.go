package failover

import (
	"fmt"
	"time"
)

// Sketch is the part of [Look] that counts, lists and transitions are made of,
// at a small part of its cost, for thousands of instances at a time. Clusters
// have their name, role and verdict, and since when; what is said in words of
// votes, names, guards and notices is left out. Whatever it points to belongs
// to the state and must not be changed.
func Sketch(s *State, p *Policy, now time.Time) View {
	v := s.outline(p, now)
	v.Clusters = make([]ClusterView, 0, len(p.Clusters))
	for _, c := range p.Clusters {
		t := s.tally(p, c, now)
		v.Clusters = append(v.Clusters, ClusterView{Name: c, Role: s.role(c), Verdict: t.verdict, Fault: t.blind(p), DownSince: t.downSince, UpSince: t.upSince})
		if s.found && c == v.Active && t.verdict == Down && s.rec.Op == nil {
			v.Wants = wants(&v)
		}
	}
	v.Op, v.LastOp, v.Stops, v.Proposal = s.rec.Op, s.rec.LastOp, s.stops(p, now), s.rec.Proposal
	return v
}

// outline is what a view says without looking at the votes.
func (s *State) outline(p *Policy, now time.Time) View {
	v := View{
		Instance: p.Instance, Phase: s.phase(), At: now, Leading: s.lead.Leading, LeadWhy: s.lead.Why,
		AuthFault: s.auth, Mode: s.rec.Mode.String(), Auto: p.Auto, Preset: p.Preset, Token: Token{s.term(), s.rec.Epoch},
	}
	if p.ForceShadow {
		v.Mode = "shadow"
	}
	if !s.loaded {
		v.Waiting = "the ledger is being read"
	} else if !s.found && p.ForceShadow && p.AllEmbedded() {
		v.Waiting = noRecordInShadow
	} else if !s.found {
		v.Waiting = "no record yet: pointsman adopt " + string(p.Instance)
	} else if why := s.strange(p); why != "" {
		v.Waiting = why
	} else if v.Phase == PhaseAdopting {
		v.Waiting = s.waiting(p, now)
	}
	if s.found {
		v.Active, v.Standby, v.Protection = s.rec.Active, p.Other(s.rec.Active), s.rec.Standby
	}
	return v
}

// wants says which failover a rule wants.
func wants(v *View) string { return fmt.Sprintf("failover from %s to %s", v.Active, v.Standby) }

// role is what the record says that the cluster is.
func (s *State) role(c ClusterName) string {
	switch {
	case !s.found:
		return "unknown"
	case c == s.rec.Active:
		return "active"
	}
	return "standby"
}
