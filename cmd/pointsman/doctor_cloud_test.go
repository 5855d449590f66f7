package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pointsman/internal/doctor"
	"pointsman/internal/lab/alicloud"
)

// cloudPlace is a configuration for a name at the lab's cloud, and no controller.
type cloudPlace struct {
	t           *testing.T
	dir         string
	s           *alicloud.Server
	zone        string // ID
	write, read alicloud.Key
}

const placeConfig = `controller: {name: ctl-1}
single_vantage: accept
vantage: {name: ctl-1, domain: rack-1, controls: ["tcp://127.0.0.1:1"]}
providers:
  cloud:
    type: $TYPE
    zone: example.com.
    endpoint: "http://$API"
    credentials: {file: write.json}
    read_credentials: {file: read.json}
$MORE
instances:
  - name: orders
    preset: stateless-http
    names: [{name: orders.example.com., provider: cloud}]
    clusters:
      a: {target: orders-a.example.com., address: "127.0.1.1:80"}
      b: {target: orders-b.example.com., address: "127.0.1.2:80"}
    primary: a
    ttl: 30s
    check: {type: http, path: /healthz, identity: {header: X-Cluster}}
`

// newCloudPlace makes the zone, with keys that have the rights which init rights
// prints, and no more. $RESOLVER in more is that of vpc-1.
func newCloudPlace(t *testing.T, private bool, o alicloud.Options, z alicloud.Zone, more string) *cloudPlace {
	t.Helper()
	o.NoQuota = true
	s, err := alicloud.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	z.Name, z.Private = "example.com", private
	p := &cloudPlace{t: t, dir: t.TempDir(), s: s}
	if p.zone, err = s.AddZone(z); err != nil {
		t.Fatal(err)
	}
	kind := "alidns"
	if private {
		kind, more = "pvtz", more+"\n    zone_id: "+p.zone
	}
	text := strings.NewReplacer("$TYPE", kind, "$API", s.Endpoint(), "$MORE", more).Replace(placeConfig)
	writeFiles(t, p.dir, map[string]string{"pointsman.yaml": strings.ReplaceAll(text, "$RESOLVER", s.Resolver("vpc-1"))})
	p.read = p.policy("read", rightsFor(t, kind, p.file(), "pointsman-dns-read"), "read.json")
	p.write = p.policy("write", rightsFor(t, kind, p.file(), "pointsman-dns-read", "pointsman-dns-write"), "write.json")
	return p
}

func (p *cloudPlace) file() string { return filepath.Join(p.dir, "pointsman.yaml") }

// policy makes a key with a policy, and its file.
func (p *cloudPlace) policy(name string, policy *alicloud.Policy, file string) alicloud.Key {
	p.t.Helper()
	k := alicloud.Key{ID: "LTAI-" + name, Secret: name + "-secret-secret-secret-secret", User: name, Policy: policy}
	if err := p.s.AddKey(k); err != nil {
		p.t.Fatal(err)
	}
	writeFiles(p.t, p.dir, map[string]string{file: keyFileOf(p.t, k)})
	return k
}

func (p *cloudPlace) seed(line, to string) alicloud.Record {
	p.t.Helper()
	return p.add(alicloud.Record{RR: "orders", Type: "CNAME", Value: to, TTL: 30, Line: line})
}

func (p *cloudPlace) add(r alicloud.Record) alicloud.Record {
	p.t.Helper()
	r, err := p.s.AddRecord(p.zone, r)
	if err != nil {
		p.t.Fatal(err)
	}
	return r
}

func (p *cloudPlace) change(r alicloud.Record, e alicloud.Edit) {
	p.t.Helper()
	if err := p.s.Change(r.ID, e); err != nil {
		p.t.Fatal(err)
	}
}

func (p *cloudPlace) first() alicloud.Record {
	p.t.Helper()
	r, ok := p.s.Record(p.zone, "orders", "default")
	if !ok {
		p.t.Fatal("there is no record")
	}
	return r
}

func (p *cloudPlace) value(to string) { p.change(p.first(), alicloud.Edit{Value: &to}) }

