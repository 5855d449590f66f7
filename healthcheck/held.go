package healthcheck

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// WatchMode is what is held open beside the probes of a target, so that its
// end is noticed within milliseconds instead of at the next round.
type WatchMode string

const (
	// WatchOff holds nothing.
	WatchOff WatchMode = "off"
	// WatchHold holds a connection and sends nothing on it (but the handshake,
	// with TLS). It notices that a process is gone; the silence of one that
	// stands still means nothing.
	WatchHold WatchMode = "hold"
	// WatchRequest sends a HEAD request on it every 100 ms, so that a process
	// that stands still is noticed, too. For checks over HTTP; any other is
	// held as by WatchHold.
	WatchRequest WatchMode = "request"
)

// WatchModes lists every mode, for messages and completion.
var WatchModes = []WatchMode{WatchOff, WatchHold, WatchRequest}

// DefaultWatchTargets is Config.WatchTargets where none is given.
const DefaultWatchTargets = 256

const (
	// askEvery is the time between two requests on a held connection, and the
	// longest that an answer is waited for.
	askEvery = 100 * time.Millisecond
	// askLeast is how long an answer is waited for at first. Each time that
	// this was too hasty it doubles, up to askEvery.
	askLeast = 25 * time.Millisecond
	// askLate is how late our own waking may be before a missing answer is
	// looked for once more.
	askLate = 10 * time.Millisecond

	// heldLife is how long a connection is held at most, so that it does not
	// hang on an address that the name of the target left long ago.
	heldLife = 10 * time.Minute
	// heldAlive keeps the way open where something on it forgets silent
	// connections, and notices when it did not help.
	heldAlive = 15 * time.Second
	// heldBudget is what the other side may send unasked on one connection, in
	// bytes: banners, TLS session tickets, the first frames of HTTP/2.
	heldBudget = 64 << 10

	// settling is how long the other side may take to notice that a connection
	// that it ended itself is gone.
	settling = 4 * time.Millisecond
)

// held keeps one connection to a target open. It never votes: all that comes
// of it is a nudge. A goroutine of its own runs it; heard, weigh and the like
// belong to the scheduler's.
type held struct {
	of      *Target // as the config has it
	allow   []netip.Prefix
	target  Target // with the one check that says how to connect
	dial    *dialer
	shake   *shaker // nil without TLS
	request []byte  // nil: nothing is sent
	nudge   func(context.Context, Loss)
	count   func(func(*HeldStats))

	invited chan struct{} // a probe has succeeded
	slot    slot
	end     context.CancelFunc
	word    atomic.Pointer[string]   // for people; nil: nothing to say
	became  atomic.Pointer[NudgeEnd] // of the newest nudge; nil when that was heard

	// Of its own goroutine.
	pace     pace
	before   pace          // as it was before the newest loss
	silent   bool          // the newest loss was a missing answer
	patience time.Duration // with an answer
}

// HeldStats is how the held-open connections fare.
type HeldStats struct {
	Off      string // why there are none although targets want them; or empty
	Watched  int    // targets that have a watch
	Open     int    // connections that are held now
	Resting  int    // targets whose watch rests, because it is of no use there
	Opened   uint64 // connections, since the start
	Lost     map[Loss]uint64
	Late     uint64 // answers that were looked for late, by our own fault
	SetAside uint64 // misses that did not count, since they came only while a connection was held
}

// wants says whether something is to be held open beside the probes.
func (t *Target) wants() bool {
	_, ok := t.Connected()
	return t.Watch != WatchOff && t.Watch != "" && ok
}

// WatchesOff says why no connection will be held although targets want one;
// empty otherwise.
func (c Config) WatchesOff() string {
	n := 0
	for i := range c.Targets {
		if c.Targets[i].wants() {
			n++
		}
	}
	return tooMany(n, cmp.Or(c.WatchTargets, DefaultWatchTargets))
}

func tooMany(wanted, limit int) string {
	if wanted <= limit {
		return ""
	}
	return fmt.Sprintf("no connections are held open: %d targets want one, watch_targets allows %d", wanted, limit)
}

