package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"pointsman/internal/api"
	"pointsman/internal/failover"
	"pointsman/replication"
)

// replicationAudit is the kind of entries of the audit about orders.
const replicationAudit = "replication"

// at finds the replicator of an instance for an order or a question.
func (x *replicas) at(i failover.InstanceName) (*replication.Replicator, error) {
	rep := x.get(i)
	if rep == nil {
		return nil, &api.OrderRefused{Why: fmt.Sprintf("nothing of %s is replicated here", i)}
	}
	if r := rep.replicator(); r != nil {
		return r, nil
	}
	return nil, &api.OrderRefused{Why: rep.status(i).Idle, Hint: "ask the controller that leads, or start one without --shadow"}
}

// refusal tells what nobody can do just now from what failed.
func (x *replicas) refusal(i failover.InstanceName, err error) error {
	if part, some := errors.AsType[*partlyError](err); some { // why the rest failed does not undo what is done
		return &api.OrderRefused{Why: part.Error(), Hint: fmt.Sprintf("look at 'pointsman replication status %s', and order the others again", i)}
	}
	switch {
	case errors.Is(err, replication.ErrNoLetter), errors.Is(err, replication.ErrNotOpen), errors.Is(err, replication.ErrOvertaken):
		return &api.OrderRefused{Why: err.Error(), Hint: fmt.Sprintf("pointsman replication dead-letters %s lists those that wait", i)}
	case errors.Is(err, replication.ErrNoTable):
		return &api.OrderRefused{Why: err.Error(), Hint: fmt.Sprintf("pointsman replication status %s lists those that are", i)}
	case errors.Is(err, replication.ErrNothingWaits):
		return &api.OrderRefused{Why: err.Error(), Hint: fmt.Sprintf("name a table to have it copied anew all the same: pointsman replication resync %s TABLE --reason TEXT", i)}
	case !errors.Is(err, replication.ErrNotHere):
		return err
	}
	why := err.Error()
	switch st, ok := x.ReplicationStatus(i); {
	case ok && st.Idle != "":
		why = st.Idle
	case ok && st.Mode != string(replication.ModeStream):
		why = fmt.Sprintf("the rows of %s are carried by somebody else (mode %s), and orders about them are theirs", i, st.Mode)
	}
	return &api.OrderRefused{Why: why, Hint: fmt.Sprintf("look at 'pointsman replication status %s'", i)}
}

// LostRows lists what the last operation left behind (api.Replication).
func (x *replicas) LostRows(ctx context.Context, i failover.InstanceName, q api.RowQuery) ([]api.LostRow, string, error) {
	r, err := x.at(i)
	if err != nil {
		return nil, "", err
	}
	rows, next, err := r.Lost(ctx, q.Table, q.After, q.Limit)
	if err != nil {
		return nil, "", x.refusal(i, err)
	}
	out := make([]api.LostRow, len(rows))
	for n := range rows {
		out[n] = api.LostRow(rows[n])
	}
	return out, next, nil
}

// DeadLetters lists what the target refused (api.Replication).
func (x *replicas) DeadLetters(ctx context.Context, i failover.InstanceName, q api.RowQuery) ([]api.DeadLetter, string, error) {
	r, err := x.at(i)
	if err != nil {
		return nil, "", err
	}
	rows, next, err := r.DeadLetters(ctx, q.Table, q.After, q.Limit)
	if err != nil {
		return nil, "", x.refusal(i, err)
	}
	out := make([]api.DeadLetter, len(rows))
	for n := range rows {
		out[n] = api.DeadLetter(rows[n])
		out[n].Hint = replication.HintFor(i, out[n].Hint)
	}
	return out, next, nil
}

// OrderReplication carries an order out and notes it in the audit, whatever
// came of it (api.Replication).
func (x *replicas) OrderReplication(ctx context.Context, i failover.InstanceName, o api.ReplicationOrder) (api.ReplicationReply, error) {
	rep := api.ReplicationReply{Instance: i, Do: o.Do}
	r, err := x.at(i)
	if err != nil {
		return rep, err
	}
	// What cannot be written down is not done.
	if err := x.note(ctx, i, o, "asked for"); err != nil {
		return rep, err
	}
	rep.Text, err = x.order(ctx, i, r, &o)
	if err != nil {
		what := "not done: "
		if _, some := errors.AsType[*partlyError](err); some {
			what = "done in part: "
		}
		err = x.refusal(i, err)
		return rep, errors.Join(err, x.note(context.WithoutCancel(ctx), i, o, what+brief(err, 3)))
	}
	x.p.log.Info("replication: order", "instance", i, "do", string(o.Do), "by", o.By, "reason", o.Reason)
	if x.p.notices != nil {
		x.p.notices.n.Acknowledge(i)
	}
	return rep, nil
}