// look runs doctor as a person does.
func (p *cloudPlace) look(more ...string) []doctor.Finding {
	p.t.Helper()
	out, said, err := runVerb(p.t, append([]string{"doctor", "-c", p.file(), "-o", "json"}, more...)...)
	if status := errStatus(0); err != nil && !errors.As(err, &status) {
		p.t.Fatalf("%v\n%s", err, said)
	}
	for _, k := range []alicloud.Key{p.read, p.write} {
		if k.ID != "" && (strings.Contains(out+said, k.ID) || strings.Contains(out+said, k.Secret)) {
			p.t.Errorf("a key was printed:\n%s%s", out, said)
		}
	}
	var r doctorReport
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		p.t.Fatalf("%v\n%s", err, out)
	}
	return r.Findings
}

// noResolver is the resolver of a place that has none.
var noResolver = []string{"--resolver", "127.0.0.1:1"}

// foundIn wants a finding with a verdict, and parts of its evidence or fix.
func foundIn(t *testing.T, fs []doctor.Finding, id string, v doctor.Verdict, parts ...string) {
	t.Helper()
	if !slices.ContainsFunc(fs, func(f doctor.Finding) bool {
		return f.ID == id && f.Verdict == v && !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(f.Evidence+" | "+f.Fix, p) })
	}) {
		t.Errorf("no %s %s with %q in\n%s", v, id, parts, findingLines(fs))
	}
}

func sentWrites(s *alicloud.Server) []string {
	var out []string
	for _, r := range s.Requests() {
		if r.Action != "" && !strings.HasPrefix(r.Action, "Describe") {
			out = append(out, r.Action)
		}
	}
	return out
}

// TestDoctorFindsNothingAtASoundCloud, with exactly the rights that are printed.
func TestDoctorFindsNothingAtASoundCloud(t *testing.T) {
	for _, private := range []bool{false, true} {
		t.Run(fmt.Sprintf("private %v", private), func(t *testing.T) {
			z, more := alicloud.Zone{MinTTL: 1}, ""
			if private {
				z, more = alicloud.Zone{VPCs: []string{"vpc-1"}}, "    vpcs: [vpc-1]\n    resolvers: [\"$RESOLVER\"]"
			}
			p := newCloudPlace(t, private, alicloud.Options{VPCs: []alicloud.VPC{{ID: "vpc-1"}}}, z, more)
			p.seed("default", "orders-a.example.com")
			fs := p.look(append(noResolver, "--only", "provider,clock.dns")...)
			for _, f := range fs {
				if f.Verdict == doctor.Fail || f.Verdict == doctor.Warn && f.ID != "provider.promises" {
					t.Errorf("%+v", f)
				}
			}
			foundIn(t, fs, "provider.promises", doctor.Warn, "no compare-and-swap", "may have changed a part")
			foundIn(t, fs, "provider.rights", doctor.OK, "the key that writes may", "lists no other zone", "not tried, since they write")
			foundIn(t, fs, "provider.rights", doctor.OK, "the key of a dry run may")
			foundIn(t, fs, "provider.records", doctor.OK, "orders-a.example.com. on line default")
			foundIn(t, fs, "clock.dns", doctor.OK, "the Date of the API")
			if private {
				foundIn(t, fs, "provider.private", doctor.OK, "acceleration zone, bound to vpc-1")
			} else {
				foundIn(t, fs, "provider.delegation", doctor.OK, "delegated to itself")
				foundIn(t, fs, "provider.floor", doctor.OK, "it takes 1 s and more")
			}
			if w := sentWrites(p.s); len(w) > 0 {
				t.Errorf("it sent %v", w)
			}
		})
	}
}

