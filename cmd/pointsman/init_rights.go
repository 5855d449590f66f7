package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"pointsman/dnsctl"
	"pointsman/healthcheck"
	"pointsman/internal/config"
	"pointsman/internal/failover"
)

var rightsProviders = []string{config.StarterBIND, config.StarterEmbedded, config.TypeRPZ, config.TypeAlidns, config.TypePvtz}

func (a *app) initRights() *cobra.Command {
	var provider string
	cmd := &cobra.Command{
		Use:   "rights --provider PROVIDER",
		Short: "Print the least rights that moving a name needs, read-only first",
		Long: `Print the least rights that pointsman needs at whoever holds the names, those
that only read first: for BIND and its policy zones (rpz) the lines of
named.conf, for Alibaba Cloud the policies of Resource Access Management (RAM).
With -c FILE they are for the names of that file, without it for placeholders.
Nobody is asked and no credential is read.

Nothing here can delete or create a name: no such right is ever needed. Where rows
are replicated, one identity writes and deletes rows, and another one, used once,
makes tables.`,
		Example: "  pointsman init rights --provider bind -c pointsman.yaml\n  pointsman init rights --provider alidns -o json",
		Args:    exactly(),
	}
	cmd.Flags().StringVar(&provider, "provider", "", "who holds the names: "+listed(rightsProviders))
	complete(cmd, "provider", rightsProviders)
	cmd.RunE = func(*cobra.Command, []string) error {
		provider, err := oneOfWords("provider", provider, rightsProviders)
		if err != nil {
			return err
		}
		var cfg *config.Config
		if a.config != "" {
			if cfg, err = a.loadConfig(); err != nil {
				return err
			}
		}
		g, err := grantsOf(provider, cfg)
		if err != nil {
			return err
		}
		return a.print(g, func(w io.Writer) { g.write(w) })
	}
	a.outputFlag(cmd)
	return cmd
}

// grants are the rights of one provider, in the order in which they are given.
type grants struct {
	Provider string  `json:"provider"`
	Grants   []grant `json:"grants"`
}

// grant is what one identity may do: lines of a config, or a policy.
type grant struct {
	For    string     `json:"for"`   // the identity
	When   string     `json:"when"`  // from when it is needed
	Lines  []string   `json:"lines"` // of a config; empty where there is a policy
	Policy *ramPolicy `json:"policy,omitempty"`
	Know   []string   `json:"know,omitempty"`
}

// ramPolicy is a policy of Resource Access Management. It says which actions
// on which resources; what it does not say is refused.
type ramPolicy struct {
	Version   string         `json:"Version"`
	Statement []ramStatement `json:"Statement"`
}

type ramStatement struct {
	Effect   string   `json:"Effect"`
	Action   []string `json:"Action"`
	Resource []string `json:"Resource"`
}

func allow(resources []string, actions ...string) *ramPolicy {
	return &ramPolicy{Version: "1", Statement: []ramStatement{{Effect: "Allow", Action: actions, Resource: resources}}}
}

func (g grants) write(w io.Writer) {
	for i, x := range g.Grants {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "// %s: %s\n", x.For, x.When)
		for _, k := range x.Know {
			fmt.Fprintf(w, "// %s\n", k)
		}
		for _, l := range x.Lines {
			fmt.Fprintln(w, clean(l))
		}
		if x.Policy != nil {
			var b bytes.Buffer
			e := json.NewEncoder(&b)
			e.SetEscapeHTML(false)
			e.SetIndent("", "  ")
			_ = e.Encode(x.Policy) // strings only
			fmt.Fprint(w, b.String())
		}
	}
}

