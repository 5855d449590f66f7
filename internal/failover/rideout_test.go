package failover

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

var simulatedHours = flag.Int("hours", 600, "simulated hours of correlated bursts; make test takes 10000")

// eye is one vantage that is simulated probe by probe: rounds, re-checks after
// a first miss, confirming probes at the end of ride_out, as package
// healthcheck runs them.
type eye struct {
	name    VantageName
	lies    bool
	phase   time.Duration
	next    map[ClusterName]time.Time // when the next probe is sent
	grid    map[ClusterName]time.Time // the next turn
	count   map[ClusterName]Count
	landing []landing
	log     map[ClusterName][]probed // of the present window
}

type probed struct {
	sent time.Time
	ok   bool
}

type landing struct {
	at      time.Time
	cluster ClusterName
	extra   bool // out of turn
	probed
}

// burst is a time in which clusters cannot be reached from anywhere.
type burst struct {
	from, to time.Time
	hits     map[ClusterName]bool
	silent   bool // nothing answers; otherwise connections are refused at once
}

// simulation is the world with eyes in place of people who say what they see.
type simulation struct {
	*world
	rnd  *rand.Rand
	eyes []*eye
	burst
	loss float64 // of single probes, in calm times
	lie  string
}

func simulate(seed uint64, preset Preset, lie string) *simulation {
	p := testPolicy()
	q, err := PresetPolicy(preset)
	if err != nil {
		panic(err)
	}
	p.Round, p.Timeout, p.Burst, p.Count, p.RideOut, p.MinUp = q.Round, q.Timeout, q.Burst, q.Count, q.RideOut, q.MinUp
	p.Cooldown, p.NeedAck, p.Budget = time.Minute, false, nil
	s := &simulation{world: newWorld(p), rnd: rand.New(rand.NewPCG(seed, 1)), lie: lie}
	s.world.quiet = true
	s.start()
	for i, v := range p.Vantages {
		e := &eye{
			name: v.Name, lies: i == 2 && lie != "", phase: time.Duration(s.rnd.Int64N(int64(p.Round))),
			next: map[ClusterName]time.Time{}, grid: map[ClusterName]time.Time{}, count: map[ClusterName]Count{}, log: map[ClusterName][]probed{},
		}
		s.eyes = append(s.eyes, e)
	}
	s.leap(0)
	s.until(s.now.Add(p.MinUp + time.Duration(p.Count.Rise+4)*p.Round))
	s.command(Command{Do: DoArm, Mode: ModeAuto})
	return s
}

// leap lets a calm time pass in one step: the votes have grown old after it.
func (s *simulation) leap(d time.Duration) {
	s.now = s.now.Add(d)
	for _, e := range s.eyes {
		e.landing = nil
		for _, c := range s.p.Clusters {
			e.next[c], e.grid[c] = s.now.Add(e.phase), s.now.Add(e.phase)
			e.log[c] = nil
		}
	}
	s.feed(Tick{})
}