// TestDoctorNamesWhatIsWrongAtACloud: each fault is planted in the lab.
func TestDoctorNamesWhatIsWrongAtACloud(t *testing.T) {
	on, another := true, "orders-b.example.com"
	for name, c := range map[string]struct {
		zone alicloud.Zone
		do   func(p *cloudPlace)
		id   string
		v    doctor.Verdict
		want []string
	}{
		"delegated elsewhere": {alicloud.Zone{DelegatedTo: []string{"ns1.elsewhere.example"}}, nil, "provider.delegation", doctor.Fail, []string{"delegated to ns1.elsewhere.example", "moves nobody", "at the registrar"}},
		"a free edition":      {alicloud.Zone{Edition: alicloud.Free}, nil, "provider.floor", doctor.Fail, []string{"no TTL below 600 s", "ttl is 30 s: every move is refused", "At 600 s the bounded part", "ttl_floor: 600s"}},
		"two on a line": {alicloud.Zone{}, func(p *cloudPlace) {
			p.change(p.seed("telecom", "orders-a.example.com"), alicloud.Edit{Another: &another})
		}, "provider.records", doctor.Fail, []string{"line telecom has 2 CNAMEs"}},
		"lines differ":        {alicloud.Zone{}, func(p *cloudPlace) { p.seed("telecom", another) }, "provider.records", doctor.Fail, []string{"the lines differ: orders-a.example.com. at default; orders-b.example.com. at telecom"}},
		"elsewhere":           {alicloud.Zone{}, func(p *cloudPlace) { p.value("x.example.com") }, "provider.records", doctor.Fail, []string{"points at x.example.com., which is no target"}},
		"the traffic manager": {alicloud.Zone{}, func(p *cloudPlace) { p.value("orders.gtm-a4b7.com") }, "provider.records", doctor.Fail, []string{"traffic manager, which moves by itself: orders.gtm-a4b7.com.", "manual mode"}},
		"locked": {alicloud.Zone{}, func(p *cloudPlace) {
			p.change(p.seed("telecom", "orders-a.example.com"), alicloud.Edit{Locked: &on})
		}, "provider.records", doctor.Fail, []string{"locked on telecom"}},
		"a conflicting type": {alicloud.Zone{}, func(p *cloudPlace) {
			p.add(alicloud.Record{RR: "orders", Type: "A", Value: "192.0.2.1", TTL: 60, Line: "unicom", Disabled: true})
		}, "provider.records", doctor.Fail, []string{"A 192.0.2.1 on line unicom"}},
		"paused": {alicloud.Zone{}, func(p *cloudPlace) {
			p.add(alicloud.Record{RR: "orders", Type: "CNAME", Value: "orders-a.example.com", TTL: 60, Line: "unicom", Disabled: true})
		}, "provider.records", doctor.Fail, []string{"paused on unicom"}},
		"no record": {alicloud.Zone{}, func(p *cloudPlace) {
			p.change(p.first(), alicloud.Edit{Delete: true})
		}, "provider.records", doctor.Fail, []string{"no CNAME on any line", "once by hand"}},
		"no default line": {alicloud.Zone{}, func(p *cloudPlace) {
			p.change(p.first(), alicloud.Edit{Delete: true})
			p.seed("telecom", "orders-a.example.com")
		}, "provider.records", doctor.Warn, []string{"only on telecom"}},
		"another controller": {alicloud.Zone{}, func(p *cloudPlace) {
			mark := "p1,1,1,orders,,ctl-9"
			p.change(p.first(), alicloud.Edit{Remark: &mark})
		}, "provider.records", doctor.Fail, []string{"another controller wrote it last: ctl-9"}},
		"a key that is too broad": {alicloud.Zone{}, func(p *cloudPlace) {
			if _, err := p.s.AddZone(alicloud.Zone{Name: "corporate.test"}); err != nil {
				p.t.Fatal(err)
			}
			p.write = p.policy("wide", alicloud.Allow([]string{"alidns:*"}), "write.json")
		}, "provider.rights", doctor.Warn, []string{"the key that writes is too broad: it lists 1 other zones", "corporate.test"}},
		"a key that lacks a right": {alicloud.Zone{}, func(p *cloudPlace) {
			p.write = p.policy("blind", alicloud.Allow([]string{"alidns:DescribeDomainInfo", "alidns:DescribeDomainNs"}, "example.com"), "write.json")
		}, "provider.rights", doctor.Fail, []string{"the key that writes lacks alidns:DescribeSubDomainRecords"}},
		"a key without any right": {alicloud.Zone{}, func(p *cloudPlace) {
			p.write = p.policy("none", alicloud.Allow([]string{"ots:GetRow"}, "example.com"), "write.json")
		}, "provider.rights", doctor.Fail, []string{"the key that writes lacks alidns:DescribeSubDomainRecords, alidns:DescribeDomainInfo"}},
		"a key that may not look": {alicloud.Zone{}, func(p *cloudPlace) {
			p.read = p.policy("dim", alicloud.Allow([]string{"alidns:DescribeDomainInfo", "alidns:DescribeSubDomainRecords"}, "example.com"), "read.json")
		}, "provider.rights", doctor.Warn, []string{"the key of a dry run lacks", "alidns:DescribeDomainNs"}},
		"a key of nobody": {alicloud.Zone{}, func(p *cloudPlace) {
			writeFiles(p.t, p.dir, map[string]string{"write.json": `{"AccessKeyId":"LTAI-nobody","AccessKeySecret":"nobody-nobody-nobody"}`})
		}, "provider.rights", doctor.Fail, []string{"the key that writes: ", "key not accepted"}},
		"one key for both": {alicloud.Zone{}, func(p *cloudPlace) {
			writeFiles(p.t, p.dir, map[string]string{"read.json": keyFileOf(p.t, p.write)})
		}, "provider.rights", doctor.Warn, []string{"the key of a dry run is the key that writes too"}},
		"no key yet": {alicloud.Zone{}, func(p *cloudPlace) {
			if err := os.Remove(filepath.Join(p.dir, "write.json")); err != nil {
				p.t.Fatal(err)
			}
		}, "provider.rights", doctor.Skipped, []string{"the key that writes: its file"}},
		"one answer is missing": {alicloud.Zone{}, func(p *cloudPlace) {
			p.s.Fail("DescribeDNSSLBSubDomains", alicloud.Fault{Kind: alicloud.Unavailable}, -1)
		}, "provider.rights", doctor.Skipped, []string{"not known of alidns:DescribeDNSSLBSubDomains"}},
	} {
		t.Run(name, func(t *testing.T) {
			z := c.zone
			if z.Edition.Code == "" {
				z.MinTTL = 1
			}
			p := newCloudPlace(t, false, alicloud.Options{}, z, "")
			p.seed("default", "orders-a.example.com")
			if c.do != nil {
				c.do(p)
			}
			foundIn(t, p.look(append(noResolver, "--only", "provider")...), c.id, c.v, c.want...)
			if w := sentWrites(p.s); len(w) > 0 {
				t.Errorf("it sent %v", w)
			}
		})
	}
}

