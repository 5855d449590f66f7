package healthcheck

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"pointsman/internal/failover"
)

// outcome is one finished probe.
type outcome struct {
	flight
	number     uint64 // in the order of sending
	sent, done time.Time
	kind       Outcome
	err        error
	trace      Trace
}

// minSlack is the lateness that is never held against a probe.
const minSlack = 100 * time.Millisecond

// startSlack is how late a probe may start, measured against its plan. Its
// deadline runs from the real start, so half a round does no harm.
func startSlack(t Target) time.Duration { return max(t.Round/2, minSlack) }

// execute runs one probe. Its deadline runs from the real start, so a queue
// before it never eats into the time that the cluster has.
func (f flight) execute(ctx context.Context) outcome {
	w := f.watch
	o := outcome{flight: f}
	t := f.target
	o.number, o.sent = w.start()
	if o.behind() {
		return o
	}
	pctx, cancel := context.WithTimeout(WithTrace(ctx, &o.trace), t.Timeout)
	defer cancel()
	w.holds(o.number, cancel)
	defer w.end(o.number)
	o.err = guarded(pctx, f.probe)
	o.done = time.Now()
	if ctx.Err() != nil {
		o.err = Own(fmt.Errorf("ended by us: %w", context.Cause(ctx)))
	}
	o.judge()
	return o
}

// behind says that the probe would start too late, and ends it.
func (o *outcome) behind() bool {
	late := o.sent.Sub(o.due)
	if late <= startSlack(*o.target) {
		return false
	}
	// It would say something of the moment, but a prober that cannot keep its
	// schedule cannot be trusted with deadlines either.
	o.done, o.kind, o.trace.Phase = o.sent, OwnFault, PhaseSchedule
	o.err = Own(fmt.Errorf("%w: %s behind", ErrLate, late.Round(time.Millisecond)))
	return true
}

// judge says what kind of outcome the error means.
func (o *outcome) judge() {
	took, lost := o.done.Sub(o.sent), time.Duration(0)
	if o.lost != nil {
		lost = time.Duration(o.lost.Load() - o.lostBefore)
	}
	switch {
	case o.err == nil:
		o.kind, o.trace.Phase = Success, PhaseDone
		return
	case errors.Is(o.err, ErrOwn):
	case took > o.target.Timeout+minSlack:
		// We woke up long after the deadline: the answer may have waited.
		o.trace.Phase = PhaseSchedule
		o.err = Own(fmt.Errorf("%w: noticed after %s that %s had passed", ErrLate, took.Round(time.Millisecond), o.target.Timeout))
	case isTimeout(o.err) && lost > o.target.Timeout/lostShare:
		// The cluster had less time than it was promised: we may have asked
		// late, and an answer may have come while nobody looked.
		o.trace.Phase = PhaseSchedule
		o.err = Own(fmt.Errorf("%w: this process stood still for %s of the %s that the answer had", ErrLate, lost.Round(time.Millisecond), o.target.Timeout))
	case isOwn(o.err):
		o.err = Own(o.err)
	}
	o.kind = Miss
	if errors.Is(o.err, ErrOwn) {
		o.kind = OwnFault
	}
}

// lostShare is the part of its timeout that a probe may lose to our own
// standing still and yet count its silence as a miss.
const lostShare = 8

// guarded turns a panic into a fault of our own.
func guarded(ctx context.Context, probe Probe) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = Own(fmt.Errorf("%w: %v", ErrPanic, r))
		}
	}()
	return probe(ctx)
}

func (o outcome) observation() Observation {
	ob := Observation{
		Sent: o.sent, Took: o.done.Sub(o.sent), Outcome: o.kind, Phase: o.trace.Phase,
		Resolve: o.trace.Resolve, Connect: o.trace.Connect, TLS: o.trace.TLS, Answer: o.trace.Answer,
		Local: o.trace.Local, Remote: o.trace.Remote, Identity: o.trace.Identity, Warnings: o.trace.Warnings,
	}
	if o.err != nil {
		ob.Reason = clean(o.err.Error(), maxText)
	}
	return ob
}

