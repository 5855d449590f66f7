package simulate

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"pointsman/internal/failover"
)

// Input is what one replay is made of.
type Input struct {
	Tapes []failover.Tape // of one instance, in any order
	// Lives say until when each life of a controller looked; one of which nothing
	// is known ended with its last tape.
	Lives []failover.Recording
	// Since is from when on gaps are listed; zero: all that the lives show.
	Since time.Time
	// Policy gives the policy for tapes that were recorded under a hash, or
	// ErrPolicyGone.
	Policy    func(hash string) (failover.Policy, error)
	MostSteps int // 0: MostSteps
}

// policy asks for a policy that can be used.
func (in *Input) policy(hash string) (failover.Policy, error) {
	p, err := in.Policy(hash)
	if err != nil {
		return p, err
	}
	if faults := p.Validate(); len(faults) > 0 {
		return p, fmt.Errorf("%w: policy %.12s of %s: %w", ErrPolicy, hash, p.Instance, errors.Join(faults...))
	}
	return p, nil
}

// Result is what would have been done.
type Result struct {
	Instance  failover.InstanceName      `json:"instance"`
	From      time.Time                  `json:"from"`
	Until     time.Time                  `json:"until"`
	Moves     []Move                     `json:"moves"`
	Counts    map[failover.Judgement]int `json:"counts"`
	Gained    time.Duration              `json:"gained_ns"`
	Incidents []failover.Judged          `json:"incidents"`
	Gaps      []failover.Gap             `json:"gaps"`
}

// Replay plays the tapes. Errors are those of reading them ([ErrForeign],
// [ErrTooMuch], [ErrBackwards], [failover.ErrTape]), [ErrTooLong], and of Policy.
func Replay(in Input) (Result, error) {
	pl := &player{in: in}
	if len(in.Tapes) == 0 {
		return Result{}, nil
	}
	p, err := in.policy(in.Tapes[0].Policy)
	if err != nil {
		return Result{}, err
	}
	if pl.reels, err = load(in.Tapes, &p); err != nil {
		return Result{}, err
	}
	pl.w = &world{p: armed(p), steps: cmp.Or(in.MostSteps, MostSteps)}
	if err := pl.play(); err != nil {
		return Result{}, err
	}
	return pl.result(), nil
}

// player goes through the tapes.
type player struct {
	in    Input
	reels []reel
	w     *world

	truth   failover.Standing // as it really stood
	persons []failover.Moved  // moves of people, as they really were
	left    []failover.ClusterName
	last    map[failover.VantageName]*failover.TapeNote // what each said last, as fed
	next    map[failover.VantageName][]heard            // what each says next, in this life
	mute    map[failover.VantageName][]time.Time        // when each was last heard before it fell silent
	end     time.Time
}

// heard is a note of what a vantage said, on its reel.
type heard struct {
	*failover.TapeNote
	clusters [2]failover.ClusterName
}

func (pl *player) play() error {
	for i := range pl.reels {
		t := &pl.reels[i]
		p, err := pl.in.policy(t.Policy)
		if err != nil {
			return err
		}
		switch {
		case i == 0 || pl.reels[i-1].Life != t.Life:
			if err := pl.newLife(i, armed(p)); err != nil {
				return err
			}
		case pl.w.p.Expected != p.Expected:
			pl.advance(t.From)
			pl.w.p = armed(p)
			pl.w.feed(failover.PolicyChanged{})
		}
		pl.stand(&t.Standing, t.From)
		for j := range t.notes {
			pl.note(t, &t.notes[j])
			if err := pl.w.fault(); err != nil {
				return err
			}
		}
	}
	pl.advance(pl.lifeEnd(len(pl.reels) - 1))
	pl.end = pl.w.now
	return pl.w.fault()
}

// newLife ends what the life before did, and begins another one.
func (pl *player) newLife(i int, p failover.Policy) error {
	t := &pl.reels[i]
	epoch := uint64(0)
	var open *failover.Episode
	seen := t.From
	if i > 0 {
		pl.advance(pl.lifeEnd(i - 1))
		seen = pl.w.now
		open = pl.w.watch.Unfinished()
		epoch = pl.w.record.Epoch + 1
		pl.moved(&t.Standing, t.From)
	}
	pl.last, pl.next, pl.mute = map[failover.VantageName]*failover.TapeNote{}, map[failover.VantageName][]heard{}, map[failover.VantageName][]time.Time{}
	for _, r := range pl.reels[i:] {
		if r.Life != t.Life {
			break
		}
		for k := range r.notes {
			n := &r.notes[k]
			switch n.Kind {
			case failover.NoteReport:
				pl.next[n.Vantage] = append(pl.next[n.Vantage], heard{n, r.Clusters})
			case failover.NoteSilent:
				pl.mute[n.Vantage] = append(pl.mute[n.Vantage], n.At)
			}
		}
	}
	pl.w.p, pl.w.watch = p, failover.Watch{}
	if open != nil {
		pl.w.watch = failover.Resume(*open, seen, t.From)
	}
	st := t.Standing
	if left := pl.w.record.Active; epoch > 0 && st.Active == pl.truth.Active && left != st.Active {
		st.Active = left // moved in the replay, and the incident is not over
	}
	pl.truth = t.Standing
	pl.w.begin(t.From, st, epoch)
	return nil
}

// lifeEnd is until when the life of a tape looked.
func (pl *player) lifeEnd(i int) time.Time {
	t := &pl.reels[i]
	end := t.Until
	for _, r := range pl.in.Lives {
		if d := r.From.UnixMilli() - t.Life; d > -lifeSlack.Milliseconds() && d < lifeSlack.Milliseconds() && r.Until.After(end) {
			end = r.Until
		}
	}
	if i+1 < len(pl.reels) && pl.reels[i+1].From.Before(end) {
		end = pl.reels[i+1].From
	}
	return end
}

