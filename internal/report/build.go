package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"pointsman/internal/failover"
	"pointsman/internal/ledger"
)

const (
	maxDetailed = 100 // instances that have every detail; the worst come first
	maxStrip    = 400 // stretches of one cluster that are kept
	maxOutages  = 50  // of one cluster, the longest

	missingMost = 0.01 // part of a window that may lie in gaps, as a restart makes them
)

// Head is what a report is about.
type Head struct {
	Name       string
	Controller string
	By         string
	MadeAt     time.Time
	From, To   time.Time
	Zone       string
	Due        time.Time
	Late       *Late
	Config     string
	ConfigAt   time.Time
}

// Builder makes a report of what it is given: first the lives of the
// controller, then all samples of the history, newest first, then the facts of
// each instance. It asks nothing and waits for
// nothing. Its memory grows with the changes that were recorded, not with
// samples, and with instances by less than a kilobyte above maxDetailed.
type Builder struct {
	head  Head
	past  *past
	votes voting
	out   Report
	brief []Instance // those of out.Instances that lost their details
	extra []string   // what is not known

	judged  bool // there is a judge
	clocked bool // the clocks of vantages were asked for
}

// NewBuilder begins a report; wanted says which instances it is about.
func NewBuilder(h Head, wanted func(failover.InstanceName) bool) *Builder {
	h.From, h.To, h.MadeAt = h.From.UTC(), h.To.UTC(), h.MadeAt.UTC()
	return &Builder{
		head: h, past: newPast(h.From, h.To, wanted),
		votes: voting{from: h.From, to: h.To, wanted: wanted, votes: map[failover.InstanceName]map[votingKey][]voteAt{}, open: map[failover.InstanceName]time.Time{}},
		out: Report{
			Version: Version, Name: h.Name, Controller: h.Controller, By: plain(h.By), MadeAt: h.MadeAt, From: h.From, To: h.To, Zone: h.Zone,
			Due: h.Due.UTC(), Late: h.Late, Config: h.Config, ConfigAt: h.ConfigAt.UTC(), ID: idOf(h.Name, cmp.Or(h.Due, h.MadeAt)),
			Counts: Counts{Ready: map[Readiness]int{}, Guards: map[string]int{}, Auto: map[string]int{}, Modes: map[string]int{}},
		},
	}
}

// idOf names a report by what it is and when. It is a path below the folder of
// the reports, so the moment has no colons.
func idOf(name string, at time.Time) string {
	return name + "/" + at.UTC().Format(idLayout)
}

const idLayout = "2006-01-02T150405Z"

// Lives takes the samples of KindRecording.
func (b *Builder) Lives(ss []ledger.Sample) {
	for i := range ss {
		b.past.life(&ss[i])
	}
	b.past.lived()
}

// Sample takes the next older sample, and says whether more are wanted.
func (b *Builder) Sample(s ledger.Sample) bool { return b.past.sample(s) }

// Tape takes the next older sample of recorded votes, and says whether more are
// wanted.
func (b *Builder) Tape(s ledger.Sample) bool { return b.votes.tape(&s) }

// Trouble says why samples are missing.
func (b *Builder) Trouble(why string) {
	if was := b.out.Coverage.Trouble; was != "" {
		if strings.Contains(was, plain(why)) {
			return
		}
		why = was + "; " + why
	}
	b.out.Coverage.Trouble = plain(why)
}

// SamplesEnd says that the samples older than those taken cannot be read: what
// they would have told is not recorded, never as it is now.
func (b *Builder) SamplesEnd() { b.past.lost() }

// TapesEnd says the same of recorded votes.
func (b *Builder) TapesEnd() { b.votes.lost() }

// NotKnown notes what could not be found out.
func (b *Builder) NotKnown(what string) { b.extra = append(b.extra, plain(what)) }

// Score takes what a judge says, nil: it could not say.
func (b *Builder) Score(s *Score) { b.out.Score, b.judged = s, true }

