package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"pointsman/internal/failover"
)

// dispatch carries out what one step asked for. A commit goes first and
// alone: what came with it, or comes before its answer, waits for it.
func (o *owner) dispatch(actions []failover.Action) {
	commits := false
	for _, a := range actions {
		if c, ok := a.(failover.Commit); ok {
			commits = true
			o.startOrHold(c)
		}
	}
	for _, a := range actions {
		switch a := a.(type) {
		case failover.Commit:
		case failover.Reply:
			o.reply(a, commits)
		case failover.Page:
			o.page(a)
		case failover.Yield:
			o.yield(a)
		default:
			o.startOrHold(a)
		}
	}
}

// startOrHold begins an action, unless a commit is in hand.
func (o *owner) startOrHold(a failover.Action) {
	if o.life.commit != 0 {
		o.c.count.heldBack.Add(1)
		o.life.held = append(o.life.held, a)
		return
	}
	o.start(a)
}

func (o *owner) start(a failover.Action) {
	if _, ok := a.(failover.AskFlood); ok {
		o.answerNow(answer{event: o.c.flood.ask(o.name, o.c.now())})
		return
	}
	e := o.prepare(a)
	ctx := o.life.ctx
	var until time.Time
	if e.limit > 0 {
		until = o.c.now().Add(e.limit)
	}
	if e.outward {
		if o.life.work == nil {
			o.answerNow(e.refused(ErrNotLeading))
			return
		}
		ctx = o.life.work
		if end := o.life.lead.Until; !e.lasting && end.Before(until) {
			until = end
		}
	}
	id := o.carry(ctx, e, until)
	if c, ok := a.(failover.Commit); ok {
		o.life.commit, o.life.recording, o.life.writing = id, &c.Record, o.c.now()
	}
}

// answerNow answers an action that needs no errand. The answer still goes
// through the inbox: an action is never answered inside the step that asked.
func (o *owner) answerNow(a answer) {
	o.lastID++
	a.id = o.lastID
	o.expect(a.id, open{
		errand: errand{lost: func(error) answer { return a }},
		due:    o.c.now().Add(time.Hour), // the answer is there already
		cancel: func() {},
	})
	o.inbox.putAnswer(a)
}

// expect notes an errand that was not answered yet.
func (o *owner) expect(id uint64, e open) {
	if o.life.open == nil {
		o.life.open = make(map[uint64]open)
	}
	o.life.open[id] = e
}

// settle takes the answer to an errand, once.
func (o *owner) settle(a answer) {
	l := &o.life
	e, ok := l.open[a.id]
	if !ok {
		o.late(a)
		return
	}
	delete(l.open, a.id)
	e.cancel()
	if e.name == errandLoad {
		o.loadDone(a)
		return
	}
	if a.id == l.commit {
		o.commitDone(a)
	} else {
		o.feed(a.event)
	}
	if a.poisoned != nil {
		o.c.poison(a.poisoned)
		o.setLead(l.lead)
	}
	if f, ok := a.event.(failover.CommitFailed); ok && !f.Conflict && a.poisoned == nil {
		o.lapse(f.Err)
	}
	if a.reload {
		o.load()
	}
}

