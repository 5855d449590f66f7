package dnsctl

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/idna"

	"pointsman/internal/failover"
)

// Defaults of [CloudConfig].
const (
	// DefaultCloudTimeout bounds one Read or Write at a cloud API; one request
	// has half of it, so that one that hangs leaves time for a second.
	DefaultCloudTimeout = 3 * time.Second
	// DefaultSettle is how long a request that was given up is taken to be
	// able to take effect. The only bound that the vendor gives is the life of
	// its signature, 15 minutes (InvalidTimeStamp.Expired); this is a bet on
	// the network between, and stated as one.
	DefaultSettle = 30 * time.Second
	// maxSettle is that life.
	maxSettle = 15 * time.Minute
	// DefaultRequestsPerSecond is half of the least quota of the actions used:
	// 60 updates a second, for each account and action.
	DefaultRequestsPerSecond = 30
)

// CloudConfig is what Alibaba Cloud DNS and PrivateZone have in common.
type CloudConfig struct {
	// Endpoint is a host name, with https:// or without, or, towards this
	// machine only, http:// and a loopback address. Empty is the vendor's.
	Endpoint string
	Zone     string // the zone's apex

	// Credentials are those that may write. With ReadOnly they are not
	// touched, unless they are a role whose session can be narrowed.
	Credentials CloudCredentials
	// ReadCredentials are those of a dry run: they cannot write.
	ReadCredentials CloudCredentials
	ReadOnly        bool // sends Describe* only, whatever the credentials may

	// Timeout bounds each Read and each Write as a whole; 0 is DefaultCloudTimeout.
	Timeout time.Duration
	// Settle is how long a request that was given up may still take effect;
	// 0 is DefaultSettle, at most 15 minutes.
	Settle time.Duration
	// RequestsPerSecond is how many updates a second this provider sends at
	// most, and how many reads of names that are being moved; twice as many
	// serve routine reads. 0 is DefaultRequestsPerSecond.
	RequestsPerSecond float64

	// Allowed lists, for each name, the only targets that may ever be
	// written. A name that is missing cannot be written.
	Allowed map[failover.RecordName][]failover.Target
	// Records pins, for each name and line, the ID of the record. What is not
	// pinned here is pinned at the first reading.
	Records map[failover.RecordName]map[string]string

	// Proxy is the URL of an HTTP proxy. The environment's are not used.
	Proxy string
	// CAFile holds the certificates, PEM, that the endpoint's is signed by;
	// empty: those of the system.
	CAFile string

	// ReadFile reads a file of secrets; nil refuses what others may read.
	ReadFile func(path string) ([]byte, error)
	// Now is the clock of everything that waits or expires; nil is time.Now.
	Now func() time.Time
}

// AlidnsConfig says where and how the names of one zone at Alibaba Cloud DNS
// are changed.
type AlidnsConfig struct {
	CloudConfig

	// Authorities are the addresses that Verify asks, as in RFC2136Config.
	Authorities []netip.AddrPort
}

// PvtzConfig is the same for one zone of PrivateZone.
type PvtzConfig struct {
	CloudConfig

	ZoneID string // of the zone; its name alone does not tell which
	// Override says that the zone bears somebody else's name and holds only
	// what it overrides: without the proxy pattern RECORD every other name
	// below it would be gone for the clients, so nothing is written then.
	Override bool
	// VPCs are the IDs of those that the zone should be bound to; for Inspect.
	VPCs []string
}

// CloudCredentials say where the key of requests comes from: exactly one of
// File, Env, ECSRole and OIDCTokenFile, and after it, where RoleARN is set,
// the role that is taken on. There is no way to write a key into a config.
type CloudCredentials struct {
	// File holds JSON: AccessKeyId, AccessKeySecret and, for STS,
	// SecurityToken. It is read again when it changes.
	File string
	// Env takes ALIBABA_CLOUD_ACCESS_KEY_ID, ALIBABA_CLOUD_ACCESS_KEY_SECRET
	// and ALIBABA_CLOUD_SECURITY_TOKEN.
	Env bool
	// ECSRole is the role of the machine, from the metadata service (v2 only).
	ECSRole string
	// OIDCTokenFile and OIDCProviderARN take RoleARN on with a token that
	// somebody else writes and rotates.
	OIDCTokenFile   string
	OIDCProviderARN string

	RoleARN     string
	RoleSession string        // shown in the vendor's audit; empty is pointsman
	ExternalID  string        // of AssumeRole
	Duration    time.Duration // of a session; 0 is an hour

	STSEndpoint      string // as Endpoint; empty is sts.aliyuncs.com
	MetadataEndpoint string // empty is the vendor's http://100.100.100.200
}

