package authority

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"sync"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"
)

// couriers are the couriers of all secondaries. The zero value has none.
type couriers struct {
	mu      sync.Mutex
	all     map[errand]*courier
	byZone  map[string][]*courier // the same, by address
	changed chan struct{}         // holds one: set changed all
}

// set makes the couriers fit the configuration; those that stay keep what they
// know.
func (cs *couriers) set(s *Server, v *view) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	next, byZone := make(map[errand]*courier), make(map[string][]*courier)
	for _, z := range v.cfg.Zones {
		for _, sec := range z.Secondaries {
			e := errand{zone: string(canonical(z.Name)), to: sec.Address}
			k := cs.all[e]
			if k == nil {
				k = &courier{errand: e, s: s, wake: make(chan struct{}, 1), pace: usualPace}
				if v.cfg.pace != nil {
					k.pace = *v.cfg.pace
				}
			}
			k.take(sec, v.keys)
			if next[e] == nil {
				byZone[e.zone] = append(byZone[e.zone], k)
			}
			next[e] = k
		}
	}
	for _, all := range byZone {
		slices.SortFunc(all, func(a, b *courier) int { return a.to.Compare(b.to) })
	}
	cs.all, cs.byZone = next, byZone
	cs.poke(cs.changes())
}

// take takes over what the configuration says of the secondary.
func (c *courier) take(conf Secondary, keys keyring) {
	var key *tsigKey
	if conf.Key != "" {
		if key = keys[dns.CanonicalName(string(conf.Key))]; key == nil {
			key = &tsigKey{name: string(conf.Key)}
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conf == conf && c.key == key {
		return
	}
	c.conf, c.key, c.anew = conf, key, true
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// changes is made on first use; callers hold mu.
func (cs *couriers) changes() chan struct{} {
	if cs.changed == nil {
		cs.changed = make(chan struct{}, 1)
	}
	return cs.changed
}

func (cs *couriers) poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// tell wakes the couriers of a zone.
func (cs *couriers) tell(zone string) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for _, k := range cs.byZone[zone] {
		cs.poke(k.wake)
	}
}

// tellAll wakes every courier.
func (cs *couriers) tellAll() {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for _, k := range cs.all {
		cs.poke(k.wake)
	}
}

// run runs every courier, those too that come and go meanwhile, until ctx ends.
func (cs *couriers) run(ctx context.Context) {
	var g errgroup.Group
	defer func() { _ = g.Wait() }() // couriers return no errors
	running := make(map[*courier]context.CancelFunc)
	defer func() {
		for _, stop := range running {
			stop()
		}
	}()
	for {
		cs.mu.Lock()
		all, changed := cs.all, cs.changes()
		cs.mu.Unlock()
		for k, stop := range running {
			if all[k.errand] != k {
				stop()
				delete(running, k)
			}
		}
		for _, k := range all {
			if running[k] == nil {
				kctx, stop := context.WithCancel(ctx)
				running[k] = stop
				g.Go(func() error { k.run(kctx); return nil })
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

// stats lists the secondaries by zone and address.
func (cs *couriers) stats() []SecondaryStats {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	var out []SecondaryStats
	for _, zone := range slices.Sorted(maps.Keys(cs.byZone)) {
		out = append(out, statsOf(cs.byZone[zone])...)
	}
	return out
}

// of lists the secondaries of one zone by address. It is asked for every name.
func (cs *couriers) of(zone string) []SecondaryStats {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return statsOf(cs.byZone[zone])
}

func statsOf(all []*courier) []SecondaryStats {
	var out []SecondaryStats
	for _, k := range all {
		out = append(out, k.stats())
	}
	return out
}

// callFrom is the address from which a secondary expects us: the one at which
// we serve, when there is just one of its kind.
func (s *Server) callFrom(to netip.Addr) netip.Addr {
	var from netip.Addr
	for _, a := range s.Addrs() {
		a := a.Addr().Unmap()
		switch {
		case a.IsUnspecified():
			return netip.Addr{}
		case a.Is4() != to.Is4() || a.IsLoopback() != to.IsLoopback():
		case from.IsValid() && from != a:
			return netip.Addr{}
		default:
			from = a
		}
	}
	return from
}
