package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pointsman/internal/lab/alicloud"
)

// Files that alicloud writes into the work folder, and takes away at its end.
const (
	cloudKeyFile = "alicloud.env"
	cloudCAFile  = "alicloud-ca.pem"
)

// cloudLab is what the flags of alicloud say.
type cloudLab struct {
	listen, manage       string
	zones, private       []string
	records              []string
	edition              string
	authorities, subnets []string
	delay                time.Duration
	upstream, resolver   string
	anyRemark            bool
}

// cloudNetwork is the network that private zones are bound to.
const cloudNetwork = "vpc-lab"

func (a *app) alicloudCommand() *cobra.Command {
	var c cloudLab
	cmd := &cobra.Command{
		Use:   "alicloud",
		Short: "Run Alibaba Cloud's DNS on loopback: Alidns, PrivateZone, and their zones over DNS",
		Long: `Run Alibaba Cloud's DNS on loopback until Ctrl-C: the APIs of Alidns and
PrivateZone for the vendor's own clients, the zones behind them over DNS, and a
management API that lets calls go wrong by count. docs/lab-alicloud.md says what
it imitates and what it does not.

A key, the token of the management API and the addresses are written to
` + cloudKeyFile + ` in the work folder, mode 0600, as lines for a shell; the certificate
of the TLS endpoint to ` + cloudCAFile + `. Both are taken away at the end.

Without --zone and --private-zone there is the zone example.test with one record.`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.StringVar(&c.listen, "listen", "127.0.0.1:0", "`ADDRESS` of the API, ip:port on loopback")
	f.StringVar(&c.manage, "manage", "127.0.0.1:0", "`ADDRESS` of the management API, ip:port on loopback")
	f.StringArrayVar(&c.zones, "zone", nil, "a public `ZONE` (may be given several times)")
	f.StringArrayVar(&c.private, "private-zone", nil, "a private `ZONE`, bound to the network "+cloudNetwork+" (may be given several times)")
	f.StringArrayVar(&c.records, "record", nil, "a `RECORD` that is there from the start: \"ZONE RR TYPE VALUE [TTL [LINE]]\" (may be given several times)")
	f.StringVar(&c.edition, "edition", alicloud.Ultimate.Code, "`EDITION` of the public zones: mianfei (TTL 600 at least), version_personal (600), version_enterprise_basic (60), version_enterprise_advanced (1)")
	f.StringArrayVar(&c.authorities, "authority", nil, "`ADDRESS[=LINE]` at which public zones are answered, to all as to that line; 127.0.0.1:0 twice if none is given")
	f.StringArrayVar(&c.subnets, "subnet", nil, "clients of a network are on a line: `PREFIX=LINE` (may be given several times)")
	f.DurationVar(&c.delay, "delay", 0, "how `LONG` a write takes to be seen at the authorities")
	f.StringVar(&c.resolver, "resolver", "127.0.0.1:0", "`ADDRESS` of the network's resolver, which answers private zones")
	f.StringVar(&c.upstream, "upstream", "", "`ADDRESS` of the resolver that the network asks for what no private zone holds; the first authority if empty")
	f.BoolVar(&c.anyRemark, "any-remark", false, "take remarks that the vendor refuses")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		o, err := c.options()
		if err != nil {
			return err
		}
		s, err := c.start(o)
		if err != nil {
			return err
		}
		defer s.Close()
		env, err := a.cloudFiles(s)
		if err != nil {
			return err
		}
		defer func() {
			_ = os.Remove(env)
			_ = os.Remove(filepath.Join(filepath.Dir(env), cloudCAFile))
		}()
		a.cloudBanner(s, env)
		<-cmd.Context().Done()
		fmt.Fprintln(a.err, "\nended; its key is worth nothing any more")
		return nil
	}
	return cmd
}

// options reads the flags.
func (c *cloudLab) options() (alicloud.Options, error) {
	o := alicloud.Options{Listen: c.listen, Manage: c.manage, AnyRemark: c.anyRemark}
	addresses := map[string][]string{"--listen": {c.listen}, "--manage": {c.manage}}
	for _, text := range c.authorities {
		address, line, _ := strings.Cut(text, "=")
		o.Authorities = append(o.Authorities, alicloud.Authority{Listen: address, Line: line})
		addresses["--authority"] = append(addresses["--authority"], address)
	}
	if o.Authorities == nil {
		o.Authorities = []alicloud.Authority{{}, {}}
	}
	for i := range o.Authorities {
		o.Authorities[i].Delay = c.delay
	}
	for flag, list := range addresses {
		for _, text := range list {
			if at, err := netip.ParseAddrPort(text); err != nil || !at.Addr().IsLoopback() {
				return o, fmt.Errorf("%s %s: an ip:port on loopback\nhint: nothing of this is hardened for any other network", flag, text)
			}
		}
	}
	if c.delay < 0 || c.delay > time.Hour {
		return o, fmt.Errorf("--delay %s: 0 to 1h", c.delay)
	}
	for _, text := range c.subnets {
		prefix, line, _ := strings.Cut(text, "=")
		p, err := netip.ParsePrefix(prefix)
		if err != nil || line == "" {
			return o, fmt.Errorf("--subnet %s: PREFIX=LINE, as 203.0.113.0/24=telecom", text)
		}
		o.Subnets = append(o.Subnets, alicloud.Subnet{Prefix: p.Masked(), Line: line})
	}
	return o, nil
}

