package config

import (
	"errors"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"pointsman/dnsctl"
	"pointsman/internal/failover"
)

// The types of providers.
const (
	TypeRFC2136 = "rfc2136"
	TypeRPZ     = "rpz"
	TypeAlidns  = "alidns"
	TypePvtz    = "pvtz"
	TypeLibDNS  = "libdns"
)

var providerTypes = []string{TypeRFC2136, TypeRPZ, TypeAlidns, TypePvtz, TypeLibDNS}

var (
	updateTypes = []string{TypeRFC2136, TypeRPZ}
	cloudTypes  = []string{TypeAlidns, TypePvtz}
	blindTypes  = []string{TypeAlidns, TypePvtz, TypeLibDNS} // they have no compare-and-swap
	libdnsTypes = []string{TypeLibDNS}
)

// providerKeys are the keys that belong to some types of providers only.
var providerKeys = map[string][]string{
	"authorities":         {TypeRFC2136, TypeAlidns, TypeLibDNS},
	"server":              updateTypes,
	"key":                 updateTypes,
	"resolvers":           {TypeRPZ, TypePvtz},
	"endpoint":            cloudTypes,
	"credentials":         cloudTypes,
	"read_credentials":    cloudTypes,
	"settle":              blindTypes,
	"requests_per_second": blindTypes,
	"records":             cloudTypes,
	"proxy":               cloudTypes,
	"ca_file":             cloudTypes,
	"zone_id":             {TypePvtz},
	"override":            {TypePvtz},
	"vpcs":                {TypePvtz},
	"module":              libdnsTypes,
	"settings_file":       libdnsTypes,
	"read_settings_file":  libdnsTypes,
}

// providerNeeds are the keys that a type cannot do without.
var providerNeeds = map[string][]string{
	TypeRFC2136: {"server", "key"},
	TypeRPZ:     {"server", "key", "resolvers"},
	TypeAlidns:  {"credentials"},
	TypePvtz:    {"credentials", "zone_id", "resolvers"},
	TypeLibDNS:  {"module", "settings_file"},
}

// needHints say what to write for a key that a type needs.
var needHints = map[string]string{
	"server":      "the primary of the zone, such as 192.0.2.53:53",
	"key":         "key: {name: ctl., secret_file: tsig.key}",
	"resolvers":   "the resolvers that the clients ask, such as [\"192.0.2.54:53\"]: they are asked whether they show the move",
	"credentials": "credentials: {file: dns.key.json}, or env, ecs_role or oidc_token_file; never a key itself",
	"zone_id":     "the ID that stands beside the zone's name in the console",

	"module":        "the module of libdns, such as powerdns; docs/providers.md lists those that may be used",
	"settings_file": "a JSON file of mode 0600 with the module's own settings: they hold secrets",
}

// given are the keys that belong to some types only and are there, with their places.
func (d *providerDoc) given() map[string]pos {
	out := map[string]pos{}
	note := func(key string, there bool, at pos) {
		if there {
			out[key] = at
		}
	}
	first := func(xs []val[string]) pos {
		if len(xs) == 0 {
			return d.pos
		}
		return xs[0].at
	}
	note("authorities", len(d.Authorities) > 0, first(d.Authorities))
	note("server", d.Server.set, d.Server.at)
	note("resolvers", len(d.Resolvers) > 0, first(d.Resolvers))
	note("endpoint", d.Endpoint.set, d.Endpoint.at)
	note("settle", d.Settle.set, d.Settle.at)
	note("requests_per_second", d.Requests.set, d.Requests.at)
	note("proxy", d.Proxy.set, d.Proxy.at)
	note("ca_file", d.CAFile.set, d.CAFile.at)
	note("zone_id", d.ZoneID.set, d.ZoneID.at)
	note("override", d.Override.set, d.Override.at)
	note("vpcs", len(d.VPCs) > 0, first(d.VPCs))
	note("module", d.Module.set, d.Module.at)
	note("settings_file", d.SettingsFile.set, d.SettingsFile.at)
	note("read_settings_file", d.ReadSettingsFile.set, d.ReadSettingsFile.at)
	if d.Key != nil {
		out["key"] = d.Key.pos
	}
	if d.Credentials != nil {
		out["credentials"] = d.Credentials.pos
	}
	if d.ReadCredentials != nil {
		out["read_credentials"] = d.ReadCredentials.pos
	}
	if len(d.Records) > 0 {
		out["records"] = d.Records[0].at
	}
	return out
}