// Instance takes the facts of one.
func (b *Builder) Instance(f *Facts) {
	v := &f.View
	in := Instance{
		Name: v.Instance, Mode: v.Mode, Active: v.Active, Preset: v.Preset, SeenAt: v.At.UTC(),
		Warnings: f.warnings(b.head.MadeAt), Bound: f.Bound, Worst: worst(f.Bound), Stops: v.Stops,
		Limits: plains(v.Limits()),
	}
	in.Loss = f.exposure()
	in.Ready, in.Why, in.Auto = f.readiness(b.head.MadeAt)
	if o := v.Op; o != nil {
		in.InHand = fmt.Sprintf("%s %s from %s to %s is at %s", o.Kind, o.ID, o.From, o.To, o.Step)
		if o.Held != nil {
			in.InHand += ", held: " + plain(o.Held.Why)
		}
	}
	rec := b.past.instances[v.Instance]
	if rec == nil {
		rec = &recorded{}
	}
	if v.Exposure.Applies || rec.exposure != nil {
		in.Replication, in.Exposed = plain(f.Rows), rec.exposure.of(b.head.From, b.head.To)
		in.Warnings = append(in.Warnings, in.Exposed.warnings()...)
	}
	in.Switches = slices.Clone(rec.switches) // newest first
	for i := range in.Switches {
		in.Switches[i].Reached = rec.reached[in.Switches[i].ID]
	}
	in.Pages = rec.pages
	in.Proofs = f.proofs(b.head.MadeAt, rec.switches)
	flapping := 0
	for i := range v.Clusters {
		c := b.cluster(v.Instance, &v.Clusters[i], rec)
		in.Outages += len(c.Outages)
		if c.FlapIndex != nil && *c.FlapIndex >= FlapLimit {
			flapping++
		}
		in.Clusters = append(in.Clusters, c)
	}
	delete(b.past.instances, v.Instance)
	delete(b.votes.votes, v.Instance)
	b.count(&in, rec, flapping)
	b.keep(in)
}

func (b *Builder) cluster(name failover.InstanceName, v *failover.ClusterView, rec *recorded) Cluster {
	c := Cluster{Name: v.Name, Role: plain(v.Role), Verdict: v.Verdict, Why: plain(v.Why)}
	t := rec.clusters[v.Name]
	if t == nil {
		t = &trace{}
	}
	now := t.after
	if now == nil && b.past.next.IsZero() {
		now = &v.Verdict
	}
	strip := t.follow(b.head.From, b.head.To, b.past.restarts, b.past.gaps, now)
	c.Window = measure(strip, b.head.From, b.head.To)
	c.Flaps = flaps(strip)
	c.FlapIndex = flapIndex(c.Flaps, c.Window)
	c.Outages = outages(strip, b.head.To)
	c.Strip = strip
	for i := range v.Votes {
		x := &v.Votes[i]
		var now *failover.Vote
		if b.past.next.IsZero() {
			now = &x.Vote
		}
		seen := b.votes.window(name, votingKey{v.Name, x.Vantage}, b.past.restarts, b.past.gaps, now, stirred(strip, b.head.To))
		c.Vantages = append(c.Vantages, VantageSeen{Vantage: x.Vantage, Domain: x.Domain, Vote: x.Vote, Reason: plain(x.Reason), AgeMS: x.AgeMS, Window: &seen})
	}
	return c
}

// stirred says that what a cluster is began so lately that votes of it may not be
// in the history yet.
func stirred(strip []Stretch, to time.Time) bool {
	n := len(strip)
	return n > 1 && strip[n-1].From.After(to.Add(-tapeLag))
}

