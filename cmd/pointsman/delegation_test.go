package main

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pointsman/dnsctl"
	"pointsman/internal/doctor"
	"pointsman/internal/failover"
)

func addrs(ss ...string) []netip.Addr {
	var out []netip.Addr
	for _, s := range ss {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

// TestEveryServerThatParentOrZoneNamesIsAsked: both lists, every address, once;
// a list with a gap is none.
func TestEveryServerThatParentOrZoneNamesIsAsked(t *testing.T) {
	z := doctor.ZoneFacts{Hosts: map[string][]netip.Addr{"ns1.": addrs("192.0.2.2", "2001:db8::1"), "ns2.": addrs("192.0.2.1", "192.0.2.2", "::ffff:192.0.2.2")}}
	got, err := delegated(z, 0)
	want := []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:53"), netip.MustParseAddrPort("192.0.2.2:53"), netip.MustParseAddrPort("[2001:db8::1]:53")}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	z.Hosts["ns3."] = nil
	z.HostErr = map[string]string{"ns4.": "SERVFAIL"}
	if got, err := delegated(z, 0); err == nil || !strings.Contains(err.Error(), "no address of ns3., ns4. (SERVFAIL)") {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := delegated(doctor.ZoneFacts{}, 0); err != nil || len(got) != 0 {
		t.Errorf("nothing: %v, %v", got, err)
	}
}

// TestSecondariesDelegationIsFollowedFromBothSides: a parent names one of the
// two servers that the zone names, and both are asked, as where it names both;
// a list that cannot be had anew counts on.
func TestSecondariesDelegationIsFollowedFromBothSides(t *testing.T) {
	w := newDoctorWorld(t)
	asker := w.asker()
	d := &discovered{asker: func() doctor.Asker { return asker }}
	want := []netip.AddrPort{netip.AddrPortFrom(w.first, w.port), netip.AddrPortFrom(w.second, w.port)}
	slices.SortFunc(want, netip.AddrPort.Compare)
	for _, zone := range []failover.RecordName{"missing.com.", "sound.com."} {
		got, err := d.of(t.Context(), zone)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v; want %v", zone, got, err, want)
		}
	}
	asker.Resolvers = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1")}
	f := d.known["missing.com."]
	f.at = f.at.Add(-2 * keepAuthorities)
	d.known["missing.com."] = f
	if got, err := d.of(t.Context(), "missing.com."); err != nil || !slices.Equal(got, want) {
		t.Errorf("without a resolver: %v, %v", got, err)
	}
	f.at = f.at.Add(-2 * keepLost)
	d.known["missing.com."] = f
	if got, err := d.of(t.Context(), "missing.com."); err == nil {
		t.Errorf("after a day without a resolver: %v", got)
	}
}

func TestASerialIsComparedRoundTheCorner(t *testing.T) {
	for _, c := range [][3]uint32{{1, 2, 2}, {2, 1, 2}, {0, 5, 5}, {5, 0, 5}, {4294967295, 1, 1}, {1, 4294967295, 1}, {7, 7, 7}} {
		if got := newerSerial(c[0], c[1]); got != c[2] {
			t.Errorf("%d and %d: %d, want %d", c[0], c[1], got, c[2])
		}
	}
}

// TestASerialThatWasNotAskedForStays, and one of a server that is gone does not.
func TestASerialThatWasNotAskedForStays(t *testing.T) {
	var s surveys
	at := netip.MustParseAddrPort("192.0.2.1:53")
	round := func(rcode string, serial uint32) uint32 {
		s.note(map[failover.RecordName][]dnsctl.Sight{"x.": {{At: at, Net: "udp", Rcode: rcode, Serial: serial}}})
		return s.last("x.")[0].Serial
	}
	if round("NOERROR", 7) != 7 || round("NOERROR", 0) != 7 || round("NOERROR", 8) != 8 || round("", 0) != 0 {
		t.Error("the serial is lost, or kept for a server that is gone")
	}
	names := []dnsctl.VerifyName{{Name: "x.", Zone: "z."}}
	if !s.wantSerials(names) || s.wantSerials(names) || !s.wantSerials(append(names, dnsctl.VerifyName{Name: "y.", Zone: "w."})) {
		t.Error("a zone is asked for its serials in every round, or never")
	}
	var none *surveys
	none.note(nil)
	if none.wantSerials(names) || none.last("x.") != nil {
		t.Error("nobody wanted to know")
	}
}
