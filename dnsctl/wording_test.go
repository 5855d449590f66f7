package dnsctl_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pointsman/dnsctl"
	"pointsman/dnsctl/contract"
	"pointsman/internal/failover"
)

// cause is one thing that is wrong, and what a server of each kind makes us say
// of it. Where a kind is missing from says, the write is done.
type cause struct {
	edit func(t testing.TB, c *dnsctl.RFC2136Config, ch *dnsctl.Change)
	is   map[string]error
	says map[string][]string
	// read is what a Read says; without one it succeeds.
	read map[string]error
}

func everywhere(err error) map[string]error {
	return map[string]error{"BIND": err, "Knot": err, "PowerDNS": err}
}

// open is what PowerDNS leaves open about a key.
var open = []string{"REFUSED", "the cause is open: key, secret, clock, address or policy", "PowerDNS"}

var causes = map[string]cause{
	"another secret": {
		edit: func(t testing.TB, c *dnsctl.RFC2136Config, _ *dnsctl.Change) {
			c.Key.Secret = dnsctl.MustSecret(t, dnsctl.OtherText)
		},
		is: map[string]error{"BIND": dnsctl.ErrSecret, "Knot": dnsctl.ErrSecret, "PowerDNS": dnsctl.ErrRights},
		says: map[string][]string{
			"BIND": {"NOTAUTH", "another secret for the key ctl."}, "Knot": {"NOTAUTH", "another secret for the key ctl."}, "PowerDNS": open,
		},
		read: map[string]error{"BIND": dnsctl.ErrSecret, "Knot": dnsctl.ErrSecret, "PowerDNS": dnsctl.ErrUnsigned},
	},
	"unknown key": {
		edit: func(_ testing.TB, c *dnsctl.RFC2136Config, _ *dnsctl.Change) { c.Key.Name = "nobody." },
		is:   map[string]error{"BIND": dnsctl.ErrKey, "Knot": dnsctl.ErrKey, "PowerDNS": dnsctl.ErrRights},
		says: map[string][]string{
			"BIND": {"NOTAUTH", "does not know the key nobody. with hmac-sha256."},
			"Knot": {"NOTAUTH", "does not know the key nobody. with hmac-sha256."}, "PowerDNS": open,
		},
		read: map[string]error{"BIND": dnsctl.ErrKey, "Knot": dnsctl.ErrKey, "PowerDNS": dnsctl.ErrUnsigned},
	},
	"another algorithm": {
		edit: func(_ testing.TB, c *dnsctl.RFC2136Config, _ *dnsctl.Change) { c.Key.Algorithm = "hmac-sha512" },
		is:   map[string]error{"BIND": dnsctl.ErrKey, "Knot": dnsctl.ErrKey, "PowerDNS": dnsctl.ErrRights},
		says: map[string][]string{"BIND": {"hmac-sha512."}, "Knot": {"hmac-sha512."}, "PowerDNS": open},
		read: map[string]error{"BIND": dnsctl.ErrKey, "Knot": dnsctl.ErrKey, "PowerDNS": dnsctl.ErrUnsigned},
	},
	"clock two hours ahead": {
		edit: func(_ testing.TB, c *dnsctl.RFC2136Config, _ *dnsctl.Change) { c.Now = clock(2 * time.Hour) },
		is:   map[string]error{"BIND": dnsctl.ErrClock, "Knot": dnsctl.ErrClock, "PowerDNS": dnsctl.ErrRights},
		says: map[string][]string{
			"BIND": {"ahead of the server's", "at most 300 s"},
			"Knot": {"ahead of the server's", "at most 300 s"}, "PowerDNS": open,
		},
		read: map[string]error{"BIND": dnsctl.ErrClock, "Knot": dnsctl.ErrClock, "PowerDNS": dnsctl.ErrUnsigned},
	},
	"clock two hours behind": {
		edit: func(_ testing.TB, c *dnsctl.RFC2136Config, _ *dnsctl.Change) { c.Now = clock(-2 * time.Hour) },
		is:   map[string]error{"BIND": dnsctl.ErrClock, "Knot": dnsctl.ErrClock, "PowerDNS": dnsctl.ErrRights},
		says: map[string][]string{
			"BIND": {"behind the server's"}, "Knot": {"behind the server's"}, "PowerDNS": open,
		},
		read: map[string]error{"BIND": dnsctl.ErrClock, "Knot": dnsctl.ErrClock, "PowerDNS": dnsctl.ErrUnsigned},
	},
	"name not granted": {
		edit: func(_ testing.TB, _ *dnsctl.RFC2136Config, ch *dnsctl.Change) { ch.Name = "denied.lab.test." },
		is:   map[string]error{"BIND": dnsctl.ErrRights, "Knot": dnsctl.ErrKey},
		says: map[string][]string{
			"BIND": {"REFUSED", "grant the key ctl. both CNAME at denied.lab.test. and TXT at _pointsman.denied.lab.test."},
			"Knot": {"NOTAUTH", "Knot says the same of a good key that may not change this name or type: see its acl"},
		},
	},
	"something else at the mark": {
		edit: func(_ testing.TB, _ *dnsctl.RFC2136Config, ch *dnsctl.Change) {
			ch.Name = "busy.lab.test.busy.lab.test."
		},
		is: map[string]error{"BIND": dnsctl.ErrRights, "Knot": dnsctl.ErrKey, "PowerDNS": dnsctl.ErrRights},
		says: map[string][]string{
			"BIND": {"REFUSED"}, "Knot": {"see its acl"},
			"PowerDNS": {"REFUSED", "see that nothing else stands at either (PowerDNS refuses that too"},
		},
	},
	"a zone above the server's": {
		edit: func(_ testing.TB, c *dnsctl.RFC2136Config, _ *dnsctl.Change) { c.Zone = "test." },
		is:   everywhere(dnsctl.ErrZone),
		says: map[string][]string{
			"BIND": {"not the primary of the zone test."}, "Knot": {"not the primary of the zone test."}, "PowerDNS": {"not the primary of the zone test."},
		},
	},
	"unknown zone": {
		edit: func(_ testing.TB, c *dnsctl.RFC2136Config, ch *dnsctl.Change) {
			c.Zone, ch.Name = "elsewhere.test.", "orders.elsewhere.test."
		},
		is: everywhere(dnsctl.ErrZone),
		says: map[string][]string{
			"BIND": {"NOTAUTH", "not the primary of the zone elsewhere.test."}, "Knot": {"NOTAUTH", "not the primary of the zone elsewhere.test."},
			"PowerDNS": {"NOTAUTH", "not the primary of the zone elsewhere.test."},
		},
		read: map[string]error{"BIND": dnsctl.ErrRights, "Knot": dnsctl.ErrUnsigned, "PowerDNS": dnsctl.ErrRights},
	},
}

