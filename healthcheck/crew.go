package healthcheck

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"time"

	"pointsman/internal/failover"
)

// crew is everything that a prober probes by one config.
type crew struct {
	config    Config // without the targets, which are with their watches
	instances []*instance
	byName    map[failover.InstanceName]*instance
	controls  controls
	places    int // for commands that probes run at a time
}

// all lists every watch, controls first.
func (cr *crew) all() []*watch {
	ws := slices.Clone(cr.controls.watches)
	for _, in := range cr.instances {
		ws = append(ws, in.watches...)
	}
	return ws
}

// probes returns a function that says whether a target is probed just so: it
// was found valid once.
func (cr *crew) probes() func(*Target) bool {
	by := make(map[place]*Target)
	for _, in := range cr.instances {
		for _, w := range in.watches {
			by[placeOf(w.target)] = w.target
		}
	}
	return func(t *Target) bool {
		was := by[placeOf(t)]
		return was != nil && reflect.DeepEqual(*was, *t)
	}
}

// order is the way from one crew to the next. Nothing in the old one is
// touched before it is obeyed.
type order struct {
	next  *crew
	fresh []*watch          // were not there
	moved []move            // stay, with another target or probe
	heirs map[*watch]*watch // of the fresh ones, those that take over the history of another
	done  chan struct{}
}

type move struct {
	watch  *watch
	target *Target
	how    how
}

// how is the way to probe a target: one of the two.
type how struct {
	probe  Probe
	direct *direct
}

// muster checks a config and builds every probe that old, which may be nil,
// does not have already. The error lists every fault of the config.
func muster(c Config, old *crew) (order, error) {
	var known func(*Target) bool
	if old != nil {
		known = old.probes()
	}
	if f := c.validate(known); len(f) > 0 {
		return order{}, joinFaults(f)
	}
	c.Keep = c.Keep.withDefaults().within(len(c.Targets))
	c.Workers = min(cmp.Or(c.Workers, maxWorkers), len(c.Targets))
	if c.OnReport == nil {
		c.OnReport = func(InstanceReport) {}
	}
	m := musterer{
		order:  order{next: &crew{byName: map[failover.InstanceName]*instance{}}, heirs: map[*watch]*watch{}, done: make(chan struct{})},
		config: c, old: map[place]*watch{}, shared: map[string]*likeness{}, altered: map[*watch]bool{},
	}
	m.next.places = min(max(commandPlaces(c.Targets), leastCommands), MostCommands)
	if old != nil {
		m.rebuild = !slices.Equal(old.config.Allow, c.Allow)
		for _, w := range old.all() {
			m.old[placeOf(w.target)] = w
		}
	}
	busiest := slices.MinFunc(c.Targets, func(a, b Target) int { return cmp.Compare(a.Round, b.Round) })
	targets := slices.Clone(c.Targets)
	for i := range targets {
		t := &targets[i]
		w, err := m.watch(t)
		if err != nil {
			return order{}, fmt.Errorf("targets[%d] (%s of %s): %w", i, t.Cluster, t.Instance, err)
		}
		m.group(w, t)
	}
	for i, ctl := range c.Controls {
		t := ctl.target(busiest)
		w, err := m.watch(&t)
		if err != nil {
			return order{}, fmt.Errorf("controls[%d]: %w", i, err)
		}
		m.next.controls.watches = append(m.next.controls.watches, w)
	}
	m.finish(old)
	c.Targets = nil
	m.next.config = c
	return m.order, nil
}

// musterer is a muster under way.
type musterer struct {
	order
	config  Config
	rebuild bool             // probes are bound to settings that have changed
	old     map[place]*watch // by place; those that found theirs are taken out
	shared  map[string]*likeness
	altered map[*watch]bool // that stay with another target or probe
}

// placeOf is what makes two targets of two configs the same one.
func placeOf(t *Target) place { return place{t.Instance, t.Cluster} }

type place struct {
	instance failover.InstanceName
	cluster  failover.ClusterName
}

