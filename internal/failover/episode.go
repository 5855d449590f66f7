package failover

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Episode is one stretch in which at least one failure domain said down of the
// active cluster: what would have been done, when, on which evidence and
// against which guards, and what really happened. It is kept for every
// instance, whatever its mode; for one in shadow it is the whole of what
// automation is judged by ([Judge]).
type Episode struct {
	ID       string       `json:"id"`
	Instance InstanceName `json:"instance"`
	Mode     string       `json:"mode"`    // at the beginning, and then at WouldAt
	Active   ClusterName  `json:"active"`  // the cluster that was said to be down
	Standby  ClusterName  `json:"standby"` // where a failover would have gone
	Began    time.Time    `json:"began"`   // when the first domain said down

	Domains  int           `json:"domains"`   // configured
	Quorum   int           `json:"quorum"`    // of them needed
	MostDown int           `json:"most_down"` // domains that said down at once, at most
	RideOut  time.Duration `json:"ride_out_ns"`
	Grace    time.Duration `json:"grace_ns"` // how long after WouldAt a recovery makes the move needless

	DownSince time.Time     `json:"down_since,omitzero"`  // sending of the first miss that counts, of the first verdict
	DownAt    time.Time     `json:"down_at,omitzero"`     // when the verdict became down
	Longest   time.Duration `json:"longest_ns,omitempty"` // the longest stretch in which the quorum said down without a break
	RodeOutAt time.Time     `json:"rode_out_at,omitzero"` // when ride_out was over and confirmed

	// WouldAt is when no guard about the world refused any more: the moment at
	// which the instance, were it armed, would have begun to move. Of an armed
	// one it is when it did begin. Zero: it never would have.
	WouldAt  time.Time `json:"would_at,omitzero"`
	Evidence []string  `json:"evidence,omitempty"` // at WouldAt, or without one when ride_out was over
	Guards   []Spoke   `json:"guards,omitempty"`   // each guard that refused, in the order in which they first did
	Exposure string    `json:"exposure,omitempty"` // of a replicated instance: a bound at that moment, or "unknown"

	End     EpisodeEnd `json:"end"`                // empty: still open
	EndedAt time.Time  `json:"ended_at,omitzero"`  // when the last domain stopped saying down, or of the move
	UpAt    time.Time  `json:"up_at,omitzero"`     // since when the quorum says up again of Active
	Moved   *Moved     `json:"moved,omitempty"`    // how the name left Active
	SeenTo  time.Time  `json:"seen_to"`            // until when this is told
	Gaps    []Gap      `json:"gaps,omitempty"`     // times of it in which nobody looked
	Watched bool       `json:"watched,omitempty"`  // nothing more will be added
	Policy  string     `json:"policy,omitempty"`   // hash of the policy that ran at the beginning
	Restart int        `json:"restarts,omitempty"` // lives of the controller that it outlasted
}

// EpisodeEnd is how an episode came to its end.
type EpisodeEnd string

const (
	EndRecovered EpisodeEnd = "recovered" // no domain says down, and the quorum says up
	EndMoved     EpisodeEnd = "moved"     // the name was moved away
	EndUnseen    EpisodeEnd = "unseen"    // nobody says down, and no quorum says up: nobody knows
)

// Spoke is a guard that refused, with its newest words.
type Spoke struct {
	Guard Guard     `json:"guard"`
	Kind  SpokeKind `json:"kind"`
	Why   string    `json:"why"`
	First time.Time `json:"first"` // when it first refused in the episode
	Last  time.Time `json:"last"`  // when it last did, as far as was asked
}

// SpokeKind tells what a refusal rests on.
type SpokeKind string

const (
	SpokeNotArmed SpokeKind = "not-armed" // shadow, approval: automation has no hands here
	SpokeStop     SpokeKind = "stop"      // a stop or a window that somebody, or an earlier move, set
	SpokeWorld    SpokeKind = "world"     // what is known of the world
)

// Moved is how a name left the cluster.
type Moved struct {
	At      time.Time   `json:"at"`               // when every write point showed it; of an adopt when it was seen
	Ordered time.Time   `json:"ordered,omitzero"` // when it was asked for
	Auto    bool        `json:"auto"`             // by pointsman
	Op      string      `json:"op,omitempty"`     // missing: by hand, and adopted
	Kind    string      `json:"kind"`             // failover, switchover or adopt
	By      string      `json:"by,omitempty"`
	To      ClusterName `json:"to"`
}

