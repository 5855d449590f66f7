package controller

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"sync"

	"golang.org/x/sync/errgroup"

	"pointsman/internal/failover"
)

// roster is who there is. It is replaced whole, never changed.
type roster struct {
	owners map[failover.InstanceName]*owner
	order  []failover.InstanceName // as in the configuration
}

// own gives a policy a place of its own: one in the middle of a list would
// keep the whole list.
func own(p failover.Policy) *failover.Policy { return &p }

func (r *roster) policies() []*failover.Policy {
	ps := make([]*failover.Policy, 0, len(r.order))
	for _, i := range r.order {
		ps = append(ps, r.owners[i].snap.Load().Policy)
	}
	return ps
}

// outside is what a reload may replace of the world outside.
type outside struct {
	names    map[string]Names
	verifier Verifier
}

// running says where Run is.
type running struct {
	mu    sync.Mutex // also held by a reload, so that there is one at a time
	began bool
	ended bool
}

// begin starts every instance, and keeps the group open for those that a
// reload adds until ctx ends.
func (c *Controller) begin(ctx context.Context, g *errgroup.Group) {
	r := &c.running
	r.mu.Lock()
	defer r.mu.Unlock()
	r.began = true
	c.crew.run(ctx, g)
	was := c.roster.Load()
	for _, i := range was.order {
		c.crew.wake(was.owners[i])
	}
	g.Go(func() error {
		<-ctx.Done()
		r.mu.Lock()
		defer r.mu.Unlock()
		r.ended = true
		return nil
	})
}

// Setup is what Reload can change.
type Setup struct {
	Policies []failover.Policy // of all instances, in their order
	Names    map[string]Names  // nil keeps the present ones
	Verifier Verifier          // nil keeps the present one
	Flood    Flood             // zero keeps the present settings
}

// Reload makes the controller run other instances, or the same ones under
// other policies. It takes no lead, starts no operation and changes no record
// by itself: an instance that stays keeps everything that it has seen and has
// in hand, and its core is told by failover.PolicyChanged; one whose policy
// is the same is not touched. An instance that is new begins as after a start
// of the process. One that is missing ends: what it asked for outside is
// cancelled, a commit in hand is let finish, and who waits for a reply is
// told.
//
// When Reload returns nil every snapshot shows its new policy; with an error
// nothing was changed. Errors: every fault of the policies together; ErrInHand
// when an instance to be removed has an operation in hand, or its record was
// not read yet; ErrStopped.
func (c *Controller) Reload(s Setup) error {
	next, err := c.Prepare(s)
	if err != nil {
		return err
	}
	next.Take()
	return nil
}

// Prepared is a setup that the controller can take. Take it or drop it, and
// soon: until then another reload and the end of Run wait, and the instances
// that would be removed begin nothing.
type Prepared struct {
	c           *Controller
	setup       Setup
	outside     *outside
	will        *roster
	added, kept []*owner
	other       []*failover.Policy // of those that were kept
	leaving     []*owner
}

// Prepare asks everything that [Controller.Reload] asks, with its errors, and
// changes nothing.
func (c *Controller) Prepare(s Setup) (_ *Prepared, err error) {
	next := c.cfg
	now := c.outside.Load()
	next.Policies, next.Names, next.Verifier = s.Policies, s.Names, s.Verifier
	if next.Names == nil {
		next.Names = now.names
	}
	if next.Verifier == nil {
		next.Verifier = now.verifier
	}
	if err := next.Validate(); err != nil {
		return nil, err
	}

	c.running.mu.Lock()
	defer func() {
		if err != nil {
			c.running.mu.Unlock()
		}
	}()
	if c.running.ended {
		return nil, ErrStopped
	}
	was := c.roster.Load()
	p := &Prepared{c: c, setup: s, outside: &outside{next.Names, next.Verifier}}
	p.will = &roster{owners: make(map[failover.InstanceName]*owner, len(next.Policies))}
	for i := range next.Policies {
		pol := own(next.Policies[i])
		o := was.owners[pol.Instance]
		switch {
		case o == nil:
			o = newOwner(c, pol)
			p.added = append(p.added, o)
		case !reflect.DeepEqual(o.snap.Load().Policy, pol):
			p.kept, p.other = append(p.kept, o), append(p.other, pol)
		}
		p.will.owners[pol.Instance] = o
		p.will.order = append(p.will.order, pol.Instance)
	}
	p.leaving, err = was.park(p.will)
	return p, err
}

