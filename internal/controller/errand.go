package controller

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"pointsman/internal/failover"
)

// grace is how long after its limit an errand may still answer by itself.
const grace = 250 * time.Millisecond

// errand is one action on its way.
type errand struct {
	name    string        // of its failpoints
	limit   time.Duration // 0: it is waited for
	outward bool          // changes the world outside: only while leading
	lasting bool          // may outlast the lease as it is now: it ends with the lead
	finish  bool          // is let finish when the process is told to stop

	// call does it. It may panic, err or hang.
	call func(context.Context) answer
	// lost is the answer when it is unknown what happened, refused the one
	// when it was certainly not begun.
	lost, refused func(error) answer
}

// prepare says how an action that has an outcome is done.
func (o *owner) prepare(a failover.Action) errand {
	switch a := a.(type) {
	case failover.Commit:
		return o.commitErrand(a)
	case failover.ReadName:
		return o.readErrand(a)
	case failover.WriteName:
		return o.writeErrand(a)
	case failover.Verify:
		return o.verifyErrand(a)
	case failover.SetGate:
		return o.gateErrand(a)
	case failover.Drain:
		return o.drainErrand(a)
	case failover.Cut:
		return o.cutErrand(a)
	case failover.RunHooks:
		return o.hooksErrand(a)
	default:
		panic(fmt.Sprintf("controller: no errand for %T", a))
	}
}

// simple makes an errand whose lost and refused answers are the same event
// with an error text in it.
func simple(e errand, failed func(string) failover.Event) errand {
	e.lost = func(err error) answer { return answer{event: failed(err.Error())} }
	e.refused = e.lost
	return e
}

func (o *owner) commitErrand(a failover.Commit) errand {
	ledger := o.c.cfg.Ledger
	return errand{
		name: errandCommit, finish: true,
		call: func(ctx context.Context) answer {
			r, err := ledger.Commit(ctx, a.Record, a.Audit)
			switch {
			case err == nil:
				return answer{event: failover.Committed{Rev: r.Record.Rev, AuditHead: r.Record.AuditHead}, receipt: &r}
			case errors.Is(err, ErrConflict):
				return answer{event: failover.CommitFailed{Err: err.Error(), Conflict: true}, reload: true}
			case errors.Is(err, ErrPoisoned):
				return answer{event: failover.CommitFailed{Err: err.Error()}, poisoned: err}
			case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
				return lostCommit(err)
			default:
				return answer{event: failover.CommitFailed{Err: err.Error()}}
			}
		},
		lost: lostCommit,
		// It was built on a record that may have changed meanwhile.
		refused: func(err error) answer {
			return answer{event: failover.CommitFailed{Err: err.Error(), Conflict: true}, reload: true}
		},
	}
}

// lostCommit treats an unknown outcome like a conflict: the ledger may hold
// something that we have not seen, so it is read again before anything else.
func lostCommit(err error) answer {
	return answer{event: failover.CommitFailed{Err: "outcome unknown: " + err.Error(), Conflict: true}, reload: true}
}

func (o *owner) readErrand(a failover.ReadName) errand {
	n := a.Name.Name
	return simple(errand{
		name: errandRead, limit: o.longestCall(),
		call: func(ctx context.Context) answer {
			if a.Name.Embedded {
				return answer{event: o.lookAtView(n)}
			}
			names := o.c.outside.Load().names[a.Name.Provider]
			if names == nil {
				return answer{event: failover.NameRead{Name: n, Err: noProvider(a.Name.Provider)}}
			}
			if a.Urgent {
				ctx = context.WithValue(ctx, urgentKey{}, true)
			}
			r, err := names.Read(ctx, n)
			if err != nil {
				return answer{event: failover.NameRead{Name: n, Err: err.Error()}}
			}
			r.Name, r.Err = n, ""
			return answer{event: r}
		},
	}, func(err string) failover.Event { return failover.NameRead{Name: n, Err: err} })
}

type urgentKey struct{}

// Urgent says whether a move waits for what is done under ctx (see Names.Read).
func Urgent(ctx context.Context) bool { return ctx.Value(urgentKey{}) != nil }

func noProvider(p string) string { return fmt.Sprintf("provider %q is not configured", p) }

// lookAtView answers for an embedded name from what the authority shows.
func (o *owner) lookAtView(n failover.RecordName) failover.Event {
	if o.c.cfg.View == nil {
		return failover.NameRead{Name: n, Err: "no embedded authority is configured"}
	}
	s, ok := o.c.cfg.View(n)
	if !ok {
		return failover.NameRead{Name: n, Absent: true}
	}
	return failover.NameRead{Name: n, Value: s.Value, TTL: s.TTL, Mark: s.Mark}
}

func (o *owner) writeErrand(a failover.WriteName) errand {
	n := a.Name.Name
	said := func(outcome failover.WriteOutcome, err string) answer {
		return answer{event: failover.NameWritten{Name: n, Outcome: outcome, Err: err}}
	}
	return errand{
		name: errandWrite, limit: o.longestCall(), outward: true,
		call: func(ctx context.Context) answer {
			if a.Name.Embedded {
				return said(failover.WriteRefused, "an embedded name is written by the commit of its record")
			}
			names := o.c.outside.Load().names[a.Name.Provider]
			if names == nil {
				return said(failover.WriteRefused, noProvider(a.Name.Provider))
			}
			outcome, err := names.Write(ctx, a)
			text := ""
			if err != nil {
				text = err.Error()
			}
			switch outcome {
			case failover.WriteDone, failover.WriteMismatch, failover.WriteRefused:
				return said(outcome, text)
			default:
				return said(failover.WriteUnknown, text)
			}
		},
		lost:    func(err error) answer { return said(failover.WriteUnknown, err.Error()) },
		refused: func(err error) answer { return said(failover.WriteRefused, err.Error()) },
	}
}