// Capabilities of a provider with this config; no provider need be built.
func (c CloudConfig) Capabilities() Capabilities {
	return Capabilities{Mark: "remark", Lines: true, Settle: cmp.Or(c.Settle, DefaultSettle)}
}

// IsZero says that nothing was said.
func (c CloudCredentials) IsZero() bool { return c == CloudCredentials{} }

func (c CloudCredentials) validate(key string) []error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	n := 0
	for _, on := range []bool{c.File != "", c.Env, c.ECSRole != "", c.OIDCTokenFile != ""} {
		if on {
			n++
		}
	}
	if n != 1 {
		bad("%s: exactly one of file, env, ecs_role and oidc_token_file says where the key comes from, %d do", key, n)
	}
	if c.OIDCTokenFile != "" && (c.RoleARN == "" || c.OIDCProviderARN == "") {
		bad("%s.oidc_token_file: role_arn and oidc_provider_arn are needed with it", key)
	}
	if c.OIDCTokenFile == "" && c.OIDCProviderARN != "" {
		bad("%s.oidc_provider_arn: goes with oidc_token_file alone", key)
	}
	if c.RoleARN != "" && !strings.HasPrefix(c.RoleARN, "acs:ram::") {
		bad("%s.role_arn: %q is not acs:ram::ACCOUNT:role/NAME", key, c.RoleARN)
	}
	if c.ECSRole != "" && !ramName.MatchString(c.ECSRole) {
		bad("%s.ecs_role: %q is no name of a role", key, c.ECSRole)
	}
	if c.Duration != 0 && (c.Duration < 15*time.Minute || c.Duration > 12*time.Hour) {
		bad("%s.duration: %s is outside 15m to 12h", key, c.Duration)
	}
	for name, at := range map[string]string{"sts_endpoint": c.STSEndpoint, "metadata_endpoint": c.MetadataEndpoint} {
		if at != "" {
			if _, err := parseEndpoint(at); err != nil {
				bad("%s.%s: %w", key, name, err)
			}
		}
	}
	return errs
}

func (c CloudCredentials) loopback() bool {
	if (c.RoleARN != "" || c.STSEndpoint != "") && !endpointIsLoopback(c.STSEndpoint) {
		return false
	}
	return c.ECSRole == "" || endpointIsLoopback(c.MetadataEndpoint)
}

var (
	ramName  = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)
	recordID = regexp.MustCompile(`^[1-9][0-9]{0,19}$`)
	lineCode = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)
)

// endpoint is where an API is reached.
type endpoint struct{ scheme, host string }

// parseEndpoint accepts plain HTTP towards this machine only.
func parseEndpoint(s string) (endpoint, error) {
	scheme, host, ok := strings.Cut(s, "://")
	if !ok {
		scheme, host = "https", s
	}
	u, err := url.Parse(scheme + "://" + host)
	switch {
	case err != nil, u.Host == "", u.Host != host, u.User != nil:
		return endpoint{}, fmt.Errorf("%q is no host, and no https://host[:port] without anything behind it", s)
	case scheme != "https" && scheme != "http":
		return endpoint{}, fmt.Errorf("%q: only https, or http towards a loopback address", s)
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.ParseUint(p, 10, 16); err != nil || n == 0 {
			return endpoint{}, fmt.Errorf("%q has no port from 1 to 65535", s)
		}
	}
	if _, err := netip.ParseAddr(u.Hostname()); err != nil {
		if _, _, err := labels(u.Hostname()); err != nil {
			return endpoint{}, fmt.Errorf("host %q %w", u.Hostname(), err)
		}
	}
	e := endpoint{scheme: scheme, host: host}
	if scheme == "http" && !e.loopback() {
		return endpoint{}, fmt.Errorf("%q: the key would be signed into plain text: use https; http is for a loopback address only", s)
	}
	return e, nil
}

func (e endpoint) loopback() bool {
	u, err := url.Parse(e.scheme + "://" + e.host)
	if err != nil {
		return false
	}
	if strings.EqualFold(u.Hostname(), "localhost") {
		return true
	}
	a, err := netip.ParseAddr(u.Hostname())
	return err == nil && a.Unmap().IsLoopback()
}

func endpointIsLoopback(s string) bool {
	e, err := parseEndpoint(s)
	return err == nil && e.loopback()
}