// Gap is a time that the data do not cover.
type Gap struct {
	From    time.Time   `json:"from"`
	To      time.Time   `json:"to,omitzero"` // zero: it lasts
	Why     string      `json:"why"`
	Vantage VantageName `json:"vantage,omitempty"` // only it did not look
}

const (
	// LeastGrace is the least time after a move within which a recovery makes it
	// needless. Clients follow no faster than the least TTL that is allowed (5 s):
	// a move that they see only after the recovery has helped none of them.
	LeastGrace = 5 * time.Second

	mostEvidence = 40  // lines of an episode
	mostGaps     = 16  // of an episode; later ones widen the last
	mostWords    = 300 // bytes of one line
)

// grace is how long after the moment of a move a recovery makes it needless.
func (p *Policy) grace() time.Duration { return max(p.RideOut, LeastGrace) }

// settled is how long nobody must have said down before an episode is over:
// the core itself joins what a silence of two rounds parts, and what comes back
// within ride_out is the same blip.
func (p *Policy) settled() time.Duration { return max(p.RideOut, p.Stale()) }

// Watch follows one instance and keeps its episodes. It is a value, fed with
// the same state, policy and moment as every Step, after it; it decides nothing
// and nothing of it comes back into the core. The zero value has seen nothing.
type Watch struct {
	open  *Episode // never edited once it was handed out
	after *Episode // moved away from; its old cluster is watched for a grace
	quiet time.Time
	down  time.Time // since when the quorum says down without a break
}

// Resume goes on with an episode that an earlier life of the controller left
// open. What lies between is a gap: nobody looked.
func Resume(e Episode, seen, now time.Time) Watch {
	if e.Watched {
		return Watch{}
	}
	if seen.Before(e.SeenTo) {
		seen = e.SeenTo
	}
	e.Restart++
	e.Gaps = addGap(e.Gaps, Gap{From: seen, Why: "the controller did not run"})
	if e.End == EndMoved {
		return Watch{after: &e}
	}
	return Watch{open: &e}
}

func addGap(gs []Gap, g Gap) []Gap {
	gs = slices.Clone(gs)
	if n := len(gs); n == mostGaps {
		gs[n-1].To, gs[n-1].Why = time.Time{}, "several, the last of them: "+g.Why
		return gs
	}
	return append(gs, g)
}

// Open returns the episode in hand, or nil. It must not be changed.
func (w Watch) Open() *Episode { return w.open }

// Left returns the episode whose cluster was left and is still watched, or nil.
// It must not be changed.
func (w Watch) Left() *Episode { return w.after }

// Unfinished returns the one of both that a later life should go on with, or nil.
func (w Watch) Unfinished() *Episode {
	if w.open != nil {
		return w.open
	}
	return w.after
}

// End closes what is in hand when nobody will watch the instance any more, and
// returns how it is told last.
func (w Watch) End(now time.Time) []Episode {
	var out []Episode
	for _, e := range []*Episode{w.after, w.open} {
		if e == nil {
			continue
		}
		x := *e
		if x.End == "" {
			x.End, x.EndedAt = EndUnseen, now
		}
		x.Watched, x.SeenTo = true, now
		out = append(out, x)
	}
	return out
}

// Calm says that See would do nothing.
func (w Watch) Calm(s *State) bool { return w.open == nil && w.after == nil && s.lost == 0 }

