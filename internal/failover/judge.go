package failover

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Judgement is what became clear about an episode afterwards.
type Judgement string

const (
	Needed   Judgement = "needed"    // a switch was right
	Needless Judgement = "needless"  // it would have come back by itself
	Missed   Judgement = "missed"    // a switch was wanted, and there would have been none
	NearMiss Judgement = "near-miss" // it nearly came to a switch, and the cluster came back
	Stopped  Judgement = "stopped"   // a switch was wanted, and a stop stood that somebody had set
	Blip     Judgement = "blip"      // far from a switch
	Pending  Judgement = "pending"   // not yet known
	Unjudged Judgement = "unjudged"  // nobody looked when it mattered
)

// Judgements lists all of them, those that matter most first.
var Judgements = []Judgement{Needed, Needless, Missed, NearMiss, Stopped, Pending, Unjudged, Blip}

const (
	// MissedAfter is from which length an outage that automation would not have
	// ended counts as missed though nobody moved the name. In five minutes the
	// person on call is at a keyboard: what nobody ended until then, a switch by
	// itself would have.
	MissedAfter = 5 * time.Minute
	// NearMissPart is the part of ride_out from which a recovered outage was a
	// near miss: with half the ride_out it would have moved the name.
	NearMissPart = 2
	// NearMissShort is how many votes short of the quorum is near.
	NearMissShort = 1
)

// Rule is one rule of [Judge] with its numbers and the reason for them, for
// people.
type Rule struct {
	Judgement Judgement `json:"judgement"`
	When      string    `json:"when"`
	Reason    string    `json:"reason,omitempty"`
}

// JudgeRules says by which rules [Judge] goes, in the order in which it asks.
func JudgeRules() []Rule {
	return []Rule{
		{Needed, "it would have switched, and the cluster stayed lost for longer than ride_out after that moment, or a person moved the name", fmt.Sprintf("at least %s is taken for ride_out here: clients see a move no faster than the least TTL", LeastGrace)},
		{Needless, "it would have switched, and the cluster came back by itself within ride_out after that moment, with no person moving the name", "the same bound: a move that clients see only after the recovery helped nobody"},
		{Missed, fmt.Sprintf("it would not have switched (votes were short, ride_out was not over, or a guard about the world refused), and a person moved the name, or the cluster stayed lost for longer than %s", MissedAfter), "in that time the person on call is at a keyboard"},
		{NearMiss, fmt.Sprintf("it came back, and %d vote was missing for the quorum, or the quorum had said down for at least 1/%d of ride_out, or ride_out was over and a guard about the world refused", NearMissShort, NearMissPart), "one vantage more, or half the ride_out, and the name would have moved"},
		{Stopped, "everything else was given, and a stop or a window of somebody stood in the way", "that is what stops are for: it counts neither for nor against automation"},
		{Pending, "what decides it has not happened yet", ""},
		{Unjudged, "nobody looked when it mattered: the controller was down, or the vantages were silent, or the clock was set back", "silence is never taken for calm"},
		{Blip, "everything else", ""},
	}
}

// Judged is an episode with its judgement.
type Judged struct {
	Episode
	Judgement Judgement     `json:"judgement"`
	Why       string        `json:"why"`
	Gained    time.Duration `json:"gained_ns,omitempty"` // by how much sooner the name would have been (or was) moved than the trouble ended otherwise; so far, where it has not ended
}

