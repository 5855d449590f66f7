package dnsctl

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"pointsman/internal/failover"
)

// RPZConfig says where a response policy zone is changed, and who applies it.
type RPZConfig struct {
	// RFC2136Config is how the policy zone is changed at its primary. Zone is
	// the policy zone; the names in Allowed are those that clients ask for, such
	// as a vendor's, and lie outside of it. Authorities are not used.
	RFC2136Config
	// Resolvers are the addresses of every resolver that clients ask and that
	// applies the zone. Verify asks them, with recursion: no authority of the
	// name shows what they answer instead. At least one.
	Resolvers []netip.AddrPort
}

// RPZ overrides names that belong to somebody else, for the clients of the
// resolvers that apply a response policy zone (BIND's response-policy), with the
// same compare-and-swap as [RFC2136], which it is: only the records stand
// elsewhere. The CNAME of the name n stands at n.<zone>, which makes it the
// answer to every query for n ("local data", draft-vixie-dnsop-dns-rpz section
// 3.6); the certificate that the client asks for by n stays good.
//
// The mark of n stands at n._pointsman.<zone>. Everything in a policy zone is an
// answer for somebody, and this one is for a name under the top level domain
// _pointsman, which does not exist and cannot (RFC 1123 section 2.1): it is in
// nobody's way. Beside the CNAME, as elsewhere, it would answer for
// _pointsman.n, which is the owner's of n.
//
// What it does not do, whoever writes to the zone:
//
//   - Nobody but the clients of these resolvers sees it.
//   - It is one shot: the target is resolved as it is, by recursion, and not
//     looked up in a policy zone again. A target that is overridden itself
//     leads nowhere, so no name of the config may be a target.
//   - Clients that ask for DNSSEC get the vendor's signed answer, unless the
//     resolver has break-dnssec yes; those that validate refuse ours then.
//   - BIND notes a name that is new in the zone up to min-update-interval (60 s)
//     later. Another value at a name that is there is answered at once.
//   - BIND answers with max-policy-ttl (5 s) if the TTL of the record is longer.
//   - BIND answers for some milliseconds after its start before it has read its
//     policy: clients are then told what the vendor says.
type RPZ struct{ *RFC2136 }

var _ Provider = RPZ{}

// markZone is the top level domain under which marks stand in a policy zone.
const markZone = "_pointsman."

// inPolicyZone places a name as a trigger in a policy zone.
func inPolicyZone(zone failover.RecordName) placing {
	return func(name failover.RecordName) (spot, error) {
		n, err := ParseName(string(name))
		switch {
		case err != nil:
			return spot{}, err
		case n == zone || below(n, zone):
			return spot{}, fmt.Errorf("%s lies in the policy zone %s: write the name that clients ask for", n, zone)
		case below(n, markZone):
			return spot{}, fmt.Errorf("%s lies where marks stand, which no client asks for", n)
		case rpzLabel(string(n)):
			return spot{}, fmt.Errorf("%s ends in rpz-…, which a policy zone takes for something other than a name", n)
		}
		at := spot{name: n, owner: n + zone, mark: n + markZone + zone}
		if len(at.mark) > maxName {
			return spot{}, fmt.Errorf("%s is too long: its mark at %s would pass 255 octets", n, short(string(at.mark)))
		}
		return at, nil
	}
}

// rpzLabel says whether a name ends in a label by which a policy zone means an
// action (as a target: rpz-passthru, rpz-drop, rpz-tcp-only) or a trigger that is
// no name (as an owner: rpz-ip, rpz-nsdname and others). All of them begin so,
// and those to come are meant too.
func rpzLabel(canonical string) bool {
	labels := strings.Split(strings.TrimSuffix(canonical, "."), ".")
	return strings.HasPrefix(labels[len(labels)-1], "rpz-")
}

// Validate returns every fault, each with its key path.
func (c RPZConfig) Validate() []error {
	errs := c.validate(inPolicyZone)
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(c.Resolvers) == 0 {
		bad("resolvers: list every resolver that the clients ask: no authority shows what they answer")
	}
	for i, a := range c.Resolvers {
		if !a.IsValid() || a.Port() == 0 {
			bad("resolvers[%d]: %s is no address with a port", i, a)
		}
	}
	zone, err := parseZone(c.Zone)
	if err != nil {
		return errs // noted already
	}
	allowed := c.allowed()
	for _, n := range slices.Sorted(maps.Keys(allowed)) {
		for _, t := range allowed[n] {
			target := failover.RecordName(t)
			switch {
			case t == "." || rpzLabel(string(t)) || strings.HasPrefix(string(t), "*."):
				// A target must have two labels in any case; here is why.
				bad("allowed.%s: %s is an action of a policy zone, which would leave clients without an answer or with the vendor's", n, t)
			case target == zone || below(target, zone):
				bad("allowed.%s: %s lies in the policy zone, where clients find nothing", n, t)
			case allowed[target] != nil && target != n:
				bad("allowed.%s: %s is overridden itself: a policy is applied once, so clients would be sent to what it really is", n, t)
			}
		}
	}
	return errs
}

// Places are where the CNAME of a name and its mark stand in the policy zone, or
// why they cannot.
func (c RPZConfig) Places(name failover.RecordName) (owner, mark failover.RecordName, err error) {
	zone, err := parseZone(c.Zone)
	if err != nil {
		return "", "", err
	}
	at, err := inPolicyZone(zone)(name)
	return at.owner, at.mark, err
}

// Loopback says whether everything that this config speaks to is on this machine.
func (c RPZConfig) Loopback() bool {
	c.Authorities = c.Resolvers
	return c.RFC2136Config.Loopback()
}

// NewRPZ checks the config and builds the provider; it opens no connection. The
// error joins every fault that Validate finds.
func NewRPZ(c RPZConfig) (RPZ, error) {
	if errs := c.Validate(); len(errs) > 0 {
		return RPZ{}, fmt.Errorf("rpz: %w", errors.Join(errs...))
	}
	return RPZ{newRFC2136("rpz", inPolicyZone, c.RFC2136Config)}, nil
}
