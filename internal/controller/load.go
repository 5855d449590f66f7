package controller

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"pointsman/internal/failover"
)

const (
	firstLoadWait = 100 * time.Millisecond
	mostLoadWait  = 5 * time.Second
)

// load reads the record. It is no action of the core, but goes the same way.
// Without a record nothing can be decided, so it is tried until it succeeds.
func (o *owner) load() {
	for id, e := range o.life.open {
		if e.name == errandLoad { // begun before we knew that there is more to see
			e.cancel()
			delete(o.life.open, id)
		}
	}
	ledger, i, wait := o.c.cfg.Ledger, o.name, o.life.loadWait
	failed := func(err error) answer { return answer{err: err} }
	e := errand{
		name: errandLoad, limit: wait + o.c.cfg.Limits.Commit,
		call: func(ctx context.Context) answer {
			select {
			case <-ctx.Done():
				return failed(context.Cause(ctx))
			case <-time.After(wait):
			}
			rec, found, err := ledger.Load(ctx, i)
			if err != nil {
				return failed(err)
			}
			return answer{event: failover.Loaded{Record: rec, Found: found}}
		},
		lost: failed, refused: failed,
	}
	o.carry(o.life.ctx, e, o.c.now().Add(e.limit))
}

// loadDone feeds the record, or tries again a little later.
func (o *owner) loadDone(a answer) {
	l := &o.life
	if a.err != nil {
		if l.loadWait == 0 && !errors.Is(a.err, context.Canceled) {
			o.tell(slog.LevelError, Transition{Kind: KindFault, To: "record unreadable, trying on", Reason: a.err.Error()})
		}
		l.loadWait = min(max(2*l.loadWait, firstLoadWait), mostLoadWait)
		o.load()
		return
	}
	if l.loadWait > 0 {
		o.tell(slog.LevelInfo, Transition{Kind: KindFault, From: "record unreadable", To: "record read"})
		l.loadWait = 0
	}
	if l.commit != 0 {
		l.stale = true // what was read may be from before the commit in hand
		return
	}
	loaded := a.event.(failover.Loaded)
	o.abandon(errReload)
	l.rev = loaded.Record.Rev
	o.noteOp(loaded.Record.LastOp)
	l.loaded = true
	o.feed(loaded)
	o.regain()
}
