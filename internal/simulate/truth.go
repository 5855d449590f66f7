package simulate

import (
	"fmt"
	"slices"
	"time"

	"pointsman/internal/failover"
)

// stand takes how the record really stood from a moment on.
func (pl *player) stand(st *failover.Standing, at time.Time) {
	w := pl.w
	old := pl.truth
	pl.moved(st, at)
	pl.truth = *st
	for _, s := range st.Stops {
		if standing(old.Stops, s.Kind) == nil && standing(w.record.Stops, s.Kind) == nil {
			pl.stop(s, st, at)
		}
	}
	for _, s := range old.Stops {
		if standing(st.Stops, s.Kind) == nil && standing(w.record.Stops, s.Kind) != nil {
			pl.lift(s)
		}
	}
	if !st.ConfigSince.Equal(w.record.ConfigSince) {
		w.edit(func(r *failover.Record) { r.ConfigSince = st.ConfigSince })
	}
}

func standing(ss []failover.Stop, k failover.StopKind) *failover.Stop {
	if i := slices.IndexFunc(ss, func(s failover.Stop) bool { return s.Kind == k }); i >= 0 {
		return &ss[i]
	}
	return nil
}

// stop sets a stop that was really set, unless it followed from a move that
// automation really made: the replay has its own.
func (pl *player) stop(s failover.Stop, st *failover.Standing, at time.Time) {
	byAutomation := st.Op != nil && st.Op.Auto || st.Op == nil && st.LastOp != nil && st.LastOp.Auto
	switch {
	case ours(s.Kind) && byAutomation:
	case s.Kind == failover.StopPause:
		c := failover.Command{Ref: "replay", Do: failover.DoPause, By: s.By, Reason: s.Why}
		if !s.Until.IsZero() {
			c.For = max(s.Until.Sub(at), time.Millisecond)
		}
		pl.w.feed(c)
	default:
		pl.w.edit(func(r *failover.Record) { r.Stops = append(r.Stops, s) })
	}
}

func (pl *player) lift(s failover.Stop) {
	switch s.Kind {
	case failover.StopPause:
		pl.w.feed(failover.Command{Ref: "replay", Do: failover.DoResume, By: s.By})
	case failover.StopUnacknowledged, failover.StopLockout:
		pl.w.feed(failover.Command{Ref: "replay", Do: failover.DoAck, By: s.By})
	case failover.StopCooldown: // it has a time of its own
	default:
		pl.w.edit(func(r *failover.Record) {
			r.Stops = slices.DeleteFunc(r.Stops, func(x failover.Stop) bool { return x.Kind == s.Kind })
		})
	}
}

// moved notes a move of a person, and makes it in the replay.
func (pl *player) moved(st *failover.Standing, at time.Time) {
	from, to := pl.truth.Active, st.Active
	if from == to || from == "" {
		return
	}
	op := st.Op
	if op == nil || op.From != from || op.To != to {
		op = st.LastOp
	}
	m := failover.Moved{At: at, Kind: string(failover.DoAdopt), To: to}
	if op != nil && op.From == from && op.To == to {
		if op.Auto {
			return
		}
		m.Ordered, m.Op, m.Kind, m.By = op.Since, op.ID, string(op.Kind), op.By
		if !op.MovedAt.IsZero() {
			m.At = op.MovedAt
		}
	}
	pl.persons, pl.left = append(pl.persons, m), append(pl.left, from)
	if w := pl.w; w.record.Active == from && w.record.Op == nil && w.record.Instance != "" {
		w.place(to)
		w.edit(func(r *failover.Record) {})
	}
}

// resync puts the name where it really is once an incident is over and the
// cluster is well there. What would have been done is taken as acknowledged
// then; a lock-out and a cool-down stay.
func (pl *player) resync() {
	w := pl.w
	c := pl.truth.Active
	if w.record.Active == c || w.record.Op != nil || w.watch.Open() != nil {
		return
	}
	v := failover.Sketch(&w.s, &w.p, w.now)
	i := slices.IndexFunc(v.Clusters, func(x failover.ClusterView) bool { return x.Name == c })
	if i < 0 || v.Clusters[i].Verdict != failover.Up || w.now.Sub(v.Clusters[i].UpSince) < w.p.Stale() {
		return
	}
	pl.back(c, v.Clusters[i].UpSince)
	w.place(c)
	w.edit(func(r *failover.Record) {
		r.Stops = slices.DeleteFunc(r.Stops, func(s failover.Stop) bool {
			return s.Kind == failover.StopUnacknowledged && standing(pl.truth.Stops, s.Kind) == nil
		})
		r.Standby = failover.Standby{State: failover.StandbyPlain}
	})
}

