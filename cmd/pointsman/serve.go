package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"pointsman/healthcheck"
	"pointsman/internal/api"
	"pointsman/internal/controller"
	"pointsman/internal/failover"
	"pointsman/internal/ledger"
)

// news gives the API its views and tells it of every transition, which it
// also counts and remembers. Make one by newNews; Run owns its goroutine.
type news struct {
	p       *process
	metrics *metrics

	mu      sync.Mutex
	changed chan struct{}
}

func newNews(p *process, m *metrics) *news {
	return &news{p: p, metrics: m, changed: make(chan struct{})}
}

// Run follows the transitions until ctx ends.
func (n *news) Run(ctx context.Context) error {
	for {
		if err := n.follow(ctx); err != nil {
			return nil //nolint:nilerr // ctx ended
		}
		// Fallen too far behind: begin anew, with the newest views.
		n.tell()
	}
}

// follow reads one subscription to its end; the error is that of ctx.
func (n *news) follow(ctx context.Context) error {
	sub := n.p.ctl.Subscribe()
	defer sub.Close()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-sub.Changed():
		}
		ts, more := sub.Take()
		for _, t := range ts {
			label := n.p.label(t.Instance)
			if t.Kind == controller.KindConfig && t.To == "removed" {
				n.metrics.forget(t.Instance)
				label = ""
			}
			n.metrics.transitions.WithLabelValues(label, string(t.Kind)).Inc()
			n.p.remember(t.Instance, string(t.Kind), t)
		}
		if len(ts) > 0 {
			n.tell()
		}
		if !more {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(100 * time.Millisecond):
				return nil
			}
		}
	}
}

func (n *news) tell() {
	n.mu.Lock()
	defer n.mu.Unlock()
	close(n.changed)
	n.changed = make(chan struct{})
}

func (n *news) Changed() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.changed
}

func (n *news) Names() []failover.InstanceName { return n.p.ctl.Instances() }

func (n *news) View(i failover.InstanceName) (failover.View, bool) { return n.p.view(i) }

func (n *news) Sketch(i failover.InstanceName) (failover.View, bool) {
	s, ok := n.p.ctl.Snapshot(i)
	if !ok {
		return failover.View{}, false
	}
	return n.p.sketch(&s), true
}

func (p *process) view(i failover.InstanceName) (failover.View, bool) {
	s, ok := p.ctl.Snapshot(i)
	if !ok {
		return failover.View{}, false
	}
	return p.look(&s), true
}

func (p *process) look(s *controller.Snapshot) failover.View {
	now := time.Now()
	v := failover.Look(&s.State, s.Policy, now)
	v.Notices = append(v.Notices, holdups(s, now)...)
	v.Notices = append(v.Notices, p.secondaryNotices(v)...)
	if why := p.unwatched(); why != "" {
		v.Notices = append(v.Notices, why)
	}
	if why := p.reloads.notice(); why != "" {
		v.Notices = append(v.Notices, why)
	}
	for _, r := range p.refusals() {
		v.Notices = append(v.Notices, "config: "+refusalNotice(r))
	}
	p.trouble.mark(&v)
	return v
}

func (p *process) sketch(s *controller.Snapshot) failover.View {
	v := failover.Sketch(&s.State, s.Policy, time.Now())
	p.trouble.mark(&v)
	return v
}

// decisions asks the controller on behalf of the API.
type decisions struct {
	p       *process
	metrics *metrics
}

func (d decisions) Explain(_ context.Context, i failover.InstanceName) (failover.Explanation, error) {
	s, ok := d.p.ctl.Snapshot(i)
	if !ok {
		return failover.Explanation{}, fmt.Errorf("explain %s: %w", i, controller.ErrUnknownInstance)
	}
	now := time.Now()
	e := failover.Explain(&s.State, s.Policy, now)
	e.Lines = append(e.Lines, d.p.replicas.lines(i, now)...)
	e.Lines = append(e.Lines, d.p.secondaryLines(failover.Look(&s.State, s.Policy, now).Names)...)
	return e, nil
}

