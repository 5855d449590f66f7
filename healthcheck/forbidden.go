package healthcheck

import (
	"fmt"
	"net/netip"
)

// forbidden is where credentials of the machine can be fetched: link-local
// (RFC 3927, RFC 4291 section 2.5.6) and the metadata services of clouds that
// live elsewhere.
var forbidden = []netip.Prefix{
	netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("fe80::/10"),
	netip.MustParsePrefix("100.100.100.200/32"), // Alibaba Cloud
	netip.MustParsePrefix("168.63.129.16/32"),   // Azure, WireServer
	netip.MustParsePrefix("192.0.0.192/32"),     // Oracle Cloud
	netip.MustParsePrefix("fd00:ec2::254/128"),  // AWS
	netip.MustParsePrefix("fd00:ec2::23/128"),   // AWS, EKS Pod Identity; its IPv4 address is link-local
	netip.MustParsePrefix("fd20:ce::254/128"),   // Google Cloud
}

// wrapping are the networks whose IPv6 addresses lead to an IPv4 address that
// they hold, and where in them it stands.
var wrapping = []struct {
	in netip.Prefix
	at [][4]int // several where the address does not say which
	// not is what each byte of the IPv4 address is XORed with.
	not byte
}{
	{in: netip.MustParsePrefix("::/96"), at: [][4]int{{12, 13, 14, 15}}},           // IPv4-compatible, RFC 4291 section 2.5.5.1
	{in: netip.MustParsePrefix("::ffff:0:0:0/96"), at: [][4]int{{12, 13, 14, 15}}}, // IPv4-translated, RFC 2765 section 2.1
	{in: netip.MustParsePrefix("64:ff9b::/96"), at: [][4]int{{12, 13, 14, 15}}},    // NAT64, RFC 6052 section 2.1
	// Local NAT64, RFC 8215: prefixes of 48, 56, 64 and 96 bits have the
	// address in different places, around byte 8 (RFC 6052 section 2.2).
	{in: netip.MustParsePrefix("64:ff9b:1::/48"), at: [][4]int{{6, 7, 9, 10}, {7, 9, 10, 11}, {9, 10, 11, 12}, {12, 13, 14, 15}}},
	{in: netip.MustParsePrefix("2002::/16"), at: [][4]int{{2, 3, 4, 5}}},               // 6to4, RFC 3056 section 2
	{in: netip.MustParsePrefix("2001::/32"), at: [][4]int{{4, 5, 6, 7}}},               // Teredo's server, RFC 4380 section 4
	{in: netip.MustParsePrefix("2001::/32"), at: [][4]int{{12, 13, 14, 15}}, not: 255}, // and its client
}

// unwrap lists the address and every IPv4 address that it may lead to.
func unwrap(a netip.Addr) []netip.Addr {
	all := []netip.Addr{a}
	if a.Is4() {
		return all
	}
	b := a.As16()
	for _, w := range wrapping {
		if !w.in.Contains(a) {
			continue
		}
		for _, at := range w.at {
			var v4 [4]byte
			for i, n := range at {
				v4[i] = b[n] ^ w.not
			}
			all = append(all, netip.AddrFrom4(v4))
		}
	}
	return all
}

// Forbidden returns [ErrForbidden] for an address that probes must not reach:
// link-local, the metadata of a cloud, multicast, the unspecified address, and
// what leads to one of them through a translation or a tunnel. Networks in
// allow may be reached all the same, except multicast and unspecified.
//
// Loopback and private networks are not refused: clusters live in the latter,
// and the former is where labs and sidecars listen. A probe shows nothing but
// whether the configured check passes.
func Forbidden(a netip.Addr, allow []netip.Prefix) error {
	a = a.Unmap().WithZone("")
	if a.IsUnspecified() || a.IsMulticast() {
		return fmt.Errorf("%s: %w", a, ErrForbidden)
	}
	for _, x := range unwrap(a) {
		if isIn(x, forbidden) && !isIn(x, allow) && !isIn(a, allow) {
			leads := ""
			if x != a {
				leads = fmt.Sprintf(" leads to %s", x)
			}
			return fmt.Errorf("%s%s: %w (link-local or metadata; allow it by name if it is meant)", a, leads, ErrForbidden)
		}
	}
	return nil
}

func isIn(a netip.Addr, networks []netip.Prefix) bool {
	for _, p := range networks {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