// start starts the server with its zones.
func (c *cloudLab) start(o alicloud.Options) (*alicloud.Server, error) {
	o.VPCs = []alicloud.VPC{{ID: cloudNetwork, Listen: c.resolver, Upstream: cmp.Or(c.upstream, "self")}}
	s, err := alicloud.New(o)
	if err != nil {
		return nil, err
	}
	if err := c.fill(s); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (c *cloudLab) fill(s *alicloud.Server) error {
	zones, records := c.zones, c.records
	if len(zones)+len(c.private) == 0 {
		zones = []string{"example.test"}
		if len(records) == 0 {
			records = []string{"example.test orders CNAME a.back.test 60"}
		}
	}
	for _, z := range zones {
		if _, err := s.AddZone(alicloud.Zone{Name: z, Edition: alicloud.Edition{Code: c.edition}}); err != nil {
			return fmt.Errorf("--zone: %w", err)
		}
	}
	for _, z := range c.private {
		if _, err := s.AddZone(alicloud.Zone{Name: z, Private: true, VPCs: []string{cloudNetwork}}); err != nil {
			return fmt.Errorf("--private-zone: %w", err)
		}
	}
	for _, text := range records {
		zone, r, err := cloudRecord(text)
		if err != nil {
			return err
		}
		if _, err := s.AddRecord(zone, r); err != nil {
			return fmt.Errorf("--record %q: %w", text, err)
		}
	}
	return nil
}

func cloudRecord(text string) (zone string, r alicloud.Record, err error) {
	f := strings.Fields(text)
	if len(f) < 4 || len(f) > 6 {
		return "", r, fmt.Errorf("--record %q: ZONE RR TYPE VALUE [TTL [LINE]]", text)
	}
	r = alicloud.Record{RR: f[1], Type: strings.ToUpper(f[2]), Value: f[3]}
	if len(f) > 4 {
		if r.TTL, err = strconv.ParseInt(f[4], 10, 64); err != nil || r.TTL < 1 || r.TTL > 86400 {
			return "", r, fmt.Errorf("--record %q: TTL %s: 1 to 86400 seconds", text, f[4])
		}
	}
	if len(f) > 5 {
		if r.Line = f[5]; !slices.Contains(alicloud.Lines(), r.Line) {
			return "", r, fmt.Errorf("--record %q: no line %s", text, r.Line)
		}
	}
	return f[0], r, nil
}

// cloudFiles writes the key and the certificate, and returns the path of the
// file of the key.
func (a *app) cloudFiles(s *alicloud.Server) (string, error) {
	dir := a.folder()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("work folder: %w", err)
	}
	ca, err := filepath.Abs(filepath.Join(dir, cloudCAFile))
	if err != nil {
		return "", fmt.Errorf("work folder: %w", err)
	}
	if err := os.WriteFile(ca, s.CA(), 0o644); err != nil {
		return "", fmt.Errorf("certificate: %w", err)
	}
	path := filepath.Join(dir, cloudKeyFile)
	// One that is there may be readable by others: it is made anew.
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("file of the key: %w", err)
	}
	text := ""
	for _, line := range [][2]string{
		{"ALIBABA_CLOUD_ACCESS_KEY_ID", s.Key().ID},
		{"ALIBABA_CLOUD_ACCESS_KEY_SECRET", s.Key().Secret},
		{"LAB_ENDPOINT", s.Endpoint()},
		{"LAB_TLS_ENDPOINT", s.TLSEndpoint()},
		{"LAB_CA_FILE", ca},
		{"LAB_PROXY", s.Proxy()},
		{"LAB_MANAGE", s.Manage()},
		{"LAB_TOKEN", s.ManageToken()},
	} {
		text += line[0] + "='" + line[1] + "'\n"
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return "", fmt.Errorf("file of the key: %w", err)
	}
	return path, nil
}

// cloudBanner says what is running and what to try. The key is in its file.
func (a *app) cloudBanner(s *alicloud.Server, env string) {
	out := a.out
	fmt.Fprintf(out, "\n  endpoint     %s (http), %s (https)\n", s.Endpoint(), s.TLSEndpoint())
	fmt.Fprintf(out, "  proxy        %s: behind it every host below aliyuncs.com is this one\n", s.Proxy())
	fmt.Fprintf(out, "  authorities  %s\n", strings.Join(s.Authorities(), ", "))
	fmt.Fprintf(out, "  network      %s with its resolver on %s\n", cloudNetwork, s.Resolver(cloudNetwork))
	fmt.Fprintf(out, "  management   %s\n", s.Manage())
	for _, z := range s.Zones() {
		kind := "public, " + z.Edition.Code
		if z.Private {
			kind = "private, " + z.ID
		}
		fmt.Fprintf(out, "  zone         %s (%s)\n", z.Name, kind)
	}
	fmt.Fprintf(out, "  key, token   %s\n\nTry in another terminal:\n\n", short(env))
	host, port, _ := strings.Cut(s.Authorities()[0], ":")
	name := "example.test"
	for _, z := range s.Zones() {
		if name = z.Name; len(z.Records) > 0 && z.Records[0].RR != "@" {
			name = z.Records[0].RR + "." + z.Name
			break
		}
	}
	for _, try := range [][2]string{
		{fmt.Sprintf("dig @%s -p %s %s CNAME +short", host, port, name), "what clients are told"},
		{". " + short(env), "key, endpoint and token for the lines below"},
		{`curl -s -H "Authorization: Bearer $LAB_TOKEN" $LAB_MANAGE/zones`, "zones and records"},
		{`curl -s -H "Authorization: Bearer $LAB_TOKEN" $LAB_MANAGE/requests`, "what was asked"},
		{`curl -s -H "Authorization: Bearer $LAB_TOKEN" $LAB_MANAGE/faults -d '{"action":"UpdateDomainRecord","times":2,"fault":{"kind":"reset","after":true}}'`, "the next two writes are done, and their answers are lost"},
	} {
		fmt.Fprintf(out, "  %s\n      %s\n", try[0], try[1])
	}
	fmt.Fprintln(out, "\nCtrl-C ends everything.")
}