func (c *compiler) providers(cfg *Config) {
	for i := range cfg.doc.Providers {
		e := &cfg.doc.Providers[i]
		doc := &e.val
		c.word("a provider", e.key, e.at)
		if e.key == embedded {
			c.fault(e.at, "choose another name", "%q is the provider that this program is itself", embedded)
		}
		p := Provider{
			Name: e.key, Type: doc.Type.v, Zone: canonical(doc.Zone.v),
			Timeout:     between(c, "timeout", doc.Timeout, dnsctl.DefaultTimeout, 100*time.Millisecond, time.Minute),
			Allowed:     map[failover.RecordName][]failover.Target{},
			Authorities: c.addrPorts(doc.Authorities), Resolvers: c.addrPorts(doc.Resolvers),
		}
		switch {
		case !doc.Type.set:
		case !slices.Contains(providerTypes, doc.Type.v):
			c.fault(doc.Type.at, choice(doc.Type.v, providerTypes), "type: %q is not a kind of provider", doc.Type.v)
		default:
			c.fits(doc)
		}
		switch doc.Type.v {
		case TypeAlidns:
			p.Alidns = &dnsctl.AlidnsConfig{CloudConfig: c.cloud(doc, &p), Authorities: p.Authorities}
		case TypePvtz:
			p.Pvtz = &dnsctl.PvtzConfig{CloudConfig: c.cloud(doc, &p), ZoneID: doc.ZoneID.v, Override: doc.Override.v, VPCs: listOf(doc.VPCs)}
		case TypeLibDNS:
			p.LibDNS = c.libdns(doc, &p)
		case TypeRPZ:
			p.RPZ = &dnsctl.RPZConfig{RFC2136Config: c.dynamicUpdate(doc, &p), Resolvers: p.Resolvers}
		default:
			u := c.dynamicUpdate(doc, &p)
			p.Update = &u
		}
		cfg.Providers = append(cfg.Providers, p)
	}
}

// fits refuses keys of other types, and a provider without one that its type
// cannot do without.
func (c *compiler) fits(doc *providerDoc) {
	given := doc.given()
	for key, at := range given {
		if of := providerKeys[key]; !slices.Contains(of, doc.Type.v) {
			c.fault(at, "it belongs to the type "+strings.Join(of, ", "), "a provider of the type %s has no %s", doc.Type.v, key)
		}
	}
	for _, key := range providerNeeds[doc.Type.v] {
		if _, ok := given[key]; !ok && !c.has(doc.pos) {
			c.fault(doc.pos, needHints[key], "key %q is missing: the type %s needs it", key, doc.Type.v)
		}
	}
}

func (c *compiler) addrPorts(xs []val[string]) []netip.AddrPort {
	var out []netip.AddrPort
	for _, x := range xs {
		if !x.set {
			continue
		}
		ap, err := netip.ParseAddrPort(x.v)
		if err != nil || ap.Port() == 0 {
			c.fault(x.at, "write it like 192.0.2.53:53", "%q is not an address with a port", x.v)
			continue
		}
		out = append(out, ap)
	}
	return out
}

func listOf(xs []val[string]) []string {
	var out []string
	for _, x := range xs {
		if x.set {
			out = append(out, x.v)
		}
	}
	return out
}

// dynamicUpdate is the part of providers that take dynamic updates.
func (c *compiler) dynamicUpdate(doc *providerDoc, p *Provider) dnsctl.RFC2136Config {
	u := dnsctl.RFC2136Config{Server: doc.Server.v, Zone: string(p.Zone), Timeout: p.Timeout, Allowed: p.Allowed, Authorities: p.Authorities}
	if doc.Key != nil {
		c.secretPath("secret_file", doc.Key.SecretFile)
		p.SecretFile = c.path(doc.Key.SecretFile.v)
		u.Key = dnsctl.Key{Name: string(canonical(doc.Key.Name.v)), Algorithm: doc.Key.Algorithm.or("hmac-sha256")}
	}
	return u
}

// libdns is a provider by a module of that project.
func (c *compiler) libdns(doc *providerDoc, p *Provider) *dnsctl.LibDNSConfig {
	c.secretPath("settings_file", doc.SettingsFile)
	c.secretPath("read_settings_file", doc.ReadSettingsFile)
	p.SettingsFile, p.ReadSettingsFile = c.path(doc.SettingsFile.v), c.path(doc.ReadSettingsFile.v)
	if doc.Module.set {
		switch err := dnsctl.CheckLibDNSModule(doc.Module.v); {
		case errors.Is(err, dnsctl.ErrModuleMissing):
			c.fault(doc.Module.at, "take a binary that has it, or a provider of another type: docs/providers.md", "%v", err)
		case err != nil:
			c.fault(doc.Module.at, "docs/providers.md says what a module must show before it is allowed", "%v", err)
		}
	}
	return &dnsctl.LibDNSConfig{
		Module: doc.Module.v, Zone: string(p.Zone), Timeout: p.Timeout, Allowed: p.Allowed,
		Settle:            between(c, "settle", doc.Settle, dnsctl.DefaultSettle, time.Second, 15*time.Minute),
		RequestsPerSecond: between(c, "requests_per_second", doc.Requests, float64(dnsctl.DefaultLibDNSRequests), 1, 60),
	}
}

