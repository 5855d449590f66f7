package healthcheck

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"pointsman/internal/failover"
)

// Target is one cluster of one instance and how it is looked at.
type Target struct {
	Instance failover.InstanceName `json:"instance"`
	Cluster  failover.ClusterName  `json:"cluster"`
	Address  string                `json:"address"`        // what is dialled: ip:port or host:port; the port may come from the check
	Name     string                `json:"name,omitempty"` // what clients call it: server name and Host; a final dot is dropped
	Identity string                `json:"identity,omitempty"`
	Other    string                `json:"other,omitempty"` // identity of the other cluster, where the check must tell both
	Place    Place                 `json:"place,omitzero"`  // for tablestore

	// Either one check or several and how they are combined.
	Check   Check   `json:"check,omitzero"`
	Checks  []Check `json:"checks,omitempty"`  // at most 8
	Combine Combine `json:"combine,omitempty"` // of Checks: All (default) or Any

	Count   failover.CountPolicy `json:"count"`
	Round   time.Duration        `json:"round"`    // between two probes
	Timeout time.Duration        `json:"timeout"`  // of one probe, below Round
	Burst   time.Duration        `json:"burst"`    // between re-checks after a first miss, and between confirming probes
	RideOut time.Duration        `json:"ride_out"` // when the confirming probes start, counted from the first miss; 0 or more

	// Watch is what is held open beside the probes; empty is off. It is no part
	// of the generation, since it never votes.
	Watch WatchMode `json:"-"`
}

// Generation is the hash of the targets of one instance. A vote bears the
// generation that its vantage probes, so votes made for other targets, or with
// other timing, do not count. Order and left-out defaults do not matter.
func Generation(targets []Target) string {
	ts := slices.Clone(targets)
	for i := range ts {
		ts[i] = ts[i].canonical()
	}
	slices.SortFunc(ts, func(a, b Target) int {
		return cmp.Or(cmp.Compare(a.Instance, b.Instance), cmp.Compare(a.Cluster, b.Cluster))
	})
	b, err := json.Marshal(ts)
	if err != nil {
		panic("healthcheck: a target is plain data and always has a JSON form: " + err.Error())
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// canonical writes out what is left out and moves ports to one place: that of
// the address with one check, and otherwise that of each check.
func (t Target) canonical() Target {
	t.Name = strings.TrimSuffix(t.Name, ".")
	if len(t.Checks) == 0 {
		t.Check = t.Check.withDefaults()
		t.Address = t.dialAddress()
		t.Check.Port = 0
		return t
	}
	t.Combine = cmp.Or(t.Combine, All)
	t.Checks = slices.Clone(t.Checks)
	for i, c := range t.Checks {
		_, port, _ := net.SplitHostPort(t.only(c).dialAddress())
		c.Port, _ = strconv.Atoi(port)
		t.Checks[i] = c.withDefaults()
	}
	t.Address, _ = t.hostPort()
	return t
}

// hostPort splits the address; the port may be missing.
func (t Target) hostPort() (host, port string) {
	host = t.Address
	if h, p, err := net.SplitHostPort(t.Address); err == nil {
		host, port = h, p
	}
	return strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"), port
}

// dialAddress is the address with the port that is dialled.
func (t Target) dialAddress() string {
	host, port := t.hostPort()
	if !t.Check.hasPort() {
		return host
	}
	if t.Check.Port != 0 {
		port = strconv.Itoa(t.Check.Port)
	}
	if port == "" {
		port = t.Check.defaultPort()
	}
	return net.JoinHostPort(host, port)
}

func (c Check) defaultPort() string {
	switch c.Type {
	case Tablestore:
		if !c.isTLS() {
			return "80"
		}
		return "443"
	case HTTP:
		return "80"
	case HTTPS, TLS, GRPCS:
		return "443"
	case DNS:
		return "53"
	default:
		return ""
	}
}

// hostHeader is what a client would send: its own name, with the port when it
// is not the scheme's (RFC 9110 section 7.2). DNS moves addresses, not ports,
// so the port that is dialled is the port that clients use.
func (t Target) hostHeader() string {
	if t.Check.Host != "" {
		return t.Check.Host
	}
	host, port, _ := net.SplitHostPort(t.dialAddress())
	if t.Name != "" {
		host = strings.TrimSuffix(t.Name, ".")
	}
	if port != t.Check.defaultPort() {
		return net.JoinHostPort(host, port)
	}
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}

func (t Target) serverName() string {
	if t.Check.ServerName != "" {
		return t.Check.ServerName
	}
	if t.Name != "" {
		return strings.TrimSuffix(t.Name, ".")
	}
	host, _, _ := net.SplitHostPort(t.dialAddress())
	return host
}

// Validate returns every fault of the target; paths are its own keys.
func (t Target) Validate() []Fault {
	var f faults
	if t.Instance == "" {
		f.add("instance", "", "is missing")
	}
	if t.Cluster == "" {
		f.add("cluster", "", "is missing")
	}
	t.validateChecks(&f)
	if one, ok := t.tablestore(); ok {
		one.validateTablestore(&f)
	}
	if t.Identity == "" && slices.ContainsFunc(t.each(), func(t Target) bool { return t.Check.Identity.Configured() }) {
		f.add("identity", "usually the name of the cluster", "is missing: the check asks who answers, but not who should")
	}
	if t.Round <= 0 {
		f.add("round", "", "must be above 0")
	}
	if t.Timeout <= 0 || t.Timeout >= t.Round {
		f.add("timeout", "", "%s must be above 0 and below round %s", t.Timeout, t.Round)
	}
	if t.Burst <= 0 || t.Burst > t.Round {
		f.add("burst", "", "%s must be above 0 and at most round %s", t.Burst, t.Round)
	}
	if t.Watch != "" && !slices.Contains(WatchModes, t.Watch) {
		f.add("watch", "", "%q is none of %v", t.Watch, WatchModes)
	}
	if t.RideOut < 0 {
		f.add("ride_out", "", "%s is negative", t.RideOut)
	}
	if t.Count.Fall < 1 {
		f.add("fall", "", "%d must be at least 1", t.Count.Fall)
	}
	if t.Count.Rise < 1 {
		f.add("rise", "", "%d must be at least 1", t.Count.Rise)
	}
	if t.Count.Window < 0 || t.Count.Window > 64 {
		f.add("window", "", "%d is outside 0 to 64", t.Count.Window)
	}
	if t.Count.Window > 0 && (t.Count.Ratio <= 0 || t.Count.Ratio > 1) {
		f.add("ratio", "", "%v is outside 0 (excluded) to 1", t.Count.Ratio)
	}
	return f
}

func (t Target) validateAddress(f *faults) {
	host, port, err := net.SplitHostPort(t.dialAddress())
	if !t.Check.hasPort() {
		host, port, err = t.dialAddress(), "", nil
	}
	switch {
	case t.Address == "":
		f.add("address", "", "is missing")
		return
	case err != nil || host == "" || strings.ContainsAny(host, " /@"):
		f.add("address", "", "%q is no host:port", t.Address)
		return
	}
	if n, err := strconv.ParseUint(port, 10, 16); t.Check.hasPort() && (err != nil || n == 0) {
		f.add("address", "", "%q has no port within 1 to 65535", t.Address)
	}
	if a, err := netip.ParseAddr(host); err != nil && strings.ContainsRune(host, ':') {
		f.add("address", "write IPv6 addresses in brackets", "%q is no host:port", t.Address)
	} else if err == nil && (a.IsUnspecified() || a.IsMulticast()) {
		f.add("address", "", "%s is no address of a single host", host)
	}
}
