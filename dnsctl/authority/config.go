package authority

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"pointsman/internal/failover"
)

// Config is what the server must know before the first record. The zero value
// of a limit means its default.
type Config struct {
	// Listen lists addresses as host:port with a literal IP address or an
	// empty host; each is served over UDP and TCP. Port 0 takes a free port,
	// the same for both.
	Listen []string `yaml:"listen"`
	Zones  []Zone   `yaml:"zones"`

	UDPInFlight  int           `yaml:"udp_in_flight"`  // most UDP queries in hand at once per address; 64
	TCPConns     int           `yaml:"tcp_conns"`      // most open TCP connections per address; 512; then the idlest makes room
	TCPPerSource int           `yaml:"tcp_per_source"` // most of them from one IPv4 address or IPv6 /64; 32
	TCPIdle      time.Duration `yaml:"tcp_idle"`       // a connection is closed after this long without a whole query, or (at most 5 s) without taking an answer; 10 s

	Keys []Key `yaml:"keys"` // of secondaries

	Transfers          int           `yaml:"transfers"`            // most zone transfers at once; 8
	TransfersPerSource int           `yaml:"transfers_per_source"` // most of them to one IPv4 address or IPv6 /64; 2
	TransfersPerMinute int           `yaml:"transfers_per_minute"` // most whole transfers of one zone to one source, which may come at once, and ten times as many incremental ones; 1 to 6,000; 60
	TransferTime       time.Duration `yaml:"transfer_time"`        // a transfer that takes longer is broken off; 1 min

	RateLimit RateLimit `yaml:"rate_limit"`
	Cookies   Cookies   `yaml:"cookies"`

	// OnPanic is told of a panic while a query was answered; the query gets
	// SERVFAIL and the server goes on. It may be called from many goroutines.
	OnPanic func(value any, stack []byte) `yaml:"-"`

	now  func() time.Time // tests: the clock of signatures
	pace *pace            // tests: of couriers
}

// Zone is one zone that is served in full. All names are fully qualified,
// with the final dot. Numbers are seconds, at most 2^31-1 (RFC 2181 section 8).
type Zone struct {
	Name       failover.RecordName   `yaml:"name"`
	NS         []failover.RecordName `yaml:"ns"`         // the first is the primary in the SOA
	Hostmaster failover.RecordName   `yaml:"hostmaster"` // mailbox with a dot for the @; hostmaster.<zone>
	TTL        uint32                `yaml:"ttl"`        // of SOA, NS and hosts; 300
	Refresh    uint32                `yaml:"refresh"`    // 300
	Retry      uint32                `yaml:"retry"`      // 60
	Expire     uint32                `yaml:"expire"`     // 604800
	Minimum    uint32                `yaml:"minimum"`    // how long resolvers remember that something is absent (RFC 2308); 30

	// Names are the managed names: SERVFAIL until a record was published,
	// then always its CNAME.
	Names []failover.RecordName `yaml:"-"`
	// Targets, where it has an entry for a managed name, lists the only
	// targets to which that name may be changed.
	Targets map[failover.RecordName][]failover.Target `yaml:"-"`
	// Retired are names that were managed and may go now. A name that is
	// neither here nor in Names, and that a record still has, is left over: it
	// answers its last commit.
	Retired []failover.RecordName `yaml:"retired"`
	// Hosts are the static A and AAAA records.
	Hosts map[failover.RecordName][]netip.Addr `yaml:"hosts"`

	// Secondaries are the servers that serve a copy of the zone. Each is told
	// of changes and may take transfers: by its key where it has one, else by
	// its address.
	Secondaries []Secondary `yaml:"secondaries"`
	// TransferKeys and TransferAddresses let others take transfers.
	TransferKeys      []failover.RecordName `yaml:"transfer_keys"`
	TransferAddresses []netip.Prefix        `yaml:"transfer_addresses"`
}

// Secondary is one server that serves a copy of a zone.
type Secondary struct {
	Address netip.AddrPort      `yaml:"address"`
	Key     failover.RecordName `yaml:"key"`    // name of one of Config.Keys; may be empty
	Silent  bool                `yaml:"silent"` // it is not told of changes, and only watched
	Hidden  bool                `yaml:"hidden"` // it does not answer clients, so what it answers is no matter of a move
}

const (
	maxTTL          = 1<<31 - 1
	maxAddresses    = 64
	defaultTTL      = 300
	defaultRefresh  = 300
	defaultRetry    = 60
	defaultExpire   = 604800
	defaultMinimum  = 30
	defaultInFlight = 64
	defaultTCPConns = 512
	defaultPerSrc   = 32
	defaultTCPIdle  = 10 * time.Second
	defaultRate     = 200
	defaultTotal    = 5000
	defaultWindow   = 5 * time.Second
	maxRate         = 1_000_000
	maxWindow       = time.Minute
	maxSlip         = 100
	maxExempt       = 64
)

func orDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// withDefaults returns a copy that shares nothing with c that New changes.
func (c Config) withDefaults() Config {
	orDefault(&c.UDPInFlight, defaultInFlight)
	orDefault(&c.TCPConns, defaultTCPConns)
	orDefault(&c.TCPPerSource, defaultPerSrc)
	orDefault(&c.TCPIdle, defaultTCPIdle)
	orDefault(&c.Transfers, defaultTransfers)
	orDefault(&c.TransfersPerSource, min(defaultTransfersPerSource, c.Transfers))
	orDefault(&c.TransfersPerMinute, defaultTransfersPerMinute)
	orDefault(&c.TransferTime, defaultTransferTime)
	orDefault(&c.RateLimit.PerSecond, defaultRate)
	orDefault(&c.RateLimit.Total, max(defaultTotal, c.RateLimit.PerSecond))
	orDefault(&c.RateLimit.Window, defaultWindow)
	orDefault(&c.RateLimit.Slip, 1)
	c.Zones = slices.Clone(c.Zones)
	for i := range c.Zones {
		z := &c.Zones[i]
		orDefault(&z.Hostmaster, "hostmaster."+z.Name)
		orDefault(&z.TTL, defaultTTL)
		orDefault(&z.Refresh, defaultRefresh)
		orDefault(&z.Retry, defaultRetry)
		orDefault(&z.Expire, defaultExpire)
		orDefault(&z.Minimum, defaultMinimum)
	}
	return c
}

