package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"pointsman/internal/api"
	"pointsman/internal/config"
	"pointsman/internal/controller"
	"pointsman/internal/failover"
	"pointsman/replication"
)

const (
	// steerEvery is how often every replicator is told its course anew, changed
	// or not: the leave to write lasts no longer than courseLife.
	steerEvery = time.Second
	courseLife = 5 * time.Second
	// Between two starts of a replicator that ended by itself.
	firstRestart, mostRestart = time.Second, time.Minute
)

// replicas are the replicators of this process: one for each instance that has
// the key replication. Make them by newReplicas; Run owns their goroutines.
// Safe for concurrent use.
type replicas struct {
	p *process

	mu   sync.Mutex
	of   map[failover.InstanceName]*replica
	want map[failover.InstanceName]wantedReplica
	poke chan struct{} // room for one: what is wanted is other than before

	began time.Time // this life, part of keys of the history
}

// wantedReplica is what the config that runs says of one.
type wantedReplica struct {
	cfg  *config.Replication
	data string // folder of the controller
	by   string
	rpo  failover.RPO
}

// replica is the replicator of one instance.
type replica struct {
	made wantedReplica
	r    *replication.Replicator // nil: it could not be made
	stop context.CancelFunc      // of its goroutine; nil before
	ends bool                    // it was told to

	mu    sync.Mutex
	rec   failover.Record // the newest that was committed or read
	why   string          // why it does not run, empty while it does
	down  string          // why it ended by itself and does not run yet, empty while it does
	watch exposureWatch
}

func newReplicas(p *process, cfg *config.Config) *replicas {
	x := &replicas{p: p, of: map[failover.InstanceName]*replica{}, poke: make(chan struct{}, 1), began: time.Now()}
	x.set(cfg)
	for i, w := range x.want {
		x.of[i] = x.make(i, w)
	}
	return x
}

// set takes what another config wants. Those that it leaves as they are go on;
// the others begin anew from their saved positions. It does not wait.
func (x *replicas) set(cfg *config.Config) {
	want := map[failover.InstanceName]wantedReplica{}
	for i := range cfg.Instances {
		if inst := &cfg.Instances[i]; inst.Replication != nil {
			want[inst.Policy.Instance] = wantedReplica{inst.Replication, cfg.Controller.Data, cfg.Controller.Name, inst.Policy.RPO}
		}
	}
	x.mu.Lock()
	x.want = want
	x.mu.Unlock()
	select {
	case x.poke <- struct{}{}:
	default:
	}
}

// same says whether a replicator that was made so can go on.
func (w wantedReplica) same(o wantedReplica) bool {
	return w.data == o.data && w.by == o.by && reflect.DeepEqual(w.cfg, o.cfg)
}

// make makes one that does not run yet. What is wrong with it is told to
// people and ends nothing else.
func (x *replicas) make(i failover.InstanceName, w wantedReplica) *replica {
	rep := &replica{made: w}
	if x.p.pc.Shadow {
		rep.why = "run --shadow holds no key that could write, so nothing is replicated and no exposure is known"
		return rep
	}
	cfg, err := replicatorConfig(x.p, i, w)
	if err == nil {
		err = os.MkdirAll(cfg.Dir, 0o700)
	}
	if err == nil {
		rep.r, err = replication.New(cfg)
	}
	if err != nil {
		rep.why = "it cannot be set up: " + err.Error()
		x.p.log.Error("an instance is not replicated", "instance", i, "reason", err, "hint", "mend replication in the config: it is taken when the file changes")
	}
	return rep
}

// replicatorConfig joins the config of one with the controller.
func replicatorConfig(p *process, i failover.InstanceName, w wantedReplica) (replication.Config, error) {
	out, err := replicaConfig(i, w.cfg)
	out.Dir, out.By = filepath.Join(w.data, "replication", string(i)), w.by
	out.Log, out.Fail = p.log, p.pc.Fail
	out.TellExposure = func(e failover.Exposure) { _ = controller.Tell(p.ctl, i, e) } // gone with a reload, and so are we
	out.TellStandby = func(s failover.StandbyChanged) { _ = controller.Tell(p.ctl, i, s) }
	return out, err
}

