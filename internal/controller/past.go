package controller

import (
	"time"

	"pointsman/internal/failover"
)

// past is what an owner keeps of its instance for people who look back. None of
// it comes back into a decision.
type past struct {
	watch failover.Watch
}

// keep looks at what a step left, and hands on what is worth writing down. It
// costs a calm instance a comparison.
func (o *owner) keep(now time.Time) {
	if o.c.cfg.Episode == nil || o.life.past.watch.Calm(&o.draft.State) {
		return
	}
	var news []failover.Episode
	o.life.past.watch, news = o.life.past.watch.See(&o.draft.State, o.policy, now)
	for _, e := range news {
		o.c.episodes.post(e)
	}
}

// recall is the past of a new life: an open episode goes on in it. What an
// earlier process left is taken up by the first.
func (o *owner) recall(now time.Time) past {
	if o.life.began.IsZero() {
		if u, ok := o.c.cfg.Unfinished[o.name]; ok {
			return past{watch: failover.Resume(u.Episode, u.Seen, now)}
		}
		return past{}
	}
	if e := o.life.past.watch.Open(); e != nil {
		return past{watch: failover.Resume(*e, o.life.lastTick, now)}
	}
	return past{}
}
