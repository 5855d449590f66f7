package failover

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Look derives the view of a state. Reading never changes anything.
func Look(s *State, p *Policy, now time.Time) View {
	v := s.outline(p, now)
	for _, c := range p.Clusters {
		v.Clusters = append(v.Clusters, s.clusterView(p, c, now))
	}
	rec := s.rec.Clone()
	v.Protection = rec.Standby
	for _, n := range rec.Names {
		v.Names = append(v.Names, s.nameView(p, n))
	}
	if !s.found { // what adopt would take over
		for _, n := range p.Names {
			v.Names = append(v.Names, s.nameView(p, NameRecord{Name: n.Name, Provider: n.Provider, Zone: n.Zone, Embedded: n.Embedded}))
		}
	}
	v.Op, v.LastOp, v.Stops, v.Proposal = rec.Op, rec.LastOp, s.stops(p, now), rec.Proposal
	if rec.Op != nil {
		v.Step = stepView(p, rec.Op)
	}
	v.Exposure = s.exposureView(p, now)
	v.MovedBy = s.movedBy(p, s.lastMove())
	if !s.found {
		return v
	}
	old := s.tally(p, v.Active, now)
	v.Missing = old.missing(p, now)
	if old.verdict == Down && rec.Op == nil {
		v.Wants = wants(&v)
		v.Refused = s.ask(p, Failover, v.Standby, true, now).refusals()
	}
	v.Notices = s.notices(p, now)
	return v
}

func (s *State) notices(p *Policy, now time.Time) []string {
	var out []string
	if s.correlated {
		out = append(out, "both clusters were lost together: nothing moves until one has been up for ride_out")
	}
	if words := s.authWords(p, now); words != "" {
		out = append(out, words)
	}
	if words := s.rec.pauseWords(now); s.found && words != "" {
		out = append(out, words)
	}
	if pr := s.rec.Proposal; s.found && pr != nil {
		out = append(out, "proposal: "+pr.Words(now))
	}
	if st, on := p.frozen(now); on {
		out = append(out, fmt.Sprintf("frozen until %s: %s", st.Until.Format("2006-01-02 15:04 MST"), st.Why))
	}
	if n := len(p.Domains()); n < 3 {
		out = append(out, fmt.Sprintf("%d failure domains are configured; automatic operation wants three", n))
	}
	if s.adopted {
		for _, v := range p.Vantages {
			if _, ok := s.sights[v.Name]; !ok {
				out = append(out, fmt.Sprintf("vantage %s in domain %s has not reported since the start", v.Name, v.Domain))
			}
		}
	}
	out = append(out, s.rec.hookNotices()...)
	for _, n := range s.rec.LeftOver {
		out = append(out, fmt.Sprintf("%s left the config and goes on showing %s until its zone lists it under retired", n.Name, n.Value))
	}
	for _, c := range p.Clusters {
		if words := p.maintenanceWords(c, now); words != "" {
			out = append(out, fmt.Sprintf("%s is %s; automation does not move", c, words))
		}
	}
	for _, n := range p.Names {
		if a, ok := s.published[n.Name]; ok && !a.Agree && len(a.Dissent) > 0 {
			out = append(out, fmt.Sprintf("%s is not shown by every authority: %s", n.Name, strings.Join(a.Dissent, ", ")))
		}
	}
	for _, n := range p.Names {
		if f, ok := s.names[n.Name]; ok && s.found && s.rec.Name(n.Name) == nil && !n.Embedded && f.read.Err == "" {
			out = append(out, fmt.Sprintf("%s is new in the config and shows %q: it joins when it shows %s", n.Name, f.read.Value, n.Targets[s.rec.Active]))
		}
	}
	for _, n := range p.Names {
		if floor := s.names[n.Name].read.Floor; floor > p.TTL {
			out = append(out, fmt.Sprintf("%s: %s takes no TTL below %d s and ttl is %d s, so it will refuse every move: raise ttl, or the edition of the zone; with %d s resolvers keep the old value for as long after a move", n.Name, n.Provider, floor, p.TTL, floor))
		}
	}
	if s.rec.Divergence != "" {
		out = append(out, "divergence window "+s.rec.Divergence)
	}
	if s.rec.LastOp != nil && len(s.rec.LastOp.Op.Stragglers) > 0 {
		out = append(out, "the last operation settled with stragglers: "+strings.Join(s.rec.LastOp.Op.Stragglers, ", "))
	}
	return out
}

