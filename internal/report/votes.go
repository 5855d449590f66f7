package report

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"

	"pointsman/internal/failover"
	"pointsman/internal/ledger"
)

const (
	maxTapes    = 4_000 // of one report, the newest
	maxVantages = 64    // of one instance

	// tapeLag is how much later than it was said a vote may come into the
	// history: a tape is handed on after half a minute at most (failover.Recorder).
	tapeLag = time.Minute
)

// voteAt is what a vantage said of a cluster from then on.
type voteAt struct {
	at   time.Time
	vote failover.Vote
}

type votingKey struct {
	cluster failover.ClusterName
	vantage failover.VantageName
}

// voting is what was recorded of the votes of the instances. Tapes come newest
// first; a calm instance makes none, and a vantage of which nothing is told
// goes on saying what it said (failover.Tape).
type voting struct {
	from, to time.Time
	wanted   func(failover.InstanceName) bool

	votes  map[failover.InstanceName]map[votingKey][]voteAt
	open   map[failover.InstanceName]time.Time // of the oldest tape that is there, where one before it may have been pushed out
	tapes  int
	oldest time.Time // what is older was not read; zero: all was
	broken bool      // because it cannot be, and not because it is too much

	reached time.Time // of the tape taken last, in the window or not; zero: there was none
	unread  int
}

// tape takes one, and says whether older ones are wanted.
func (v *voting) tape(s *ledger.Sample) bool {
	v.reached = s.At
	if !v.wanted(s.Instance) || !s.At.Before(v.to) {
		return true
	}
	if s.At.Before(v.from) {
		delete(v.open, s.Instance) // nothing between the two was pushed out: the oldest go first
		return len(v.open) > 0
	}
	if v.tapes++; v.tapes > maxTapes {
		v.oldest = s.At
		return false
	}
	var t failover.Tape
	if json.Unmarshal(s.Data, &t) != nil {
		v.unread++
		return true
	}
	notes, err := t.Read()
	if err != nil {
		v.unread++
		return true
	}
	delete(v.open, s.Instance)
	if t.Seq > 1 {
		v.open[s.Instance] = s.At
	}
	of := v.votes[s.Instance]
	if of == nil {
		of = map[votingKey][]voteAt{}
		v.votes[s.Instance] = of
	}
	for _, n := range notes {
		if n.Kind == failover.NoteReport || n.Kind == failover.NoteSilent {
			for i, c := range t.Clusters {
				k := votingKey{c, n.Vantage}
				if _, known := of[k]; known || len(of) < 2*maxVantages {
					of[k] = append(of[k], voteAt{n.At, voteIn(&n, i)})
				}
			}
		}
	}
	return true
}

// lost makes a gap of what older tapes would have told.
func (v *voting) lost() {
	v.oldest, v.broken = v.to, true
	if !v.reached.IsZero() && v.reached.Before(v.to) {
		v.oldest = v.reached
	}
}

// voteIn is what the note says of a cluster: silence, sickness and another
// configuration are unknown, never down.
func voteIn(n *failover.TapeNote, cluster int) failover.Vote {
	if n.Kind != failover.NoteReport || n.Sick != "" || n.Foreign || n.Seen[cluster] == nil {
		return failover.Unknown
	}
	return n.Seen[cluster].Vote
}

// window measures what a vantage said of a cluster; now is what it says, nil
// where that says nothing of the end of the window. stirred says that the
// cluster has changed so lately that a tape of it is still in hand.
func (v *voting) window(i failover.InstanceName, k votingKey, restarts []restart, gaps []Stretch, now *failover.Vote, stirred bool) Availability {
	states := slices.Clone(v.votes[i][k])
	slices.SortStableFunc(states, func(a, b voteAt) int { return cmp.Compare(a.at.UnixMilli(), b.at.UnixMilli()) })
	begin := v.from
	var strip []Stretch
	put := func(s State, until time.Time) {
		if x, ok := clip(Stretch{State: s, From: begin, To: until}, v.from, v.to); ok {
			strip = append(strip, x)
		}
		if until.After(begin) {
			begin = until
		}
	}
	put(IsGap, latest(v.oldest, v.open[i]))
	for n := 0; n <= len(restarts); n++ { // life by life
		end, last := v.to, n == len(restarts)
		if !last {
			end = restarts[n].at
		}
		state, known := IsGap, false
		for len(states) > 0 && states[0].at.Before(end) {
			next := stateOf(states[0].vote)
			if !known { // the first note of a life tells what was said before it, too
				state, known = next, true
			}
			put(state, states[0].at)
			state, states = next, states[1:]
		}
		switch {
		case !last || now == nil:
		case !known && !stirred:
			state = stateOf(*now) // nothing stirred
		case known && state != stateOf(*now):
			// It says something else since, and no tape tells when it began.
			if lag := v.to.Add(-tapeLag); lag.After(begin) {
				put(state, lag)
			}
			state = IsGap
		}
		put(state, end)
	}
	return measure(overlay(merge(strip), gaps), v.from, v.to)
}