// Run runs all of them until ctx ends, and returns when they have ended.
func (x *replicas) Run(ctx context.Context) error {
	var g errgroup.Group
	ended := make(chan failover.InstanceName)
	running := map[failover.InstanceName]*replica{} // started, and not ended
	tick := time.NewTicker(steerEvery)
	defer tick.Stop()
	for {
		x.reconcile(running, func(i failover.InstanceName, rep *replica) {
			own, stop := context.WithCancel(ctx)
			rep.stop = stop
			running[i] = rep
			g.Go(func() error {
				defer stop()
				x.keep(own, i, rep)
				select {
				case ended <- i:
				case <-ctx.Done():
				}
				return nil
			})
		})
		changed := x.p.news.Changed()
		x.steer()
		select {
		case <-ctx.Done():
			return g.Wait()
		case i := <-ended:
			delete(running, i)
		case <-x.poke:
		case <-changed:
		case now := <-tick.C:
			x.look(ctx, now)
		}
	}
}

// reconcile ends what is not wanted any more or not in this way, and starts
// what is. One that is being ended has saved its positions before the next of
// the same instance begins.
func (x *replicas) reconcile(running map[failover.InstanceName]*replica, start func(failover.InstanceName, *replica)) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for i, rep := range x.of {
		w, wanted := x.want[i]
		if wanted && !rep.ends && w.same(rep.made) {
			rep.mu.Lock()
			rep.made.rpo = w.rpo
			rep.mu.Unlock()
			continue
		}
		if running[i] == rep {
			rep.ends = true
			rep.stop()
		} else {
			delete(x.of, i)
		}
	}
	for i, w := range x.want {
		rep := x.of[i]
		if rep == nil {
			rep = x.make(i, w)
			x.of[i] = rep
		}
		if running[i] == nil && rep.stop == nil && rep.replicator() != nil {
			start(i, rep)
		}
	}
}

// keep runs one until ctx ends. One that ends by itself is started again, after
// a while: what it is needed for has not ended.
func (x *replicas) keep(ctx context.Context, i failover.InstanceName, rep *replica) {
	for wait := firstRestart; ; wait = min(2*wait, mostRestart) {
		began := time.Now()
		err := x.runOne(ctx, i, rep)
		if ctx.Err() != nil {
			if err != nil && !errors.Is(err, context.Canceled) {
				x.p.log.Warn("replication did not end well: it goes on from what was saved", "instance", i, "reason", err)
			}
			return
		}
		if time.Since(began) > mostRestart {
			wait = firstRestart
		}
		x.p.log.Error("replication ended and is started again", append([]any{"instance", i, "after", wait, "reason", err}, replication.Trace(err)...)...)
		rep.fell(fmt.Sprintf("it ended by itself and is started again: %v", err))
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		rep.mu.Lock()
		made := rep.made
		rep.mu.Unlock()
		again := x.make(i, made)
		if again.r == nil {
			rep.fell(again.why)
			continue
		}
		rep.mu.Lock()
		rep.r, rep.why, rep.down = again.r, "", ""
		rep.mu.Unlock()
		x.steer()
	}
}

// runOne runs one until it ends, and hands it the consent of a refill.
func (x *replicas) runOne(ctx context.Context, i failover.InstanceName, rep *replica) error {
	own, stop := context.WithCancel(ctx)
	var g errgroup.Group
	g.Go(func() error { x.refills(own, i, rep); return nil })
	err := rep.run(ctx)
	stop()
	_ = g.Wait() // it returns no error
	return err
}

// run keeps a panic of one instance's replication from being everybody's.
func (rep *replica) run(ctx context.Context) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("a fault of this program: %v", v)
		}
	}()
	if r := rep.replicator(); r != nil {
		return r.Run(ctx)
	}
	return errors.New("it could not be set up")
}

func (rep *replica) replicator() *replication.Replicator {
	rep.mu.Lock()
	defer rep.mu.Unlock()
	return rep.r
}

// fell notes why it does not run although it should.
func (rep *replica) fell(why string) {
	rep.mu.Lock()
	defer rep.mu.Unlock()
	rep.why, rep.down = why, why
}