// cloud is what both services of Alibaba Cloud have.
func (c *compiler) cloud(doc *providerDoc, p *Provider) dnsctl.CloudConfig {
	out := dnsctl.CloudConfig{
		Endpoint: doc.Endpoint.v, Zone: string(p.Zone), Timeout: p.Timeout, Allowed: p.Allowed,
		Credentials: c.credentials(doc.Credentials), ReadCredentials: c.credentials(doc.ReadCredentials),
		Settle:            between(c, "settle", doc.Settle, dnsctl.DefaultSettle, time.Second, 15*time.Minute),
		RequestsPerSecond: between(c, "requests_per_second", doc.Requests, float64(dnsctl.DefaultRequestsPerSecond), 1, 60),
		Proxy:             doc.Proxy.v, CAFile: c.path(doc.CAFile.v), ReadFile: ReadSecretFile,
	}
	for _, e := range doc.Records {
		name, err := dnsctl.ParseName(e.key)
		if err != nil {
			c.fault(e.at, "write the full name that is moved", "records: %v", err)
			continue
		}
		if out.Records == nil {
			out.Records = map[failover.RecordName]map[string]string{}
		}
		pins := map[string]string{}
		for _, l := range e.val {
			pins[l.key] = l.val.v
		}
		out.Records[name] = pins
	}
	return out
}

// accessKey is how the vendor's IDs of access keys look, lasting and temporary ones.
var accessKey = regexp.MustCompile(`^(LTAI|STS\.)[A-Za-z0-9]{8,}$`)

func (c *compiler) credentials(doc *credentialsDoc) dnsctl.CloudCredentials {
	if doc == nil {
		return dnsctl.CloudCredentials{}
	}
	for key, x := range map[string]val[string]{"file": doc.File, "oidc_token_file": doc.OIDCTokenFile} {
		c.secretPath(key, x)
		if x.set && accessKey.MatchString(x.v) {
			c.fault(x.at, "put ID and secret into a JSON file of mode 0600 and write its path; make a new key, this one has been in a config",
				"%s holds the ID of an access key, not the path of a file", key)
		}
	}
	return dnsctl.CloudCredentials{
		File: c.path(doc.File.v), Env: doc.Env.v, ECSRole: doc.ECSRole.v,
		OIDCTokenFile: c.path(doc.OIDCTokenFile.v), OIDCProviderARN: doc.OIDCProviderARN.v,
		RoleARN: doc.RoleARN.v, RoleSession: doc.RoleSession.v, ExternalID: doc.ExternalID.v,
		Duration:    between(c, "duration", doc.Duration, time.Hour, 15*time.Minute, 12*time.Hour),
		STSEndpoint: doc.STSEndpoint.v, MetadataEndpoint: doc.MetadataEndpoint.v,
	}
}

// room is the config of the kind, as its room has it.
func (p *Provider) room() interface {
	Validate() []error
	Loopback() bool
} {
	switch {
	case p.Alidns != nil:
		return p.Alidns
	case p.Pvtz != nil:
		return p.Pvtz
	case p.RPZ != nil:
		return p.RPZ
	case p.LibDNS != nil:
		return p.LibDNS
	default:
		return p.Update
	}
}

// Capabilities are what the provider promises.
func (p *Provider) Capabilities() dnsctl.Capabilities {
	switch {
	case p.Alidns != nil:
		return p.Alidns.Capabilities()
	case p.Pvtz != nil:
		return p.Pvtz.Capabilities()
	case p.LibDNS != nil:
		return p.LibDNS.Capabilities()
	default:
		return p.Server().Capabilities()
	}
}

// Cloud is what both services of Alibaba Cloud have, nil elsewhere.
func (p *Provider) Cloud() *dnsctl.CloudConfig {
	switch {
	case p.Alidns != nil:
		return &p.Alidns.CloudConfig
	case p.Pvtz != nil:
		return &p.Pvtz.CloudConfig
	default:
		return nil
	}
}

// Server is where dynamic updates go, nil where the provider takes none.
func (p *Provider) Server() *dnsctl.RFC2136Config {
	if p.RPZ != nil {
		return &p.RPZ.RFC2136Config
	}
	return p.Update
}

// placed says that it is known where the provider is: a cloud always is.
func (p *Provider) placed() bool {
	switch {
	case p.Server() != nil:
		return p.Server().Server != ""
	default:
		return true
	}
}

// SecretFiles are the files that the provider reads secrets from; of cloud
// credentials those that are files.
func (p *Provider) SecretFiles() []string {
	var out []string
	add := func(cs ...dnsctl.CloudCredentials) {
		for _, x := range cs {
			for _, f := range []string{x.File, x.OIDCTokenFile} {
				if f != "" {
					out = append(out, f)
				}
			}
		}
	}
	for _, f := range []string{p.SecretFile, p.SettingsFile, p.ReadSettingsFile} {
		if f != "" {
			out = append(out, f)
		}
	}
	if p.Alidns != nil {
		add(p.Alidns.Credentials, p.Alidns.ReadCredentials)
	}
	if p.Pvtz != nil {
		add(p.Pvtz.Credentials, p.Pvtz.ReadCredentials)
	}
	return out
}