func (o *owner) gateErrand(a failover.SetGate) errand {
	done := func(err string) failover.Event {
		return failover.GateDone{Cluster: a.Cluster, Want: a.Want, Err: err}
	}
	return simple(errand{
		name: errandGate, limit: o.longestCall(), outward: true,
		call: func(ctx context.Context) answer {
			if o.c.cfg.Gates == nil {
				return answer{event: done("no gate driver is configured")}
			}
			if err := o.c.cfg.Gates.SetGate(ctx, o.name, a); err != nil {
				return answer{event: done(err.Error())}
			}
			return answer{event: done("")}
		},
	}, done)
}

func (o *owner) drainErrand(a failover.Drain) errand {
	failed := func(err string) failover.Event { return failover.Drained{Op: a.Op, Bound: -1, Err: err} }
	// By its deadline it applies nothing any more, and then it has a while to say so.
	limit := o.c.cfg.Limits.Drain
	if left := a.Deadline.Sub(o.c.now()); left > 0 {
		limit += left
	}
	return simple(errand{
		name: errandDrain, limit: limit,
		call: func(ctx context.Context) answer {
			if o.c.cfg.Drainer == nil {
				return answer{event: failed("nothing is replicated here, so nothing can be drained")}
			}
			d, err := o.c.cfg.Drainer.Drain(ctx, o.name, a)
			if err != nil {
				return answer{event: failed(err.Error())}
			}
			d.Op = a.Op
			return answer{event: d}
		},
	}, failed)
}

func (o *owner) cutErrand(a failover.Cut) errand {
	failed := func(err string) failover.Event { return failover.CutDone{Err: err} }
	return simple(errand{
		name: errandCut, limit: o.c.cfg.Limits.Cut, outward: true,
		call: func(ctx context.Context) answer {
			if o.c.cfg.Cutter == nil {
				return answer{event: failed("no way to cut clients is configured")}
			}
			left, err := o.c.cfg.Cutter.Cut(ctx, o.name, a)
			if err != nil {
				return answer{event: failed(err.Error())}
			}
			return answer{event: failover.CutDone{Stragglers: left}}
		},
	}, failed)
}

func (o *owner) hooksErrand(a failover.RunHooks) errand {
	done := failover.HooksDone{OpID: a.Op.ID, When: a.When, Attempt: a.Attempt}
	failed := func(err string) failover.Event {
		e := done
		e.Err = err
		return e
	}
	limit := failover.HookLimit(a.Hooks)
	if a.When == failover.HookPost {
		limit += failover.HookQueue
	}
	return simple(errand{
		name: errandHooks, limit: limit, outward: true, lasting: true,
		call: func(ctx context.Context) answer {
			if o.c.cfg.Hooks == nil {
				return answer{event: failed("nothing here runs hooks")}
			}
			results, err := o.c.cfg.Hooks.Run(ctx, o.name, a)
			if err != nil {
				return answer{event: failed(err.Error())}
			}
			e := done
			e.Results = results
			return answer{event: e}
		},
	}, failed)
}

// longestCall bounds one call to a provider or a gate driver.
func (o *owner) longestCall() time.Duration {
	if o.policy.LongestCall > 0 {
		return o.policy.LongestCall
	}
	return 3 * time.Second
}

// carry starts an errand and returns its id. Its answer comes back through the
// inbox; the owner answers itself when none came in time. An until that is zero
// is never.
func (o *owner) carry(ctx context.Context, e errand, until time.Time) uint64 {
	life := ctx
	if e.finish {
		ctx = context.WithoutCancel(ctx)
	}
	ctx, cancel := context.WithCancel(ctx)
	now := o.c.now()
	o.lastID++
	id := o.lastID
	en := open{errand: e, cancel: cancel}
	if e.limit > 0 {
		en.due = now.Add(e.limit + grace)
	}
	o.expect(id, en)
	o.c.crew.group.Go(func() error {
		defer cancel()
		if e.finish {
			last := o.c.cfg.Limits.Commit
			stop := context.AfterFunc(life, func() { time.AfterFunc(last, cancel) })
			defer stop()
		}
		ctx := ctx
		if !until.IsZero() {
			var stop context.CancelFunc
			ctx, stop = context.WithTimeout(ctx, until.Sub(now))
			defer stop()
		}
		a := o.perform(ctx, e, until)
		a.id = id
		o.inbox.putAnswer(a)
		return nil
	})
	return id
}

// perform makes the call between its two failpoints.
func (o *owner) perform(ctx context.Context, e errand, until time.Time) (a answer) {
	defer func() {
		if r := recover(); r != nil {
			a = e.lost(fmt.Errorf("panic: %v", r))
			o.panicked(e.name, debug.Stack())
		}
	}()
	if err := o.c.fail(e.name + "/before"); err != nil {
		return e.lost(err)
	}
	// A process that was stopped in between would otherwise begin what nobody
	// waits for any more, perhaps under a lease that has ended.
	if !until.IsZero() && !o.c.now().Before(until) {
		return e.refused(errors.New("its time was over before it was begun"))
	}
	if ctx.Err() != nil {
		return e.refused(context.Cause(ctx))
	}
	a = e.call(ctx)
	if err := o.c.fail(e.name + "/after"); err != nil {
		return e.lost(err)
	}
	return a
}
