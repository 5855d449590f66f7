package controller

import (
	"fmt"
	"log/slog"
	"time"

	"pointsman/internal/failover"
)

const (
	shortestLapse = time.Second // before the first try to lead again
	longestLapse  = time.Minute
)

// lapse is a lead that the core gave up because the ledger refused a commit
// for a reason that is neither a conflict nor poison, an invalid record, say.
// The ledger is well, so the instance need not stay without a leader until
// somebody starts the process again.
type lapse struct {
	why   string    // empty: there is none
	again time.Time // when the record is read again, and then led; zero: it is being read
	pause time.Duration
	ended time.Time // the last one
}

// over ends a lapse and remembers what the next one goes by.
func (p lapse) over(now time.Time) lapse {
	if p.why != "" {
		p.ended = now
	}
	return lapse{pause: p.pause, ended: p.ended}
}

// lapse begins one. What the instance does outside ends with the lead.
func (o *owner) lapse(why string) {
	l := &o.life
	if !l.lead.Leading {
		return
	}
	now := o.c.now()
	pause := l.lapsed.pause
	if now.Sub(l.lapsed.ended) > longestLapse {
		pause = 0
	}
	pause = min(max(2*pause, shortestLapse), longestLapse)
	l.lapsed = lapse{why: why, again: now.Add(pause), pause: pause, ended: l.lapsed.ended}
	if l.work != nil {
		l.dismiss(ErrNotLeading)
		l.work = nil
	}
	o.tell(slog.LevelError, Transition{Kind: KindFault, To: fmt.Sprintf("not leading, trying again in %s", pause), Reason: why})
}

// regain leads again after the record was read.
func (o *owner) regain() {
	l := &o.life
	if l.lapsed.why == "" || !l.lapsed.again.IsZero() {
		return
	}
	l.lapsed = l.lapsed.over(o.c.now())
	o.setLead(l.lead)
}

// attend does what is due besides the core's own wishes: it tells of a slow
// commit, and ends a lapse.
func (o *owner) attend(now time.Time) {
	next := o.attention()
	if next.IsZero() || now.Before(next) {
		return
	}
	l := &o.life
	if !l.writing.IsZero() && !l.slow && !now.Before(l.writing.Add(o.c.cfg.Limits.Commit)) {
		l.slow = true
		text := fmt.Sprintf("the ledger has been writing for %s: nothing is decided for %s until it is done", now.Sub(l.writing).Round(time.Second), o.name)
		o.tell(slog.LevelWarn, Transition{Kind: KindFault, To: "ledger slow", Reason: text})
		o.page(failover.Page{Kind: "ledger", Text: text})
	}
	if again := l.lapsed.again; !again.IsZero() && !now.Before(again) {
		l.lapsed.again = time.Time{}
		o.load()
	}
}

// attention is when attend has something to do; zero: never.
func (o *owner) attention() time.Time {
	l := &o.life
	next := l.lapsed.again
	if !l.writing.IsZero() && !l.slow {
		if at := l.writing.Add(o.c.cfg.Limits.Commit); next.IsZero() || at.Before(next) {
			next = at
		}
	}
	return next
}

// written notes that the ledger has answered.
func (o *owner) written() {
	l := &o.life
	if l.slow {
		o.tell(slog.LevelInfo, Transition{Kind: KindFault, From: "ledger slow", To: fmt.Sprintf("answered after %s", o.c.now().Sub(l.writing).Round(time.Millisecond))})
	}
	l.writing, l.slow = time.Time{}, false
}

// late takes an answer that nobody waits for any more. One to a commit can only
// be of a former life, and may tell of a record that this life has not seen.
func (o *owner) late(a answer) {
	o.c.count.lateAnswers.Add(1)
	if a.poisoned != nil {
		o.c.poison(a.poisoned)
	}
	l := &o.life
	if !a.reload && (a.receipt == nil || a.receipt.Record.Rev <= l.rev) {
		return
	}
	o.tell(slog.LevelWarn, Transition{Kind: KindFault, To: "reading the record again", Reason: "the ledger answered to a commit that was given up"})
	o.load()
}

func orYielded(lapse, yielded string) string {
	if lapse == "" {
		return yielded
	}
	return lapse
}