func (s *State) clusterView(p *Policy, c ClusterName, now time.Time) ClusterView {
	t := s.tally(p, c, now)
	v := ClusterView{Name: c, Role: s.role(c), Verdict: t.verdict, Why: t.words(), Fault: t.blind(p), Working: p.maintenanceWords(c, now), DownSince: t.downSince, UpSince: t.upSince}
	for _, d := range t.domains {
		v.Domains = append(v.Domains, DomainView{Domain: d.domain, Vote: d.vote, Why: d.why()})
	}
	for _, x := range t.votes {
		seen := s.sights[x.vantage].Clusters[c]
		vv := VantageView{
			Vantage: x.vantage, Domain: x.domain, Vote: x.vote, Reason: x.reason, AgeMS: -1,
			Fault: x.fault, Misses: seen.Misses, Fall: seen.Fall, Warnings: slices.Clone(seen.Warnings), Identity: seen.Identity,
			Canary: seen.Canary, Client: seen.Client, CertificateEnds: seen.CertificateEnds,
		}
		if r, ok := s.sights[x.vantage]; ok {
			vv.AgeMS = now.Sub(r.at).Milliseconds()
		}
		v.Votes = append(v.Votes, vv)
	}
	if pr, ok := s.rec.Proofs[c]; ok {
		v.Proof = &pr
	}
	if g, ok := s.rec.Gates[c]; ok {
		v.Gate = &g
	}
	return v
}

func (s *State) nameView(p *Policy, n NameRecord) NameView {
	v := NameView{NameRecord: n}
	if np := p.Name(n.Name); np != nil {
		v.Limits = np.Limits
	}
	if f, ok := s.names[n.Name]; ok && !f.readAt.IsZero() {
		v.Seen, v.SeenMark, v.SeenAt, v.SeenErr, v.TTLFloor = f.read.Value, f.read.Mark, f.readAt, f.read.Err, f.read.Floor
	}
	if a, ok := s.published[n.Name]; ok {
		v.Published = &a
	}
	return v
}

func stepView(p *Policy, op *Op) *StepView {
	d := stepDef(op.Kind, op.Step)
	v := &StepView{Step: op.Step, Since: op.StepSince, Doing: d.Does}
	if op.Unwind {
		v.Doing = "unwinding: " + op.UnwindWhy
	}
	if doing, until := hookDoing(p, op); doing != "" {
		v.Doing, v.Deadline = doing, until
		return v
	}
	if b := p.budget(op.Kind, op.Step); b > 0 {
		v.Deadline = op.StepSince.Add(b)
	}
	return v
}

func (s *State) exposureView(p *Policy, now time.Time) ExposureView {
	v := ExposureView{Applies: p.Replicated}
	if e := s.exposure; e != nil {
		v.Rows, v.About, v.Gap, v.Why = e.Rows, e.About, e.Gap, e.Why
		v.Bound, v.Known = s.bound(p, now)
	} else if p.Replicated {
		v.Why = "nothing was measured yet"
	}
	return v
}

// words say the exposure for people.
func (v ExposureView) words() string {
	out := "unknown"
	if v.Known {
		out = "up to " + v.Bound.Round(time.Millisecond).String()
	}
	switch {
	case v.About > 0:
		out += fmt.Sprintf(", about %d rows", max(v.About, v.Rows))
	case v.Rows > 0:
		out += fmt.Sprintf(", at least %d rows", v.Rows)
	}
	for _, why := range []string{v.Gap, v.Why} {
		if why != "" {
			out += ": " + why
		}
	}
	return out
}

