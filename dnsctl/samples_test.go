package dnsctl_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"pointsman/dnsctl"
	"pointsman/internal/failover"
)

// The samples of servers that take updates are run as they are shipped, with
// only addresses, folders, user and secret replaced.

// sampleCommands are the lines of a sample that are to be run once.
var sampleCommands = regexp.MustCompile(`(?m)^#   \$ (.*)$`)

// readSample returns a sample with these texts replaced, each of which must be
// in it, and the zone file that it recommends as a start.
func readSample(t testing.TB, file, comment string, replace map[string]string) (text, zone string) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("../configs", file))
	if err != nil {
		t.Fatal(err)
	}
	text = string(raw)
	if _, start, ok := strings.Cut(text, comment+" The zone file, as a start:"); ok {
		for line := range strings.Lines(start) {
			if l, ok := strings.CutPrefix(line, comment+"   "); ok {
				zone += l
			} else if zone != "" && strings.TrimSpace(line) != comment {
				break
			}
		}
	}
	for old, now := range replace {
		if !strings.Contains(text, old) {
			t.Fatalf("%s has no %q", file, old)
		}
		text = strings.ReplaceAll(text, old, now)
	}
	return text, zone
}

func TestKnotSampleConfigGrantsWhatIsNeededAndNoMore(t *testing.T) {
	addr, _ := startServer(t, "example.com.", func(dir string, port int) []string {
		conf, zone := readSample(t, "knot.conf.sample", "#", map[string]string{
			"127.0.0.1@5300": fmt.Sprintf("127.0.0.1@%d", port), "/var/lib/knot": dir, `"/run/knot"`: `"` + dir + `"`,
			"user: knot:knot": "user: " + me(t), "REPLACE-WITH-THE-SECRET": dnsctl.SecretText,
		})
		dnsctl.WriteFile(t, filepath.Join(dir, "example.com.zone"), zone)
		dnsctl.WriteFile(t, filepath.Join(dir, "knot.conf"), conf)
		shell(t, "knotc -c "+filepath.Join(dir, "knot.conf")+" conf-check")
		return []string{"knotd", "-c", filepath.Join(dir, "knot.conf")}
	})
	playSample(t, primary{"Knot", addr, "example.com.", "", 0})
}

func TestPowerDNSSampleConfigGrantsWhatIsNeededAndNoMore(t *testing.T) {
	playSample(t, startPowerDNSSample(t, nil))
}

// startPowerDNSSample runs the sample, with a part of its policy replaced.
func startPowerDNSSample(t testing.TB, policy map[string]string) primary {
	t.Helper()
	var at string
	addr, _ := startServer(t, "example.com.", func(dir string, port int) []string {
		at = dir
		conf, zone := readSample(t, "pdns.conf.sample", "#", map[string]string{
			"local-port=5300": fmt.Sprintf("local-port=%d", port), "/var/lib/powerdns": dir, "/etc/powerdns": dir,
			"REPLACE-WITH-THE-SECRET": dnsctl.SecretText,
		})
		script, _ := readSample(t, "pdns-policy.lua.sample", "--", policy)
		dnsctl.WriteFile(t, filepath.Join(dir, "example.com.zone"), zone)
		dnsctl.WriteFile(t, filepath.Join(dir, "pdns.conf"), conf)
		dnsctl.WriteFile(t, filepath.Join(dir, "pdns-policy.lua"), script)
		commands := sampleCommands.FindAllStringSubmatch(conf, -1)
		if len(commands) < 5 {
			t.Fatalf("the sample has the commands %q", commands)
		}
		for _, line := range commands {
			shell(t, line[1])
		}
		// A key that the script does not name.
		shell(t, "pdnsutil --config-dir="+dir+" import-tsig-key hand hmac-sha256 "+dnsctl.OtherText)
		return pdnsCommand(dir)
	})
	settled(t, at+"/pdns.sqlite3")
	return primary{"PowerDNS", addr, "example.com.", at, 0}
}

// TestPowerDNSPolicyThatSaysFalseLeavesRecordsOut is why the sample of the policy
// ends with an error: PowerDNS would else carry out a part of an update and
// answer NOERROR. Only reading back shows it.
func TestPowerDNSPolicyThatSaysFalseLeavesRecordsOut(t *testing.T) {
	s := startPowerDNSSample(t, map[string]string{
		`["_pointsman.orders.example.com."] = pdns.TXT,`: "", "error(": "return false --(",
	})
	c := rfc2136Config(t, s.addr.String())
	c.Zone = s.zone
	c.Allowed = map[failover.RecordName][]failover.Target{"orders.example.com.": {"orders-a.example.com.", "orders-b.example.com."}}
	p, err := dnsctl.NewRFC2136(c)
	if err != nil {
		t.Fatal(err)
	}
	none := ""
	ch := dnsctl.Change{
		Name: "orders.example.com.", Expect: "orders-a.example.com.", ExpectMark: &none, Value: "orders-b.example.com.", TTL: 30, Mark: markOf(1),
	}
	if out, err := p.Write(t.Context(), ch); out != failover.WriteDone || err != nil {
		t.Fatalf("%s, %v: the premise is gone", out, err)
	}
	got, err := p.Read(t.Context(), ch.Name)
	if err != nil || got.Value != ch.Value || got.Mark != "" {
		t.Errorf("read back %+v, %v", got, err)
	}
}