func clock(ahead time.Duration) func() time.Time {
	return func() time.Time { return time.Now().Add(ahead) }
}

func TestBINDMakesUsSayWhy(t *testing.T)     { playCauses(t, startBIND(t)) }
func TestKnotMakesUsSayWhy(t *testing.T)     { playCauses(t, startKnot(t)) }
func TestPowerDNSMakesUsSayWhy(t *testing.T) { playCauses(t, startPowerDNS(t)) }

func playCauses(t *testing.T, s primary) {
	s.byHand(t, func(m *dns.Msg) {
		m.Insert(cname(t, "busy.lab.test.busy.lab.test.", "a.lab.test.", 30))
		m.Insert(cname(t, "_pointsman.busy.lab.test.busy.lab.test.", "a.lab.test.", 30))
	})
	for name, tc := range causes {
		t.Run(name, func(t *testing.T) {
			c := rfc2136Config(t, s.addr.String())
			ch := dnsctl.Change{Name: orders, Expect: targetA, Value: targetB, TTL: 31, Mark: markOf(1)}
			tc.edit(t, &c, &ch)
			c.Allowed = map[failover.RecordName][]failover.Target{ch.Name: {targetA, targetB}}
			p, err := dnsctl.NewRFC2136(c)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p.Read(t.Context(), ch.Name); !errors.Is(err, tc.read[s.kind]) || (err != nil) != (tc.read[s.kind] != nil) {
				t.Errorf("read: %v, want %v", err, tc.read[s.kind])
			} else if errors.Is(err, dnsctl.ErrUnsigned) {
				dnsctl.WantText(t, err.Error(), "the cause is open: key, secret or clock")
			}
			before := s.serial(t)
			out, err := p.Write(t.Context(), ch)
			want, fails := tc.is[s.kind]
			if !fails {
				if out != failover.WriteDone || err != nil {
					t.Errorf("%s, %v", out, err)
				}
				return
			}
			if out != failover.WriteRefused || !errors.Is(err, want) {
				t.Fatalf("%s, %v; want refused, %v", out, err, want)
			}
			dnsctl.WantText(t, err.Error(), tc.says[s.kind]...)
			if s.serial(t) != before {
				t.Error("the zone changed")
			}
			var ce *dnsctl.ClockError
			if errors.As(err, &ce) {
				if off := ce.Skew().Round(10 * time.Second).Abs(); off != 2*time.Hour {
					t.Errorf("skew %s", ce.Skew())
				}
			}
		})
	}
}