func grantsOf(provider string, cfg *config.Config) (grants, error) {
	g := grants{Provider: provider}
	switch provider {
	case config.StarterBIND:
		bs, err := bindRights(cfg, false)
		if err != nil {
			return g, err
		}
		g.Grants = bs
	case config.TypeRPZ:
		bs, err := bindRights(cfg, true)
		if err != nil {
			return g, err
		}
		g.Grants = bs
	case config.StarterEmbedded:
		gs, err := embeddedRights(cfg)
		if err != nil {
			return g, err
		}
		g.Grants = gs
	case "alidns":
		gs, err := alidnsRights(cfg)
		if err != nil {
			return g, err
		}
		g.Grants = gs
	case "pvtz":
		gs, err := pvtzRights(cfg)
		if err != nil {
			return g, err
		}
		g.Grants = gs
	}
	if vendor := provider == "alidns" || provider == "pvtz"; vendor || hasTablestore(cfg) {
		g.Grants = append(g.Grants, proberRights(cfg))
	}
	if replicates(cfg) {
		g.Grants = append(g.Grants, replicaRights(cfg)...)
	}
	g.Grants = append(g.Grants, globalRights(cfg)...)
	return g, nil
}

func hasTablestore(cfg *config.Config) bool {
	return cfg != nil && slices.ContainsFunc(cfg.Instances, func(i config.Instance) bool { return i.Policy.Preset == failover.PresetTablestore })
}

const placeholderName = "orders.svc.example.com."

// grantedAt is where the records of a name stand at a server that takes dynamic
// updates.
type grantedAt struct{ owner, mark failover.RecordName }

// bindRights are for each provider of the file that takes dynamic updates: of
// names where they are, or in a policy zone.
func bindRights(cfg *config.Config, policy bool) ([]grant, error) {
	type server struct {
		zone, key string
		at        []grantedAt
	}
	servers := []server{{"svc.example.com.", "ctl.", []grantedAt{{placeholderName, dnsctl.MarkName(placeholderName)}}}}
	if policy {
		servers = []server{{"rpz.example.com.", "ctl.", []grantedAt{{"orders.example.net.rpz.example.com.", "orders.example.net._pointsman.rpz.example.com."}}}}
	}
	if cfg != nil {
		servers = nil
		for _, p := range cfg.Providers {
			if p.Server() == nil || (p.RPZ != nil) != policy {
				continue
			}
			s := server{zone: p.Server().Zone, key: p.Server().Key.Name}
			for _, i := range cfg.Instances {
				for _, n := range i.Policy.Names {
					if n.Provider != p.Name {
						continue
					}
					at := grantedAt{n.Name, dnsctl.MarkName(n.Name)}
					if p.RPZ != nil {
						var err error
						if at.owner, at.mark, err = p.RPZ.Places(n.Name); err != nil {
							return nil, failed("mend the file", "%s: %w", n.Name, err)
						}
					}
					s.at = append(s.at, at)
				}
			}
			servers = append(servers, s)
		}
		switch {
		case len(servers) == 0 && policy:
			return nil, noneOf(cfg, config.TypeRPZ)
		case len(servers) == 0:
			return nil, failed(otherRights(cfg), "the file has no provider that takes dynamic updates")
		}
	}
	var out []grant
	for _, s := range servers {
		read := grant{
			For: "reading, zone " + s.zone, When: "for run --shadow: queries from the controller, and no key at all",
			Lines: []string{`allow-query { 192.0.2.10; };  // FILL IN: the controller's address, where queries are not open to all`},
		}
		if policy {
			read.Know = []string{"The resolvers of the clients are asked as well, with recursion: allow it there for the controller."}
		}
		out = append(out, read, grant{
			For: "moving, zone " + s.zone, When: "for run without --shadow: the key may replace these records and nothing else",
			Know: []string{
				"The key: tsig-keygen -a hmac-sha256 " + s.key + "   Include what it prints, in a file of mode 0640 that named may read.",
				"Within its two types at these names the key could also remove a record: BIND has no finer right. pointsman never does.",
			},
			Lines: updatePolicy(s.key, s.at),
		})
		if policy {
			out = append(out, grant{
				For: "applying, zone " + s.zone, When: "at every resolver of the clients, in its options, by its owner; it needs no key of pointsman",
				Know:  []string{"break-dnssec yes is for names that their owner signs: without it clients that ask for DNSSEC see no move."},
				Lines: []string{fmt.Sprintf("response-policy { zone %q; } qname-wait-recurse no break-dnssec yes;", strings.TrimSuffix(s.zone, "."))},
			})
		}
	}
	return out, nil
}

