package authority

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// place is where a transfer is counted.
type place struct {
	who netip.Addr
	own bool // of a secondary: whatever others do, it has its places
}

// gate bounds the transfers at one time: of everybody together and of one
// source, and of each secondary.
type gate struct {
	mu    sync.Mutex
	all   int // but those of secondaries
	taken map[place]int
}

func (g *gate) enter(p place, c *Config) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !p.own && g.all >= c.Transfers || g.taken[p] >= c.TransfersPerSource {
		return false
	}
	if g.taken == nil {
		g.taken = make(map[place]int)
	}
	if !p.own {
		g.all++
	}
	g.taken[p]++
	return true
}

func (g *gate) leave(p place) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !p.own {
		g.all--
	}
	if g.taken[p]--; g.taken[p] <= 0 {
		delete(g.taken, p)
	}
}

// now counts the transfers of this moment.
func (g *gate) now() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := 0
	for _, k := range g.taken {
		n += k
	}
	return n
}

const (
	// transferSets makes room for some thousand pairs of source and zone. Who
	// has no right to a zone never gets into it.
	transferSets = 128
	// stepsForWhole is how many incremental transfers may be had for a whole one.
	stepsForWhole = 10
)

// transferPace is a bound of how often one source may have one zone.
type transferPace int8

const (
	paceFull transferPace = iota
	paceStep
	transferPaces
)

func paceOf(since *dns.SOA) transferPace {
	if since == nil {
		return paceFull
	}
	return paceStep
}

type paces [transferPaces]quota

func pacesOf(perMinute int) (p paces) {
	for i, n := range [transferPaces]int{perMinute, perMinute * stepsForWhole} {
		p[i] = quota{every: uint64(time.Minute) / tick / uint64(n), ahead: uint64(time.Minute) / tick}
	}
	return p
}

// mayTake takes one transfer of a zone to a source out of its bucket.
func (s *Server) mayTake(p *paces, from netip.Addr, z *zone, what transferPace) bool {
	who := struct {
		from netip.Addr
		zone string
		what transferPace
	}{payer(from), z.name, what}
	return s.pacer.take(&p[what], maphash.Comparable(s.pacer.seed, who), s.pacer.now()&moment)
}