// faults collects what is wrong, each with the path of its key.
type faults []error

func (f *faults) add(path, format string, args ...any) {
	*f = append(*f, fmt.Errorf("%s: %w", path, fmt.Errorf(format, args...)))
}

// Validate returns every fault, each as "path: what is wrong", with paths like
// zones[0].hosts.ns1.lab.test.[1].
func (c Config) Validate() []error {
	c = c.withDefaults()
	var f faults
	if len(c.Listen) == 0 {
		f.add("listen", "at least one address is needed, for example 127.0.0.1:5353")
	}
	for i, l := range c.Listen {
		path := fmt.Sprintf("listen[%d]", i)
		if _, err := parseListen(l); err != nil {
			f.add(path, "%w", err)
		} else if slices.Index(c.Listen, l) < i && !strings.HasSuffix(l, ":0") {
			f.add(path, "%s is listed twice", l)
		}
	}
	if len(c.Zones) == 0 {
		f.add("zones", "at least one is needed")
	}
	for _, n := range []struct {
		path string
		v    int
	}{{"udp_in_flight", c.UDPInFlight}, {"tcp_conns", c.TCPConns}, {"tcp_per_source", c.TCPPerSource}, {"transfers", c.Transfers}, {"transfers_per_source", c.TransfersPerSource}} {
		if n.v < 0 {
			f.add(n.path, "%d is negative", n.v)
		}
	}
	if c.TCPPerSource > c.TCPConns {
		f.add("tcp_per_source", "%d is above tcp_conns %d", c.TCPPerSource, c.TCPConns)
	}
	if c.TCPIdle < 0 {
		f.add("tcp_idle", "%s is negative", c.TCPIdle)
	}
	if c.TransfersPerSource > c.Transfers {
		f.add("transfers_per_source", "%d is above transfers %d", c.TransfersPerSource, c.Transfers)
	}
	if n := c.TransfersPerMinute; n < 1 || n > maxTransfersPerMinute {
		f.add("transfers_per_minute", "%d is not between 1 and %d", n, maxTransfersPerMinute)
	}
	if c.TransferTime < 0 {
		f.add("transfer_time", "%s is negative", c.TransferTime)
	}
	keys := c.validateKeys(&f)
	c.RateLimit.validate(&f)
	c.Cookies.validate(&f)
	apexes := make(map[key]failover.RecordName)
	for i := range c.Zones {
		c.Zones[i].validateTransfers(fmt.Sprintf("zones[%d]", i), c.Listen, keys, &f)
		c.Zones[i].validate(fmt.Sprintf("zones[%d]", i), apexes, &f)
	}
	return f
}

func (c RateLimit) validate(f *faults) {
	if c.PerSecond > maxRate {
		f.add("rate_limit.responses_per_second", "%d is above %d", c.PerSecond, maxRate)
	}
	if c.Total > maxRate {
		f.add("rate_limit.all_responses_per_second", "%d is above %d", c.Total, maxRate)
	}
	if c.Total > 0 && c.PerSecond > c.Total {
		f.add("rate_limit.responses_per_second", "%d is above all_responses_per_second %d", c.PerSecond, c.Total)
	}
	if c.Window < time.Second || c.Window > maxWindow {
		f.add("rate_limit.window", "%s is not between 1s and %s", c.Window, maxWindow)
	}
	if c.Slip > maxSlip {
		f.add("rate_limit.slip", "%d is above %d", c.Slip, maxSlip)
	}
	if len(c.Exempt) > maxExempt {
		f.add("rate_limit.exempt", "has %d networks, at most %d are possible", len(c.Exempt), maxExempt)
	}
	for i, p := range c.Exempt {
		if !p.IsValid() || p != p.Masked() {
			f.add(fmt.Sprintf("rate_limit.exempt[%d]", i), "%s is no network", p)
		} else if p != unmapped(p) {
			f.add(fmt.Sprintf("rate_limit.exempt[%d]", i), "%s is an IPv4 network in IPv6 form: write it as IPv4", p)
		}
	}
	if l := c.Loopback; l != "" && l != LoopbackExempt && l != LoopbackLimited {
		f.add("rate_limit.loopback", "%q is neither %q nor %q", l, LoopbackExempt, LoopbackLimited)
	}
}

func (c Cookies) validate(f *faults) {
	if len(c.Secrets) > maxSecrets {
		f.add("cookies.secret_file", "holds %d secrets, at most %d are possible", len(c.Secrets), maxSecrets)
	}
	if d := c.Demand; d != "" && d != DemandNever && d != DemandLimited {
		f.add("cookies.demand", "%q is neither %q nor %q", d, DemandNever, DemandLimited)
	}
}

// parseListen reads host:port; an empty host is every address.
func parseListen(s string) (netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%q is not host:port, for example 127.0.0.1:5353", s)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%q: port %q is not 0 to 65535", s, port)
	}
	if host == "" {
		return netip.AddrPortFrom(netip.IPv6Unspecified(), uint16(n)), nil
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%q: host %q is not an IP address: a server must not depend on resolving its own name", s, host)
	}
	return netip.AddrPortFrom(a, uint16(n)), nil
}
