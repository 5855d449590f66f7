package dnsctl

import (
	"encoding/json"
	"errors"
	"net/http"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pointsman/internal/failover"
	"pointsman/internal/lab/alicloud"
)

func right(f CloudFacts, action string) string {
	for _, r := range f.Rights {
		if r.Action == action {
			return r.State
		}
	}
	return "missing"
}

// What doctor is told of a name in a public zone.
func TestAlidnsInspect(t *testing.T) {
	l := startCloud(t, false, alicloud.Options{}, alicloud.Zone{Edition: alicloud.Enterprise, DelegatedTo: []string{"ns1.elsewhere.example"}})
	if _, err := l.AddZone(alicloud.Zone{Name: "corporate.test"}); err != nil {
		t.Fatal(err)
	}
	l.seed("default", targetA, mustRemark(t, mark(1, 0)))
	l.seed("edu", "orders.gtm-a4b7.com.", "")
	tel := l.seed("telecom", targetA, "")
	on, another := true, "b.lab.test"
	for _, e := range []alicloud.Edit{{Locked: &on}, {Another: &another}} {
		if err := l.Change(tel.ID, e); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.AddRecord(l.zone, alicloud.Record{RR: "orders", Type: "A", Value: "192.0.2.1", TTL: 60, Line: "unicom", Disabled: true}); err != nil {
		t.Fatal(err)
	}
	p := l.provider(nil).(*Alidns)
	f, err := p.Inspect(t.Context(), orders)
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Records) != 5 || f.MinTTL != 60 || !strings.Contains(f.Edition, "version_enterprise_basic") || !slices.Contains(f.Lines, "telecom") {
		t.Errorf("%+v", f)
	}
	for name, c := range map[string]struct{ got, want []string }{
		"conflicting": {f.Conflicting, []string{"A 192.0.2.1 on line unicom"}}, "several": {f.Several, []string{"telecom"}},
		"locked": {f.Locked, []string{"telecom"}}, "disabled": {f.Disabled, []string{"unicom"}}, "gtm": {f.GTM, []string{"orders.gtm-a4b7.com."}},
		"other zones": {f.OtherZones, []string{"corporate.test"}}, "name servers": {f.NameServers, []string{"ns1.elsewhere.example"}},
	} {
		if !slices.Equal(slices.Compact(c.got), c.want) {
			t.Errorf("%s: %v, want %v", name, c.got, c.want)
		}
	}
	if f.Delegated == nil || *f.Delegated || len(f.Expected) == 0 {
		t.Errorf("delegated %v to %v, expected %v", f.Delegated, f.NameServers, f.Expected)
	}
	if right(f, "alidns:DescribeDomains") != "granted" || right(f, "alidns:UpdateDomainRecord") != "not tried" || len(f.Unread) != 0 {
		t.Errorf("%+v, unread %v", f.Rights, f.Unread)
	}
	if l.writes() != 0 {
		t.Error("looking wrote")
	}
	if _, err := json.Marshal(f); err != nil {
		t.Error(err)
	}
}

// A key for one zone alone is what is wanted: the denial to list others is no fault.
func TestAlidnsInspectWithANarrowKey(t *testing.T) {
	l := startCloud(t, false, alicloud.Options{}, alicloud.Zone{})
	l.seed("default", targetA, "")
	k := alicloud.Key{ID: "LTAI5tNarrow00", Secret: "narrowNarrowNarrowNarrow012345", User: "dns", Policy: alicloud.Allow([]string{"alidns:DescribeSubDomainRecords", "alidns:DescribeDomainInfo"}, labZone)}
	if err := l.AddKey(k); err != nil {
		t.Fatal(err)
	}
	p := l.provider(func(c *CloudConfig) { c.Credentials.File = keyFile(t, k) }).(*Alidns)
	f, err := p.Inspect(t.Context(), orders)
	if err != nil {
		t.Fatal(err)
	}
	if right(f, "alidns:DescribeDomains") != "denied" || right(f, "alidns:DescribeDomainNs") != "denied" || right(f, "alidns:DescribeSubDomainRecords") != "granted" || f.OtherZones != nil || f.Delegated != nil {
		t.Errorf("%+v", f)
	}
	if !slices.ContainsFunc(f.Unread, func(s string) bool { return strings.HasPrefix(s, "alidns:DescribeDomainNs: ") }) {
		t.Errorf("unread: %v", f.Unread)
	}
	wantNoSecret(t, k, f)
	none := alicloud.Key{ID: "LTAI5tNoneee00", Secret: "x01234567890123456789012345678"}
	p = l.provider(func(c *CloudConfig) { c.Credentials.File = keyFile(t, none) }).(*Alidns)
	if f, err := p.Inspect(t.Context(), orders); !errors.Is(err, ErrKey) {
		t.Errorf("%+v, %v", f, err)
	}
}

