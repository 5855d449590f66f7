package controller

import (
	"context"
	"time"

	"pointsman/internal/failover"
)

// past is what an owner keeps of its instance for people who look back. None of
// it comes back into a decision.
type past struct {
	watch failover.Watch
	tape  *failover.Recorder // nil: nothing stirred yet
}

// keep looks at what a step made of a state, and hands on what is worth writing
// down. It costs a calm instance a few comparisons.
func (o *owner) keep(was *failover.State, e failover.Event, now time.Time) {
	past, is := &o.life.past, &o.draft.State
	if o.c.cfg.Episode != nil && !past.watch.Calm(is) {
		var news []failover.Episode
		past.watch, news = past.watch.See(is, o.policy, now)
		for _, e := range news {
			o.c.past.post(pastNote{episode: &e})
		}
	}
	if o.c.cfg.Tape == nil || past.tape == nil && !failover.Stirs(was, is, o.policy, e) {
		return
	}
	if past.tape == nil {
		past.tape = &failover.Recorder{Life: o.life.began.UnixMilli()}
	}
	o.tape(past.tape.Note(was, is, o.policy, e, now))
}

func (o *owner) tape(t *failover.Tape) {
	if t != nil {
		o.c.past.post(pastNote{tape: t, policy: o.policy})
	}
}

// lastTape hands on what is recorded and not handed on yet, when there will be
// no more turns.
func (o *owner) lastTape(ctx context.Context) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if r := o.life.past.tape; r != nil {
		if t := r.Flush(o.c.now()); t != nil {
			o.c.handPast(ctx, pastNote{tape: t, policy: o.policy})
		}
	}
}

// closePast ends what is kept of an instance that a reload removed.
func (o *owner) closePast() {
	now := o.c.now()
	for _, e := range o.life.past.watch.End(now) {
		o.c.past.post(pastNote{episode: &e})
	}
	if r := o.life.past.tape; r != nil {
		o.tape(r.Flush(now))
	}
	o.life.past = past{}
}

// pastNote is one of its fields, for people who look back.
type pastNote struct {
	episode *failover.Episode
	tape    *failover.Tape
	policy  *failover.Policy // that ran while the tape was recorded
}

func (c *Controller) handPast(ctx context.Context, n pastNote) {
	c.guarded("past", func() {
		if n.episode != nil {
			c.cfg.Episode(ctx, *n.episode)
		} else {
			c.cfg.Tape(ctx, *n.tape, n.policy)
		}
	})
}

// recall is the past of a new life: an open episode goes on in it. What an
// earlier process left is taken up by the first.
func (o *owner) recall(now time.Time) past {
	if r := o.life.past.tape; r != nil {
		o.tape(r.Flush(now))
	}
	if o.life.began.IsZero() {
		if u, ok := o.c.cfg.Unfinished[o.name]; ok {
			if _, taken := o.c.recalled.LoadOrStore(o.name, true); !taken { // not again by an instance that a reload brings back
				return past{watch: failover.Resume(u.Episode, u.Seen, now)}
			}
		}
		return past{}
	}
	if e := o.life.past.watch.Unfinished(); e != nil {
		return past{watch: failover.Resume(*e, o.life.lastTick, now)}
	}
	return past{}
}