// See takes the state that a Step left, and returns the watch as it is then and
// the episodes that should be written down anew. In a calm time it returns at
// once.
func (w Watch) See(s *State, p *Policy, now time.Time) (Watch, []Episode) {
	if w.Calm(s) || !s.found || !s.adopted || !p.Has(s.rec.Active) {
		return w, nil
	}
	var out []Episode
	if e := w.after; e != nil {
		w.after = e.watchOn(s, p, now)
		if w.after != e {
			out = append(out, *w.after)
		}
		if w.after.Watched {
			w.after = nil
		}
	}
	if e := w.open; e != nil && (e.Active != s.rec.Active || !p.Has(e.Active)) {
		left := e.left(s, p, now)
		if w.after != nil { // it moved twice within a grace: the first is told as far as it was seen
			w.after.Watched, w.after.SeenTo = true, now
			out = append(out, *w.after)
		}
		w = Watch{after: &left}
		out = append(out, left)
	}
	t := s.tally(p, s.rec.Active, now)
	if w.open == nil && t.downs > 0 {
		w.open, w.quiet, w.down = begin(s, p, now), time.Time{}, time.Time{}
		w.open.notice(s, p, &t, now)
		w.note(&t, now)
		return w, append(out, *w.open)
	}
	if w.open == nil {
		return w, out
	}
	e := *w.open
	changed := e.resumed(now)
	changed = e.notice(s, p, &t, now) || changed
	e.Longest = max(e.Longest, w.note(&t, now))
	if w.over(&e, &t, p, now) {
		e.SeenTo = now
		return Watch{after: w.after}, append(out, e)
	}
	w.open = &e
	if changed {
		e.SeenTo = now
		out = append(out, e)
	}
	return w, out
}

// begin starts an episode.
func begin(s *State, p *Policy, now time.Time) *Episode {
	e := &Episode{
		ID:       fmt.Sprintf("%s-e%s", p.Instance, now.UTC().Format("20060102T150405.000")),
		Instance: p.Instance, Mode: s.mode(p), Active: s.rec.Active, Standby: p.Other(s.rec.Active), Began: now,
		Domains: len(p.Domains()), Quorum: p.Quorum(), RideOut: p.RideOut, Grace: p.grace(), SeenTo: now, Policy: p.Expected,
	}
	return e
}

// mode is what was armed, as people read it.
func (s *State) mode(p *Policy) string {
	if p.ForceShadow {
		return ModeShadow.String()
	}
	return s.rec.Mode.String()
}

// armed says that automation may move the instance by itself.
func (s *State) armed(p *Policy) bool {
	return !s.shadow(p) && s.level(p) == AutoAuto
}

// note keeps since when the quorum says down, and returns how long that is.
func (w *Watch) note(t *tally, now time.Time) time.Duration {
	switch {
	case t.verdict != Down:
		w.down = time.Time{}
		return 0
	case w.down.IsZero():
		w.down = t.downSince
	}
	return now.Sub(w.down)
}

// notice adds to the episode what can be seen now, and says whether that is
// worth writing down.
func (e *Episode) notice(s *State, p *Policy, t *tally, now time.Time) (changed bool) {
	if t.downs > e.MostDown {
		e.MostDown, changed = t.downs, true
	}
	if t.verdict != Down {
		return changed
	}
	if e.DownAt.IsZero() {
		e.DownAt, e.DownSince, changed = now, t.downSince, true
	}
	if !e.WouldAt.IsZero() || !t.rodeOut(p, now) {
		return changed
	}
	a := s.ask(p, Failover, p.Other(e.Active), true, now)
	if e.RodeOutAt.IsZero() {
		e.RodeOutAt, changed = now, true
		e.witness(s, p, a)
	}
	free := true
	for _, r := range a.refusals() {
		k := spokeKind(r.Guard)
		free = free && k == SpokeNotArmed
		changed = e.spoke(r, k, now) || changed
	}
	if s.armed(p) {
		free = s.starting(e.Active)
	}
	if free {
		e.WouldAt, e.Mode, changed = now, s.mode(p), true
		e.witness(s, p, a)
	}
	return changed
}

// starting says that automation has begun to move the name away from c.
func (s *State) starting(c ClusterName) bool {
	op := s.rec.Op
	if s.pending != nil {
		op = s.pending.Op
	}
	return op != nil && op.Auto && op.From == c
}

// witness keeps the evidence of the moment.
func (e *Episode) witness(s *State, p *Policy, a *ask) {
	e.Evidence = nil
	for _, l := range append(a.old.lines(), a.new.lines()...) {
		if len(e.Evidence) == mostEvidence {
			break
		}
		e.Evidence = append(e.Evidence, cut(l))
	}
	e.Exposure = ""
	if p.Replicated {
		e.Exposure = "unknown"
		if b, known := s.bound(p, a.now); known {
			e.Exposure = b.String()
		}
	}
}

func cut(s string) string {
	if len(s) <= mostWords {
		return s
	}
	return strings.ToValidUTF8(s[:mostWords], "") + "…"
}