// Validate returns every fault of the part that both have, each with its key path.
func (c CloudConfig) Validate() []error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Endpoint != "" {
		if _, err := parseEndpoint(c.Endpoint); err != nil {
			bad("endpoint: %w", err)
		}
	}
	zone, err := parseZone(c.Zone)
	if err != nil {
		bad("zone: %w", err)
	}
	switch {
	case !c.ReadOnly:
		errs = append(errs, c.Credentials.validate("credentials")...)
	case !c.ReadCredentials.IsZero():
		errs = append(errs, c.ReadCredentials.validate("read_credentials")...)
	case c.Credentials.RoleARN == "":
		bad("read_credentials: is missing: a dry run holds no key that could write; give it one that may only Describe, or a role_arn, whose session is narrowed to that")
	default:
		errs = append(errs, c.Credentials.validate("credentials")...)
	}
	if c.Timeout < 0 {
		bad("timeout: %s must not be negative", c.Timeout)
	}
	if c.Settle < 0 || c.Settle > maxSettle {
		bad("settle: %s is outside 0 to %s, the life of a signed request", c.Settle, maxSettle)
	}
	if !(c.RequestsPerSecond >= 0) || c.RequestsPerSecond > 60 && !endpointIsLoopback(c.Endpoint) {
		bad("requests_per_second: %g is outside 0 to 60, the vendor's quota of updates for a whole account", c.RequestsPerSecond)
	}
	if c.Proxy != "" {
		if u, err := url.Parse(c.Proxy); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			bad("proxy: is no http://host:port") // it may hold a password
		}
	}
	if c.CAFile != "" {
		if _, err := os.Stat(c.CAFile); err != nil {
			bad("ca_file: %w", err)
		}
	}
	if err := checkDebug(); err != nil {
		errs = append(errs, err)
	}
	errs = append(errs, allowedFaults(c.Allowed, zone, inZone)...)
	return append(errs, c.pinFaults(zone)...)
}

// checkDebug refuses the one variable with which the vendor's library prints
// signatures and tokens of every request to standard output.
func checkDebug() error {
	if slices.Contains(strings.Split(os.Getenv("DEBUG"), ","), "sdk") {
		return errors.New("environment: DEBUG holds sdk, with which the vendor's library prints keys and signatures to standard output: unset it")
	}
	return nil
}

func (c CloudConfig) pinFaults(zone failover.RecordName) []error {
	var errs []error
	for _, raw := range sortedNames(c.Records) {
		n, err := ParseName(string(raw))
		if err != nil {
			errs = append(errs, fmt.Errorf("records: %w", err))
			continue
		}
		if zone != "" && !below(n, zone) {
			errs = append(errs, fmt.Errorf("records: %s does not lie in the zone %s", n, zone))
		}
		for line, id := range c.Records[raw] {
			if !lineCode.MatchString(line) {
				errs = append(errs, fmt.Errorf("records.%s: %q is no code of a line", n, line))
			}
			if !recordID.MatchString(id) {
				errs = append(errs, fmt.Errorf("records.%s.%s: %q is no ID of a record", n, line, id))
			}
		}
	}
	return errs
}

func sortedNames[T any](m map[failover.RecordName]T) []failover.RecordName {
	names := make([]failover.RecordName, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// Loopback says whether everything that this config speaks to is on this machine.
func (c CloudConfig) Loopback() bool {
	if !endpointIsLoopback(c.Endpoint) || c.Proxy != "" {
		return false
	}
	if c.ReadOnly && !c.ReadCredentials.IsZero() {
		return c.ReadCredentials.loopback()
	}
	return c.Credentials.loopback()
}

// Loopback says whether everything that this config speaks to is on this machine.
func (c AlidnsConfig) Loopback() bool {
	return c.CloudConfig.Loopback() &&
		!slices.ContainsFunc(c.Authorities, func(a netip.AddrPort) bool { return !a.Addr().Unmap().IsLoopback() })
}

// Validate returns every fault, each with its key path.
func (c AlidnsConfig) Validate() []error {
	errs := c.CloudConfig.Validate()
	for i, a := range c.Authorities {
		if !a.IsValid() || a.Port() == 0 {
			errs = append(errs, fmt.Errorf("authorities[%d]: %s is no address with a port", i, a))
		}
	}
	return errs
}

var zoneID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// Validate returns every fault, each with its key path.
func (c PvtzConfig) Validate() []error {
	errs := c.CloudConfig.Validate()
	if !zoneID.MatchString(c.ZoneID) {
		errs = append(errs, fmt.Errorf("zone_id: %q is no ID of a zone: it stands beside its name in the console", c.ZoneID))
	}
	return errs
}

// toASCII brings a name of an answer into the form that we compare: a zone
// with letters outside ASCII is answered in either form.
func toASCII(s string) string {
	a, err := idna.Punycode.ToASCII(strings.ToLower(s))
	if err != nil {
		return canonical(s)
	}
	return canonical(a)
}