// back notes when a cluster that the replay left came back, for episodes that
// were watched no longer than their grace.
func (pl *player) back(c failover.ClusterName, at time.Time) {
	for i := range slices.Backward(pl.w.told) {
		if e := &pl.w.told[i]; e.Active == c && e.End == failover.EndMoved {
			if e.UpAt.IsZero() {
				e.UpAt = at
			}
			return
		}
	}
}

// result judges what was told by what really happened.
func (pl *player) result() Result {
	es := failover.Newest(pl.w.told)
	for i := range es {
		pl.really(es, i)
	}
	s := failover.ScoreOf(es, gaps(pl.reels, pl.in.Lives, pl.in.Since, pl.end), time.Time{}, pl.end)
	return Result{
		Instance: pl.w.p.Instance, From: pl.reels[0].From, Until: pl.end, Moves: pl.w.moves,
		Counts: s.Counts, Gained: s.Gained, Incidents: s.Judged, Gaps: s.Gaps,
	}
}

// really puts the move of a person into the episode that it belongs to: the
// last that began before it, while the cluster had not come back.
func (pl *player) really(es []failover.Episode, i int) {
	e := &es[i]
	for j, m := range pl.persons {
		later := slices.ContainsFunc(es[i+1:], func(x failover.Episode) bool { return x.Active == e.Active && !x.Began.After(m.At) })
		if pl.left[j] != e.Active || m.At.Before(e.Began) || later || !e.UpAt.IsZero() && m.At.After(e.UpAt) || e.End == failover.EndRecovered {
			continue
		}
		moved := m
		e.Moved, e.End = &moved, failover.EndMoved
		return
	}
}

// Knobs names what differs between two policies and cannot be answered by
// recorded votes, since it is counted at the vantage, or of which no votes are
// there; and returns the second policy with those of the first in their place.
func Knobs(ran, asked failover.Policy) (failover.Policy, []string) {
	var out []string
	differ := func(name string, same bool, was, is any) {
		if !same {
			out = append(out, sayKnob(name, was, is))
		}
	}
	differ("round", ran.Round == asked.Round, ran.Round, asked.Round)
	differ("timeout", ran.Timeout == asked.Timeout, ran.Timeout, asked.Timeout)
	differ("burst", ran.Burst == asked.Burst, ran.Burst, asked.Burst)
	differ("fall", ran.Count.Fall == asked.Count.Fall, ran.Count.Fall, asked.Count.Fall)
	differ("rise", ran.Count.Rise == asked.Count.Rise, ran.Count.Rise, asked.Count.Rise)
	differ("window", ran.Count.Window == asked.Count.Window, ran.Count.Window, asked.Count.Window)
	differ("ratio", ran.Count.Ratio == asked.Count.Ratio, ran.Count.Ratio, asked.Count.Ratio)
	if ran.Generation != asked.Generation && ran.Generation != "" {
		out = append(out, "checks or addresses: they differ, and the votes were made by the old ones")
	}
	for _, v := range asked.Vantages {
		if !slices.ContainsFunc(ran.Vantages, func(x failover.VantagePolicy) bool { return x.Name == v.Name }) {
			out = append(out, "vantages: "+string(v.Name)+" has no recorded votes and is silent in the replay")
		}
	}
	if asked.Replicated || asked.RPO.Kind != failover.RPONone && asked.RPO.Kind != "" {
		out = append(out, "rpo: the exposure is not recorded with the votes, and the replay asks for none")
	}
	asked.Round, asked.Timeout, asked.Burst, asked.Count = ran.Round, ran.Timeout, ran.Burst, ran.Count
	return asked, out
}

func sayKnob(name string, was, is any) string {
	return fmt.Sprintf("%s: it is counted at the vantage, so recorded votes cannot answer for %v; the recorded %v is used", name, is, was)
}