// until runs probe by probe.
func (s *simulation) until(end time.Time) {
	for {
		at, who := s.now.Add(s.p.Round), (*eye)(nil)
		for _, e := range s.eyes {
			if t := e.wakes(&s.p); t.Before(at) {
				at, who = t, e
			}
		}
		if wake := NextWake(&s.s, &s.p, s.now); wake.Before(at) {
			at, who = wake, nil
		}
		if at.After(end) {
			s.now = end
			return
		}
		s.now = later(at, s.now)
		if who == nil {
			s.feed(Tick{})
			continue
		}
		s.turn(who)
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (e *eye) wakes(p *Policy) time.Time {
	t := e.next[p.Clusters[0]]
	if x := e.next[p.Clusters[1]]; x.Before(t) {
		t = x
	}
	for _, l := range e.landing {
		if l.at.Before(t) {
			t = l.at
		}
	}
	return t
}

// turn sends what is due and counts what has landed.
func (s *simulation) turn(e *eye) {
	landed := false
	slices.SortFunc(e.landing, func(a, b landing) int { return a.at.Compare(b.at) })
	for len(e.landing) > 0 && !e.landing[0].at.After(s.now) {
		l := e.landing[0]
		e.landing = e.landing[1:]
		if l.extra {
			e.count[l.cluster] = e.count[l.cluster].Recheck(l.ok, l.sent, s.p.Count)
		} else {
			e.count[l.cluster] = e.count[l.cluster].Add(l.ok, l.sent, s.p.Count)
		}
		e.log[l.cluster] = append(e.log[l.cluster], l.probed)
		e.plan(&s.p, l.cluster, s.now)
		landed = true
	}
	for _, c := range s.p.Clusters {
		if e.next[c].After(s.now) {
			continue
		}
		l := s.probe(c)
		if l.extra = s.now.Before(e.grid[c]); !l.extra {
			e.grid[c] = e.grid[c].Add(s.p.Round)
		}
		e.landing = append(e.landing, l)
		e.next[c] = e.grid[c] // the answer may bring it forward
	}
	if landed {
		s.feed(s.word(e))
	}
}

// plan is what healthcheck's scheduler promises: re-checks after a miss until
// the vote, confirming probes for one round from the end of ride_out on.
func (e *eye) plan(p *Policy, c ClusterName, now time.Time) {
	n := e.count[c]
	s := n.Sighting(p.Count)
	again := now.Add(p.Burst)
	switch {
	case n.Missing():
		e.next[c] = earlier(again, e.next[c])
	case s.Vote == Down && s.Misses > 0:
		from := s.FirstMiss.Add(p.RideOut)
		if x := later(from, again); !x.After(from.Add(p.Round)) && x.Before(e.next[c]) {
			e.next[c] = x
		}
	}
}

func (s *simulation) probe(c ClusterName) landing {
	l := landing{cluster: c, probed: probed{sent: s.now, ok: true}, at: s.now.Add(2 * time.Millisecond)}
	in := s.hits[c] && !s.now.Before(s.from) && s.now.Before(s.to)
	switch {
	case in && !s.silent:
		l.ok, l.at = false, s.now.Add(time.Millisecond)
	case in, s.rnd.Float64() < s.loss:
		l.ok, l.at = false, s.now.Add(s.p.Timeout)
	}
	return l
}

// word is what a vantage says: what it counted, or a lie.
func (s *simulation) word(e *eye) Report {
	r := Report{Vantage: e.name, Generation: "cfg1", Want: "cfg1", Clusters: map[ClusterName]Sighting{}}
	for _, c := range s.p.Clusters {
		x := e.count[c].Sighting(s.p.Count)
		x.Identity = true
		r.Clusters[c] = x
	}
	if !e.lies {
		return r
	}
	active := ClusterName("a")
	if s.ledger != nil {
		active = s.ledger.Active
	}
	down := Sighting{Vote: Down, Misses: 99, Fall: 3, LastProbe: s.now, LastMiss: s.now, FirstMiss: s.now.Add(-time.Hour), Reason: "a lie"}
	up := Sighting{Vote: Up, Hits: 99, Rise: 3, LastProbe: s.now, UpSince: s.now.Add(-time.Hour), Identity: true}
	lie := s.lie
	if lie == "anything" {
		lie = []string{"active is down", "all is up", "standby is down", "abstains"}[s.rnd.IntN(4)]
	}
	switch lie {
	case "active is down":
		r.Clusters[active], r.Clusters[s.p.Other(active)] = down, up
	case "all is up":
		r.Clusters["a"], r.Clusters["b"] = up, up
	case "standby is down":
		r.Clusters[active], r.Clusters[s.p.Other(active)] = up, down
	case "abstains":
		r.Sick = "says nothing"
	}
	return r
}

// lostFor says how long before the moment an honest vantage has missed every
// probe of a cluster: the naive truth about an outage as it saw it.
func (e *eye) lostFor(c ClusterName, now time.Time) time.Duration {
	var first time.Time
	for _, p := range e.log[c] {
		switch {
		case p.ok:
			first = time.Time{}
		case first.IsZero():
			first = p.sent
		}
	}
	if first.IsZero() {
		return 0
	}
	return now.Sub(first)
}

// TestRideOutHolds simulates hours with a burst each that hits a cluster, or
// both, at all vantages, just shorter or just longer than ride_out, while one
// vantage of three lies. No shorter one is acted upon, no longer one is missed,
// and the loss of both clusters moves nothing. Calm stretches of an hour are
// leapt over.
func TestRideOutHolds(t *testing.T) {
	lies := []string{"", "active is down", "all is up", "standby is down", "abstains", "anything"}
	presets := []Preset{PresetHTTP, PresetTablestore}
	hours := *simulatedHours / (len(lies) * len(presets))
	for _, preset := range presets {
		for i, lie := range lies {
			t.Run(fmt.Sprintf("%s/%s", preset, lie), func(t *testing.T) {
				t.Parallel()
				s := simulate(uint64(i)+7, preset, lie)
				acted, ridden := 0, 0
				for h := range hours {
					if s.hour(t, h) {
						acted++
					} else {
						ridden++
					}
				}
				if hours > 20 && (acted == 0 || ridden == 0) {
					t.Errorf("%d bursts were acted upon, %d ridden out: both kinds are wanted", acted, ridden)
				}
			})
		}
	}
}

// hour runs one burst and says whether it was acted upon.
func (s *simulation) hour(t *testing.T, h int) bool {
	t.Helper()
	p := &s.p
	s.loss = 0
	s.leap(time.Hour)
	s.until(s.now.Add(time.Duration(p.Count.Rise+2) * p.Round))
	active := s.ledger.Active
	if s.ledger.Op != nil {
		t.Fatalf("hour %d: an operation is in hand in calm times", h)
	}
	// By when a burst that lasts must have been acted upon: the first miss
	// within a round, its time-out, ride_out, and the time-out of the probe that
	// confirms it. A lie may cost one more round at most.
	enough := p.RideOut + p.Round + 2*p.Timeout + 4*p.Burst
	s.burst = burst{
		from: s.now.Add(time.Duration(s.rnd.Int64N(int64(p.Round)))), hits: map[ClusterName]bool{active: true},
		silent: s.rnd.IntN(2) == 0,
	}
	length, long := time.Duration(0), s.rnd.IntN(2) == 0
	if both := s.rnd.IntN(8) == 0; both {
		s.hits[p.Other(active)], long = true, false
		length = p.RideOut * 2
	} else if long {
		length = enough + time.Duration(s.rnd.Int64N(int64(p.Round)))
	} else {
		length = p.RideOut - time.Duration(1+s.rnd.Int64N(int64(p.RideOut/10)))
	}
	s.to = s.from.Add(length)
	moves := len(s.moves)
	end := s.to.Add(p.RideOut + 4*p.Round)
	for s.now.Before(end) && len(s.moves) == moves {
		s.until(s.now.Add(p.Burst))
	}
	moved := len(s.moves) > moves
	switch {
	case moved && !long:
		lost := []time.Duration{}
		for _, e := range s.eyes {
			lost = append(lost, e.lostFor(active, s.now))
		}
		t.Fatalf("hour %d: a burst of %s was acted upon (ride_out %s), lost for %v:\n%s", h, length, p.RideOut, lost, auditText(s.audit))
	case !moved && long:
		t.Fatalf("hour %d: a burst of %s was missed (ride_out %s):\n%s", h, length, p.RideOut, auditText(s.audit))
	case moved && s.now.After(s.to):
		t.Fatalf("hour %d: acted %s after the end of a burst of %s", h, s.now.Sub(s.to), length)
	}
	s.until(later(end, s.now).Add(time.Duration(p.Count.Rise+2) * p.Round))
	return moved
}

// outage says whether a vantage saw one by the naive truth: it missed every
// probe for ride_out, or so many of the last ones as the policy calls too many.
func (s *simulation) outage(e *eye, c ClusterName) bool {
	n := e.count[c].Sighting(s.p.Count)
	return e.lostFor(c, s.now) >= s.p.RideOut || float64(n.Failed) >= s.p.Count.Ratio*float64(s.p.Count.Window)
}

// TestRideOutHoldsThroughLostProbes adds loss of single probes at each vantage
// on its own, all the time. Nothing is acted upon that was no outage to an
// honest vantage.
func TestRideOutHoldsThroughLostProbes(t *testing.T) {
	for _, loss := range []float64{0.01, 0.1} {
		for i, lie := range []string{"active is down", "anything"} {
			t.Run(fmt.Sprintf("%v/%s", loss, lie), func(t *testing.T) {
				t.Parallel()
				s := simulate(uint64(i)+99, PresetHTTP, lie)
				for h := range *simulatedHours / 40 {
					s.loss = loss
					s.leap(time.Hour)
					s.until(s.now.Add(time.Duration(s.p.Count.Rise+2) * s.p.Round))
					active, moves := s.ledger.Active, len(s.moves)
					s.burst = burst{from: s.now, to: s.now.Add(s.p.RideOut * 9 / 10), hits: map[ClusterName]bool{active: true}}
					for end := s.now.Add(3 * s.p.RideOut); s.now.Before(end) && len(s.moves) == moves; {
						s.until(s.now.Add(s.p.Burst))
					}
					if len(s.moves) > moves && !s.outage(s.eyes[0], active) && !s.outage(s.eyes[1], active) {
						t.Fatalf("hour %d: acted upon %s and %s, ride_out is %s:\n%s", h, s.eyes[0].lostFor(active, s.now), s.eyes[1].lostFor(active, s.now), s.p.RideOut, auditText(s.audit)+s.sights(active))
					}
				}
			})
		}
	}
}

// sights is what every vantage counted, and what of it, for a failed test.
func (s *simulation) sights(c ClusterName) string {
	out := fmt.Sprintf("burst %s to %s, now %s\n", s.from.Format("04:05.000"), s.to.Format("04:05.000"), s.now.Format("04:05.000"))
	for _, e := range s.eyes {
		out += string(e.name)
		for _, l := range e.log[c] {
			out += fmt.Sprintf(" %s %v", l.sent.Format("05.000"), l.ok)
		}
		out += fmt.Sprintf("\n  %+v\n", e.count[c].Sighting(s.p.Count))
	}
	return out
}