func (x *replicas) get(i failover.InstanceName) *replica {
	if x == nil {
		return nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.of[i]
}

// committed tells the replicator of what was just made durable, before the
// controller acts on it: when a gate opens, what was carried there has stopped.
func (x *replicas) committed(rec *failover.Record) {
	rep := x.get(rec.Instance)
	if rep == nil {
		return
	}
	rep.mu.Lock()
	rep.rec = rec.Clone()
	rep.mu.Unlock()
	x.course(rec.Instance, rep)
}

// steer tells every replicator its course.
func (x *replicas) steer() {
	x.mu.Lock()
	all := make(map[failover.InstanceName]*replica, len(x.of))
	for i, rep := range x.of {
		all[i] = rep
	}
	x.mu.Unlock()
	for i, rep := range all {
		x.course(i, rep)
	}
}

// course tells one what the record says, and whether it may write.
func (x *replicas) course(i failover.InstanceName, rep *replica) {
	s, ok := x.p.ctl.Snapshot(i)
	if !ok {
		return
	}
	v := x.p.sketch(&s)
	rep.mu.Lock()
	defer rep.mu.Unlock()
	if rec, found := s.State.Record(); found && rec.Rev > rep.rec.Rev {
		rep.rec = rec
	}
	if rep.r == nil {
		return
	}
	c := courseOf(&rep.rec, s.Policy, s.State.Lead(), time.Now())
	c.Leading = c.Leading && v.Leading && v.Mode != failover.ModeShadow.String()
	rep.r.Follow(c)
	rep.why = idleWhy(&v, rep.down)
}

// idleWhy is why nothing is carried, empty while it is. Down is why a replicator
// ended that is to be started again.
func idleWhy(v *failover.View, down string) string {
	switch {
	case v.Mode == failover.ModeShadow.String():
		return fmt.Sprintf("the instance is in shadow, in which nothing is done; pointsman arm %s begins", v.Instance)
	case !v.Leading:
		return "this controller does not lead: " + orElse(v.LeadWhy, "no reason is known")
	}
	return down
}

// courseUntil is until when a course lets rows be written: a while, and never
// longer than this process leads.
func courseUntil(l failover.Lead, now time.Time) time.Time {
	until := now.Add(courseLife)
	switch {
	case !l.Leading:
		return now
	case l.Until.Before(until):
		return l.Until
	}
	return until
}

// courseOf is what a record says, as far as replication must know it, and what a
// lead allows.
func courseOf(r *failover.Record, p *failover.Policy, l failover.Lead, now time.Time) replication.Course {
	c := replication.Course{
		Token: failover.Token{Term: r.Term, Epoch: r.Epoch}, Active: r.Active, State: r.Standby.State,
		Leading: l.Leading, Until: courseUntil(l, now),
	}
	if r.Active != "" {
		c.Standby = p.Other(r.Active)
	}
	if op := r.Op; op != nil {
		c.Op, c.OpKind, c.Step = op.ID, op.Kind, op.Step
	}
	return c
}

// Drain reads what the old side still holds (controller.Drainer).
func (x *replicas) Drain(ctx context.Context, i failover.InstanceName, d failover.Drain) (failover.Drained, error) {
	rep := x.get(i)
	if rep == nil {
		return failover.Drained{}, errors.New("nothing is replicated here, so nothing can be drained")
	}
	r := rep.replicator()
	if r == nil {
		return failover.Drained{}, errors.New(rep.status(i).Idle)
	}
	return r.Drain(ctx, d)
}

// ReplicationStatus says how the rows of an instance fare (api.Replication).
func (x *replicas) ReplicationStatus(i failover.InstanceName) (api.ReplicationStatus, bool) {
	rep := x.get(i)
	if rep == nil {
		return api.ReplicationStatus{}, false
	}
	return rep.status(i), true
}

func (rep *replica) status(i failover.InstanceName) api.ReplicationStatus {
	rep.mu.Lock()
	r, why, rec, rpo := rep.r, rep.why, rep.rec, rep.made.rpo
	rep.mu.Unlock()
	st := replication.Status{Instance: i, Mode: rep.made.cfg.Mode, From: rec.Active, At: time.Now(), Standby: rec.Standby.State, Why: rec.Standby.Why}
	if r != nil {
		st = r.Status()
	}
	if st.Standby == rec.Standby.State && len(st.Why) == 0 {
		st.Why = rec.Standby.Why
	}
	out := statusOf(&st)
	out.Idle, out.RPO = why, rpo.String()
	if why != "" {
		out.Doing = "nothing"
		if out.Exposure.Why == "" {
			out.Exposure.Why = why
		}
	}
	if out.Exposure.At.IsZero() {
		out.Exposure.At = out.At
	}
	return out
}

// inHand says for which instance a config would begin replication anew, or end
// it, in the middle of an operation.
func (x *replicas) inHand(cfg *config.Config) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	next := map[failover.InstanceName]*config.Replication{}
	for i := range cfg.Instances {
		next[cfg.Instances[i].Policy.Instance] = cfg.Instances[i].Replication
	}
	for i := range next {
		was, is := x.want[i].cfg, next[i]
		if reflect.DeepEqual(was, is) {
			continue
		}
		s, ok := x.p.ctl.Snapshot(i)
		if rec, found := s.State.Record(); ok && found && rec.Op != nil {
			return failed("wait until it has ended, or abort it: the file is tried again by 'pointsman reload'",
				"instance %s: its replication cannot change while the operation %s is in hand", i, rec.Op.ID)
		}
	}
	return nil
}