// noneOf says that the file has no provider of a kind.
func noneOf(cfg *config.Config, kind string) error {
	return failed(otherRights(cfg), "the file has no provider of the type %s", kind)
}

// otherRights are the commands for what the file has.
func otherRights(cfg *config.Config) string {
	var out []string
	add := func(kind string) {
		if c := "pointsman init rights --provider " + kind; !slices.Contains(out, c) {
			out = append(out, c)
		}
	}
	if cfg.Authority != nil {
		if len(cfg.Providers) == 0 {
			return "the file has names of the embedded authority: pointsman init rights --provider embedded"
		}
		add(config.StarterEmbedded)
	}
	for _, p := range cfg.Providers {
		switch {
		case p.Update != nil:
			add(config.StarterBIND)
		case p.RPZ != nil:
			add(config.TypeRPZ)
		case p.Alidns != nil:
			add(config.TypeAlidns)
		case p.Pvtz != nil:
			add(config.TypePvtz)
		}
	}
	return strings.Join(out, ", ")
}

// updatePolicy is the statement for the zone: the CNAME of each name, and the
// mark beside it, which is written in the same update.
func updatePolicy(key string, at []grantedAt) []string {
	out := []string{"update-policy {"}
	for _, n := range at {
		out = append(out, fmt.Sprintf("\tgrant %s name %s CNAME;", key, n.owner), fmt.Sprintf("\tgrant %s name %s TXT;", key, n.mark))
	}
	return append(out, "};")
}

// embeddedRights are the lines of the parent zones: the authority itself wants
// no credential.
func embeddedRights(cfg *config.Config) ([]grant, error) {
	lines := []string{"svc.example.com. IN NS ns1.svc.example.com.", "ns1.svc.example.com. IN A 192.0.2.53  ; FILL IN: the controller's address"}
	if cfg != nil {
		if cfg.Authority == nil {
			return nil, failed("the file has names at a DNS server of its own: pointsman init rights --provider bind", "the file has no embedded authority")
		}
		lines = nil
		for _, z := range cfg.Authority.Zones {
			for _, ns := range z.NS {
				lines = append(lines, fmt.Sprintf("%s IN NS %s", z.Name, ns))
				for _, addr := range z.Hosts[ns] {
					kind := "A"
					if addr.Unmap().Is6() {
						kind = "AAAA"
					}
					lines = append(lines, fmt.Sprintf("%s IN %s %s", ns, kind, addr.Unmap()))
				}
			}
		}
	}
	return []grant{
		{For: "reading", When: "nothing: the names are in the ledger of this machine"},
		{For: "serving", When: "once: the delegation, in the parent zone, by its owner", Lines: lines},
		{
			For: "listening", When: "for port 53, in the unit of systemd; no other right of root",
			Lines: []string{"AmbientCapabilities=CAP_NET_BIND_SERVICE", "CapabilityBoundingSet=CAP_NET_BIND_SERVICE"},
		},
	}, nil
}

// alidnsRights are in two policies, so that shadow holds the first only. The
// resource is that of the record operations in the vendor's table of 2026-02;
// an older page (2355663) says that Alidns does not authorise by resource.
func alidnsRights(cfg *config.Config) ([]grant, error) {
	zones := []string{"acs:alidns::ACCT:domain/ZONE"}
	if cfg != nil {
		zones = nil
		for _, p := range cfg.Providers {
			if z := "acs:alidns::ACCT:domain/" + strings.TrimSuffix(string(p.Zone), "."); p.Alidns != nil && !slices.Contains(zones, z) {
				zones = append(zones, z)
			}
		}
		if len(zones) == 0 {
			return nil, noneOf(cfg, config.TypeAlidns)
		}
	}
	return []grant{
		{For: "pointsman-dns-read", When: "for run --shadow (read_credentials), and for pointsman doctor", Know: []string{
			"Write the account's number for ACCT. Give a child zone of its own to pointsman, never the company's apex zone.",
			"The last two serve doctor alone: it compares the delegation and sees weights.",
		}, Policy: allow(zones, "alidns:DescribeSubDomainRecords", "alidns:DescribeDomainInfo", "alidns:DescribeDomainNs", "alidns:DescribeDNSSLBSubDomains")},
		{For: "pointsman-dns-write", When: "for run without --shadow (credentials), beside the one above", Know: []string{
			"The vendor's pages disagree whether this product authorises by resource: pointsman doctor warns when the key can list another zone of the account.",
			"The value and the remark, which bears the mark, are two calls. None of Add…, Delete…, Set… is ever needed.",
		}, Policy: allow(zones, "alidns:UpdateDomainRecord", "alidns:UpdateDomainRecordRemark")},
	}, nil
}

