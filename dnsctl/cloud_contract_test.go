package dnsctl_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"pointsman/dnsctl"
	"pointsman/dnsctl/contract"
	"pointsman/internal/failover"
	"pointsman/internal/lab/alicloud"
)

// cloudWorld is the zone lab.test at the lab's Alibaba Cloud, public or private.
func cloudWorld(t *testing.T, private bool) contract.World {
	t.Helper()
	s, err := alicloud.New(alicloud.Options{NoQuota: true, VPCs: []alicloud.VPC{{ID: "vpc-1"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	z := alicloud.Zone{Name: "lab.test", Private: private, MinTTL: 1}
	if private {
		z.VPCs = []string{"vpc-1"}
	}
	zone, err := s.AddZone(z)
	if err != nil {
		t.Fatal(err)
	}
	rr := func(n failover.RecordName) string { return strings.TrimSuffix(string(n), "."+labZone) }
	for _, n := range append([]failover.RecordName{orders}, alike...) {
		if _, err := s.AddRecord(zone, alicloud.Record{RR: rr(n), Type: "CNAME", Value: "a.lab.test", TTL: 30}); err != nil {
			t.Fatal(err)
		}
	}
	bad := alicloud.Key{ID: s.Key().ID, Secret: "someNoSecretThatItKnows0123456"}
	updates := []string{"UpdateDomainRecord", "UpdateDomainRecordRemark", "UpdateZoneRecord", "UpdateRecordRemark"}
	w := contract.World{
		Name: orders, A: targetA, B: targetB, TTL: 30, Alike: alike, Missing: "missing.orders.lab.test.",
		Provider: func(t testing.TB, k contract.Kind) dnsctl.Provider {
			t.Helper()
			c := dnsctl.CloudConfig{
				Endpoint: "http://" + s.Endpoint(), Zone: labZone, Timeout: 10 * time.Second, Settle: time.Millisecond,
				RequestsPerSecond: 10000, Credentials: dnsctl.CloudCredentials{File: dnsctl.KeyFile(t, s.Key())},
				Allowed: map[failover.RecordName][]failover.Target{orders: {targetA, targetB}},
			}
			switch k {
			case contract.ReadOnly:
				c.ReadOnly, c.ReadCredentials, c.Credentials = true, c.Credentials, dnsctl.CloudCredentials{}
			case contract.Denied:
				c.Credentials.File = dnsctl.KeyFile(t, bad)
			case contract.Unreachable:
				c.Endpoint, c.Timeout = "http://"+nobody(t), time.Second
			}
			return dnsctl.NewCloud(t, c, private, zone)
		},
		Set: func(t testing.TB, r contract.Record) {
			t.Helper()
			have, ok := s.Record(zone, "orders", "default")
			if !ok {
				t.Fatal("the record is gone")
			}
			value, ttl, remark := strings.TrimSuffix(string(r.Value), "."), int64(r.TTL), dnsctl.Remark(t, r.Mark)
			if err := s.Change(have.ID, alicloud.Edit{Value: &value, TTL: &ttl, Remark: &remark}); err != nil {
				t.Fatal(err)
			}
		},
		See: func(t testing.TB, n failover.RecordName) contract.Record {
			t.Helper()
			r, ok := s.Record(zone, rr(n), "default")
			if !ok {
				return contract.Record{}
			}
			return contract.Record{Value: failover.Target(r.Value + "."), TTL: uint32(r.TTL), Mark: dnsctl.FromRemark(r.Remark)}
		},
		DNS: netip.MustParseAddrPort(s.Authorities()[0]),
		Disturb: func(t testing.TB, f contract.Fault) <-chan struct{} {
			t.Helper()
			fault := alicloud.Fault{Kind: alicloud.Reset, After: true}
			if f == contract.Hang {
				fault.Kind = alicloud.Hang
			}
			var ids []int
			for _, a := range updates {
				ids = append(ids, s.Fail(a, fault, 1))
			}
			carried := make(chan struct{})
			go func() { // one of them strikes; the others are for the same request
				for len(s.Faults()) == len(ids) && t.Context().Err() == nil {
					time.Sleep(time.Millisecond)
				}
				s.Heal(ids...)
				close(carried)
			}()
			return carried
		},
		Requests: func() (all, writes int64) {
			return int64(len(s.Requests())), int64(len(s.Requests(updates...)))
		},
		Secrets: []string{s.Key().Secret, s.Key().ID, bad.Secret},
	}
	if private {
		w.DNS, w.Recursive = netip.MustParseAddrPort(s.Resolver("vpc-1")), true
	}
	return w
}

func TestAlidnsKeepsTheContract(t *testing.T) {
	contract.Run(t, func(t *testing.T) contract.World { return cloudWorld(t, false) })
}

func TestPvtzKeepsTheContract(t *testing.T) {
	contract.Run(t, func(t *testing.T) contract.World { return cloudWorld(t, true) })
}
