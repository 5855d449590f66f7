package dnsctl

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"pointsman/internal/failover"
)

// Resolver finds name servers and addresses; *net.Resolver is one.
type Resolver interface {
	LookupNS(ctx context.Context, name string) ([]*net.NS, error)
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// dnsPort is the port on which authorities answer (RFC 1035 section 4.2).
const dnsPort = 53

// Discover returns every address of every name server of the zone, sorted,
// each once. It fails when one of the servers has no address: a list with a
// gap would let Verify report an agreement that not every authority shares.
// The servers are those that the resolver knows, which is the parent's or the
// child's list as it chooses; where the two differ, configure the addresses.
func Discover(ctx context.Context, zone failover.RecordName, r Resolver) ([]netip.AddrPort, error) {
	z, err := parseZone(string(zone))
	if err != nil {
		return nil, fmt.Errorf("discover authorities: %w", err)
	}
	servers, err := r.LookupNS(ctx, string(z))
	if err != nil {
		return nil, fmt.Errorf("discover authorities of %s: %w", z, err)
	}
	if len(servers) == 0 {
		return nil, fmt.Errorf("discover authorities of %s: it has no NS records: is it the apex of a zone?", z)
	}
	var out []netip.AddrPort
	for _, ns := range servers {
		addrs, err := r.LookupNetIP(ctx, "ip", ns.Host)
		if err != nil {
			return nil, fmt.Errorf("discover authorities of %s: address of %s: %w", z, ns.Host, err)
		}
		if len(addrs) == 0 {
			return nil, fmt.Errorf("discover authorities of %s: %s has no address", z, ns.Host)
		}
		for _, a := range addrs {
			out = append(out, netip.AddrPortFrom(a.Unmap(), dnsPort))
		}
	}
	slices.SortFunc(out, netip.AddrPort.Compare)
	return slices.Compact(out), nil
}