// Explain says in words why the core did, did not, or would act.
func Explain(s *State, p *Policy, now time.Time) Explanation {
	v := Look(s, p, now)
	var x Explanation
	x.Headline = headline(&v, s, p, now)
	for _, c := range v.Clusters {
		x.Lines = append(x.Lines, fmt.Sprintf("%s (%s) is %s", c.Name, c.Role, c.Why))
		for _, vv := range c.Votes {
			line := fmt.Sprintf("  %s in %s says %s", vv.Vantage, vv.Domain, vv.Vote)
			if vv.Reason != "" {
				line += ": " + vv.Reason
			}
			if vv.Client != ClientNone {
				line += "; a client's write: " + string(vv.Client)
			}
			if len(vv.Warnings) > 0 {
				line += "; warns: " + strings.Join(vv.Warnings, ", ")
			}
			x.Lines = append(x.Lines, line)
		}
	}
	for _, m := range v.Missing {
		x.Lines = append(x.Lines, "missing: "+m)
	}
	for _, n := range v.Notices {
		x.Lines = append(x.Lines, "note: "+n)
	}
	for _, l := range v.Limits() {
		x.Lines = append(x.Lines, "provider "+l)
	}
	if p.Replicated && s.found {
		x.Lines = append(x.Lines, fmt.Sprintf("standby %s is %s", v.Standby, s.rec.Standby.words()), "a switch now would lose: "+v.Exposure.words())
		if u := s.rec.Standby.Unsynced; u != "" {
			x.Lines = append(x.Lines, "  "+u)
		}
	}
	if op := v.Op; op != nil {
		x.Lines = append(x.Lines, opLines(op)...)
	} else if l := v.LastOp; l != nil {
		x.Lines = append(x.Lines, fmt.Sprintf("last operation: %s %s from %s to %s, %s at %s: %s", l.Op.Kind, l.Op.ID, l.Op.From, l.Op.To, l.Outcome, l.At.UTC().Format(time.RFC3339), l.Op.Reason))
		x.Lines = append(x.Lines, approvalLines(&l.Op)...)
		x.Lines = append(x.Lines, hookLines(&l.Op)...)
	}
	if s.found {
		a := s.ask(p, Failover, p.Other(s.rec.Active), true, now)
		x.Verdicts = a.verdicts()
	}
	return x
}

func opLines(op *Op) []string {
	out := []string{fmt.Sprintf("operation %s: %s from %s to %s is at %s, asked for by %s: %s", op.ID, op.Kind, op.From, op.To, op.Step, op.By, op.Reason)}
	for _, e := range op.Evidence {
		out = append(out, "  evidence: "+e)
	}
	out = append(out, hookLines(op)...)
	out = append(out, approvalLines(op)...)
	if op.Held != nil {
		out = append(out, "  held: "+op.Held.Why)
	}
	return out
}

// approvalLines says who said yes, and why.
func approvalLines(op *Op) []string {
	var out []string
	for _, y := range op.Approvals {
		line := fmt.Sprintf("  approved by %s at %s", y.By, y.At.UTC().Format(time.RFC3339))
		if y.Reason != "" {
			line += ": " + y.Reason
		}
		out = append(out, line)
	}
	return out
}

func headline(v *View, s *State, p *Policy, now time.Time) string {
	switch {
	case v.Waiting != "":
		return fmt.Sprintf("%s is adopting: %s", v.Instance, v.Waiting)
	case v.Op != nil && v.Op.Held != nil:
		return fmt.Sprintf("%s: %s to %s is held at %s: %s", v.Instance, v.Op.Kind, v.Op.To, v.Op.Step, v.Op.Held.Why)
	case v.Op != nil:
		return fmt.Sprintf("%s: %s from %s to %s is at %s", v.Instance, v.Op.Kind, v.Op.From, v.Op.To, v.Op.Step)
	}
	old := s.tally(p, s.rec.Active, now)
	switch {
	case old.verdict != Down:
		return fmt.Sprintf("%s stays at %s, which is %s", v.Instance, v.Active, old.verdict)
	case !old.rodeOut(p, now):
		return fmt.Sprintf("%s: %s is down and ride_out is not over; nothing moves yet", v.Instance, v.Active)
	case len(v.Refused) == 0:
		return fmt.Sprintf("%s: %s is down and nothing refuses a failover to %s", v.Instance, v.Active, v.Standby)
	}
	names := make([]string, 0, len(v.Refused))
	for _, r := range v.Refused {
		names = append(names, string(r.Guard))
	}
	return fmt.Sprintf("%s: %s is down, and a failover to %s is refused by %s", v.Instance, v.Active, v.Standby, strings.Join(names, ", "))
}
