package healthcheck

import (
	"fmt"
	"time"
)

// A server that serves one connection at a time turns probes away while ours
// is held. So a miss of a probe that was sent meanwhile, or before the server
// can have noticed that we let go, is doubtful. It makes us let go, and is kept
// until a probe met a free place: when that misses too, the doubtful ones count
// before it, with the time at which they were sent; when it is answered, they
// never happened. A real fault costs no time by that, and our own connection
// can never cause a vote.

// weigh takes the next probe in the order of sending and returns what is to be
// counted now.
func (p *Prober) weigh(o outcome) []outcome {
	w := o.watch
	if w.held == nil || o.kind == OwnFault {
		return []outcome{o}
	}
	doubtful := w.doubtful
	if o.kind == Miss && w.held.slot.occupied(o.sent) {
		w.held.slot.release(time.Now())
		w.refused, w.finished = isRefusal(o.err), o.done
		w.doubtful = append(doubtful, o)
		return nil
	}
	w.doubtful = nil
	if o.kind == Miss {
		return append(doubtful, o)
	}
	if len(doubtful) > 0 {
		w.held.slot.blame()
		p.setAside(doubtful)
	}
	return []outcome{o}
}

// setAside keeps for people what does not count.
func (p *Prober) setAside(doubtful []outcome) {
	p.count(func(s *Stats) {
		for _, o := range doubtful {
			ob := o.observation()
			ob.Outcome = OwnFault
			ob.Reason = clean("does not count, a connection of our own was held meanwhile: "+ob.Reason, maxText)
			o.watch.history.add(ob)
			s.Held.SetAside++
		}
	})
}

// heard tells the watch of a probe that was counted.
func (w *watch) heard(o outcome) {
	if w.held != nil && o.kind == Success && w.nudge == nil {
		w.held.invite()
	}
}

// again is when the next probe of a burst is sent, the newest being over.
func (w *watch) again() time.Time {
	next := later(w.sent, w.asked).Add(w.gap())
	if len(w.doubtful) > 0 {
		next = later(next, w.held.slot.cleanFrom())
	}
	return next
}

// remarks are what people should know of the watch, to be put behind the
// reason of an up vote.
func (w *watch) remarks() string {
	out := ""
	if w.nearMisses > 0 {
		out = fmt.Sprintf("; near misses: %d, the newest by %s", w.nearMisses, w.nearMiss.by())
	}
	if w.held != nil {
		if word := w.held.word.Load(); word != nil {
			out += "; " + *word
		}
	}
	return out
}