func (d decisions) Plan(_ context.Context, i failover.InstanceName, c failover.Command) (failover.Plan, error) {
	s, ok := d.p.ctl.Snapshot(i)
	if !ok {
		return failover.Plan{}, fmt.Errorf("plan for %s: %w", i, controller.ErrUnknownInstance)
	}
	return failover.PlanMove(&s.State, s.Policy, c, time.Now()), nil
}

func (d decisions) Do(ctx context.Context, i failover.InstanceName, c failover.Command) (failover.Reply, error) {
	r, err := d.p.ctl.Do(ctx, i, c)
	code := string(r.Code)
	if err != nil {
		code = "error"
	}
	d.metrics.commands.WithLabelValues(string(c.Do), code).Inc()
	d.p.notices.commanded(i, c, r)
	for _, x := range r.Refused {
		d.metrics.refusals.WithLabelValues(d.p.label(i), string(x.Guard)).Inc()
	}
	return r, err
}

// audited is the audit as the API wants it.
type audited struct{ store *ledger.Store }

func (a audited) Audit(ctx context.Context, q api.Query) ([]api.AuditLine, error) {
	es, err := a.store.Audit(ctx, ledger.AuditFilter{Instance: q.Instance, Since: q.Since, Below: uint64(q.Below), Limit: q.Limit})
	if err != nil {
		return nil, err
	}
	out := make([]api.AuditLine, len(es))
	for i, e := range es {
		out[i] = api.AuditLine{Seq: e.Seq, AuditEntry: e.AuditEntry, Hash: e.Hash}
	}
	return out, nil
}

func (a audited) VerifyChain(ctx context.Context) error { return a.store.VerifyChain(ctx) }

// past is the measured history as the API wants it.
type past struct{ p *process }

func (p past) History(ctx context.Context, q api.Query) ([]api.Sample, error) {
	if p.p.past == nil {
		return nil, errors.New("there is no history, see the log of the controller")
	}
	f := ledger.HistoryFilter{Instance: q.Instance, Kind: q.Kind, Since: q.Since, Below: q.Below, Limit: q.Limit}
	ss, err := p.p.past.List(ctx, f)
	if err != nil {
		return nil, err
	}
	out := make([]api.Sample, len(ss))
	for i, s := range ss {
		out[i] = api.Sample{ID: s.ID, At: s.At, Instance: s.Instance, Kind: s.Kind, Data: s.Data}
	}
	return out, nil
}

// probed lists the probes of our own vantage, which a degraded process may
// not have.
type probed struct{ p *process }

func (p probed) Probes(_ context.Context, q api.Query) ([]api.ProbeLine, error) {
	prober := p.p.prober
	if prober == nil {
		return nil, errors.New("there is no vantage of our own, see the log of the controller")
	}
	out := newest{limit: q.Limit}
	for _, i := range p.p.now.Load().cfg.Instances {
		if q.Instance != "" && q.Instance != i.Policy.Instance {
			continue
		}
		for _, c := range i.Policy.Clusters {
			for _, o := range prober.History(i.Policy.Instance, c) {
				if !o.Sent.Before(q.Since) && (q.Below == 0 || o.Sent.UnixNano() < q.Below) {
					out.add(probeLine(i.Policy.Instance, c, o))
				}
			}
		}
	}
	return out.sorted(), nil
}

// newest keeps the newest lines of all that are added, never more than twice
// the limit: ten thousand instances remember a million probes.
type newest struct {
	limit int // 0: all
	lines []api.ProbeLine
}

func (n *newest) add(l api.ProbeLine) {
	n.lines = append(n.lines, l)
	if n.limit > 0 && len(n.lines) >= 2*n.limit {
		n.lines = n.sorted()
	}
}