func (b *Builder) count(in *Instance, rec *recorded, flapping int) {
	n := &b.out.Counts
	n.Instances++
	n.Ready[in.Ready]++
	n.Modes[in.Mode]++
	n.Switches += rec.outcomes
	n.Outages += in.Outages
	n.Warnings += len(in.Warnings)
	n.Stops += len(in.Stops)
	n.Flapping += flapping
	for _, p := range in.Proofs {
		if p.Stale {
			n.Stale++
		}
	}
	for _, r := range in.Why { // a guard speaks once
		if r.Guard != "" {
			n.Guards[string(r.Guard)]++
		}
	}
	for _, r := range in.Auto {
		n.Auto[string(r.Guard)]++
	}
}

// trouble sorts instances: those that could not fail over first, then those
// with most to look at.
func trouble(a, b *Instance) int {
	down := func(i *Instance) int {
		n := 0
		for _, c := range i.Clusters {
			if c.Verdict != failover.Up {
				n++
			}
		}
		return n
	}
	return cmp.Or(
		cmp.Compare(worse[a.Ready], worse[b.Ready]),
		-cmp.Compare(down(a), down(b)),
		-cmp.Compare(a.Outages, b.Outages),
		-cmp.Compare(len(a.Switches), len(b.Switches)),
		-cmp.Compare(len(a.Warnings)+len(a.Stops), len(b.Warnings)+len(b.Stops)),
		cmp.Compare(a.Name, b.Name),
	)
}

// keep bounds the memory: of twice as many as have details, the better half
// loses them.
func (b *Builder) keep(in Instance) {
	b.out.Instances = append(b.out.Instances, in)
	if len(b.out.Instances) == 2*maxDetailed {
		b.trim()
	}
}

func (b *Builder) trim() {
	slices.SortFunc(b.out.Instances, func(x, y Instance) int { return trouble(&x, &y) })
	for i := min(maxDetailed, len(b.out.Instances)); i < len(b.out.Instances); i++ {
		b.out.Instances[i].shorten()
		b.brief = append(b.brief, b.out.Instances[i])
	}
	b.out.Instances = b.out.Instances[:min(maxDetailed, len(b.out.Instances))]
}

func plains(of []string) []string {
	var out []string
	for _, s := range of {
		out = append(out, plain(s))
	}
	return out
}

// shorten leaves the details out.
func (i *Instance) shorten() {
	i.Brief = true
	i.Bound, i.Limits, i.Proofs, i.Switches, i.Pages, i.Auto, i.Preset = nil, nil, nil, nil, nil, nil, ""
	i.Why = bounded(i.Why, 2)
	i.Warnings, i.Stops = bounded(i.Warnings, 1), bounded(i.Stops, 1)
	if i.Exposed != nil {
		i.Exposed.Points = nil
	}
	for k := range i.Clusters {
		c := &i.Clusters[k]
		c.Strip, c.Outages, c.Vantages, c.Why = nil, nil, nil, ""
	}
}

func bounded[T any](s []T, n int) []T {
	if len(s) > n {
		return slices.Clone(s[:n])
	}
	return s
}

// Report returns the report. before is the one of the same name that was made
// last, nil: there was none. The builder is of no use any more.
func (b *Builder) Report(before *Report) *Report {
	b.trim()
	r := &b.out
	r.Counts.Detailed = len(r.Instances)
	r.Instances = append(r.Instances, b.brief...)
	slices.SortFunc(r.Instances, func(x, y Instance) int { return trouble(&x, &y) })
	for i := range r.Instances {
		for k := range r.Instances[i].Clusters {
			c := &r.Instances[i].Clusters[k]
			c.Strip = coarse(c.Strip, maxStrip, b.head.To.Sub(b.head.From))
			c.Outages = longest(c.Outages, maxOutages)
		}
	}
	b.coverage()
	r.Changes = compare(before, r)
	r.Counts.Warnings += len(r.ClockWarnings())
	r.NotKnown = b.notKnown()
	r.Verdict = b.verdict()
	return r
}