// TestSecondariesLikeNSDTakeNoUpdates: whoever writes to one is told where to.
func TestSecondariesLikeNSDTakeNoUpdates(t *testing.T) {
	addr, _ := startServer(t, labZone, func(dir string, port int) []string {
		dnsctl.WriteFile(t, filepath.Join(dir, "lab.test.zone"), contractZone())
		dnsctl.WriteFile(t, filepath.Join(dir, "nsd.conf"), fmt.Sprintf(`server:
	ip-address: 127.0.0.1@%d
	username: ""
	zonesdir: "%s"
	pidfile: ""
	xfrdfile: ""
	zonelistfile: "%s/zone.list"
	database: ""
remote-control:
	control-enable: no
key:
	name: "ctl."
	algorithm: hmac-sha256
	secret: "%s"
zone:
	name: lab.test
	zonefile: lab.test.zone
`, port, dir, dir, dnsctl.SecretText))
		return []string{"nsd", "-d", "-c", filepath.Join(dir, "nsd.conf")}
	})
	p, err := dnsctl.NewRFC2136(rfc2136Config(t, addr.String()))
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.Write(t.Context(), dnsctl.Change{Name: orders, Expect: targetA, Value: targetB, TTL: 31, Mark: markOf(1)})
	if out != failover.WriteRefused || !errors.Is(err, dnsctl.ErrUnsupported) {
		t.Fatalf("%s, %v", out, err)
	}
	dnsctl.WantText(t, err.Error(), "NOTIMP", "write to the primary", "NSD")
}

func markOf(epoch uint64) string {
	return failover.Mark{Token: failover.Token{Term: 1, Epoch: epoch}, Op: "op-1", By: "ctl-1"}.String()
}

// TestPowerDNSThatSharesItsDatabaseReadsLate: a second process does not know what
// the first one has changed, for as long as its caches are kept. Its updates
// are judged by what is stored all the same, and the mismatch says where the
// contradiction comes from. Without caches nothing is late.
func TestPowerDNSThatSharesItsDatabaseReadsLate(t *testing.T) {
	first := startPowerDNS(t)
	for name, tc := range map[string]struct {
		settings string
		late     bool
	}{
		"caches as they come": {"", true},
		"no caches":           {"cache-ttl=0\nquery-cache-ttl=0\nnegquery-cache-ttl=0\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			mark := string(dnsctl.MarkName(orders))
			first.set(t, at, mark, contract.Record{Value: targetA, TTL: 30})
			addr, _ := startServer(t, labZone, func(dir string, port int) []string {
				conf, err := os.ReadFile(filepath.Join(first.dir, "pdns.conf"))
				if err != nil {
					t.Fatal(err)
				}
				var lines []string
				for line := range strings.Lines(string(conf)) {
					if !strings.HasPrefix(line, "local-port") && !strings.Contains(line, "cache-ttl") && !strings.HasPrefix(line, "primary") {
						lines = append(lines, line)
					}
				}
				dnsctl.WriteFile(t, filepath.Join(dir, "pdns.conf"), strings.Join(lines, "")+tc.settings+"local-port="+strconv.Itoa(port)+"\n")
				return pdnsCommand(dir)
			})
			second := primary{"PowerDNS", addr, labZone, first.dir, 0}
			able := rfc2136World(t, second).Provider(t, contract.Able)
			if s, err := able.Read(t.Context(), orders); err != nil || s.Value != targetA {
				t.Fatalf("%+v %v", s, err)
			}
			first.set(t, at, mark, contract.Record{Value: targetB, TTL: 31, Mark: markOf(1)})
			s, err := able.Read(t.Context(), orders)
			if err != nil {
				t.Fatal(err)
			}
			if late := s.Value == targetA && s.Mark == ""; late != tc.late {
				t.Errorf("after a change by the first process the second shows %+v", s)
			}
			empty := ""
			out, err := able.Write(t.Context(), dnsctl.Change{
				Name: orders, Expect: targetA, ExpectMark: &empty, Value: targetB, TTL: 31, Mark: markOf(2),
			})
			if out != failover.WriteMismatch || !errors.Is(err, dnsctl.ErrPrerequisite) {
				t.Fatalf("%s, %v", out, err)
			}
			if said := strings.Contains(err.Error(), "answer from a cache"); said != tc.late {
				t.Errorf("%v", err)
			}
		})
	}
}
