package simulate

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"pointsman/internal/failover"
)

var (
	// ErrForeign: the tapes are not of this instance, or of other clusters.
	ErrForeign = errors.New("the votes are not about this instance")
	// ErrTooMuch: more was recorded than is read at a time.
	ErrTooMuch = errors.New("too many votes were recorded")
	// ErrTooLong: it would take more steps than a replay may.
	ErrTooLong = errors.New("the recorded time is too long to be replayed at once")
	// ErrPolicyGone: the policy that ran is not known. [Input].Policy returns it.
	ErrPolicyGone = errors.New("the policy that ran is not in the history")
	// ErrPolicy: a policy cannot be used.
	ErrPolicy = errors.New("the policy is damaged")
	// ErrBackwards: notes of one life go backwards in time.
	ErrBackwards = errors.New("the recorded clock goes backwards")
)

// MostNotes bounds what one replay holds in memory: some 100 MB.
const MostNotes = 500_000

// MostSteps bounds the time of one replay: some minutes. A month in which nothing
// is calm has about as many at a round of a second.
const MostSteps = 20_000_000

// reel is one tape with its notes, decoded.
type reel struct {
	*failover.Tape
	notes []failover.TapeNote
}

// load decodes and orders the tapes of one instance. A tape that was read twice
// counts once.
func load(tapes []failover.Tape, p *failover.Policy) ([]reel, error) {
	var out []reel
	total := 0
	for i := range tapes {
		t := &tapes[i]
		if t.Instance != p.Instance {
			return nil, fmt.Errorf("%w: a tape is of %s, not %s", ErrForeign, t.Instance, p.Instance)
		}
		notes, err := t.Read()
		if err != nil {
			return nil, fmt.Errorf("votes of %s from %s: %w", t.Instance, t.From.UTC().Format(time.RFC3339), err)
		}
		if !p.Has(t.Clusters[0]) || !p.Has(t.Clusters[1]) {
			return nil, fmt.Errorf("%w: they are about the clusters %s and %s, the policy has %s and %s", ErrForeign, t.Clusters[0], t.Clusters[1], p.Clusters[0], p.Clusters[1])
		}
		if total += len(notes); total > MostNotes {
			return nil, fmt.Errorf("%w: more than %d notes of %s", ErrTooMuch, MostNotes, t.Instance)
		}
		out = append(out, reel{t, notes})
	}
	slices.SortStableFunc(out, func(a, b reel) int {
		return cmp.Or(cmp.Compare(a.Life, b.Life), cmp.Compare(a.Seq, b.Seq))
	})
	out = slices.CompactFunc(out, func(a, b reel) bool { return a.Life == b.Life && a.Seq == b.Seq })
	for i := 1; i < len(out); i++ {
		if a, b := out[i-1], out[i]; b.From.Before(a.From) {
			return nil, fmt.Errorf("%w: votes from %s come after those from %s", ErrBackwards, b.From.UTC().Format(time.RFC3339), a.From.UTC().Format(time.RFC3339))
		}
	}
	return out, nil
}

// gaps are what the tapes do not cover by themselves from a moment to another:
// lost ones, and the times between the lives of a controller.
func gaps(rs []reel, lives []failover.Recording, since, end time.Time) []failover.Gap {
	out := unseen(lives)
	for i, b := range rs {
		switch {
		case i > 0 && rs[i-1].Life == b.Life:
			if b.Seq > rs[i-1].Seq+1 {
				out = append(out, failover.Gap{From: rs[i-1].Until, To: b.From, Why: fmt.Sprintf("%d tapes of votes are lost", b.Seq-rs[i-1].Seq-1)})
			}
		case b.Seq > 1:
			out = append(out, failover.Gap{From: time.UnixMilli(b.Life).UTC(), To: b.From, Why: fmt.Sprintf("%d tapes of votes from before are not here: newer ones pushed them out, or they are older than what was asked for", b.Seq-1)})
		}
	}
	kept := out[:0]
	for _, g := range out {
		if g.From.Before(since) {
			g.From = since
		}
		if g.To.After(end) {
			g.To = end
		}
		if g.To.After(g.From) {
			kept = append(kept, g)
		}
	}
	slices.SortStableFunc(kept, func(a, b failover.Gap) int { return a.From.Compare(b.From) })
	return kept
}

// inHand is how much a controller that dies may have recorded and not
// handed on: a tape of half a minute.
const inHand = 30 * time.Second

// unseen is what the lives of a controller leave open, and what was dropped.
func unseen(lives []failover.Recording) []failover.Gap {
	lives = slices.Clone(lives)
	slices.SortStableFunc(lives, func(a, b failover.Recording) int { return a.From.Compare(b.From) })
	var out []failover.Gap
	for i, r := range lives {
		if r.Dropped > 0 {
			out = append(out, failover.Gap{From: r.From, To: r.Until, Why: fmt.Sprintf("%d lines were dropped somewhere in this time, of votes too perhaps", r.Dropped)})
		}
		if i+1 == len(lives) {
			break
		}
		g := failover.Gap{From: r.Until, To: lives[i+1].From, Why: "the controller did not run"}
		if !r.Ended {
			g.From, g.Why = r.Until.Add(-inHand), "the controller died: the votes that it had in hand are lost, and nobody looked until it ran again"
		}
		out = append(out, g)
	}
	return out
}
