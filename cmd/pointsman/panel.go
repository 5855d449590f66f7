package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"pointsman/dnsctl"
	"pointsman/internal/failover"
)

// propagationKind is the kind of the lines of the history that say how a switch
// reached the resolvers of the panel.
const propagationKind = "propagation"

// panel asks the resolvers of the config after each switch, until all of them
// show the new value or the budget is used up. It decides nothing, nothing
// waits for it, and before the publication it asks nobody: a resolver that has
// nothing in its cache would take an old value into it for our sake.
type panel struct {
	p     *process
	moves chan settledMove
	pace  panelPace
}

// settledMove is a finished operation whose way to the resolvers is followed.
type settledMove struct {
	instance failover.InstanceName
	op       failover.Op
}

// panelPace is how often and for how long the panel asks.
type panelPace struct {
	first   time.Duration // between two questions to a resolver, at first
	slowest time.Duration // and at last; in between a twentieth of the time since the write
	over    time.Duration // after every cache should have forgotten the old value
	most    time.Duration // in all, and for the publication to come
	timeout time.Duration // of one question
}

var theirPace = panelPace{first: time.Second, slowest: time.Minute, over: 5 * time.Minute, most: 2 * time.Hour, timeout: 2 * time.Second}

const (
	panelMoves = 32 // switches that are followed at a time; of more the newest are not
	panelAsks  = 16 // questions of one switch that are in flight
)

func newPanel(p *process) *panel {
	return &panel{p: p, moves: make(chan settledMove, panelMoves), pace: theirPace}
}

// moved takes a finished operation. It never waits.
func (n *panel) moved(i failover.InstanceName, o failover.OpSummary) {
	if n == nil || o.Outcome != failover.Settled || o.Op.MovedAt.IsZero() || len(n.p.now.Load().cfg.Resolvers) == 0 {
		return
	}
	select {
	case n.moves <- settledMove{i, o.Op}:
	default:
		n.tooMany(settledMove{i, o.Op})
	}
}

// Run follows switches until ctx ends.
func (n *panel) Run(ctx context.Context) error {
	var g errgroup.Group
	g.SetLimit(panelMoves)
	for {
		select {
		case <-ctx.Done():
			_ = g.Wait() // they return no error
			return nil
		case m := <-n.moves:
			// One that waited for a place would be asked about late, and its curve
			// would tell of the wait.
			if !g.TryGo(func() error { n.follow(ctx, m); return nil }) {
				n.tooMany(m)
			}
		}
	}
}

func (n *panel) tooMany(m settledMove) {
	n.p.log.Warn("the panel of resolvers does not follow a switch: too many at a time", "instance", m.instance, "op", m.op.ID)
}

// follow waits for the publication and then asks for every name that moved.
func (n *panel) follow(ctx context.Context, m settledMove) {
	op := m.op
	view, ok := n.published(ctx, m)
	if !ok {
		return
	}
	var g errgroup.Group
	for _, name := range view.Names {
		to, moved := op.Targets[name.Name]
		if !moved || to != name.Value {
			continue
		}
		s := dnsctl.Switch{
			Op: op.ID, Name: name.Name, To: to, Written: view.MovedBy.Written, Published: view.MovedBy.Published,
			TTLOld: view.MovedBy.TTLOld, TTLMost: max(view.MovedBy.TTLOld, name.TTL, op.OldTTL), Vantage: view.MovedBy.Vantage, Instance: m.instance,
		}
		g.Go(func() error { n.curve(ctx, s); return nil })
	}
	_ = g.Wait() // a curve is kept, not returned
}

// published waits until every authority agrees, for as long as the move is the
// last one.
func (n *panel) published(ctx context.Context, m settledMove) (failover.View, bool) {
	end := time.Now().Add(n.pace.most)
	for time.Now().Before(end) {
		v, why := n.stands(m.instance, m.op.ID)
		if why != "" {
			break
		}
		if !v.MovedBy.Published.IsZero() {
			return v, true
		}
		select {
		case <-ctx.Done():
			return v, false
		case <-time.After(n.pace.first):
		}
	}
	return failover.View{}, false
}