// lifeSlack is how far the beginnings of an instance and of the recording lie
// apart in one start of a controller.
const lifeSlack = 30 * time.Second

func (pl *player) note(t *reel, n *failover.TapeNote) {
	switch n.Kind {
	case failover.NoteReport:
		if last := pl.last[n.Vantage]; last != nil && !n.At.After(last.At) {
			pl.pop(n.Vantage)
			return // the picture of what was said already
		}
		pl.advance(n.At)
		pl.pop(n.Vantage)
		pl.say(t.Clusters, n)
	case failover.NoteRecord:
		pl.advance(n.At)
		pl.stand(&t.Changes[n.Change], n.At)
	case failover.NoteTilt:
		pl.advance(n.At)
		pl.w.feed(failover.Tilted{Stall: n.Stall})
	case failover.NoteLead:
		pl.advance(n.At)
		l := failover.Lead{Leading: n.Leading, Term: 1, Until: pl.w.now.Add(forever), Why: "it did not lead"}
		pl.w.feed(l)
	}
}

func (pl *player) pop(v failover.VantageName) {
	if q := pl.next[v]; len(q) > 0 {
		pl.next[v] = q[1:]
	}
}

// say feeds what a vantage said. Words that were said before on the tape are
// left out on it.
func (pl *player) say(clusters [2]failover.ClusterName, n *failover.TapeNote) {
	n = new(*n)
	last := pl.last[n.Vantage]
	r := failover.Report{Vantage: n.Vantage, Generation: "g", Want: "g", Sick: n.Sick, Clusters: map[failover.ClusterName]failover.Sighting{}, Arrived: n.At}
	if n.Foreign {
		r.Generation = "another"
	}
	for i, c := range clusters {
		if n.Seen[i] == nil {
			continue
		}
		s := *n.Seen[i]
		if s.Reason == "" && last != nil && last.Seen[i] != nil {
			s.Reason = last.Seen[i].Reason
		}
		n.Seen[i] = &s
		r.Clusters[c] = s
	}
	pl.last[n.Vantage] = n
	pl.w.feed(r)
}

// advance lets time pass up to a moment. Vantages of which nothing is noted go
// on saying what they said; and what was said by then and is noted only in the
// picture with which a later tape begins, is said at its own time.
func (pl *player) advance(end time.Time) {
	w := pl.w
	for w.now.Before(end) && w.steps >= 0 {
		pl.resync()
		if pl.skip(end) {
			continue
		}
		v, at := pl.speaker()
		n := pl.noted()
		if n != nil && !n.At.After(end) && (v == "" || !at.Before(n.At)) {
			w.until(n.At)
			pl.say(n.clusters, n.TapeNote)
			continue
		}
		if v == "" || at.After(end) {
			w.until(end)
			break
		}
		w.until(at)
		pl.again(v, at)
	}
	pl.resync()
}

// noted is the oldest of the notes that come next of each vantage, and were not
// said yet; nil: there is none.
func (pl *player) noted() (first *heard) {
	for _, v := range pl.w.p.Vantages {
		last := pl.last[v.Name]
		if q := pl.next[v.Name]; last != nil && len(q) > 0 && q[0].At.After(last.At) && (first == nil || q[0].At.Before(first.At)) {
			first = &q[0]
		}
	}
	return first
}

// speaker is who goes on next without a note, and when; empty is nobody.
func (pl *player) speaker() (who failover.VantageName, at time.Time) {
	round := pl.w.p.Round
	for _, v := range pl.w.p.Vantages {
		last := pl.last[v.Name]
		if last == nil || pl.silent(v.Name, last.At) {
			continue
		}
		if q := pl.next[v.Name]; len(q) > 0 && q[0].At.Sub(last.At) <= pl.w.p.Stale() {
			continue
		}
		if t := last.At.Add(round); who == "" || t.Before(at) {
			who, at = v.Name, t
		}
	}
	return who, at
}

func (pl *player) silent(v failover.VantageName, heard time.Time) bool {
	return slices.ContainsFunc(pl.mute[v], func(t time.Time) bool { return t.Equal(heard) })
}

// again lets a vantage say the same once more, with probes as much younger.
func (pl *player) again(v failover.VantageName, at time.Time) {
	n := *pl.last[v]
	d := at.Sub(n.At)
	n.At = at
	var clusters [2]failover.ClusterName
	for i, c := range pl.reels[0].Clusters {
		clusters[i] = c
		if n.Seen[i] == nil {
			continue
		}
		s := *n.Seen[i]
		shift := func(t *time.Time, on bool) {
			if on && !t.IsZero() {
				*t = t.Add(d)
			}
		}
		shift(&s.LastProbe, true)
		shift(&s.LastMiss, s.Vote == failover.Down)
		shift(&s.LastSuccess, s.Vote == failover.Up)
		shift(&s.CanaryAt, true)
		shift(&s.ClientAt, true)
		n.Seen[i] = &s
	}
	pl.say(clusters, &n)
}

// skip jumps over a long time in which no domain says down of the active cluster
// and nothing is noted: nothing can be decided in it.
func (pl *player) skip(end time.Time) bool {
	w := pl.w
	round := w.p.Round
	to := end.Add(-3 * round)
	if to.Sub(w.now) < 10*round || !w.watch.Calm(&w.s) || w.record.Op != nil {
		return false
	}
	w.now = to
	for _, v := range w.p.Vantages {
		if last := pl.last[v.Name]; last != nil && !pl.silent(v.Name, last.At) {
			if q := pl.next[v.Name]; len(q) == 0 || q[0].At.After(to) {
				pl.again(v.Name, to)
			}
		}
	}
	return true
}