// observe takes a finished probe, counts what can be counted, plans the next
// one and reports.
func (p *Prober) observe(o outcome) {
	w := o.watch
	p.pad.landed(o.flight)
	if w.gone {
		return
	}
	before := p.now.controls.sick()
	doubt := o.kind == OwnFault && w.instance != nil && disputed(o.err)
	if doubt && before == "" && len(p.now.controls.watches) > 0 {
		o.kind = Miss // if a control is reached after it: see vote
	}
	if o.kind == Miss && w.instance != nil && before != "" {
		// Whose fault it is cannot be known.
		o.kind, o.err = OwnFault, Own(fmt.Errorf("unproven, since %s: %w", before, o.err))
	}
	ripe := w.landed(o)
	now, quiet := time.Now(), w.saidWell
	for _, o := range ripe {
		for _, o := range p.weigh(o) {
			p.tally(o)
			if w.instance != nil && (w.firstMiss() || o.kind == Miss && disputed(o.err)) {
				for _, c := range p.now.controls.want(w.sent) {
					p.queue.put(c, now)
				}
			}
		}
	}
	if w.flying == 0 {
		p.queue.put(w, w.plan(now))
	} else if due, ok := w.overlap(now); ok {
		p.queue.put(w, due)
	}
	switch {
	case len(ripe) == 0:
	case w.instance == nil:
		p.observeControl(w, before, now)
	case quiet && w.well():
		p.soon(w.instance, now)
	default:
		p.report(w.instance, now)
	}
}

// tally counts one probe.
func (p *Prober) tally(o outcome) {
	w := o.watch
	w.add(o)
	p.answerNudge(w, o)
	w.heard(o)
	p.count(func(s *Stats) {
		w.history.add(o.observation())
		s.Units.add(o.trace.Units)
		s.Waiting, s.Behind = p.pad.ready.n+p.pad.direct.n+p.pad.commands.n, max(o.sent.Sub(o.due), 0)
		switch o.kind {
		case Success:
			s.Successes++
		case Miss:
			s.Misses++
		case OwnFault:
			s.OwnFaults++
			if errors.Is(o.err, ErrLate) {
				s.Late++
			}
		}
	})
}

// observeControl reports every instance when the vantage turned sick or well,
// and otherwise those whose down vote waited for this check. Misses that no
// control vouches for are forgotten when the vantage turns out to be sick:
// they must not be held against a cluster once our network is back.
func (p *Prober) observeControl(w *watch, before string, now time.Time) {
	if w.sent.Before(p.now.controls.wanted) {
		p.queue.put(w, now)
	}
	sick := p.now.controls.sick()
	for _, in := range p.now.instances {
		waited := false
		for _, w := range in.watches {
			waited = waited || w.gated
			if sick != "" && w.unproven(&p.now.controls) {
				w.forget()
			}
		}
		if waited || (before == "") != (sick == "") {
			p.report(in, now)
		}
	}
}

// report tells what the vantage says of an instance now.
func (p *Prober) report(in *instance, now time.Time) {
	r := InstanceReport{
		Vantage: p.now.config.Vantage, Instance: in.name, Generation: in.generation,
		Sick: p.sick(in, now), Clusters: make([]ClusterReport, len(in.watches)), made: now,
	}
	for i, w := range in.watches {
		r.Clusters[i] = p.vote(w, now)
		w.said, w.saidWell = w.counts, r.Clusters[i].Vote == failover.Up && w.well()
	}
	in.speakAt = time.Time{}
	p.mu.Lock()
	in.latest = r
	p.mu.Unlock()
	p.now.config.OnReport(r)
}

// well says that there is no news in the newest probe as long as the one
// before was like it.
func (w *watch) well() bool {
	return !w.own && w.lastError == "" && len(w.warnings) == 0 && w.count.Vote() == failover.Up
}

// hushTime is how long a report without news waits for the other clusters of
// its instance, which are probed at the same moment: one message does for all.
const hushTime = 20 * time.Millisecond

// soon reports an instance of which there is no news: when all its clusters
// have been probed, or in a moment.
func (p *Prober) soon(in *instance, now time.Time) {
	for _, w := range in.watches {
		if w.said == w.counts {
			if in.speakAt.IsZero() {
				in.speakAt = now.Add(hushTime)
				p.hush = append(p.hush, in)
			}
			return
		}
	}
	p.report(in, now)
}

// speak reports the instances that have waited long enough.
func (p *Prober) speak(now time.Time) {
	n := 0
	for ; n < len(p.hush) && !p.hush[n].speakAt.After(now); n++ {
		if in := p.hush[n]; !in.speakAt.IsZero() && p.now.byName[in.name] == in {
			p.report(in, now)
		}
	}
	if p.hush = slices.Delete(p.hush, 0, n); len(p.hush) == 0 {
		p.hush = nil
	}
}