// watch finds the watch of a target in the old crew or makes one. What was
// counted stays when a probe means what it meant before. Otherwise the count
// starts anew, so that no vote comes of old misses under new rules.
func (m *musterer) watch(t *Target) (*watch, error) {
	place := placeOf(t)
	was := m.old[place]
	delete(m.old, place)
	kept := was != nil && (t.Instance == controlInstance || t.counts(was.target))
	if kept && !m.rebuild && reflect.DeepEqual(*t, *was.target) {
		return was, nil
	}
	var how how
	if kept && !m.rebuild && t.sameKeys(was.target) {
		how.probe, how.direct = was.probe, was.direct
	} else {
		var err error
		if how, err = m.make(t); err != nil {
			return nil, err
		}
	}
	if kept {
		m.moved = append(m.moved, move{was, t, how})
		m.altered[was] = true
		return was, nil
	}
	w := &watch{target: t, probe: how.probe, direct: how.direct, history: newHistory(m.config.Keep), place: -1}
	m.fresh = append(m.fresh, w)
	if was != nil {
		m.heirs[w] = was
	}
	return w, nil
}

// make makes the probe of a target, by the cheaper way where it is open.
func (m *musterer) make(t *Target) (h how, err error) {
	pc := ProbeConfig{Vantage: m.config.Vantage, Allow: m.config.Allow, ReadKey: m.config.ReadKey}
	switch {
	case m.config.NewProbe != nil:
		h.probe, err = m.config.NewProbe(*t)
	case laneWorks && t.isDirect():
		h.direct, err = newDirect(*t, pc, m.shared)
	default:
		h.probe, err = NewProbe(*t, pc)
	}
	return h, err
}

func (m *musterer) group(w *watch, t *Target) {
	in := m.next.byName[t.Instance]
	if in == nil {
		in = &instance{name: t.Instance}
		m.next.byName[in.name] = in
		m.next.instances = append(m.next.instances, in)
	}
	in.watches = append(in.watches, w)
	in.targets = append(in.targets, *t)
	in.round = max(in.round, t.Round)
}

// finish completes the instances; one that is as it was stays itself.
func (m *musterer) finish(old *crew) {
	for i, in := range m.next.instances {
		slices.SortFunc(in.watches, func(a, b *watch) int { return cmp.Compare(a.target.Cluster, b.target.Cluster) })
		var was *instance
		if old != nil {
			was = old.byName[in.name]
		}
		same := was != nil && slices.Equal(was.watches, in.watches)
		if !same || slices.ContainsFunc(in.watches, func(w *watch) bool { return m.altered[w] }) {
			in.generation = Generation(in.targets)
			same = same && was.generation == in.generation
		}
		in.targets = nil
		if same {
			m.next.instances[i], m.next.byName[in.name] = was, was
		}
	}
}

// counts says whether what was counted of old still counts for t: the same is
// asked of the same address, and as many answers make a vote. When it is
// asked does not matter.
func (t *Target) counts(old *Target) bool {
	return reflect.DeepEqual(*t, *old) || bytes.Equal(t.meaning(), old.meaning())
}

// sameKeys says whether the probes of both read the same key files: those are
// no part of what a probe means.
func (t *Target) sameKeys(old *Target) bool {
	return slices.EqualFunc(t.each(), old.each(), func(a, b Target) bool {
		x, y := a.Check.Tablestore, b.Check.Tablestore
		return x.ServiceKey == y.ServiceKey && x.ClientKey == y.ClientKey
	})
}

func (t Target) meaning() []byte {
	t = t.canonical()
	t.Round, t.Burst, t.RideOut = 0, 0, 0
	b, err := json.Marshal(t)
	if err != nil {
		panic("healthcheck: a target is plain data and always has a JSON form: " + err.Error())
	}
	return b
}

