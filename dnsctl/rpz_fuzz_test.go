package dnsctl

import (
	"strings"
	"testing"

	"pointsman/internal/failover"
)

// FuzzPolicyZone: whatever is placed in a policy zone lies in it, can be mapped
// back, and never stands where something of another name does.
func FuzzPolicyZone(f *testing.F) {
	for _, s := range []string{
		"orders.vpc.vendor.test.", "Orders.Vpc.Vendor.Test", "x.rpz.local.", "rpz.local.", "a._pointsman.", "32.1.2.0.192.rpz-ip.",
		"a.rpz-passthru.", "_pointsman.orders.vendor.test.", "_pointsman._pointsman.", ".", "", "a.b", strings.Repeat("a.", 120) + "b.",
	} {
		f.Add(s)
	}
	const zone = failover.RecordName("rpz.local.")
	f.Fuzz(func(t *testing.T, s string) {
		at, err := inPolicyZone(zone)(failover.RecordName(s))
		if err != nil {
			if at != (spot{}) {
				t.Errorf("%+v with %v", at, err)
			}
			return
		}
		back, ok := strings.CutSuffix(string(at.owner), string(zone))
		if !ok || back != string(at.name) || at.name != failover.RecordName(canonical(s)) {
			t.Errorf("%q stands at %q", s, at.owner)
		}
		for _, n := range []failover.RecordName{at.owner, at.mark} {
			if !below(n, zone) || len(n) > maxName || !wireName(string(n)) {
				t.Errorf("%q cannot stand in the zone", n)
			}
		}
		mark, _ := strings.CutSuffix(string(at.mark), string(zone))
		if other, err := inPolicyZone(zone)(failover.RecordName(mark)); err == nil {
			t.Errorf("the mark of %q is where %q would stand", s, other.name)
		}
		if rpzLabel(mark) || rpzLabel(back) {
			t.Errorf("%q is no name to a policy zone", s)
		}
	})
}
