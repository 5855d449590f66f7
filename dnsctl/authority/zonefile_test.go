package authority

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"pointsman/internal/failover"
)

func TestAZoneFileHasTheWholeZone(t *testing.T) {
	c := Config{Listen: []string{"127.0.0.1:0"}, Zones: []Zone{{
		Name: "lab.test.", NS: []failover.RecordName{"ns1.lab.test.", "ns.example.net."},
		Names: []failover.RecordName{"orders.lab.test.", "new.lab.test."}, Retired: []failover.RecordName{"gone.lab.test."},
		Hosts: map[failover.RecordName][]netip.Addr{"ns1.lab.test.": {netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}},
	}}}
	names := []failover.NameRecord{
		{Name: "orders.lab.test.", Zone: "lab.test.", Embedded: true, Value: "b.example.", TTL: 30, Mark: failover.Mark{Op: "x", By: "y"}},
		{Name: "left.lab.test.", Zone: "lab.test.", Embedded: true, Value: "a.example.", TTL: 5},
		{Name: "gone.lab.test.", Zone: "lab.test.", Embedded: true, Value: "a.example.", TTL: 5},
		{Name: "other.example.", Zone: "example.", Embedded: true, Value: "a.example.", TTL: 5},
		{Name: "bind.lab.test.", Zone: "lab.test.", Value: "a.example.", TTL: 5},
	}
	var b strings.Builder
	if err := ZoneFile(&b, c, "lab.test.", names, 77); err != nil {
		t.Fatal(err)
	}
	want := `lab.test.	300	IN	SOA	ns1.lab.test. hostmaster.lab.test. (
	77 ; serial
	300 ; refresh
	60 ; retry
	604800 ; expire
	30 ) ; minimum
lab.test.	300	IN	NS	ns1.lab.test.
lab.test.	300	IN	NS	ns.example.net.
ns1.lab.test.	300	IN	A	192.0.2.1
ns1.lab.test.	300	IN	AAAA	2001:db8::1
left.lab.test.	5	IN	CNAME	a.example.
orders.lab.test.	30	IN	CNAME	b.example.
; new.lab.test. has no record yet
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
	n := 0
	for zp := dns.NewZoneParser(strings.NewReader(b.String()), "", ""); ; n++ {
		if _, ok := zp.Next(); !ok {
			if err := zp.Err(); err != nil {
				t.Error(err)
			}
			break
		}
	}
	if n != 7 {
		t.Errorf("%d records were read back", n)
	}
	if err := ZoneFile(&b, c, "example.", names, 1); !errors.Is(err, ErrNotServed) {
		t.Errorf("another zone: %v", err)
	}
	c.Zones[0].NS = nil
	if err := ZoneFile(&b, c, "lab.test.", names, 1); !errors.Is(err, ErrConfig) {
		t.Errorf("a bad config: %v", err)
	}
}