// playSample moves both names of the sample, and is refused everything else.
func playSample(t *testing.T, s primary) {
	c := rfc2136Config(t, s.addr.String())
	c.Zone = s.zone
	pairs := map[failover.RecordName][2]failover.Target{
		"orders.example.com.":     {"orders-a.example.com.", "orders-b.example.com."},
		"orders.vpc.example.com.": {"orders-a.vpc.example.com.", "orders-b.vpc.example.com."},
	}
	c.Allowed = map[failover.RecordName][]failover.Target{"new.example.com.": {"orders-b.example.com."}}
	for name, to := range pairs {
		c.Allowed[name] = to[:]
	}
	p, err := dnsctl.NewRFC2136(c)
	if err != nil {
		t.Fatal(err)
	}
	none := ""
	for name, to := range pairs {
		ch := dnsctl.Change{Name: name, Expect: to[0], ExpectMark: &none, Value: to[1], TTL: 30, Mark: markOf(1)}
		out, err := p.Write(t.Context(), ch)
		for range 5 {
			if s.kind != "PowerDNS" || out != failover.WriteUnknown || !errors.Is(err, dnsctl.ErrServer) {
				break
			}
			out, err = p.Write(t.Context(), ch) // its database was locked at that moment, which passes
		}
		if out != failover.WriteDone || err != nil {
			t.Fatalf("%s: %s, %v", name, out, err)
		}
		if got, err := p.Read(t.Context(), name); err != nil || got.Value != to[1] || got.TTL != 30 || got.Mark != markOf(1) {
			t.Errorf("%+v, %v", got, err)
		}
	}
	out, err := p.Write(t.Context(), dnsctl.Change{Name: "new.example.com.", Value: "orders-b.example.com.", TTL: 30, Mark: markOf(1)})
	switch {
	case s.kind == "Knot" && out == failover.WriteRefused && errors.Is(err, dnsctl.ErrKey):
	case s.kind == "PowerDNS" && out == failover.WriteUnknown && errors.Is(err, dnsctl.ErrServer):
		dnsctl.WantText(t, err.Error(), "policy script")
	default:
		t.Errorf("another name: %s, %v", out, err)
	}
	// What no provider of ours would ever send.
	never := map[string]func(*dns.Msg){
		"an address at the name": func(m *dns.Msg) {
			m.RemoveRRset([]dns.RR{rr(t, "orders.example.com. 0 IN CNAME .")})
			m.Insert([]dns.RR{rr(t, "orders.example.com. 30 IN A 192.0.2.9")})
		},
		"everything at the name":  func(m *dns.Msg) { m.RemoveName([]dns.RR{rr(t, "orders.example.com. 0 IN CNAME .")}) },
		"another name":            func(m *dns.Msg) { m.Insert([]dns.RR{rr(t, "www.example.com. 30 IN CNAME orders-b.example.com.")}) },
		"a name below it":         func(m *dns.Msg) { m.Insert([]dns.RR{rr(t, "x.orders.example.com. 30 IN CNAME orders-b.example.com.")}) },
		"the address of a target": func(m *dns.Msg) { m.Insert([]dns.RR{rr(t, "orders-a.example.com. 30 IN A 192.0.2.9")}) },
		"the servers of the zone": func(m *dns.Msg) { m.Insert([]dns.RR{rr(t, "example.com. 30 IN NS ns9.example.com.")}) },
	}
	for name, edit := range never {
		if got := s.update(t, s.zone, ctl, edit); !strings.HasSuffix(got, " +0") || strings.HasPrefix(got, "NOERROR") {
			t.Errorf("%s: %s", name, got)
		}
	}
	// And what it may do, it may do only as itself.
	move := func(m *dns.Msg) { m.Insert([]dns.RR{rr(t, "orders.example.com. 30 IN CNAME orders-a.example.com.")}) }
	for name, b := range map[string]by{
		"not signed": {}, "another key": hand, "another secret": {"ctl.", dns.HmacSHA256, dnsctl.OtherText, 0},
	} {
		if got := s.update(t, s.zone, b, move); !strings.HasSuffix(got, " +0") || strings.HasPrefix(got, "NOERROR") {
			t.Errorf("%s: %s", name, got)
		}
	}
	for name, to := range pairs {
		if got, err := p.Read(t.Context(), name); err != nil || got.Value != to[1] || got.Mark != markOf(1) || got.Other != "" {
			t.Errorf("afterwards %s shows %+v, %v", name, got, err)
		}
	}
}