// commitDone feeds the outcome of a commit and lets go, or refuses, what
// waited for it.
func (o *owner) commitDone(a answer) {
	l := &o.life
	held, agreed := l.held, l.agreed
	l.commit, l.held, l.agreed = 0, nil, nil
	o.written()

	if failed, ok := a.event.(failover.CommitFailed); ok {
		o.c.count.commitsFailed.Add(1)
		o.tell(slog.LevelWarn, Transition{Kind: KindFault, To: "commit failed", Reason: failed.Err})
		for _, r := range agreed {
			o.replies.give(r.Ref, verdict{reply: r, err: fmt.Errorf("%w: %s", ErrNotRecorded, failed.Err)})
		}
		o.feed(a.event)
		for _, h := range held {
			o.refuse(h, errors.New("the commit before it failed"))
		}
		if l.stale && !a.reload {
			o.load()
		}
		l.stale = false
		return
	}

	// It was built on what the ledger held, so nothing had been missed.
	l.stale = false
	if a.receipt != nil {
		l.rev = a.receipt.Record.Rev
	}

	o.c.count.commits.Add(1)
	if a.receipt != nil && len(a.receipt.Serials) > 0 {
		serials := make(map[failover.RecordName]uint32) // readers hold the old one
		maps.Copy(serials, l.serials)
		maps.Copy(serials, a.receipt.Serials)
		l.serials = serials
	}
	o.noteOp(l.recording.LastOp)
	l.recording = nil
	for _, r := range agreed {
		o.replies.give(r.Ref, verdict{reply: r})
	}
	o.feed(a.event)
	for _, h := range held {
		o.startOrHold(h)
	}
}

// refuse answers an action that is not carried out.
func (o *owner) refuse(a failover.Action, why error) {
	if _, ok := a.(failover.AskFlood); ok {
		o.answerNow(answer{event: failover.FloodVerdict{Limit: o.c.flood.most(), Hint: why.Error()}})
		return
	}
	o.answerNow(o.prepare(a).refused(why))
}

// abandon answers every open errand but a commit as lost. It comes before
// whatever makes the core begin anew: what was asked for earlier must not
// arrive later and pass for news.
func (o *owner) abandon(why error) {
	l := &o.life
	for _, id := range slices.Sorted(maps.Keys(l.open)) {
		e, ok := l.open[id]
		if !ok || e.name == errandLoad || e.name == errandCommit {
			continue
		}
		a := e.lost(why)
		a.id = id
		o.settle(a)
	}
}

// reply answers a command. That something was done or begun is said only when
// the commit that came with it is durable.
func (o *owner) reply(r failover.Reply, commits bool) {
	if commits && (r.Code == failover.ReplyDone || r.Code == failover.ReplyStarted) {
		o.life.agreed = append(o.life.agreed, r)
		return
	}
	o.replies.give(r.Ref, verdict{reply: r})
}

// noteOp hands a newly finished operation to the history.
func (o *owner) noteOp(s *failover.OpSummary) {
	key := ""
	if s != nil {
		key = s.Op.ID + " " + string(s.Outcome)
	}
	if o.life.loaded && key != "" && key != o.life.lastOp {
		o.c.history.post(historyNote{o.name, *s})
	}
	o.life.lastOp = key
}

// setLead tells the core whether it leads, and starts or ends the context of
// everything that changes the world outside.
func (o *owner) setLead(lead failover.Lead) {
	l := &o.life
	if why := o.c.poisoned.Load(); why != nil {
		lead = failover.Lead{Leading: false, Term: lead.Term, Why: *why}
	}
	if l.yielded != "" && lead.Leading && lead.Term <= l.yieldAt {
		lead = failover.Lead{Leading: false, Term: lead.Term, Why: l.yielded}
	}
	if l.lapsed.why != "" && lead.Leading && lead.Term <= l.lead.Term {
		l.lead = lead // what to try again with
		return
	}
	l.lapsed = l.lapsed.over(o.c.now())
	if l.work != nil && (!lead.Leading || lead.Term != l.lead.Term) {
		l.dismiss(ErrNotLeading)
		l.work = nil
	}
	if l.work == nil && lead.Leading {
		o.abandon(errOldTerm)
		l.work, l.dismiss = context.WithCancelCause(l.ctx)
	}
	l.lead = lead
	o.feed(lead)
}

// yield stops leading at once; the core hears of it as of any other loss.
func (o *owner) yield(y failover.Yield) {
	l := &o.life
	l.yielded, l.yieldAt = fmt.Sprintf("yielded to the token %s", y.Seen), l.lead.Term
	if l.work != nil {
		l.dismiss(ErrNotLeading)
		l.work = nil
	}
	o.inbox.putFact(failover.Lead{Leading: false, Term: l.lead.Term, Why: l.yielded})
}
