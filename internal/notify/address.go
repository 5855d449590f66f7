package notify

import (
	"errors"
	"fmt"
	"net/netip"
)

// ErrAddress: an address that messages must not be sent to.
var ErrAddress = errors.New("address is refused")

// never are the addresses where credentials of the machine can be fetched:
// link-local (RFC 3927, RFC 4291 section 2.5.6) and the metadata services of
// clouds that live elsewhere. No config may allow them: a receiver of messages
// does not live there, and a name that points there was bent.
var never = []netip.Prefix{
	netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("fe80::/10"),
	netip.MustParsePrefix("100.100.100.200/32"), // Alibaba Cloud
	netip.MustParsePrefix("168.63.129.16/32"),   // Azure, WireServer
	netip.MustParsePrefix("192.0.0.192/32"),     // Oracle Cloud
	netip.MustParsePrefix("fd00:ec2::254/128"),  // AWS
	netip.MustParsePrefix("fd00:ec2::23/128"),   // AWS, EKS Pod Identity; its IPv4 address is link-local
	netip.MustParsePrefix("fd20:ce::254/128"),   // Google Cloud
}

// inside are networks that a channel reaches only where it says so: what
// listens there trusts its neighbours.
var inside = []netip.Prefix{
	netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("::1/128"),
	netip.MustParsePrefix("10.0.0.0/8"), // RFC 1918
	netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("100.64.0.0/10"), // RFC 6598
	netip.MustParsePrefix("fc00::/7"),      // RFC 4193
	netip.MustParsePrefix("fec0::/10"),     // RFC 3879
	thisNetwork,
}

// thisNetwork is RFC 1122 section 3.2.1.3; Linux connects 0.0.0.0 to itself.
var thisNetwork = netip.MustParsePrefix("0.0.0.0/8")

// wrapping are the networks whose IPv6 addresses lead to an IPv4 address that
// they hold, and where in them it stands.
var wrapping = []struct {
	in  netip.Prefix
	at  [4]int
	not byte // what each byte of the IPv4 address is XORed with
}{
	{in: netip.MustParsePrefix("::/96"), at: [4]int{12, 13, 14, 15}},           // IPv4-compatible, RFC 4291 section 2.5.5.1
	{in: netip.MustParsePrefix("::ffff:0:0:0/96"), at: [4]int{12, 13, 14, 15}}, // IPv4-translated, RFC 2765 section 2.1
	{in: netip.MustParsePrefix("64:ff9b::/96"), at: [4]int{12, 13, 14, 15}},    // NAT64, RFC 6052 section 2.1
	{in: netip.MustParsePrefix("64:ff9b:1::/48"), at: [4]int{6, 7, 9, 10}},     // local NAT64, RFC 8215: the prefix
	{in: netip.MustParsePrefix("64:ff9b:1::/48"), at: [4]int{7, 9, 10, 11}},    // may have 48, 56, 64 or 96 bits
	{in: netip.MustParsePrefix("64:ff9b:1::/48"), at: [4]int{9, 10, 11, 12}},   // (RFC 6052 section 2.2)
	{in: netip.MustParsePrefix("64:ff9b:1::/48"), at: [4]int{12, 13, 14, 15}},
	{in: netip.MustParsePrefix("2002::/16"), at: [4]int{2, 3, 4, 5}},                // 6to4, RFC 3056 section 2
	{in: netip.MustParsePrefix("2001::/32"), at: [4]int{4, 5, 6, 7}},                // Teredo's server, RFC 4380 section 4
	{in: netip.MustParsePrefix("2001::/32"), at: [4]int{12, 13, 14, 15}, not: 0xff}, // and its client
}

// leadsTo lists the address and every IPv4 address that it may lead to.
func leadsTo(a netip.Addr) []netip.Addr {
	all := []netip.Addr{a}
	if a.Is4() || a == netip.IPv6Loopback() {
		return all
	}
	b := a.As16()
	for _, w := range wrapping {
		v4 := netip.AddrFrom4([4]byte{b[w.at[0]] ^ w.not, b[w.at[1]] ^ w.not, b[w.at[2]] ^ w.not, b[w.at[3]] ^ w.not})
		// "This network" is no place to be led to: it is what a place looks
		// like in which no address stands.
		if w.in.Contains(a) && !thisNetwork.Contains(v4) {
			all = append(all, v4)
		}
	}
	return all
}

// CheckAddress returns [ErrAddress] for an address that a channel with this
// allow must not dial: link-local, metadata, multicast and unspecified ones
// always; loopback and private ones unless a network in allow holds them.
func CheckAddress(a netip.Addr, allow []netip.Prefix) error {
	a = a.Unmap().WithZone("")
	if a.IsUnspecified() || a.IsMulticast() {
		return fmt.Errorf("%s: %w: nobody listens there", a, ErrAddress)
	}
	for _, x := range leadsTo(a) {
		leads := ""
		if x != a {
			leads = fmt.Sprintf(" leads to %s", x)
		}
		if within(x, never) {
			return fmt.Errorf("%s%s: %w: it is link-local or the metadata of a cloud", a, leads, ErrAddress)
		}
		if within(x, inside) && !within(x, allow) && !within(a, allow) {
			return fmt.Errorf("%s%s: %w: it is loopback or private, and the channel's allow does not name it", a, leads, ErrAddress)
		}
	}
	return nil
}

func within(a netip.Addr, networks []netip.Prefix) bool {
	for _, p := range networks {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
