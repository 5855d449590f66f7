package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"pointsman/internal/doctor"
	"pointsman/internal/failover"
)

// discovered follows the delegation of a zone, from the parent's list and from
// the zone's own, to every address of every server that either names, and keeps
// the answer for a while, so that a verification does not hang on a resolver.
type discovered struct {
	asker func() doctor.Asker // nil: as this machine resolves

	mu    sync.Mutex
	known map[failover.RecordName]found
}

type found struct {
	addrs []netip.AddrPort
	at    time.Time
}

const (
	keepAuthorities = 5 * time.Minute
	// keepLost is how long a list counts that cannot be had anew: a resolver that
	// fails must not make a move unverifiable.
	keepLost = 24 * time.Hour
)

func (d *discovered) of(ctx context.Context, zone failover.RecordName) ([]netip.AddrPort, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.known[zone]
	if !f.at.IsZero() && time.Since(f.at) < keepAuthorities {
		return f.addrs, nil
	}
	addrs, err := d.follow(ctx, zone)
	if err != nil {
		if !f.at.IsZero() && time.Since(f.at) < keepLost {
			return f.addrs, nil
		}
		return nil, err
	}
	if d.known == nil {
		d.known = make(map[failover.RecordName]found)
	}
	d.known[zone] = found{addrs, time.Now()}
	return addrs, nil
}

// follow asks the parent and the zone. A zone that no parent delegates, as one
// that only these resolvers know, is found by its own NS records.
func (d *discovered) follow(ctx context.Context, zone failover.RecordName) ([]netip.AddrPort, error) {
	asker := askerHere()
	if d.asker != nil {
		asker = d.asker()
	}
	z := asker.SurveyZone(ctx, string(zone), nil)
	if ctx.Err() != nil {
		return nil, fmt.Errorf("discover authorities of %s: %w", zone, context.Cause(ctx))
	}
	addrs, err := delegated(z, asker.Port)
	if err != nil {
		return nil, fmt.Errorf("discover authorities of %s: %w", zone, err)
	}
	if len(addrs) == 0 {
		return nil, fmt.Errorf("discover authorities of %s: neither its parent nor a resolver names a server: list them in the config", zone)
	}
	return addrs, nil
}

// delegated is every address of every server that parent or zone names. It
// fails where one has no address: a list with a gap would let a round report an
// agreement that not every authority shares.
func delegated(z doctor.ZoneFacts, port uint16) ([]netip.AddrPort, error) {
	if port == 0 {
		port = 53
	}
	var out []netip.AddrPort
	var lacking []string
	for host, addrs := range z.Hosts {
		if len(addrs) == 0 {
			lacking = append(lacking, host)
		}
		for _, a := range addrs {
			out = append(out, netip.AddrPortFrom(a.Unmap(), port))
		}
	}
	for host, why := range z.HostErr {
		lacking = append(lacking, host+" ("+why+")")
	}
	if len(lacking) > 0 {
		slices.Sort(lacking)
		return nil, errors.New("no address of " + strings.Join(lacking, ", "))
	}
	slices.SortFunc(out, netip.AddrPort.Compare)
	return slices.Compact(out), nil
}

// askerHere asks as this machine resolves.
func askerHere() doctor.Asker {
	conf, _ := doctor.ReadResolvConf() // without the file there is its default (resolv.conf(5))
	return doctor.Asker{Resolvers: conf.Asked()}
}
