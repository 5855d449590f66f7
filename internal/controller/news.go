package controller

import "pointsman/internal/failover"

// heard is what each vantage said last. Most reports of a quiet day say the
// same as the one before; a view of the instance, which costs as much as the
// decision itself, would show no transition then. What comes of mere time (a
// vote that grew stale, say) shows at the next tick.
type heard map[failover.VantageName]failover.Report

// news says whether the event may show in a transition by itself.
func (h heard) news(e failover.Event) bool {
	switch e := e.(type) {
	case failover.Tick:
		return true
	case failover.Report:
		last, ok := h[e.Vantage]
		h[e.Vantage] = e
		return !ok || !sameVotes(&last, &e)
	default:
		clear(h) // whatever it was, the next reports are looked at afresh
		return true
	}
}

func sameVotes(a, b *failover.Report) bool {
	if a.Generation != b.Generation || a.Want != b.Want || a.Sick != b.Sick || len(a.Clusters) != len(b.Clusters) {
		return false
	}
	for c, s := range b.Clusters {
		if was, ok := a.Clusters[c]; !ok || was.Vote != s.Vote {
			return false
		}
	}
	return true
}
