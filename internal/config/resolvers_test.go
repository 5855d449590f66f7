package config

import (
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"pointsman/dnsctl"
	"pointsman/internal/failover"
)

// TestThePanelAndTheClients: both reach the rooms, and what is known of clients
// makes no other instance.
func TestThePanelAndTheClients(t *testing.T) {
	bad, err := os.ReadFile("testdata/bad/several-resolvers.yaml")
	if err != nil {
		t.Fatal(err)
	}
	whole := string(bad)
	i, j := strings.Index(whole, "resolvers:"), strings.Index(whole, "authority:")
	write := func(resolvers, clients string) *Config {
		t.Helper()
		file := filepath.Join(t.TempDir(), "pointsman.yaml")
		text := whole[:i] + resolvers + whole[j:strings.Index(whole, "    clients:")] + clients
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := Load(file)
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	plain := write("", "")
	cfg := write("resolvers:\n  - {name: office, address: 192.0.2.53}\n  - {name: isp, address: \"[2001:db8::53]:5353\", stretches: 90s}\n",
		"    clients: {resolver_allowance: 1h, request_timeout: 30s, connection_life: 10m}\n")
	want := []dnsctl.PanelResolver{
		{Name: "office", Address: netip.MustParseAddrPort("192.0.2.53:53")},
		{Name: "isp", Address: netip.MustParseAddrPort("[2001:db8::53]:5353"), Stretches: 90 * time.Second},
	}
	if !reflect.DeepEqual(cfg.Resolvers, want) || plain.Resolvers != nil {
		t.Errorf("%+v, and %+v without", cfg.Resolvers, plain.Resolvers)
	}
	p := cfg.Instances[0].Policy
	if p.Clients != (failover.ClientPolicy{ResolverAllowance: time.Hour, RequestTimeout: 30 * time.Second, ConnectionLife: 10 * time.Minute}) {
		t.Errorf("%+v", p.Clients)
	}
	if was := plain.Instances[0].Policy; was.Clients != (failover.ClientPolicy{}) || was.Expected != p.Expected {
		t.Errorf("%+v, %s and %s", was.Clients, was.Expected, p.Expected)
	}
}
