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
	DownNow   time.Time     `json:"down_now,omitzero"`    // since when it still says so, without a break; zero: it does not
	RodeOutAt time.Time     `json:"rode_out_at,omitzero"` // when ride_out was over and confirmed

	// WouldAt is when no guard about the world refused any more: the moment at
	// which the instance, were it armed, would have begun to move. Of an armed
	// one it is when it did begin. Zero: it never would have.
	WouldAt  time.Time `json:"would_at,omitzero"`
	Evidence []string  `json:"evidence,omitempty"` // at WouldAt, or without one when ride_out was over
	Guards   []Spoke   `json:"guards,omitempty"`   // each guard that refused, in the order in which they first did
	Exposure string    `json:"exposure,omitempty"` // of a replicated instance: a bound at that moment, or "unknown"

	End     EpisodeEnd `json:"end"`                // empty: still open
	EndedAt time.Time  `json:"ended_at,omitzero"`  // when it became quiet (see Watch), or of the move
	UpAt    time.Time  `json:"up_at,omitzero"`     // since when the quorum says up again of Active; where it always did, since when nobody says down
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

func addGap(gs []Gap, g Gap) []Gap {
	gs = slices.Clone(gs)
	if n := len(gs); n == mostGaps {
		gs[n-1].To, gs[n-1].Why = time.Time{}, "several, the last of them: "+g.Why
		return gs
	}
	return append(gs, g)
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

// horizon is until when a recovery says something of the move.
func (e *Episode) horizon() time.Time {
	from := e.WouldAt
	if from.IsZero() || e.Moved != nil && e.Moved.At.After(from) {
		from = e.Moved.At
	}
	return from.Add(e.Grace)
}