// pvtzRights are per zone: acs:pvtz::ACCT:zone/ZONEID is the vendor's form.
func pvtzRights(cfg *config.Config) ([]grant, error) {
	zones, know := []string{"acs:pvtz::ACCT:zone/ZONEID"}, "Write the account's number for ACCT and the zone's id for ZONEID."
	if cfg != nil {
		zones, know = nil, "Write the account's number for ACCT."
		for _, p := range cfg.Providers {
			if p.Pvtz != nil {
				zones = append(zones, "acs:pvtz::ACCT:zone/"+p.Pvtz.ZoneID)
			}
		}
		if len(zones) == 0 {
			return nil, noneOf(cfg, config.TypePvtz)
		}
	}
	return []grant{
		{
			For: "pointsman-dns-read", When: "for run --shadow (read_credentials), and for pointsman doctor", Know: []string{know},
			Policy: allow(zones, "pvtz:DescribeZoneRecords", "pvtz:DescribeZoneInfo"),
		},
		{For: "pointsman-dns-write", When: "for run without --shadow (credentials), beside the one above", Know: []string{
			"The value and the remark, which bears the mark, are two calls. None of Add…, Delete…, Set… is ever needed.",
		}, Policy: allow(zones, "pvtz:UpdateZoneRecord", "pvtz:UpdateRecordRemark")},
	}, nil
}

// proberRights is for the canary rows. The names of resources are in lower case.
func proberRights(cfg *config.Config) grant {
	resources, know := []string{"acs:ots:REGION:ACCT:instance/INSTANCE/table/pointsman_*"}, "Write region, account and the instance's name, in lower case. Only our own tables are named, never yours."
	if cfg != nil {
		var of []string
		for _, i := range cfg.Instances {
			for _, t := range i.Targets {
				if names, ok := t.OwnTables(); ok {
					of = append(of, tableResources(t.Place, names)...)
				}
			}
		}
		slices.Sort(of)
		if of = slices.Compact(of); len(of) > 0 {
			resources, know = of, "Write the account's number for ACCT, and the region for REGION where it stands. Only our own tables are named, never yours."
		}
	}
	return grant{
		For: "pointsman-prober", When: "for canary probes of Tablestore (service_key_file), at both clusters; an identity of its own, without any right in DNS",
		Know: []string{
			know,
			"The tables are made once, with another identity that may ots:CreateTable and ots:DescribeTable: pointsman tablestore prepare",
			"A client key (client_key_file) has the rights of your clients, and ots:PutRow on the table " + healthcheck.CanaryTable + ".",
		},
		Policy: allow(resources, "ots:GetRow", "ots:PutRow", "ots:UpdateRow", "ots:DescribeTable"),
	}
}

// tableResources are the tables of the probes at one cluster.
func tableResources(at healthcheck.Place, names healthcheck.OwnTables) []string {
	const ours = "pointsman_*"
	under := fmt.Sprintf("acs:ots:%s:ACCT:instance/%s/table/", orElse(at.Region, "REGION"), strings.ToLower(at.Instance))
	out := []string{under + ours}
	for _, n := range []string{names.Canary, names.Own, names.Other} {
		if n != "" && !strings.HasPrefix(strings.ToLower(n), strings.TrimSuffix(ours, "*")) {
			out = append(out, under+strings.ToLower(n))
		}
	}
	return out
}
