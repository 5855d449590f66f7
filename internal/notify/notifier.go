package notify

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"pointsman/internal/failover"
)

const (
	// maxPending is how many messages may wait for the outbox.
	maxPending = 1024
	// idBytes is the length of an ID before it is hex.
	idBytes = 12
	// stopWithin is what a send in hand may still take when all ends.
	stopWithin = 2 * time.Second
)

// Config is what a notifier is made of.
type Config struct {
	Dir    string // folder of notify.db
	Setup  Setup
	Name   string // of the controller
	Shadow bool   // it does nothing, and every message says so
	Log    *slog.Logger
	// Well says whether the controller leads and its loop lives: what the
	// heartbeat stands for. nil: it always does.
	Well func() bool
}

// Notifier tells people. Make one by Open; Run owns its goroutines. Notify,
// Acknowledge and Resolve return at once; all methods are safe for concurrent
// use.
type Notifier struct {
	cfg Config
	out outer
	box *outbox

	pending chan func(context.Context)

	mu      sync.Mutex
	setup   *Setup
	senders map[string]sender
	wake    map[string]chan struct{}
	pulse   *pulse
	renewed chan struct{} // closed at a reload
	closed  bool
}

// Open opens the outbox. A disk that cannot be used is no error: messages wait
// in memory then, and the log says so. An error is a channel that cannot be
// one, see [Notifier.Check]; a channel with Trouble is none: it stands, and
// its tries fail.
func Open(cfg Config) (*Notifier, error) {
	return open(cfg, outer{now: time.Now})
}

func open(cfg Config, o outer) (*Notifier, error) {
	n := &Notifier{cfg: cfg, out: o, pending: make(chan func(context.Context), maxPending), renewed: make(chan struct{})}
	senders, p, err := n.build(&cfg.Setup)
	if err != nil {
		return nil, err
	}
	n.setup, n.senders, n.pulse = &cfg.Setup, senders, p
	var d *disk
	var rows rowsOf
	if cfg.Dir != "" {
		var warning error
		d, rows, warning, err = openDisk(cfg.Dir)
		if err != nil {
			cfg.Log.Error("messages wait in memory only", "reason", plain(err), "hint", "free or mend the disk of controller.data, then restart the controller")
		}
		if warning != nil {
			cfg.Log.Warn("the outbox begins anew", "reason", warning)
		}
	}
	n.box = newOutbox(d, cfg.Setup.keep())
	n.box.trouble = err
	if unread := n.box.restore(rows); unread > 0 {
		cfg.Log.Warn("lines of the outbox cannot be read and are left out", "count", unread)
	}
	n.box.clamp(n.setup, n.out.now())
	n.box.sweep()
	n.box.fit(n.setup)
	n.wakes()
	return n, nil
}

// build makes the senders of a setup. Those with Trouble stand as broken.
func (n *Notifier) build(s *Setup) (map[string]sender, *pulse, error) {
	senders := map[string]sender{}
	var faults []error
	for _, c := range s.Channels {
		x, err := newSender(c, s, n.out)
		switch {
		case err != nil && c.Trouble != nil:
			x = broken{err}
		case err != nil:
			faults = append(faults, fmt.Errorf("channel %s: %w", c.Name, err))
		}
		senders[c.Name] = x
	}
	p, err := newPulse(s.Heartbeat, n.out)
	if err != nil && s.Heartbeat.Trouble == nil {
		faults = append(faults, fmt.Errorf("heartbeat: %w", err))
	}
	return senders, p, errors.Join(faults...)
}

// Check says whether a setup could be taken.
func (n *Notifier) Check(s Setup) error {
	_, _, err := n.build(&s)
	return err
}

// Reload takes other channels. What waits goes on waiting for those that stay.
func (n *Notifier) Reload(s Setup) error {
	senders, p, err := n.build(&s)
	if err != nil {
		return err
	}
	n.box.fit(&s) // not under n.mu: it may wait for the disk
	n.mu.Lock()
	defer n.mu.Unlock()
	n.setup, n.senders, n.pulse = &s, senders, p
	n.wakes()
	close(n.renewed)
	n.renewed = make(chan struct{})
	return nil
}

// wakes gives every channel something to wake it by.
func (n *Notifier) wakes() {
	if n.wake == nil {
		n.wake = map[string]chan struct{}{}
	}
	for _, c := range n.setup.Channels {
		if n.wake[c.Name] == nil {
			n.wake[c.Name] = make(chan struct{}, 1)
		}
	}
}

// Channels lists the channels, in the order of the config.
func (n *Notifier) Channels() []Channel {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.setup.Channels)
}