// Reload takes another config, while the prober runs or before: all of it, or,
// with an error, nothing. Targets are the same when instance and cluster are.
// One of which the same is asked keeps what was counted, its history and its
// place in the round. One with another address, check, timeout or count keeps
// its history; its vote is unknown until the new probes say otherwise, so that
// a reload by itself turns no vote down. The probes of what is gone are ended
// and count nowhere. Instances whose generation changed are reported at once.
//
// The vantage cannot change. OnReport, NewProbe and ReadKey stay when they are
// nil, and NewProbe is asked only for what is new. Not to be called from OnReport.
func (p *Prober) Reload(c Config) error {
	p.reloading.Lock()
	defer p.reloading.Unlock()
	o, err := p.prepare(c)
	if err != nil {
		return err
	}
	if p.ended == nil {
		p.obey(o)
		return nil
	}
	select {
	case p.orders <- o:
		<-o.done
	case <-p.ended:
		p.began = time.Time{} // nobody is told any more
		p.obey(o)
	}
	return nil
}

// Check says what Reload would refuse, and changes nothing.
func (p *Prober) Check(c Config) error {
	p.reloading.Lock()
	defer p.reloading.Unlock()
	_, err := p.prepare(c)
	return err
}

// prepare is a reload up to the point where something changes.
func (p *Prober) prepare(c Config) (order, error) {
	was := p.now.config
	if c.Vantage != was.Vantage {
		return order{}, fmt.Errorf("vantage: %s cannot become %s while it runs", quote(string(was.Vantage)), quote(string(c.Vantage)))
	}
	if c.OnReport == nil {
		c.OnReport = was.OnReport
	}
	if c.NewProbe == nil {
		c.NewProbe = was.NewProbe
	}
	if c.ReadKey == nil {
		c.ReadKey = was.ReadKey
	}
	return muster(c, p.now)
}

// obey puts the next crew in the place of the present one.
func (p *Prober) obey(o order) {
	defer close(o.done)
	old, now := p.now, time.Now()
	before := old.controls.sick()
	p.mu.Lock()
	p.replace(o)
	p.mu.Unlock()
	p.discharge(old)
	p.pad.pace(p.now.all())
	if p.began.IsZero() {
		return // not begun yet: Run gives everyone his place
	}
	p.spread(o.fresh, now)
	for _, m := range o.moved {
		p.regrid(m.watch, now)
	}
	turned := (before == "") != (p.now.controls.sick() == "")
	for _, in := range p.now.instances {
		if old.byName[in.name] != in || turned {
			p.report(in, now)
		}
	}
}

// replace changes what people read.
func (p *Prober) replace(o order) {
	o.next.controls.wanted = p.now.controls.wanted
	if o.next.config.Keep != p.now.config.Keep {
		for _, w := range p.now.all() {
			w.history = w.history.limited(o.next.config.Keep)
		}
	}
	for w, was := range o.heirs {
		w.history = was.history
	}
	for _, m := range o.moved {
		m.watch.target, m.watch.probe, m.watch.direct, m.watch.long = m.target, m.how.probe, m.how.direct, nil
	}
	for _, in := range o.next.instances {
		for _, w := range in.watches {
			w.instance = in
		}
	}
	p.now, p.shown = o.next, o.next
}

// discharge ends the watches of the old crew that are not in the present one.
func (p *Prober) discharge(old *crew) {
	stay := make(map[*watch]bool)
	for _, w := range p.now.all() {
		stay[w] = true
	}
	for _, w := range old.all() {
		if !stay[w] {
			w.gone = true
			p.queue.drop(w)
			w.stop()
		}
	}
	p.pad.ready.leave()
	p.pad.direct.leave()
	p.pad.commands.leave()
	p.pad.places = p.now.places
	if p.pad.lane != nil {
		for _, f := range p.pad.lane.leave(func(w *watch) bool { return w.gone }) {
			p.pad.landed(f)
		}
	}
}

// regrid gives a target that stays its turn in another round. What it was
// about to do anyway it does no later.
func (p *Prober) regrid(w *watch, now time.Time) {
	if w.instance == nil {
		return // a control counts its rounds from its last check
	}
	w.grid = p.turn(w, now)
	if w.place >= 0 {
		p.queue.put(w, earlier(w.due, w.grid))
	}
}