// refills carries a refill out: who lets a cluster be overwritten that was
// active has answered what the first copy to it asks, table by table, until it
// is synced.
func (x *replicas) refills(ctx context.Context, i failover.InstanceName, rep *replica) {
	tick := time.NewTicker(steerEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		rep.mu.Lock()
		consent, active := rep.rec.Standby.Refill, rep.rec.Active
		r := rep.r
		rep.mu.Unlock()
		if consent == "" || r == nil {
			continue
		}
		st := rep.status(i)
		if st.From != active {
			continue // the consent is about another direction
		}
		_, waits := resyncs(&st)
		for _, table := range waits {
			o := api.ReplicationOrder{Do: api.ReplicationResync, By: consent, Tables: []string{table}}
			if err := x.note(ctx, i, o, "for the refill"); err == nil {
				err = r.Resync(ctx, st.To, table, consent, "refill")
				x.p.log.Info("replication: a table is copied anew for the refill", "instance", i, "table", table, "by", consent, "reason", err)
			}
		}
	}
}

// order does it and says what was done.
func (x *replicas) order(ctx context.Context, i failover.InstanceName, r *replication.Replicator, o *api.ReplicationOrder) (string, error) {
	switch o.Do {
	case api.ReplicationPauseVerb:
		return "replication is paused: nothing is copied or applied, and the exposure grows, until it is resumed", r.Pause(ctx, o.By, o.Reason)
	case api.ReplicationResume:
		return "replication goes on", r.Resume(ctx, o.By)
	case api.ReplicationResync:
		names, what := o.Tables, strings.Join(o.Tables, ", ")
		if len(names) == 0 {
			names, what = []string{""}, "every table that waited for it"
		}
		st := r.Status()
		for _, n := range o.Tables { // all of them or none
			if len(st.Tables) > 0 && !slices.ContainsFunc(st.Tables, func(t replication.TableStatus) bool { return t.Table == n }) {
				return "", fmt.Errorf("resync: table %q: %w", n, replication.ErrNoTable)
			}
		}
		return fmt.Sprintf("%s: copied anew; rows of the standby that the active cluster lacks are deleted", what),
			each(names, func(t string) error { return r.Resync(ctx, o.To, t, o.By, o.Reason) })
	case api.ReplicationAccept:
		return fmt.Sprintf("%d refused rows are accepted as missing at the standby", len(o.Rows)),
			each(o.Rows, func(id string) error { return r.AcceptLetter(ctx, id, o.By, o.Reason) })
	case api.ReplicationRetry:
		return fmt.Sprintf("%d refused rows are written", len(o.Rows)),
			each(o.Rows, func(id string) error { return r.RetryLetter(ctx, id, o.By) })
	}
	return "", &api.OrderRefused{Why: fmt.Sprintf("there is no order %q", o.Do)}
}

// partlyError: some of what was ordered is done, and some is not.
type partlyError struct {
	done, all int
	error
}

func (e *partlyError) Error() string {
	return fmt.Sprintf("%d of %d are done, the others are not: %v", e.done, e.all, e.error)
}

func (e *partlyError) Unwrap() error { return e.error }

// each does something with all of them, whatever becomes of one.
func each(names []string, do func(string) error) error {
	var errs []error
	for _, n := range names {
		err := do(n)
		if err != nil && len(names) > 1 {
			err = fmt.Errorf("%s: %w", n, err)
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	err := errors.Join(errs...)
	if done := len(names) - len(errs); err != nil && done > 0 {
		return &partlyError{done, len(names), err}
	}
	return err
}

// note writes an order into the audit.
func (x *replicas) note(ctx context.Context, i failover.InstanceName, o api.ReplicationOrder, what string) error {
	text := fmt.Sprintf("replication %s %s", o.Do, what)
	for _, part := range []struct{ word, text string }{{"tables", strings.Join(o.Tables, ", ")}, {"rows", strings.Join(o.Rows, ", ")}, {"because", o.Reason}, {"change", o.Change}} {
		if part.text != "" {
			text += fmt.Sprintf("; %s: %s", part.word, part.text)
		}
	}
	e := failover.AuditEntry{At: time.Now(), Instance: i, Kind: replicationAudit, By: o.By, Text: text}
	if rep := x.get(i); rep != nil {
		rep.mu.Lock()
		e.Token = failover.Token{Term: rep.rec.Term, Epoch: rep.rec.Epoch}
		rep.mu.Unlock()
	}
	if err := x.p.store.Note(ctx, []failover.AuditEntry{e}); err != nil {
		return fmt.Errorf("nothing is done without an audit: %w", err)
	}
	return nil
}