func (n *Notifier) names() []string {
	var out []string
	for _, c := range n.Channels() {
		out = append(out, c.Name)
	}
	return out
}

// Notify hands a message over and returns at once. It is dropped and counted
// when the disk is slower than the messages.
func (n *Notifier) Notify(m Message) {
	m = n.complete(m)
	n.later(func(context.Context) { n.put(&m) })
}

// complete fills in what the caller left to us.
func (n *Notifier) complete(m Message) Message {
	m = m.bound()
	if m.ID == "" {
		m.ID = newID()
	}
	if m.At.IsZero() {
		m.At = n.out.now()
	}
	if m.State == "" {
		m.State = Info
	}
	m.From, m.Shadow = orElse(m.From, n.cfg.Name), m.Shadow || n.cfg.Shadow
	m.At = m.At.Round(0)
	return m
}

func newID() string {
	var b [idBytes]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}

func (n *Notifier) later(do func(context.Context)) {
	select {
	case n.pending <- do:
	default:
		n.box.droppedLater(n.names())
	}
}

func (n *Notifier) put(m *Message) {
	n.mu.Lock()
	s := n.setup
	n.mu.Unlock()
	n.box.put(s, m, n.out.now())
	n.wakeAll()
}

func (n *Notifier) wakeAll() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, w := range n.wake {
		select {
		case w <- struct{}{}:
		default:
		}
	}
}

// Acknowledge says that somebody has seen the incident of an instance: nobody
// else is called for what is known of it.
func (n *Notifier) Acknowledge(i failover.InstanceName) {
	n.later(func(context.Context) { n.box.acknowledge(i) })
}

// Resolve says that a kind of call does not hold any more, or with [Over] none
// of the instance does. Who was told of the incident is told of its end.
func (n *Notifier) Resolve(i failover.InstanceName, kind string) {
	n.Notify(Message{Instance: i, Kind: kind, State: Resolve})
}

// Open lists the instances whose incident has not ended.
func (n *Notifier) Open() []failover.InstanceName { return n.box.open() }

// Deliver queues a report for the named channels; with none named, for those
// that take what wants nobody. It is durable when it returns nil. Errors:
// ErrUnknownChannel, which names it, ErrTooLarge, ErrClosed, that of ctx, and
// ErrInMemory with that of the disk: then it is queued, and a restart loses it.
func (n *Notifier) Deliver(ctx context.Context, channels []string, d Document) error {
	if d.size() > maxDocument {
		return fmt.Errorf("deliver %.80q: %w", d.Title, ErrTooLarge)
	}
	n.mu.Lock()
	s, closed := n.setup, n.closed
	n.mu.Unlock()
	if closed {
		return fmt.Errorf("deliver %.80q: %w", d.Title, ErrClosed)
	}
	to, err := s.named(channels, func(c Channel) bool { return c.Info })
	if err != nil {
		return fmt.Errorf("deliver %.80q: %w", d.Title, err)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("deliver %.80q: %w", d.Title, err)
	}
	d.Title = oneLine(d.Title, maxTitle)
	m := n.complete(Message{ID: d.ID, Kind: ReportKind, State: Info, Document: &d})
	d.ID = m.ID
	err = n.box.deliver(to, &m, n.out.now())
	n.wakeAll()
	if err != nil {
		return fmt.Errorf("deliver %.80q: %w: %w", d.Title, ErrInMemory, err)
	}
	return nil
}

// Kinds of messages that no core calls for.
const (
	ReportKind = "report"
	TestKind   = "test"
)

// named finds channels by name; without names those that fit.
func (s *Setup) named(names []string, fits func(Channel) bool) ([]Channel, error) {
	var out []Channel
	if len(names) == 0 {
		for _, c := range s.Channels {
			if fits(c) {
				out = append(out, c)
			}
		}
		return out, nil
	}
	for _, name := range names {
		c, ok := s.channel(name)
		if !ok {
			var known []string
			for _, c := range s.Channels {
				known = append(known, c.Name)
			}
			return nil, fmt.Errorf("%w: %.64q (there are: %s)", ErrUnknownChannel, name, orElse(strings.Join(known, ", "), "none"))
		}
		out = append(out, c)
	}
	return out, nil
}

// Run delivers until ctx ends. What waits then is in the outbox.
func (n *Notifier) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { n.take(ctx); return nil })
	g.Go(func() error { n.deliverAll(ctx); return nil })
	return g.Wait()
}