// Judge says by [JudgeRules] what an episode was, as far as can be said now.
func Judge(e Episode, now time.Time) Judged {
	j := Judged{Episode: e}
	switch {
	case e.disordered():
		j.Judgement, j.Why = Unjudged, "its times are out of order: the clock was set back, or the line is damaged"
	case !e.WouldAt.IsZero():
		j.judgeWould(now)
	case e.byPerson():
		j.Judgement, j.Why = Missed, fmt.Sprintf("%s, and %s", e.whyNot(), e.movedWords())
		if e.stoppedOnly() {
			j.Judgement = Stopped
		}
	case !e.DownAt.IsZero() && e.lostFor(now) > MissedAfter:
		j.Judgement, j.Why = Missed, fmt.Sprintf("%s, and %s stayed lost for %s", e.whyNot(), e.Active, e.lostFor(now).Round(time.Second))
		if e.stoppedOnly() {
			j.Judgement = Stopped
		}
	case e.End == "":
		j.Judgement, j.Why = Pending, "it is not over"
	case e.End == EndUnseen:
		j.Judgement, j.Why = Unjudged, fmt.Sprintf("%s; then nobody could say how %s was", e.whyNot(), e.Active)
	case e.stoppedOnly():
		j.Judgement, j.Why = Stopped, e.whyNot()+", and it came back"
	case !e.RodeOutAt.IsZero():
		j.Judgement, j.Why = NearMiss, e.whyNot()+", and it came back"
	case !e.DownAt.IsZero() && NearMissPart*e.Longest >= e.RideOut:
		j.Judgement, j.Why = NearMiss, fmt.Sprintf("down for %s of the %s of ride_out, and it came back", e.Longest.Round(time.Millisecond), e.RideOut)
	case e.Short() == NearMissShort:
		j.Judgement, j.Why = NearMiss, fmt.Sprintf("%d of %d domains said down, %d needed, and it came back", e.MostDown, e.Domains, e.Quorum)
	default:
		j.Judgement, j.Why = Blip, e.whyNot()+", and it came back"
	}
	return j
}

// judgeWould judges an episode in which the name was moved by pointsman, or
// would have been.
func (j *Judged) judgeWould(now time.Time) {
	e := &j.Episode
	bound := e.WouldAt.Add(e.Grace)
	end, open := e.trouble(now)
	gained := max(end.Sub(e.WouldAt), 0)
	switch {
	case e.byPerson():
		j.Judgement, j.Why, j.Gained = Needed, e.movedWords(), gained
	case e.blind(e.WouldAt, bound):
		j.Judgement, j.Why = Unjudged, fmt.Sprintf("nobody looked in the %s after the moment of the move", e.Grace)
	case !e.UpAt.IsZero() && !e.UpAt.After(bound):
		j.Judgement, j.Why = Needless, fmt.Sprintf("%s came back by itself %s after the moment of the move", e.Active, max(e.UpAt.Sub(e.WouldAt), 0).Round(time.Millisecond))
	case e.End == EndUnseen && e.EndedAt.Before(bound):
		j.Judgement, j.Why = Unjudged, fmt.Sprintf("%s after the moment of the move nobody could say how %s was", e.EndedAt.Sub(e.WouldAt).Round(time.Millisecond), e.Active)
	case open && !now.After(bound), e.End == EndMoved && !e.Watched && !now.After(bound):
		j.Judgement, j.Why = Pending, fmt.Sprintf("whether %s comes back within %s is not known yet", e.Active, e.Grace)
	case e.UpAt.IsZero():
		j.Judgement, j.Why, j.Gained = Needed, fmt.Sprintf("%s was not back %s after the moment of the move", e.Active, e.Grace), gained
	default:
		j.Judgement, j.Why, j.Gained = Needed, fmt.Sprintf("%s came back only %s after the moment of the move", e.Active, e.UpAt.Sub(e.WouldAt).Round(time.Millisecond)), gained
	}
}

// trouble is when the trouble ended for clients without pointsman, and whether it
// has not ended yet. Of a name that pointsman moved it is when the old cluster
// came back, as far as anybody looked.
func (e *Episode) trouble(now time.Time) (end time.Time, open bool) {
	switch {
	case e.byPerson():
		return e.Moved.At, false
	case !e.UpAt.IsZero():
		return e.UpAt, false
	case e.End == EndMoved:
		return e.horizon(), false
	case e.End != "":
		return e.EndedAt, false
	}
	return now, true
}

// Short is how many votes were short of the quorum at the worst moment.
func (e *Episode) Short() int { return max(e.Quorum-e.MostDown, 0) }

func (e *Episode) byPerson() bool { return e.Moved != nil && !e.Moved.Auto }

// lostFor is how long the quorum has said down without a break, at most.
func (e *Episode) lostFor(now time.Time) time.Duration {
	if e.End == "" && !e.DownNow.IsZero() {
		return max(e.Longest, now.Sub(e.DownNow))
	}
	return e.Longest
}

// disordered says that something of the episode comes before its beginning: of
// such times no length can be told.
func (e *Episode) disordered() bool {
	return slices.ContainsFunc([]time.Time{e.DownAt, e.RodeOutAt, e.WouldAt, e.EndedAt}, func(at time.Time) bool {
		return !at.IsZero() && at.Before(e.Began)
	})
}

