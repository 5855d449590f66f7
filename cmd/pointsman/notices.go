package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"pointsman/internal/api"
	"pointsman/internal/failover"
	"pointsman/internal/notify"
)

const (
	// calmEvery is how often an instance with an open incident is looked at.
	calmEvery = time.Second
	// calmFor is how long all must be well before an incident has ended: a
	// cluster that comes and goes is one incident, not many.
	calmFor = 5 * time.Second
)

// notices tells people of what the controller calls them for. Nothing in it
// waits for a channel or a disk, except Run. All methods may be called on nil.
type notices struct {
	p *process
	n *notify.Notifier

	mu   sync.Mutex
	calm map[failover.InstanceName]time.Time // since when all is well
}

// openNotices opens the outbox. What is wrong with a channel is told in the
// log, and keeps nothing else from starting.
func (p *process) openNotices(f *fitting, s *secrets, m *metrics) {
	for _, err := range s.unheard {
		p.log.Error("a channel cannot be used: nobody is told through it", "reason", err, "hint", hintOf(err))
	}
	x := &notices{p: p, calm: map[failover.InstanceName]time.Time{}}
	c := notify.Config{Setup: f.notify, Name: f.cfg.Controller.Name, Shadow: p.pc.Shadow, Log: p.log, Well: x.well}
	if f.cfg.Notify != nil {
		c.Dir = f.cfg.Controller.Data
	}
	n, err := notify.Open(c)
	if err != nil {
		p.log.Error("channels cannot be used: nobody is told through any", "reason", err, "hint", "mend notify in the config; it is taken when the file changes")
		c.Setup = notify.Setup{}
		if n, err = notify.Open(c); err != nil {
			return // of no channel: it cannot be
		}
	}
	x.n = n
	p.notices = x
	m.registry.MustRegister(newNotifyScrape(n))
}

// Run delivers, and looks for the ends of incidents, until ctx ends.
func (x *notices) Run(ctx context.Context) error {
	if x == nil {
		<-ctx.Done()
		return nil
	}
	done := make(chan error, 1)
	go func() { done <- x.n.Run(ctx) }()
	t := time.NewTicker(calmEvery)
	defer t.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-t.C:
			x.look(time.Now())
		}
	}
}

// look ends the incidents of instances that have been well for a while.
func (x *notices) look(now time.Time) {
	open := x.n.Open()
	x.mu.Lock()
	defer x.mu.Unlock()
	still := make(map[failover.InstanceName]time.Time, len(open))
	for _, i := range open {
		v, ok := x.p.view(i)
		if ok && (!well(&v) || x.p.replicas.troubled(i)) {
			continue
		}
		since, known := x.calm[i]
		switch {
		case !known:
			still[i] = now
		case now.Sub(since) < calmFor:
			still[i] = since
		case !ok:
			x.n.Notify(notify.Message{Instance: i, Kind: notify.Over, State: notify.Resolve, At: now, Text: "the instance has left the config"})
		default:
			x.n.Notify(overMessage(&v, now))
		}
	}
	x.calm = still
}

// paged hands a call for people over. It returns at once.
func (x *notices) paged(i failover.InstanceName, pg failover.Page) {
	if x == nil {
		return
	}
	now := time.Now()
	v, ok := x.p.view(i)
	if !ok {
		v = failover.View{Instance: i}
	}
	x.mu.Lock()
	delete(x.calm, i)
	x.mu.Unlock()
	x.n.Notify(pageMessage(&v, pg, now))
}

// commanded notes that a person is at work on an instance: whoever orders has
// seen why people were called.
func (x *notices) commanded(i failover.InstanceName, c failover.Command, r failover.Reply) {
	if x != nil && acknowledges(c.Do, r.Code) {
		x.n.Acknowledge(i)
	}
}

func acknowledges(do failover.Verb, code failover.ReplyCode) bool {
	switch code {
	case failover.ReplyDone, failover.ReplyStarted:
		return true
	case failover.ReplyNothing:
		return do == failover.DoAck
	default:
		return false
	}
}

func (x *notices) reload(s notify.Setup) {
	if x == nil {
		return
	}
	if err := x.n.Reload(s); err != nil {
		x.p.log.Error("channels are not taken, the old ones go on", "reason", err) // it was tried out
	}
}

func (x *notices) close() {
	if x == nil {
		return
	}
	if err := x.n.Close(); err != nil {
		x.p.log.Warn("the outbox did not close", "reason", err)
	}
}

// well is what the outside watcher hears: this process leads, may write, and
// its loops turn.
func (x *notices) well() bool {
	p := x.p
	if p.ctl == nil || p.trouble.why() != "" || p.store.Poisoned() != nil || (health{p}).Live() != nil {
		return false
	}
	for _, i := range p.ctl.Instances() {
		if s, ok := p.ctl.Snapshot(i); ok && p.sketch(&s).Leading {
			return true
		}
	}
	return false
}

// Channels lists the channels (api.Notices).
func (x *notices) Channels() []api.ChannelLine {
	var out []api.ChannelLine
	for _, s := range x.n.Stats() {
		out = append(out, api.ChannelLine{
			Channel: s.Channel, Type: string(s.Type), Sent: s.Sent, Failed: s.Failed, Throttled: s.Throttled,
			Dropped: s.Dropped, Waiting: s.Waiting, Oldest: s.Oldest, LastError: s.LastError,
		})
	}
	return out
}

// TestChannels tries channels (api.Notices).
func (x *notices) TestChannels(ctx context.Context, q api.NotifyTest) (out []api.ChannelTest, unknown []string) {
	tested, err := x.n.Test(ctx, q.Channels, q.By)
	if errors.Is(err, notify.ErrUnknownChannel) {
		known := map[string]bool{}
		for _, c := range x.n.Channels() {
			known[c.Name] = true
		}
		for _, name := range q.Channels {
			if !known[name] {
				unknown = append(unknown, name)
			}
		}
		return nil, unknown
	}
	for _, t := range tested {
		out = append(out, api.ChannelTest{Channel: t.Channel, Type: string(t.Type), OK: t.OK, Why: t.Why, Took: t.Took})
	}
	return out, nil
}