// stands is the instance as it is now, and why a move is no longer the last
// one; "" while it is.
func (n *panel) stands(i failover.InstanceName, op string) (failover.View, string) {
	s, ok := n.p.ctl.Snapshot(i)
	if !ok {
		return failover.View{}, "the instance left the config"
	}
	v := failover.Look(&s.State, s.Policy, time.Now())
	if v.MovedBy == nil || v.MovedBy.Op != op {
		return v, "another operation began"
	}
	return v, ""
}

// curve asks the panel for one name, and keeps what it said after each change.
func (n *panel) curve(ctx context.Context, s dnsctl.Switch) {
	p := dnsctl.NewPropagation(s, n.p.now.Load().cfg.Resolvers)
	end := s.Published.Add(time.Duration(s.TTLOld)*time.Second + n.pace.over)
	if most := s.Written.Add(n.pace.most); most.Before(end) {
		end = most
	}
	if least := time.Now().Add(n.pace.over); end.Before(least) {
		end = least
	}
	for {
		if p.Ended = n.round(ctx, p); p.Ended != "" {
			n.keep(p)
			return
		}
		waits := 0
		for i := range p.Resolvers {
			if p.Wants(i) {
				waits++
			}
		}
		if ctx.Err() != nil {
			n.keep(p)
			return
		}
		if p.Done = waits == 0 || !time.Now().Before(end); p.Done {
			n.keep(p)
			n.tell(p)
			return
		}
		n.keep(p)
		select {
		case <-ctx.Done():
		case <-time.After(min(max(n.pace.first, time.Since(s.Written)/20), n.pace.slowest)):
		}
	}
}

// round asks every resolver that is asked still, and nobody while an authority
// shows the old value again. It says why the move is not followed any more, if
// so: what a resolver shows of the next move is no fault of its.
func (n *panel) round(ctx context.Context, p *dnsctl.Propagation) (ended string) {
	before, why := n.stands(p.Instance, p.Op)
	if why != "" || before.MovedBy.Published.IsZero() {
		return why
	}
	answers := make([]*dnsctl.PanelAnswer, len(p.Resolvers))
	var g errgroup.Group
	g.SetLimit(panelAsks)
	for i := range p.Resolvers {
		if p.Wants(i) {
			g.Go(func() error {
				a := dnsctl.AskResolver(ctx, p.Resolvers[i].Address, p.Name, n.pace.timeout)
				answers[i] = &a
				return nil
			})
		}
	}
	_ = g.Wait() // what gave no answer says so
	if ctx.Err() != nil {
		return "" // its silence would be ours
	}
	after, why := n.stands(p.Instance, p.Op)
	if why != "" || !after.MovedBy.Published.Equal(before.MovedBy.Published) {
		return why // some were asked before, some after
	}
	p.Published, p.TTLOld = after.MovedBy.Published, max(p.TTLOld, after.MovedBy.TTLOld)
	p.TTLMost = max(p.TTLMost, p.TTLOld)
	for i, a := range answers {
		if a != nil {
			p.Note(i, *a)
		}
	}
	return ""
}

// keep puts the curve as it is now in the place of what was kept of it, so that
// a crash loses the end of it and nothing else.
func (n *panel) keep(p *dnsctl.Propagation) {
	n.p.keep(fmt.Sprintf("propagation/%s/%s", p.Op, p.Name), p.Written, p.Instance, propagationKind, *p)
}

// tell names resolvers that do what the TTL does not allow.
func (n *panel) tell(p *dnsctl.Propagation) {
	for _, s := range p.Stragglers() {
		n.p.log.Warn("a resolver did not follow the switch as its TTL says", "instance", p.Instance, "op", p.Op, "name", p.Name, "resolver", s)
	}
}

// propagationWords say a curve in one line; JSON has all of it.
func propagationWords(p *dnsctl.Propagation) string {
	at := func(d *time.Duration) string {
		if d == nil {
			return "not yet"
		}
		return age(*d)
	}
	line := fmt.Sprintf("%s: %s reached the resolvers: p50 %s, p95 %s, p100 %s after the write (%d asked", p.Op, p.Name, at(p.P50), at(p.P95), at(p.P100), len(p.Resolvers))
	switch {
	case p.Ended != "":
		line += ", until " + p.Ended
	case !p.Done && !p.Asked.IsZero(): // by now it may be asked no longer: the process may have died
		line += ", the last at " + p.Asked.UTC().Format(time.RFC3339) + ", not to the end"
	}
	line += ")"
	for _, s := range p.Stragglers() {
		line += "; " + s
	}
	return line
}