// blind says whether a gap lies in the stretch.
func (e *Episode) blind(from, to time.Time) bool {
	return slices.ContainsFunc(e.Gaps, func(g Gap) bool {
		return g.From.Before(to) && (g.To.IsZero() || g.To.After(from))
	})
}

// stoppedOnly says that nothing but stops, and not being armed, refused.
func (e *Episode) stoppedOnly() bool {
	stops := false
	for _, g := range e.Guards {
		if g.Kind == SpokeWorld {
			return false
		}
		stops = stops || g.Kind == SpokeStop
	}
	return stops && e.WouldAt.IsZero() && !e.RodeOutAt.IsZero()
}

// whyNot says why there would have been no switch.
func (e *Episode) whyNot() string {
	switch {
	case e.DownAt.IsZero():
		return fmt.Sprintf("at most %d of %d domains said down, %d needed", e.MostDown, e.Domains, e.Quorum)
	case e.RodeOutAt.IsZero():
		return fmt.Sprintf("down for %s, and ride_out of %s was not over", e.Longest.Round(time.Millisecond), e.RideOut)
	}
	var names []string
	for _, g := range e.Guards {
		if g.Kind != SpokeNotArmed {
			names = append(names, string(g.Guard))
		}
	}
	if len(names) == 0 { // of an armed one: its readings, or the leave of the breaker, were on their way
		return "ride_out was over, and what a move still waited for had not come"
	}
	return "refused by " + strings.Join(names, ", ")
}

func (e *Episode) movedWords() string {
	m := e.Moved
	s := fmt.Sprintf("%s to %s at %s", m.Kind, m.To, m.At.UTC().Format(time.RFC3339))
	if m.By != "" {
		s += " by " + m.By
	}
	return s
}

// Score is what a stretch of time says about automation.
type Score struct {
	Since  time.Time         `json:"since"`
	Until  time.Time         `json:"until"`
	Counts map[Judgement]int `json:"counts"`
	Gained time.Duration     `json:"gained_ns"` // over all that were needed
	Judged []Judged          `json:"incidents"` // the newest last; blips are only counted
	Gaps   []Gap             `json:"gaps"`      // what the data do not cover
	Rules  []Rule            `json:"rules"`
}

// ScoreOf judges episodes and adds them up. Those that began before since and
// those of which a newer telling is there are left out; gaps go in as they are,
// and nothing is judged by the time of a gap that lasts.
func ScoreOf(es []Episode, gaps []Gap, since, now time.Time) Score {
	seen := LookedTo(gaps, now)
	s := Score{Since: since, Until: now, Counts: map[Judgement]int{}, Gaps: slices.Clone(gaps), Rules: JudgeRules()}
	for _, j := range Judgements {
		s.Counts[j] = 0
	}
	for _, e := range Newest(es) {
		if e.Began.Before(since) {
			continue
		}
		j := Judge(e, seen)
		s.Counts[j.Judgement]++
		if s.Gained += j.Gained; s.Gained < 0 { // of damaged lines
			s.Gained = 1<<63 - 1
		}
		if j.Judgement != Blip {
			s.Judged = append(s.Judged, j)
		}
	}
	return s
}

// LookedTo is until when anybody looked at all: now, or the beginning of a gap
// that lasts.
func LookedTo(gaps []Gap, now time.Time) time.Time {
	for _, g := range gaps {
		if g.To.IsZero() && g.Vantage == "" && g.From.Before(now) {
			now = g.From
		}
	}
	return now
}

// Newest returns the newest telling of each episode, those that began first
// first.
func Newest(es []Episode) []Episode {
	at := make(map[string]int, len(es))
	var out []Episode
	for _, e := range es {
		i, ok := at[e.ID]
		switch {
		case !ok:
			at[e.ID] = len(out)
			out = append(out, e)
		case !e.SeenTo.Before(out[i].SeenTo):
			out[i] = e
		}
	}
	slices.SortStableFunc(out, func(a, b Episode) int {
		return cmp.Or(a.Began.Compare(b.Began), cmp.Compare(a.ID, b.ID))
	})
	return out
}