// newHeld returns the watch of a target that wants one.
func (p *Prober) newHeld(t *Target) *held {
	c := ProbeConfig{Vantage: p.now.config.Vantage, Allow: p.now.config.Allow}
	one, _ := t.Connected()
	one.Check = one.Check.withDefaults()
	h := &held{
		of: t, allow: c.Allow, target: one, dial: newDialer(one, c), invited: make(chan struct{}, 1),
		pace: pace{round: t.Round}, patience: askLeast, slot: slot{grace: t.Burst},
		count: func(f func(*HeldStats)) { p.count(func(s *Stats) { f(&s.Held) }) },
	}
	if one.Check.isTLS() {
		h.shake = newShaker(one)
	}
	if t.Watch == WatchRequest && one.Check.isHTTP() {
		h.request = watchRequest(one, c)
	}
	h.nudge = func(ctx context.Context, why Loss) {
		select {
		case p.nudges <- nudge{t.Instance, t.Cluster, why, time.Now()}:
		case <-ctx.Done():
		}
	}
	return h
}

// rewatch makes the watches fit the present config: at the start and after a
// reload. One whose target is as it was goes on.
func (p *Prober) rewatch(ctx context.Context, g *errgroup.Group) {
	var wanted []*watch
	for _, in := range p.now.instances {
		for _, w := range in.watches {
			if w.target.wants() {
				wanted = append(wanted, w)
			}
		}
	}
	off, limit := "", cmp.Or(p.now.config.WatchTargets, DefaultWatchTargets)
	if off = tooMany(len(wanted), limit); off != "" {
		wanted = nil
	}
	stays := make(map[*watch]bool, len(wanted))
	for _, w := range wanted {
		stays[w] = w.held == nil || w.held.of == w.target && slices.Equal(w.held.allow, p.now.config.Allow)
	}
	for _, w := range p.watching {
		if !stays[w] {
			w.held.end()
			w.held, w.doubtful = nil, nil
		}
	}
	for _, w := range wanted {
		if w.held != nil {
			continue
		}
		w.held = p.newHeld(w.target)
		ctx, end := context.WithCancel(ctx)
		h := w.held
		h.end = end
		g.Go(func() error { h.run(ctx); return nil })
	}
	p.watching = wanted
	p.count(func(s *Stats) { s.Held.Watched, s.Held.Off = len(wanted), off })
}

// run holds one connection after another until the context ends.
func (h *held) run(ctx context.Context) {
	defer h.say("")
	var life time.Duration // of the connection before
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.invited:
		}
		now := time.Now()
		h.learn()
		if h.slot.blamed() {
			h.pace.blame(now, life)
		}
		if h.tell(now); now.Before(h.pace.until) {
			continue
		}
		err := h.once(ctx)
		if ctx.Err() != nil {
			return
		}
		life = time.Since(now)
		h.after(ctx, err, life)
	}
}

// Ends of a held connection that are no loss.
var (
	errReleased = errors.New("released")                             // by the scheduler, so that probes have the place
	errGoodbye  = errors.New("the other side keeps none any longer") // said in the last answer
	errOld      = errors.New("held for long enough")
	errTalks    = errors.New("the server sends without being asked")
	errNoDial   = errors.New("no connection for the watch")
)

// after does what follows from the end of a connection: a nudge, and how soon
// there is another one.
func (h *held) after(ctx context.Context, err error, life time.Duration) {
	now := time.Now()
	select {
	case <-h.invited: // from while it was held: a fresh answer has to come first
	default:
	}
	var loss lossError
	switch {
	case errors.As(err, &loss):
		h.count(func(s *HeldStats) {
			if s.Lost == nil {
				s.Lost = make(map[Loss]uint64)
			}
			s.Lost[loss.why]++
		})
		if h.before, h.silent = h.pace, loss.why == LossSilent; h.silent {
			h.pace.strike(now, life, "does not answer every request on a held connection in time")
		} else {
			h.pace.strike(now, life, "ends held connections "+about(life))
		}
		h.nudge(ctx, loss.why)
	case errors.Is(err, errReleased):
		// Whether it was in the way is known after the next probe.
	case errors.Is(err, errGoodbye):
		// Polite and of no cost but a handshake, unless it is the rule.
		h.pace.part(now, life)
		h.invite()
	case errors.Is(err, errTalks):
		h.pace.rest(now, "sends without being asked")
	case errors.Is(err, errNoHTTP):
		h.pace.rest(now, "does not speak HTTP/1")
	case errors.Is(err, errOld):
		h.patience = max(h.patience/2, askLeast)
		h.invite()
	default:
		h.pace.strike(now, 0, "takes no connection beside those of the probes")
	}
	h.tell(now)
}

