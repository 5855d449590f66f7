package authority

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"pointsman/internal/failover"
)

// ZoneFile writes a zone as other name servers read it (RFC 1035 section 5):
// SOA, name servers, hosts and the managed names as the records show them. What
// a server made of it answers is what this one answers, but for the marks:
// they are left out, since nobody would compare them any more. The serial
// stands on a line of its own, to be raised by hand.
//
// Names of the configuration without a record have a comment in place of an
// answer; such a name is answered SERVFAIL here. An error says that the zone is
// not served, or that it could not be written.
func ZoneFile(w io.Writer, c Config, zone failover.RecordName, names []failover.NameRecord, serial uint32) error {
	if errs := c.Validate(); len(errs) > 0 {
		return fmt.Errorf("%w: %w", ErrConfig, errs[0])
	}
	c = c.withDefaults()
	i := slices.IndexFunc(c.Zones, func(z Zone) bool { return z.Name == zone })
	if i < 0 {
		return fmt.Errorf("zone file: %s: %w", zone, ErrNotServed)
	}
	t, err := newTree(c.Zones[i:i+1], nil)
	if err != nil {
		return fmt.Errorf("zone file: %s: %w", zone, err)
	}
	k, err := keyOf(strings.ToLower(string(zone)))
	if err != nil {
		return fmt.Errorf("zone file: %s: %w", zone, err)
	}
	z := t.zones[k]
	var b strings.Builder
	s := z.soa
	fmt.Fprintf(&b, "%s\t%d\tIN\tSOA\t%s %s (\n\t%d ; serial\n\t%d ; refresh\n\t%d ; retry\n\t%d ; expire\n\t%d ) ; minimum\n",
		s.Hdr.Name, s.Hdr.Ttl, s.Ns, s.Mbox, serial, s.Refresh, s.Retry, s.Expire, s.Minttl)
	for _, rr := range t.fixedOf(z) {
		fmt.Fprintln(&b, rr)
	}
	shown := map[string]bool{}
	for _, n := range slices.SortedFunc(slices.Values(names), func(a, b failover.NameRecord) int { return strings.Compare(string(a.Name), string(b.Name)) }) {
		if n.Zone != zone || !n.Embedded || n.Value == "" || slices.Contains(c.Zones[i].Retired, n.Name) {
			continue
		}
		owner := strings.ToLower(string(n.Name))
		shown[owner] = true
		fmt.Fprintln(&b, &dns.CNAME{
			Hdr:    dns.RR_Header{Name: owner, Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: n.TTL},
			Target: string(n.Value),
		})
	}
	for _, n := range c.Zones[i].Names {
		if owner := strings.ToLower(string(n)); !shown[owner] {
			fmt.Fprintf(&b, "; %s has no record yet\n", owner)
		}
	}
	_, err = io.WriteString(w, b.String())
	return err
}