// TestBINDDoctorLooksAtPrivateZones: what kind they are, who is bound, what they
// pass on, and whether the world outside sees the same.
func TestBINDDoctorLooksAtPrivateZones(t *testing.T) {
	outside := startNamed(t, "orders-a", bindGrants) // example.com, orders at a
	o := alicloud.Options{VPCs: []alicloud.VPC{{ID: "vpc-1"}, {ID: "vpc-2"}}}
	p := newCloudPlace(t, true, o, alicloud.Zone{Standard: true, VPCs: []string{"vpc-1"}}, "    override: true\n    vpcs: [vpc-1, vpc-2]\n    resolvers: [\"$RESOLVER\"]")
	p.seed("default", "orders-b.example.com")
	for rr, ip := range map[string]string{"orders-a": "192.0.2.76", "orders-b": "192.0.2.77"} {
		p.add(alicloud.Record{RR: rr, Type: "A", Value: ip, TTL: 30, Line: "default"})
	}
	fs := p.look("--only", "provider,dns", "--resolver", outside.addr)
	foundIn(t, fs, "dns.chain", doctor.OK, "orders-a.example.com. 192.0.2.76", "orders-b.example.com. 192.0.2.77")
	foundIn(t, fs, "provider.private", doctor.Fail, "its proxy pattern is ZONE", "set the proxy pattern of the zone to RECORD")
	foundIn(t, fs, "provider.private", doctor.Fail, "not bound to vpc-2 of vpcs")
	foundIn(t, fs, "provider.private", doctor.Warn, "standard zone", "FAST_ZONE")
	foundIn(t, fs, "provider.view", doctor.Warn, "inside it is orders-b.example.com., outside orders-a.example.com., which nothing here moves")
	foundIn(t, fs, "dns.delegation", doctor.Skipped, "no authority shows it: clients are answered by the resolvers "+p.s.Resolver("vpc-1"))
	foundIn(t, fs, "dns.cname", doctor.OK, "orders-b.example.com. at all of 2 answers")
	for _, f := range fs {
		if strings.HasPrefix(f.ID, "dns.") && f.Verdict == doctor.Fail {
			t.Errorf("nonsense: %+v", f)
		}
	}
	// The resolver of a standard zone keeps its answer: the same place, asked anew.
	p = newCloudPlace(t, true, o, alicloud.Zone{VPCs: []string{"vpc-1"}}, "    resolvers: [\"$RESOLVER\"]")
	p.seed("default", "orders-a.example.com")
	foundIn(t, p.look("--only", "provider.view", "--resolver", outside.addr), "provider.view", doctor.Warn, "it is orders-a.example.com. inside and outside, and nothing here moves it outside")
	p.value("orders.gtm-a4b7.com")
	foundIn(t, p.look("--only", "dns.foreign", "--resolver", outside.addr), "dns.foreign", doctor.Fail, "passes orders.gtm-a4b7.com.")
	p = newCloudPlace(t, true, o, alicloud.Zone{VPCs: []string{"vpc-2"}}, "    resolvers: [\"$RESOLVER\"]")
	p.seed("default", "orders-a.example.com")
	foundIn(t, p.look("--only", "provider.view", "--resolver", outside.addr), "provider.view", doctor.Fail)
}

