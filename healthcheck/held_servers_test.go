package healthcheck

import (
	"crypto/tls"
	"testing"
	"time"
)

// Over TLS a watch notices what it notices without.
func TestAWatchOverTLSMakesTheVote(t *testing.T) {
	ca := newCA(t)
	cert := ca.issue(t, "orders.lab.test", 90*24*time.Hour)
	for name, c := range map[string]struct {
		mode  WatchMode
		fault func(*backend)
		lost  []Loss
	}{
		"end":               {WatchHold, (*backend).kill, []Loss{LossClosed, LossReset}},
		"end, requests":     {WatchRequest, (*backend).kill, []Loss{LossClosed, LossReset}},
		"reset":             {WatchHold, (*backend).reset, []Loss{LossReset}},
		"reset, requests":   {WatchRequest, (*backend).reset, []Loss{LossReset}},
		"standstill":        {WatchRequest, func(b *backend) { b.set(func() { b.stalled = true }) }, []Loss{LossSilent}},
		"standstill, unask": {WatchHold, func(b *backend) { b.set(func() { b.stalled = true }) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBackend(t, func(b *backend) { b.tls = &tls.Config{Certificates: []tls.Certificate{cert}} })
			tg := seldom(b.addr, c.mode)
			tg.Check.Type, tg.Check.CA = HTTPS, ca.pem
			l := lookAt(t, tg)
			l.open(t)
			c.fault(b)
			if c.lost == nil { // what says nothing cannot notice: nothing must happen
				time.Sleep(5 * askEvery)
				if s := l.Stats(); s.Held.Lost != nil || s.Misses > 0 || s.Held.Open != 1 {
					t.Errorf("%+v", s)
				}
				return
			}
			if !l.down(t) {
				return
			}
			s := l.Stats()
			lost := uint64(0)
			for _, why := range c.lost {
				lost += s.Held.Lost[why]
			}
			if lost == 0 || s.Nudges[NudgeConfirmed] != 1 || s.Misses < 3 || s.Held.Open != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// A server for one connection at a time that closes a further one at once, or
// the one before: neither makes a vote, and the watch gives up.
func TestAServerForOneConnectionGetsNoVoteAndFewNudges(t *testing.T) {
	for _, single := range []string{"turn away", "evict"} {
		t.Run(single, func(t *testing.T) {
			t.Parallel()
			b := newBackend(t, func(b *backend) { b.single = single })
			tg := often(b.addr, WatchHold)
			tg.Round, tg.Timeout, tg.Burst = 200*time.Millisecond, 190*time.Millisecond, 50*time.Millisecond
			l := lookAt(t, tg)
			eventually(t, "the watch rests", func() bool { return l.Stats().Held.Resting == 1 })
			l.neverDown(t)
			s := l.Stats()
			if n := nudged(s); n > restStrikes || s.Nudges[NudgeConfirmed] != 0 {
				t.Errorf("%d nudges: %+v", n, s)
			}
			if single == "turn away" && s.Held.SetAside == 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

func nudged(s Stats) (n uint64) {
	for _, v := range s.Nudges {
		n += v
	}
	return n
}

// A server, or what stands before it, that accepts and closes at once, for
// ever: it is down by its probes alone. The watch is not even begun, since a
// probe has to succeed first.
func TestAServerThatClosesAtOnceIsNoStorm(t *testing.T) {
	t.Parallel()
	tg := often(hangUpper(t), WatchRequest)
	tg.Round, tg.Timeout = 100*time.Millisecond, 90*time.Millisecond
	l := lookAt(t, tg)
	eventually(t, "twenty rounds", func() bool { return l.Stats().Misses >= 20 })
	if s := l.Stats(); s.Held.Opened != 0 || nudged(s) != 0 {
		t.Errorf("%+v", s)
	}
}

// One that answers probes and closes every connection that stays: at most
// restStrikes are opened and lost, each costs one probe, and then it rests.
func TestAServerThatKeepsNoConnectionCostsFewProbes(t *testing.T) {
	t.Parallel()
	b := newBackend(t, func(b *backend) { b.idle = time.Microsecond })
	tg := often(b.addr, WatchHold)
	tg.Check = Check{Type: TCP}
	tg.Round, tg.Timeout = 100*time.Millisecond, 90*time.Millisecond
	l := lookAt(t, tg)
	eventually(t, "the watch rests", func() bool { return l.Stats().Held.Resting == 1 })
	rested := l.Stats()
	eventually(t, "ten rounds more", func() bool { return l.Stats().Successes >= rested.Successes+10 })
	s := l.Stats()
	l.neverDown(t)
	if n := nudged(s); n > restStrikes || s.Held.Opened > restStrikes || s.Held.Opened != rested.Held.Opened {
		t.Errorf("%d nudges: %+v", n, s)
	}
}