func (b *Builder) coverage() {
	c := &b.out.Coverage
	c.Samples, c.Unread, c.Oldest = b.past.samples, b.past.unread+b.votes.unread, b.past.oldest
	var missing time.Duration
	gaps := b.past.gaps
	for _, g := range gaps {
		missing += g.To.Sub(g.From)
	}
	if whole := b.head.To.Sub(b.head.From); whole > 0 {
		c.Missing = float64(missing) / float64(whole)
	}
	c.Gaps = longest(gaps, maxGaps)
}

// longest keeps the n longest, in the order of time.
func longest(in []Stretch, n int) []Stretch {
	if len(in) <= n {
		return in
	}
	out := slices.Clone(in)
	slices.SortStableFunc(out, func(a, b Stretch) int { return -cmp.Compare(a.To.Sub(a.From), b.To.Sub(b.From)) })
	out = out[:n]
	slices.SortFunc(out, func(a, b Stretch) int { return a.From.Compare(b.From) })
	return out
}

// severity says which state stands for a stretch of several.
var severity = map[State]int{IsUp: 0, IsUnknown: 1, IsGap: 2, IsDown: 3}

// coarse draws at most n stretches: within a part of the window the worst state
// stands for all, so that no outage vanishes.
func coarse(in []Stretch, n int, whole time.Duration) []Stretch {
	if len(in) <= n {
		return in
	}
	part := whole / time.Duration(n)
	var out []Stretch
	for _, s := range in {
		last := len(out) - 1
		if last >= 0 && s.To.Sub(out[last].From) <= part {
			out[last].To = s.To
			if severity[s.State] > severity[out[last].State] {
				out[last].State = s.State
			}
			continue
		}
		out = append(out, s)
	}
	return merge(out)
}

func (b *Builder) notKnown() []string {
	r := &b.out
	out := b.clocksNotKnown()
	if r.Coverage.Missing > 0 {
		out = append(out, fmt.Sprintf("what happened in %s of the window: nothing was recorded", percent(r.Coverage.Missing)))
	}
	if r.Coverage.Unread > 0 {
		out = append(out, count(r.Coverage.Unread, "sample", "samples")+" of the history could not be read")
	}
	if r.Coverage.Trouble != "" {
		out = append(out, "what the history lacks: "+r.Coverage.Trouble)
	}
	out = append(out, b.extra...)
	if r.Score == nil && !b.judged {
		out = append(out, "how good the decisions were: nothing judges them yet")
	}
	switch {
	case b.votes.oldest.IsZero():
	case b.votes.broken:
		if b.votes.oldest.After(b.head.From) {
			out = append(out, fmt.Sprintf("what single vantages said before %s: recorded votes cannot be read", r.stamp(b.votes.oldest)))
		}
	default:
		out = append(out, fmt.Sprintf("what single vantages said before %s: there are more recorded votes than a report reads", r.stamp(b.votes.oldest)))
	}
	return append(out,
		"what clients see: their resolvers and open connections are not measured",
		"what the clusters hold: whether the standby has the data is known only where this program replicates them")
}

// verdict is the first line.
func (b *Builder) verdict() Verdict {
	n := &b.out.Counts
	bad, unsure := n.Ready[Not], n.Ready[Unsure]
	v := Verdict{Level: Good}
	all := count(n.Instances, "instance", "instances")
	ready := n.Ready[ByItself] + n.Ready[ByPerson]
	switch {
	case n.Instances == 0:
		v.Level, v.Text = Look, "no instance is in this report"
	case bad > 0:
		v.Level, v.Text = Bad, fmt.Sprintf("%d of %s could not fail over now", bad, all)
	case unsure > 0:
		v.Level, v.Text = Look, fmt.Sprintf("of %d of %s it is not known whether they could fail over now", unsure, all)
	case n.Ready[WhenArmed] == n.Instances:
		v.Level, v.Text = Look, fmt.Sprintf("%s in shadow: all could fail over now if they were armed", all)
	case n.Ready[ByItself] == n.Instances:
		v.Text = fmt.Sprintf("%s, each could fail over by itself now", all)
	default:
		v.Text = fmt.Sprintf("%d of %s could fail over now, %d of them by itself", ready, all, n.Ready[ByItself])
		v.Level = Look
	}
	if v.Level == Good && (n.Stale > 0 || n.Warnings > 0 || n.Flapping > 0) {
		v.Level = Look
	}
	v.Why = append(often(n.Guards, "%s refuses at %s"), often(n.Auto, "%s refuses automation at %s")...)
	v.Why = append(v.Why, bounded(b.out.ClockWarnings(), 4)...)
	if gone := b.out.Coverage.unseen(); len(gone) > 0 {
		v.Why = append(v.Why, gone...)
		if v.Level == Good {
			v.Level = Look
		}
	}
	return v
}