// Take makes the controller run what was prepared.
func (p *Prepared) Take() {
	c := p.c
	if c == nil {
		return
	}
	for _, o := range p.leaving {
		o.end()
	}
	c.outside.Store(p.outside)
	for i, o := range p.kept {
		o.obey(p.other[i])
	}
	c.roster.Store(p.will)
	c.flood.reset(p.setup.Flood, p.will.policies())
	if c.running.began {
		for _, o := range p.added {
			c.crew.wake(o)
		}
	}
	for _, o := range p.added {
		o.tell(slog.LevelInfo, Transition{Kind: KindConfig, To: "added"})
	}
	p.leaving = nil
	p.Drop()
}

// Drop leaves everything as it was. After Take, or a second time, it does
// nothing.
func (p *Prepared) Drop() {
	c := p.c
	if c == nil {
		return
	}
	p.c = nil
	for _, o := range p.leaving {
		o.unpark()
	}
	c.running.mu.Unlock()
}

// park stops every instance that is not in will between two turns, or none of
// them: what was found of them holds until they go.
func (r *roster) park(will *roster) (leaving []*owner, err error) {
	defer func() {
		if err != nil {
			for _, o := range leaving {
				o.unpark()
			}
		}
	}()
	for _, i := range r.order {
		if will.owners[i] != nil {
			continue
		}
		o := r.owners[i]
		leaving = append(leaving, o)
		if why := o.park(); why != "" {
			return leaving, fmt.Errorf("instance %s: %w: %s", o.name, ErrInHand, why)
		}
	}
	return leaving, nil
}

// park gives the instance no more turns, and says why it cannot be left alone,
// or nothing.
func (o *owner) park() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.parked = true
	return o.inHand()
}

func (o *owner) unpark() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.parked = false
	if o.c.running.began {
		o.c.crew.wake(o)
	}
}

// inHand says why the instance cannot be left alone, or nothing.
func (o *owner) inHand() string {
	l := &o.life
	rec, _ := o.state().Record()
	op := rec.Op
	if op == nil && l.commit != 0 {
		op = l.recording.Op
	}
	switch {
	case op != nil:
		return fmt.Sprintf("the %s %s to %s is at %s: let it end, or abort it", op.Kind, op.ID, op.To, op.Step)
	case !l.loaded:
		return "its record was not read yet, so it is not known whether an operation is in hand"
	}
	return ""
}

// end is the last that happens to an instance that was removed.
func (o *owner) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closePast()
	o.tell(slog.LevelInfo, Transition{Kind: KindConfig, To: "removed"})
	o.ended = true
	if o.life.ctx != nil {
		o.life.end()
	}
	o.replies.close(errRemoved)
	o.c.crew.dismiss(o)
}

// obey swaps the policy between two turns.
func (o *owner) obey(p *failover.Policy) {
	o.act(func() {
		if r := o.life.past.tape; r != nil { // it is kept with the policy that ran
			o.tape(r.Flush(o.c.now()))
		}
		o.policy = p
		o.inbox.fit(len(p.Vantages))
		o.tell(slog.LevelInfo, Transition{Kind: KindConfig, To: "changed"})
		l := &o.life
		if l.ctx != nil {
			o.feed(failover.PolicyChanged{})
			o.schedule()
			o.publish()
		}
	})
	o.mu.Lock()
	defer o.mu.Unlock()
	if s := *o.snap.Load(); s.Policy != p { // before a life, or after a fault
		s.Policy = p
		o.snap.Store(&s)
	}
	if o.c.running.began {
		o.c.crew.wake(o) // it may want its next turn at another time
	}
}