// spoke notes a refusal; a guard that spoke before keeps its place. Newer words
// of it are kept without being news: most carry a time that runs.
func (e *Episode) spoke(r Refusal, k SpokeKind, now time.Time) (news bool) {
	e.Guards = slices.Clone(e.Guards)
	i := slices.IndexFunc(e.Guards, func(x Spoke) bool { return x.Guard == r.Guard })
	if i < 0 {
		e.Guards = append(e.Guards, Spoke{Guard: r.Guard, Kind: k, Why: cut(r.Why), First: now, Last: now})
		return true
	}
	e.Guards[i].Why, e.Guards[i].Last = cut(r.Why), now
	return false
}

// spokeKind says what a guard's refusal rests on. A guard that is not known
// here is about the world: it counts against automation.
func spokeKind(g Guard) SpokeKind {
	switch g {
	case GuardShadow, GuardApproval:
		return SpokeNotArmed
	case GuardPaused, GuardFreeze, GuardMaintenance, GuardHooks, GuardCooldown, GuardUnacknowledged, GuardLockout, GuardSettling, GuardOpInFlight:
		return SpokeStop
	}
	return SpokeWorld
}

// over ends the episode when nobody has said down for the settled time.
func (w *Watch) over(e *Episode, t *tally, p *Policy, now time.Time) bool {
	switch {
	case t.downs > 0:
		w.quiet, e.UpAt = time.Time{}, time.Time{} // it came back for a moment at most
		return false
	case w.quiet.IsZero():
		w.quiet = now
	}
	if t.verdict == Up && e.UpAt.IsZero() {
		e.UpAt = t.upSince
	}
	if now.Sub(w.quiet) < p.settled() {
		return false
	}
	e.End, e.EndedAt, e.Watched = EndUnseen, w.quiet, true
	if t.verdict == Up {
		e.End = EndRecovered
	}
	return true
}

// resumed ends the gap that a restart left, once the core has its facts again.
func (e *Episode) resumed(now time.Time) bool {
	n := len(e.Gaps)
	if n == 0 || !e.Gaps[n-1].To.IsZero() {
		return false
	}
	e.Gaps = slices.Clone(e.Gaps)
	e.Gaps[n-1].To = now
	return true
}

// left ends an episode whose cluster is not the active one any more.
func (e *Episode) left(s *State, p *Policy, now time.Time) Episode {
	out := *e
	out.resumed(now)
	out.End, out.EndedAt, out.SeenTo = EndMoved, now, now
	out.UpAt = time.Time{}
	m := &Moved{At: now, Kind: string(DoAdopt), To: s.rec.Active}
	op := s.rec.Op
	if l := s.rec.LastOp; op == nil && l != nil && l.Outcome == Settled && !l.At.Before(e.Began) {
		op = &l.Op
	}
	if op != nil && op.From == e.Active && op.To == s.rec.Active {
		m.Ordered, m.Auto, m.Op, m.Kind, m.By = op.Since, op.byItself(), op.ID, string(op.Kind), op.By
		if !op.MovedAt.IsZero() {
			m.At = op.MovedAt
		}
		out.EndedAt = m.At
	}
	out.Moved = m
	if !p.Has(e.Active) { // it left the config: nothing of it will be seen
		out.Watched = true
	}
	return out
}

// byItself says that automation moved without asking anybody: what people have
// approved is their move.
func (o *Op) byItself() bool { return o.Auto && len(o.Approvals) == 0 }

// watchOn looks whether the cluster that was left comes back by itself within
// the grace. The result is e itself while there is nothing to tell.
func (e *Episode) watchOn(s *State, p *Policy, now time.Time) *Episode {
	out := *e
	changed := out.resumed(now)
	if !p.Has(e.Active) || e.Active == s.rec.Active { // gone, or the name went back
		out.Watched, out.SeenTo = true, now
		return &out
	}
	t := s.tally(p, e.Active, now)
	if t.verdict == Up {
		out.UpAt, out.Watched = t.upSince, true
	} else if !now.Before(out.horizon()) {
		out.Watched = true
	}
	if changed || out.Watched {
		out.SeenTo = now
		return &out
	}
	return e
}

// horizon is until when a recovery says something of the move.
func (e *Episode) horizon() time.Time {
	from := e.WouldAt
	if from.IsZero() || e.Moved != nil && e.Moved.At.After(from) {
		from = e.Moved.At
	}
	return from.Add(e.Grace)
}