// sorted returns them, oldest first.
func (n *newest) sorted() []api.ProbeLine {
	slices.SortStableFunc(n.lines, func(a, b api.ProbeLine) int { return a.At.Compare(b.At) })
	if over := len(n.lines) - n.limit; n.limit > 0 && over > 0 {
		clear(n.lines[copy(n.lines, n.lines[over:]):])
		n.lines = n.lines[:n.limit]
	}
	return n.lines
}

func probeLine(i failover.InstanceName, c failover.ClusterName, o healthcheck.Observation) api.ProbeLine {
	l := api.ProbeLine{
		At: o.Sent, Instance: i, Cluster: c, Result: string(o.Outcome), Reason: o.Reason, Phase: string(o.Phase), Took: o.Took,
	}
	if o.Remote.IsValid() {
		l.Address = o.Remote.String()
	}
	return l
}

// health says how the process fares.
type health struct{ p *process }

// stuck is how old the newest snapshot of an instance may be before its loop
// counts as standing still: our own vantage alone feeds it once a round.
func stuck(round time.Duration) time.Duration { return max(10*round, 30*time.Second) }

func (h health) Live() error {
	if h.p.trouble.err() != nil {
		return nil // a restart for this would cost the DNS that still answers
	}
	for _, i := range h.p.ctl.Instances() {
		s, ok := h.p.ctl.Snapshot(i)
		if !ok {
			continue
		}
		if quiet := time.Since(s.At); quiet > stuck(s.Policy.Round) {
			return fmt.Errorf("the loop of %s has not turned for %s", i, age(quiet))
		}
	}
	return nil
}

// stored says which instances have a record. It reads memory: it neither waits
// nor fails.
func (h health) stored() map[failover.InstanceName]bool {
	all, _ := h.p.store.All(context.Background())
	has := make(map[failover.InstanceName]bool, len(all))
	for _, r := range all {
		has[r.Instance] = true
	}
	return has
}

// Ready is worked out at most once a second where there are many instances:
// every one is asked.
func (h health) Ready() []api.Condition {
	if len(h.p.ctl.Instances()) <= api.MaxViews {
		return h.conditions()
	}
	l := &h.p.lately
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conditions == nil || time.Since(l.at) >= time.Second {
		l.conditions, l.at = h.conditions(), time.Now()
	}
	return slices.Clone(l.conditions)
}

// lately is what readiness was found last.
type lately struct {
	mu         sync.Mutex
	at         time.Time
	conditions []api.Condition
}

func (h health) conditions() []api.Condition {
	cs := []api.Condition{{Name: "ledger", OK: true}}
	if err := h.p.store.Poisoned(); err != nil {
		cs[0].OK, cs[0].Why = false, err.Error()
	}
	records := api.Condition{Name: "records", OK: true}
	deciding := api.Condition{Name: "deciding", OK: true}
	stored := h.stored()
	for _, i := range h.p.ctl.Instances() {
		s, ok := h.p.ctl.Snapshot(i)
		if !ok {
			continue
		}
		_, shown := s.State.Record()
		if stored[i] && !shown {
			records.OK, records.Why = false, fmt.Sprintf("the record of %s is being read", i)
		}
		if why := holdups(&s, time.Now()); len(why) > 0 && deciding.OK {
			deciding.OK, deciding.Why = false, fmt.Sprintf("%s: %s", i, strings.Join(why, "; "))
		}
	}
	cs = append(cs, records, deciding)
	rooms := api.Condition{Name: "rooms", OK: true}
	if why := h.p.trouble.why(); why != "" {
		rooms.OK, rooms.Why = false, why
	}
	cs = append(cs, rooms)
	if h.p.authority != nil {
		c := api.Condition{Name: "authority", OK: true}
		if names := h.p.authority.Stats().Unpublished; len(names) > 0 {
			c.OK, c.Why = false, fmt.Sprintf("no record yet for %v", names)
		}
		cs = append(cs, c)
	}
	return cs
}