// TestDoctorIsNotHeldUpByACloudThatHangs: it takes requests and never answers.
func TestDoctorIsNotHeldUpByACloudThatHangs(t *testing.T) {
	t.Parallel()
	p := newCloudPlace(t, false, alicloud.Options{}, alicloud.Zone{}, "    timeout: 1m")
	p.seed("default", "orders-a.example.com")
	p.s.Fail("", alicloud.Fault{Kind: alicloud.Hang}, -1)
	began := time.Now()
	fs := p.look(append(noResolver, "--only", "provider", "--within", "3s")...)
	if took := time.Since(began); took > 45*time.Second {
		t.Errorf("it took %s", took)
	}
	for _, id := range []string{"provider.rights", "provider.records", "provider.floor", "provider.delegation"} {
		foundIn(t, fs, id, doctor.Skipped, "it does not answer in time")
	}
	for _, f := range fs {
		if f.Verdict == doctor.Fail {
			t.Errorf("what does not answer is no fault of the place: %+v", f)
		}
	}
	// One call alone hangs: the others say what they know.
	p = newCloudPlace(t, false, alicloud.Options{}, alicloud.Zone{MinTTL: 1}, "    timeout: 1s")
	p.seed("default", "orders-a.example.com")
	p.s.Fail("DescribeSubDomainRecords", alicloud.Fault{Kind: alicloud.Hang}, -1)
	fs = p.look(append(noResolver, "--only", "provider")...)
	foundIn(t, fs, "provider.floor", doctor.OK, "1 s and more")
	foundIn(t, fs, "provider.records", doctor.Skipped, "alidns:DescribeSubDomainRecords is unknown")
}

// TestABundleOfACloudHoldsNoKey: it describes the provider, and asks the API
// nothing, since that would read a key.
func TestABundleOfACloudHoldsNoKey(t *testing.T) {
	for _, private := range []bool{false, true} {
		more := "    authorities: [\"127.0.0.1:1\"]"
		if private {
			more = "    resolvers: [\"127.0.0.1:1\"]"
		}
		p := newCloudPlace(t, private, alicloud.Options{}, alicloud.Zone{}, more)
		p.seed("default", "orders-a.example.com")
		out := filepath.Join(t.TempDir(), "b.tar.gz")
		if _, said, err := runVerb(t, "bundle", "-c", p.file(), "--output", out); err != nil {
			t.Fatalf("%v\n%s", err, said)
		}
		files := bundleFiles(t, out)
		for name, text := range files {
			for _, k := range []alicloud.Key{p.read, p.write} {
				if strings.Contains(text, k.ID) || strings.Contains(text, k.Secret) {
					t.Errorf("%s holds a key", name)
				}
			}
		}
		wantIn(t, files["config.json"], `"limits": "no compare-and-swap`, p.s.Endpoint())
		if private {
			wantIn(t, files["config.json"], `"type": "pvtz"`, `"zone_id": "`+p.zone+`"`)
		}
		if strings.Contains(files["doctor.json"], "provider.rights") || len(p.s.Requests()) > 0 {
			t.Errorf("the API was asked: %+v\n%s", p.s.Requests(), files["doctor.json"])
		}
	}
}