// sick is why the vantage abstains from the instance as a whole, or empty.
func (p *Prober) sick(in *instance, now time.Time) string {
	if !p.stalledAt.IsZero() && now.Sub(p.stalledAt) < in.round {
		return fmt.Sprintf("late on our own schedule: the scheduler was held up for %s", p.stalledBy.Round(time.Millisecond))
	}
	return p.now.controls.sick()
}

// vote is what the vantage says of one cluster. The counters are always those
// of the count; only the vote and its reason give way to an abstention.
func (p *Prober) vote(w *watch, now time.Time) ClusterReport {
	s := w.count.Sighting(w.target.Count)
	c := ClusterReport{
		Cluster: w.target.Cluster, Vote: s.Vote, Reason: w.words(s),
		Misses: s.Misses, Fall: s.Fall, Hits: s.Hits, Rise: s.Rise, Failed: s.Failed, Window: s.Window,
		LastProbe: age(now, s.LastProbe), FirstMiss: age(now, s.FirstMiss), LastMiss: age(now, s.LastMiss), LastSuccess: age(now, s.LastSuccess),
		Latency: w.latency, Identity: w.identity, Warnings: w.warnings,
		CertificateEndsIn: endsIn(now, w.certificateEnds),
		Canary:            w.canary, CanaryAge: age(now, w.canaryAt), Client: w.client, ClientAge: age(now, w.clientAt),
	}
	w.gated = s.Vote == failover.Down && !p.now.controls.seen(s.FirstMiss)
	abstain := ""
	switch silent := now.Sub(w.finished); {
	case w.finished.IsZero():
		abstain = "not probed yet"
	case w.own:
		abstain, c.Fault = w.lastError, w.fault
	case silent > 2*w.target.Round+w.target.Timeout:
		abstain = fmt.Sprintf("no probe has ended for %s", silent.Round(time.Millisecond))
	case s.Vote == failover.Up && now.Sub(s.LastSuccess) > 2*w.target.Round+w.target.Timeout:
		// What was up before we lost our controls is no news of today.
		abstain = fmt.Sprintf("its newest answer is %s old", now.Sub(s.LastSuccess).Round(time.Millisecond))
	case w.gated:
		abstain = "no control reached yet since the first miss; " + c.Reason
	}
	if abstain != "" {
		c.Vote, c.Reason = failover.Unknown, clean(abstain, maxText)
	}
	if c.Vote == failover.Up {
		c.UpFor = age(now, s.UpSince)
	}
	return c
}

// words is the reason of a vote.
func (w *watch) words(s failover.Sighting) string {
	switch {
	case s.Misses > 0 && s.Vote != failover.Down:
		return clean(fmt.Sprintf("%d of %d misses: %s", s.Misses, s.Fall, w.lastMiss), maxText)
	case s.Misses > 0 && s.Misses < s.Fall && s.Window > 0:
		return clean(fmt.Sprintf("%d of the last %d probes failed, the newest: %s", s.Failed, s.Window, w.lastMiss), maxText)
	case s.Misses > 0 && w.hurried != "":
		return clean(fmt.Sprintf("%s; seen early by %s", w.lastMiss, w.hurried.by()), maxText)
	case s.Misses > 0:
		return w.lastMiss
	case s.Vote == failover.Down:
		return clean(fmt.Sprintf("answers again, %d of %d successes; the newest miss: %s", s.Hits, s.Rise, w.lastMiss), maxText)
	case s.Vote == failover.Up:
		return "answers in " + w.latency.Round(time.Microsecond).String() + w.remarks()
	default:
		return fmt.Sprintf("answers, %d of %d successes", s.Hits, s.Rise)
	}
}

// endsIn is how long a certificate still counts, by this machine's wall clock
// as in the handshake; nil when none was shown.
func endsIn(now, ends time.Time) *time.Duration {
	if ends.IsZero() {
		return nil
	}
	left := min(max(ends.Sub(now), -maxAge), maxAge)
	return &left
}

// age is how long ago t was; nil when it never was.
func age(now, t time.Time) *time.Duration {
	if t.IsZero() {
		return nil
	}
	d := max(now.Sub(t), 0)
	return &d
}