// What doctor is told of a name in a private zone.
func TestPvtzInspect(t *testing.T) {
	l := startCloud(t, true, alicloud.Options{VPCs: []alicloud.VPC{{ID: "vpc-1"}, {ID: "vpc-2"}}}, alicloud.Zone{Standard: true, VPCs: []string{"vpc-1"}})
	l.seed("default", targetA, mustRemark(t, mark(1, 0)))
	c := l.config()
	p, err := NewPvtz(PvtzConfig{CloudConfig: c, ZoneID: l.zone, VPCs: []string{"vpc-1", "vpc-2"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	f, err := p.Inspect(t.Context(), orders)
	if err != nil {
		t.Fatal(err)
	}
	if f.DNSGroup != "NORMAL_ZONE" || f.ProxyPattern != "ZONE" || !slices.Equal(f.VPCs, []string{"vpc-1"}) || !slices.Equal(f.MissingVPCs, []string{"vpc-2"}) || len(f.Records) != 1 {
		t.Errorf("%+v", f)
	}
	if right(f, "pvtz:DescribeZoneRecords") != "granted" || right(f, "pvtz:DescribeZones") != "granted" || f.OtherZones != nil {
		t.Errorf("%+v", f)
	}
}

// A private zone with a vendor's name that does not pass on what it does not
// hold would take every other name below it away: nothing is written there.
func TestPvtzOverride(t *testing.T) {
	for pattern, want := range map[string]failover.WriteOutcome{"ZONE": failover.WriteRefused, "RECORD": failover.WriteDone} {
		l := startCloud(t, true, alicloud.Options{}, alicloud.Zone{ProxyPattern: pattern})
		l.seed("default", targetA, mustRemark(t, mark(1, 0)))
		p, err := NewPvtz(PvtzConfig{CloudConfig: l.config(), ZoneID: l.zone, Override: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Close)
		readOrders(t, p)
		got, err := p.Write(t.Context(), moved())
		if got != want {
			t.Errorf("%s: %s, %v", pattern, got, err)
		}
		if pattern == "ZONE" {
			wantText(t, err.Error(), "proxy pattern is ZONE", "set it to RECORD")
			if l.writes() != 0 {
				t.Error("something was sent")
			}
		}
	}
}

// The commands for people are made of what was last read: no request, no
// secret, one for each line, each a shell reads as it was meant.
func TestCloudManual(t *testing.T) {
	both(t, func(t *testing.T, l *cloudLab) {
		def, tel := l.two()
		p := l.provider(nil)
		if _, err := core(p).Manual(orders, targetB, 0); err == nil {
			t.Error("commands for records that were never read")
		}
		readOrders(t, p)
		l.Fail("", alicloud.Fault{Kind: alicloud.Reset}, -1) // the API is down
		n := len(l.Requests())
		got, err := core(p).Manual(orders, targetB, 0)
		if err != nil || len(got) != 2 || len(l.Requests()) != n {
			t.Fatalf("%q, %v, %d requests", got, err, len(l.Requests())-n)
		}
		l.Heal()
		for i, r := range []alicloud.Record{def, tel} {
			want := "aliyun alidns UpdateDomainRecord --RecordId " + strconv.FormatInt(r.ID, 10) + " --RR orders --Type CNAME --Value b.lab.test --TTL 60 --Line " + r.Line
			if l.pvtz {
				want = "aliyun pvtz UpdateZoneRecord --RecordId " + strconv.FormatInt(r.ID, 10) + " --Rr orders --Type CNAME --Value b.lab.test --Ttl 60 --Line " + r.Line
			}
			if !strings.HasPrefix(got[i], want) {
				t.Errorf("%q\nwant %q", got[i], want)
			}
			wantNoSecret(t, l.Key(), got[i])
		}
		if got, err := core(p).Manual(orders, targetB, 30); err != nil || !strings.Contains(strings.ToLower(got[0]), "--ttl 30 ") {
			t.Errorf("%q, %v", got, err)
		}
		// A pin of the config never becomes a word of the shell that is no ID.
		pins := map[failover.RecordName]map[string]string{orders: {"default": "1; rm"}}
		if again, err := (AlidnsConfig{CloudConfig: CloudConfig{Zone: labZone, Records: pins}}).ByHand(orders, CloudMove{To: targetB, TTL: 30}); err == nil {
			t.Errorf("%q", again)
		}
		for _, bad := range []failover.Target{"", "192.0.2.1", "a b.test", "$(x).test"} {
			if got, err := core(p).Manual(orders, bad, 0); err == nil {
				t.Errorf("%q: %q", bad, got)
			}
		}
	})
}

// Every text that the API may hand us becomes one word of a shell.
func TestQuote(t *testing.T) {
	for _, s := range []string{"orders", "", "a b", "$(rm)", "a'b", "`x`", "*", "_x.y-z", "例", "a\nb", ";", "-x"} {
		out, err := exec.Command("sh", "-c", "printf %s "+strings.Replace(quote(s), "-x", "./-x", 1)).Output()
		if want := strings.Replace(s, "-x", "./-x", 1); err != nil || string(out) != want {
			t.Errorf("%q became %q: %v", s, out, err)
		}
	}
}

// A zone with letters outside ASCII is written in its ASCII form and answered
// in either; records are compared in one.
func TestCloudIDN(t *testing.T) {
	const idnZone, name = "xn--fsqu00a.xn--0zwm56d", failover.RecordName("xn--4kr132k.xn--fsqu00a.xn--0zwm56d.")
	for _, form := range []struct{ rr, zone, value string }{
		{"订单", "例子.测试", "甲.例子.测试"}, {"xn--4KR132K", "XN--fsqu00a.xn--0zwm56d", "xn--tny.xn--fsqu00a.xn--0zwm56d."},
	} {
		s := startStrange(t, func(w http.ResponseWriter, r *http.Request) {
			a := map[string]any{"RequestId": "r", "DomainName": form.zone, "PunyCode": idnZone, "MinTtl": 1, "TotalCount": 1}
			a["DomainRecords"] = map[string]any{"Record": []any{map[string]any{
				"RR": form.rr, "DomainName": form.zone, "Type": "CNAME", "RecordId": "7", "Line": "default", "Status": "ENABLE", "Value": form.value, "TTL": 60,
			}}}
			if q := r.URL.Query(); q.Get("Action") == "DescribeSubDomainRecords" && (q.Get("SubDomain") != bare(name) || q.Get("DomainName") != idnZone) {
				t.Errorf("asked for %s in %s", q.Get("SubDomain"), q.Get("DomainName"))
			}
			_ = json.NewEncoder(w).Encode(a)
		})
		c := s.config(t)
		c.Zone, c.Allowed = idnZone, nil
		st, err := NewCloud(t, c, false, "").Read(t.Context(), name)
		if err != nil || len(st.Lines) != 1 || st.Value != "xn--tny.xn--fsqu00a.xn--0zwm56d." {
			t.Errorf("%+v, %v", st, err)
		}
	}
	s := startStrange(t, func(http.ResponseWriter, *http.Request) {})
	p := s.provider(t, false)
	for _, bad := range []failover.RecordName{"订单.lab.test.", `a\.b.lab.test.`, `a\046b.lab.test.`, "*.lab.test.", "lab.test.", "x.example."} {
		if _, err := p.Read(t.Context(), bad); !errors.Is(err, ErrForbidden) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	if s.asked.Load() != 0 {
		t.Error("asked for a name that cannot be")
	}
}