// unseen says why a window was not seen well enough to call anything good.
func (c *Coverage) unseen() []string {
	var out []string
	if c.Trouble != "" {
		out = append(out, "the history is not whole: "+c.Trouble)
	}
	if c.Unread > 0 {
		out = append(out, count(c.Unread, "sample", "samples")+" of the history could not be read")
	}
	if c.Missing > missingMost {
		out = append(out, fmt.Sprintf("nothing was recorded in %s of the window", percent(c.Missing)))
	}
	return out
}

// often says which guards refuse most.
func often(guards map[string]int, format string) []string {
	var out []string
	for _, g := range slices.SortedFunc(maps.Keys(guards), func(x, y string) int {
		return cmp.Or(-cmp.Compare(guards[x], guards[y]), cmp.Compare(x, y))
	}) {
		if len(out) < 4 {
			out = append(out, fmt.Sprintf(format, plain(g), count(guards[g], "instance", "instances")))
		}
	}
	return out
}

// compare says what is different from the report before.
func compare(before, now *Report) Changes {
	if before == nil {
		return Changes{}
	}
	c := Changes{Since: before.MadeAt, ID: before.ID}
	add := func(format string, args ...any) {
		if len(c.Lines) == maxChanges {
			c.More++
			return
		}
		c.Lines = append(c.Lines, plain(fmt.Sprintf(format, args...)))
	}
	if before.Config != now.Config {
		add("the configuration: %s, it was %s", short(now.Config), short(before.Config))
	}
	if before.Controller != now.Controller {
		add("the controller: %s, it was %s", now.Controller, before.Controller)
	}
	was := make(map[failover.InstanceName]*Instance, len(before.Instances))
	for i := range before.Instances {
		was[before.Instances[i].Name] = &before.Instances[i]
	}
	for i := range now.Instances {
		in := &now.Instances[i]
		old := was[in.Name]
		delete(was, in.Name)
		if old == nil {
			add("%s is new", in.Name)
			continue
		}
		for _, d := range in.different(old) {
			add("%s: %s", in.Name, d)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(was)) {
		add("%s is gone", name)
	}
	return c
}

const maxChanges = 100

func (i *Instance) different(old *Instance) []string {
	var out []string
	note := func(what, is, was string) {
		if is != was {
			out = append(out, fmt.Sprintf("%s %s, was %s", what, cmp.Or(is, "none"), cmp.Or(was, "none")))
		}
	}
	note("could fail over:", string(i.Ready), string(old.Ready))
	note("active", string(i.Active), string(old.Active))
	note("mode", i.Mode, old.Mode)
	for _, c := range i.Clusters {
		for _, o := range old.Clusters {
			if o.Name == c.Name {
				note(string(c.Name)+" is", c.Verdict.String(), o.Verdict.String())
			}
		}
	}
	kinds := func(ss []failover.Stop) string {
		var ks []string
		for _, s := range ss {
			ks = append(ks, string(s.Kind))
		}
		slices.Sort(ks)
		return strings.Join(slices.Compact(ks), ", ")
	}
	if !i.Brief && !old.Brief {
		note("stops:", kinds(i.Stops), kinds(old.Stops))
	}
	return out
}

func short(hash string) string {
	if len(hash) > 12 {
		return hash[:12]
	}
	return cmp.Or(hash, "not known")
}
