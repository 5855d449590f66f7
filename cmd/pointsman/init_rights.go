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
	"pointsman/internal/config"
	"pointsman/internal/failover"
)

var rightsProviders = []string{config.StarterBIND, config.StarterEmbedded, "alidns", "pvtz"}

func vendorService(provider string) string {
	if provider == "pvtz" {
		return "Alibaba Cloud PrivateZone"
	}
	return "Alibaba Cloud DNS"
}

func (a *app) initRights() *cobra.Command {
	var provider string
	cmd := &cobra.Command{
		Use:   "rights --provider PROVIDER",
		Short: "Print the least rights that moving a name needs, read-only first",
		Long: `Print the least rights that pointsman needs at whoever holds the names, those
that only read first: for BIND the lines of named.conf, for Alibaba Cloud the
policies of Resource Access Management (RAM). With -c FILE they are for the names of that file, without
it for placeholders. Nobody is asked and no credential is read.

Nothing here can delete or create: no such right is ever needed.`,
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
		bs, err := bindRights(cfg)
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
		g.Grants = alidnsRights(cfg)
	case "pvtz":
		g.Grants = pvtzRights()
	}
	if vendor := provider == "alidns" || provider == "pvtz"; vendor || hasTablestore(cfg) {
		g.Grants = append(g.Grants, proberRights())
	}
	return g, nil
}

func hasTablestore(cfg *config.Config) bool {
	return cfg != nil && slices.ContainsFunc(cfg.Instances, func(i config.Instance) bool { return i.Policy.Preset == failover.PresetTablestore })
}

const placeholderName = "orders.svc.example.com."

// bindRights are for each provider of the file that takes dynamic updates.
func bindRights(cfg *config.Config) ([]grant, error) {
	type server struct {
		zone, key string
		names     []failover.RecordName
	}
	servers := []server{{"svc.example.com.", "ctl.", []failover.RecordName{placeholderName}}}
	if cfg != nil {
		servers = nil
		for _, p := range cfg.Providers {
			s := server{zone: p.Config.Zone, key: p.Config.Key.Name}
			for _, i := range cfg.Instances {
				for _, n := range i.Policy.Names {
					if n.Provider == p.Name {
						s.names = append(s.names, n.Name)
					}
				}
			}
			servers = append(servers, s)
		}
		if len(servers) == 0 {
			return nil, failed("the file has names of the embedded authority: pointsman init rights --provider embedded", "the file has no provider that takes dynamic updates")
		}
	}
	var out []grant
	for _, s := range servers {
		out = append(out, grant{
			For: "reading, zone " + s.zone, When: "for run --shadow: queries from the controller, and no key at all",
			Lines: []string{`allow-query { 192.0.2.10; };  // FILL IN: the controller's address, where queries are not open to all`},
		}, grant{
			For: "moving, zone " + s.zone, When: "for run without --shadow: the key may replace these records and nothing else",
			Know: []string{
				"The key: tsig-keygen -a hmac-sha256 " + s.key + "   Include what it prints, in a file of mode 0640 that named may read.",
				"Within its two types at these names the key could also remove a record: BIND has no finer right. pointsman never does.",
			},
			Lines: updatePolicy(s.key, s.names),
		})
	}
	return out, nil
}

// updatePolicy is the statement for the zone: the CNAME of each name, and the
// mark beside it, which is written in the same update.
func updatePolicy(key string, names []failover.RecordName) []string {
	out := []string{"update-policy {"}
	for _, n := range names {
		out = append(out, fmt.Sprintf("\tgrant %s name %s CNAME;", key, n), fmt.Sprintf("\tgrant %s name %s TXT;", key, dnsctl.MarkName(n)))
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
func alidnsRights(cfg *config.Config) []grant {
	var zones []string
	if cfg != nil {
		for _, i := range cfg.Instances {
			for _, n := range i.Policy.Names {
				if z := "acs:alidns::ACCT:domain/" + strings.TrimSuffix(string(n.Zone), "."); !slices.Contains(zones, z) {
					zones = append(zones, z)
				}
			}
		}
	}
	if len(zones) == 0 {
		zones = []string{"acs:alidns::ACCT:domain/ZONE"}
	}
	know := "Write the account's number for ACCT. Give a child zone of its own to pointsman, never the company's apex zone."
	return []grant{
		{For: "pointsman-dns-read", When: "for run --shadow", Know: []string{know}, Policy: allow(zones,
			"alidns:DescribeDomainInfo", "alidns:DescribeDomainNs", "alidns:DescribeDomainRecordInfo", "alidns:DescribeDomainRecords", "alidns:DescribeSubDomainRecords")},
		{For: "pointsman-dns-write", When: "for run without --shadow, beside the one above", Know: []string{
			"The vendor's pages disagree whether this product authorises by resource: try it with another zone of the account, which must be refused.",
			"This version does not write Alibaba Cloud DNS yet; the policy is for those who must approve it.",
		}, Policy: allow(zones, "alidns:UpdateDomainRecord", "alidns:UpdateDomainRecordRemark")},
	}
}

// pvtzRights are per zone: acs:pvtz::ACCT:zone/ZONEID is the vendor's form.
func pvtzRights() []grant {
	zone := []string{"acs:pvtz::ACCT:zone/ZONEID"}
	return []grant{
		{
			For: "pointsman-dns-read", When: "for run --shadow", Know: []string{"Write the account's number for ACCT and the zone's id for ZONEID."},
			Policy: allow(zone, "pvtz:DescribeChangeLogs", "pvtz:DescribeZoneInfo", "pvtz:DescribeZoneRecords"),
		},
		{For: "pointsman-dns-write", When: "for run without --shadow, beside the one above", Know: []string{
			"This version does not write PrivateZone yet; the policy is for those who must approve it.",
		}, Policy: allow(zone, "pvtz:UpdateZoneRecord", "pvtz:UpdateRecordRemark")},
	}
}

// proberRights is for the canary rows. The names of resources are in lower case.
func proberRights() grant {
	return grant{
		For: "pointsman-prober", When: "for canary probes of Tablestore, at both clusters; an identity of its own, without any right in DNS",
		Know: []string{
			"Write region, account and the instance's name, in lower case. Only our own tables are named, never yours.",
			"This version has no canary yet; its probes of Tablestore need no key.",
		},
		Policy: allow([]string{"acs:ots:REGION:ACCT:instance/INSTANCE/table/pointsman_*"}, "ots:GetRow", "ots:PutRow", "ots:UpdateRow", "ots:DescribeTable"),
	}
}