// take moves what was handed over into the outbox. What is there when all ends
// is still written.
func (n *Notifier) take(ctx context.Context) {
	for {
		select {
		case do := <-n.pending:
			n.guarded(func() { do(ctx) })
			continue
		case <-ctx.Done():
		}
		for {
			select {
			case do := <-n.pending:
				n.guarded(func() { do(ctx) })
			default:
				return
			}
		}
	}
}

// guarded runs something in which a fault of ours must not end the process:
// messages are worth less than decisions.
func (n *Notifier) guarded(do func()) {
	defer func() {
		if v := recover(); v != nil {
			n.cfg.Log.Error("notification panicked", "reason", fmt.Sprint(v), "stack", string(debug.Stack()))
		}
	}()
	do()
}

// deliverAll runs one goroutine for each channel, and begins anew at a reload.
func (n *Notifier) deliverAll(ctx context.Context) {
	for ctx.Err() == nil {
		n.mu.Lock()
		s, renewed, p := n.setup, n.renewed, n.pulse
		n.mu.Unlock()
		inner, stop := context.WithCancel(ctx)
		var g errgroup.Group
		for _, c := range s.Channels {
			g.Go(func() error { n.serve(inner, c); return nil })
		}
		if p != nil {
			g.Go(func() error { n.beatOn(inner, p); return nil })
		}
		select {
		case <-ctx.Done():
		case <-renewed:
		}
		stop()
		_ = g.Wait()
	}
}

// serve delivers what waits for one channel.
func (n *Notifier) serve(ctx context.Context, c Channel) {
	n.mu.Lock()
	x, wake := n.senders[c.Name], n.wake[c.Name]
	n.mu.Unlock()
	for {
		p, wait := n.box.next(c.Name, n.out.now())
		if p != nil {
			n.try(ctx, c, x, p)
			if ctx.Err() != nil {
				return
			}
			continue
		}
		t := time.NewTimer(max(wait, time.Millisecond))
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-wake:
		case <-t.C:
		}
		t.Stop()
	}
}

// try sends one parcel. A send in hand is given a moment when all ends: what
// has arrived should not come again.
func (n *Notifier) try(ctx context.Context, c Channel, x sender, p *parcel) {
	sending, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.timeout())
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		t := time.AfterFunc(stopWithin, cancel)
		context.AfterFunc(sending, func() { t.Stop() })
	})
	defer stop()
	err := n.carry(sending, x, p)
	gaveUp := n.box.done(p, err, n.out.now())
	switch {
	case err == nil:
		n.cfg.Log.Debug("message sent", "channel", c.Name, "id", p.id, "messages", len(p.msgs), "tries", p.tries+1)
	case errors.As(err, new(*partly)):
		n.cfg.Log.Warn("message sent, but not to everybody", "channel", c.Name, "id", p.id, "reason", err)
	case gaveUp:
		n.wakeAll() // the next step of the route may be due
		n.cfg.Log.Error("message given up", "channel", c.Name, "id", p.id, "reason", err)
	case p.tries == 0 || p.tries%10 == 9:
		n.cfg.Log.Warn("message not sent, it is tried again", "channel", c.Name, "id", p.id, "tries", p.tries+1, "reason", err)
	}
}

// carry is send with a panic turned into an error.
func (n *Notifier) carry(ctx context.Context, x sender, p *parcel) (err error) {
	defer func() {
		if v := recover(); v != nil {
			n.cfg.Log.Error("a channel panicked", "channel", p.channel, "stack", string(debug.Stack()))
			err = errors.New("a fault of this program")
		}
	}()
	return x.send(ctx, p)
}

// beatOn calls the outside watcher.
func (n *Notifier) beatOn(ctx context.Context, p *pulse) {
	t := time.NewTicker(p.h.Every)
	defer t.Stop()
	failing := false
	for {
		err := p.beat(ctx, n.cfg.Well == nil || n.cfg.Well())
		if ctx.Err() != nil {
			return
		}
		if err != nil && !failing {
			n.cfg.Log.Warn("the outside watcher does not answer", "reason", err)
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// Stats lists the counters of every channel.
func (n *Notifier) Stats() []ChannelStats {
	return n.box.snapshot(n.Channels(), n.out.now())
}

// Heartbeat counts the calls of the outside watcher; false: there is none.
func (n *Notifier) Heartbeat() (HeartbeatStats, bool) {
	n.mu.Lock()
	p := n.pulse
	n.mu.Unlock()
	if p == nil {
		return HeartbeatStats{}, false
	}
	return p.counted(), true
}

// Trouble says why the outbox is not durable just now; nil: it is.
func (n *Notifier) Trouble() error { return n.box.inTrouble() }

// Close closes the outbox, after Run has returned.
func (n *Notifier) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil
	}
	n.closed = true
	return n.box.close()
}
