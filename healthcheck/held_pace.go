package healthcheck

import "time"

const (
	// calmRounds is how long a connection has to live for its end to count as
	// the first in a row: what ends it later costs one probe in so many rounds.
	calmRounds = 20
	// A connection that ends sooner is replaced at once this often; then a
	// round later, two, four and so on; and then the watch rests.
	freeStrikes = 2
	restStrikes = 8
	// restRounds is how long the first rest is; each further one is twice as
	// long, up to longestRest.
	restRounds  = 60
	longestRest = time.Hour

	// partLife is what a connection has to live to be replaced at once when
	// its end was announced: that costs a handshake and no probe.
	partLife = time.Second
)

// pace is when another connection may be held, after the one before has
// ended. Servers end idle connections, allow few, or are restarted one by one
// behind a balancer; nothing of that may become a storm.
type pace struct {
	round   time.Duration
	strikes int // ends in a row, each soon after the beginning
	rests   int // in a row
	until   time.Time
	why     string // it rests; empty while it only waits
}

// strike counts an end.
func (p *pace) strike(now time.Time, life time.Duration, why string) {
	p.add(now, 1, life, why)
}

// blame counts a connection that was in the way of probes.
func (p *pace) blame(now time.Time, life time.Duration) {
	p.add(now, 3, life, "turns probes away while a connection is held")
}

func (p *pace) add(now time.Time, n int, life time.Duration, why string) {
	if life >= calmRounds*p.round {
		p.strikes, p.rests = 0, 0
	}
	p.strikes += n
	p.why, p.until = "", now
	switch {
	case p.strikes >= restStrikes:
		p.rest(now, why)
	case p.strikes > freeStrikes:
		p.until = now.Add(p.round << (p.strikes - freeStrikes - 1))
	}
}

// rest is for a target where a watch is of no use. One try follows it.
func (p *pace) rest(now time.Time, why string) {
	p.why, p.until = why, now.Add(min(restRounds*p.round<<min(p.rests, 20), longestRest))
	p.rests++
	p.strikes = restStrikes - 1
}

// part counts an end that was announced.
func (p *pace) part(now time.Time, life time.Duration) {
	if life < partLife {
		p.strike(now, 0, "keeps no connection open")
	}
}