// learn takes what became of the newest nudge. A loss that a down vote
// confirmed was no whim of the other side and is held against nobody; a missing
// answer that came after all was waited for too hastily.
func (h *held) learn() {
	switch end := h.became.Swap(nil); {
	case end == nil:
	case *end == NudgeConfirmed:
		h.pace = h.before
	case *end == NudgePassed && h.silent:
		h.patience = min(2*h.patience, askEvery)
	}
}

// about says how long a connection lived, in words that do not change with
// every one.
func about(life time.Duration) string {
	switch {
	case life < 10*time.Millisecond:
		return "at once"
	case life < time.Second:
		return "after about " + life.Round(100*time.Millisecond).String()
	}
	return "after about " + life.Round(time.Second).String()
}

// tell keeps the word for people.
func (h *held) tell(now time.Time) {
	if h.pace.why == "" || !now.Before(h.pace.until) {
		h.say("")
		return
	}
	h.say("its watch rests: the server " + h.pace.why)
}

// say sets the word and counts who rests.
func (h *held) say(word string) {
	rested, rests := h.word.Load() != nil, word != ""
	h.word.Store(nil)
	if rests {
		h.word.Store(&word)
	}
	switch {
	case rests && !rested:
		h.count(func(s *HeldStats) { s.Resting++ })
	case rested && !rests:
		h.count(func(s *HeldStats) { s.Resting-- })
	}
}

// invite says that a fresh connection was answered, so that another may be
// held.
func (h *held) invite() {
	select {
	case h.invited <- struct{}{}:
	default:
	}
}

// once opens a connection and holds it to its end, which the error tells.
func (h *held) once(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	h.slot.take(cancel)
	grace := time.Duration(0)
	defer func() { h.slot.free(time.Now(), grace) }()
	tcp, conn, err := h.open(ctx)
	if err != nil {
		if h.slot.released() {
			return errReleased
		}
		if isRefusal(err) {
			return lossError{LossRefused, err}
		}
		return fmt.Errorf("%w: %w", errNoDial, err)
	}
	defer drop(tcp)
	if !h.slot.fill(tcp) {
		return errReleased
	}
	stop := context.AfterFunc(ctx, func() { drop(tcp) })
	defer stop()
	h.count(func(s *HeldStats) { s.Opened++; s.Open++ })
	defer h.count(func(s *HeldStats) { s.Open-- })
	until := time.Now().Add(heldLife)
	if h.request != nil {
		err = h.ask(conn, until)
	} else {
		err = h.listen(conn, until)
	}
	switch loss, lost := errors.AsType[lossError](err); {
	case h.slot.released():
		return errReleased
	case ctx.Err() != nil:
		return ctx.Err()
	case lost && loss.why != LossSilent:
		grace = settling
	default:
		grace = h.slot.grace
	}
	return err
}

// open connects as a probe does, with a deadline of its own.
func (h *held) open(ctx context.Context) (*net.TCPConn, net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, h.target.Timeout)
	defer cancel()
	tr := &Trace{}
	tcp, err := h.dial.connect(ctx, tr)
	if err != nil {
		return nil, nil, err
	}
	// Errors mean that there is none on this system: then the watch is blind
	// to what a keep-alive would find, and that is all.
	_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: heldAlive, Interval: heldAlive, Count: 2})
	if h.shake == nil {
		return tcp, tcp, nil
	}
	unbind := bind(ctx, tcp)
	tc, err := h.shake.shake(ctx, tcp, tr)
	unbind()
	if err != nil {
		drop(tcp)
		return nil, nil, err
	}
	tcp.SetDeadline(time.Time{})
	return tcp, tc, nil
}
