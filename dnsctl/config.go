package dnsctl

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"pointsman/internal/failover"
)

// DefaultTimeout is how long one read or write may take, connecting included.
const DefaultTimeout = 3 * time.Second

// RFC2136Config says where and how the names of one zone are changed.
type RFC2136Config struct {
	Server string // host:port of the zone's primary, TCP; an address is better than a name that may not resolve in time
	Zone   string // the zone's apex, not the instance's name
	Key    Key    // not needed with ReadOnly, and then not kept

	// Timeout bounds each Read and each Write as a whole; 0 is DefaultTimeout.
	Timeout time.Duration

	// Allowed lists, for each name, the only targets that may ever be
	// written. A name that is missing cannot be written.
	Allowed map[failover.RecordName][]failover.Target

	// Authorities are the addresses that Verify asks; empty means that they
	// are to be found by the delegation. They matter here only to Loopback.
	Authorities []netip.AddrPort

	// ReadOnly builds a provider that holds no key and cannot send an update.
	// Its reads are plain queries.
	ReadOnly bool

	// WritesPerSecond bounds the rate of updates; 0 is no bound. A write
	// waits for its turn within the time that its context has. WriteBurst is
	// how many may go at once, 0 is 1.
	WritesPerSecond float64
	WriteBurst      int

	// Now is the clock that signs requests; nil is time.Now.
	Now func() time.Time
}

// Validate returns every fault, each with its key path.
func (c RFC2136Config) Validate() []error { return c.validate(inZone) }

func (c RFC2136Config) validate(where func(zone failover.RecordName) placing) []error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if err := checkServer(c.Server); err != nil {
		bad("server: %w", err)
	}
	zone, err := parseZone(c.Zone)
	if err != nil {
		bad("zone: %w", err)
	}
	if !c.ReadOnly {
		errs = append(errs, c.Key.Validate()...)
	}
	if c.Timeout < 0 {
		bad("timeout: %s must not be negative", c.Timeout)
	}
	if c.WritesPerSecond < 0 || c.WriteBurst < 0 {
		bad("writes_per_second, write_burst: must not be negative")
	}
	for i, a := range c.Authorities {
		if !a.IsValid() || a.Port() == 0 {
			bad("authorities[%d]: %s is no address with a port", i, a)
		}
	}
	return append(errs, allowedFaults(c.Allowed, zone, where)...)
}

// allowedFaults returns what is wrong with a list of targets, of names that
// where places in the zone; zone is empty where it is not known.
func allowedFaults(allowed map[failover.RecordName][]failover.Target, zone failover.RecordName, where func(zone failover.RecordName) placing) []error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for _, raw := range sortedNames(allowed) {
		n, err := ParseName(string(raw))
		if err == nil && zone != "" {
			_, err = where(zone)(n)
		}
		if err != nil {
			bad("allowed: %w", err)
		}
		if n == "" {
			continue
		}
		if len(allowed[raw]) == 0 {
			bad("allowed.%s: has no target", n)
		}
		for _, rt := range allowed[raw] {
			t, err := ParseTarget(string(rt))
			switch {
			case err != nil:
				bad("allowed.%s: %w", n, err)
			case string(t) == string(n) || t == failover.Target(MarkName(n)):
				bad("allowed.%s: %s would make it point at itself", n, t)
			}
		}
	}
	return errs
}

func apexFault(n failover.RecordName) error {
	return fmt.Errorf("%s is the apex of its zone, where SOA and NS live: a CNAME may not stand there (RFC 1034 section 3.6.2); use a name below it", n)
}

func checkServer(s string) error {
	host, port, err := net.SplitHostPort(s)
	if err != nil || host == "" {
		return fmt.Errorf("%q is not host:port", s)
	}
	if p, err := strconv.ParseUint(port, 10, 16); err != nil || p == 0 {
		return fmt.Errorf("%q has no port from 1 to 65535", s)
	}
	if _, err := netip.ParseAddr(host); err != nil {
		if _, _, err := labels(host); err != nil {
			return fmt.Errorf("host %q %w", host, err)
		}
	}
	return nil
}

// Loopback says whether everything that this config speaks to is on this
// machine. A host name other than localhost counts as outside, because what it
// resolves to may change.
func (c RFC2136Config) Loopback() bool {
	host, _, err := net.SplitHostPort(c.Server)
	if err != nil {
		return false
	}
	if strings.TrimSuffix(strings.ToLower(host), ".") != "localhost" {
		a, err := netip.ParseAddr(host)
		if err != nil || !a.Unmap().IsLoopback() {
			return false
		}
	}
	return !slices.ContainsFunc(c.Authorities, func(a netip.AddrPort) bool { return !a.Addr().Unmap().IsLoopback() })
}

// allowed returns the canonical form of Allowed.
func (c RFC2136Config) allowed() map[failover.RecordName][]failover.Target {
	return canonicalAllowed(c.Allowed)
}

func canonicalAllowed(allowed map[failover.RecordName][]failover.Target) map[failover.RecordName][]failover.Target {
	out := make(map[failover.RecordName][]failover.Target, len(allowed))
	for n, ts := range allowed {
		k := failover.RecordName(canonical(string(n)))
		for _, t := range ts {
			out[k] = append(out[k], failover.Target(canonical(string(t))))
		}
	}
	return out
}

// NewRFC2136 checks the config and builds the provider; it opens no
// connection. The error joins every fault that Validate finds.
func NewRFC2136(c RFC2136Config) (*RFC2136, error) {
	if errs := c.Validate(); len(errs) > 0 {
		return nil, fmt.Errorf("rfc2136: %w", errors.Join(errs...))
	}
	return newRFC2136("rfc2136", inZone, c), nil
}

// Capabilities of a provider with this config; no provider need be built.
func (c RFC2136Config) Capabilities() Capabilities {
	return Capabilities{CompareAndSwap: true, Atomic: true, Mark: "txt"}
}
