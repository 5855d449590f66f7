package main

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"pointsman/dnsctl"
	"pointsman/internal/failover"
)

// surveys are the single answers of the newest round of each name, for people.
// They outlive a reload. A nil one keeps nothing.
type surveys struct {
	mu      sync.Mutex
	of      map[failover.RecordName][]dnsctl.Sight
	serials map[failover.RecordName]time.Time // when the zone was last asked for its serials
}

// serialsEvery is the least time between two rounds that ask for the serials of
// a zone: a confirmation asks for the name four times a second.
const serialsEvery = 2 * time.Second

// wantSerials says whether the round should ask for them, and notes that it does.
func (s *surveys) wantSerials(names []dnsctl.VerifyName) bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now, want := time.Now(), false
	for _, n := range names {
		want = want || now.Sub(s.serials[n.Zone]) >= serialsEvery
	}
	if !want {
		return false
	}
	if s.serials == nil {
		s.serials = make(map[failover.RecordName]time.Time)
	}
	for _, n := range names {
		s.serials[n.Zone] = now
	}
	return true
}

// note keeps a round. A serial that was not asked for stays as it was known.
func (s *surveys) note(round map[failover.RecordName][]dnsctl.Sight) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of == nil {
		s.of = make(map[failover.RecordName][]dnsctl.Sight)
	}
	for n, seen := range round {
		for i := range seen {
			if seen[i].Serial != 0 || seen[i].Rcode == "" {
				continue
			}
			k := slices.IndexFunc(s.of[n], func(x dnsctl.Sight) bool { return x.At == seen[i].At && x.Net == seen[i].Net })
			if k >= 0 {
				seen[i].Serial = s.of[n][k].Serial
			}
		}
		s.of[n] = seen
	}
}

// last is the newest round of a name.
func (s *surveys) last(n failover.RecordName) []dnsctl.Sight {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.of[n]
}

// distinct are the addresses as people write them, each once.
func distinct(at []netip.AddrPort) []string {
	out := make([]string, 0, len(at))
	for _, a := range at {
		if a.Port() == 53 {
			out = append(out, a.Addr().String())
		} else {
			out = append(out, a.String())
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
