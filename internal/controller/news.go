package controller

import (
	"hash/maphash"
	"slices"

	"pointsman/internal/failover"
)

// heard is a digest of what each vantage said last. Most reports of a quiet
// day say the same as the one before; a view of the instance, which costs as
// much as the decision itself, would show no transition then. What comes of
// mere time shows at the next tick, unless the core is calm before and after it
// and the verdicts are what they were.
type heard struct {
	seed maphash.Seed // zero: nothing was heard
	said []said
}

type said struct {
	vantage failover.VantageName
	digest  uint64
}

// news says whether the event may show in a transition by itself.
func (h *heard) news(e failover.Event, calm bool) bool {
	switch e := e.(type) {
	case failover.Tick, failover.Reports: // the latter are quiet, so like a tick
		return !calm
	case failover.Report:
		return h.report(&e)
	default:
		h.said = h.said[:0] // whatever it was, the next reports are looked at afresh
		return true
	}
}

func (h *heard) report(r *failover.Report) bool {
	if h.seed == (maphash.Seed{}) {
		h.seed = maphash.MakeSeed()
	}
	d := h.digest(r)
	i := slices.IndexFunc(h.said, func(s said) bool { return s.vantage == r.Vantage })
	if i < 0 {
		h.said = append(h.said, said{r.Vantage, d})
		return true
	}
	same := h.said[i].digest == d
	h.said[i].digest = d
	return !same
}

// digest is of all that may show: two reports that differ only in reasons,
// counts and ages have the same one.
func (h *heard) digest(r *failover.Report) uint64 {
	var m maphash.Hash
	m.SetSeed(h.seed)
	for _, s := range []string{r.Generation, r.Want, r.Sick} {
		_, _ = m.WriteString(s) // never fails
		_ = m.WriteByte(0)
	}
	sum := m.Sum64()
	for c, s := range r.Clusters { // in any order
		m.Reset()
		_ = m.WriteByte(byte(s.Vote))
		_, _ = m.WriteString(string(c))
		sum += m.Sum64()
	}
	return sum
}
