package dnsctl_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pointsman/dnsctl"
	"pointsman/dnsctl/contract"
)

// What the three servers answer to one and the same update, on the wire: the
// ground on which the words of denial.go stand. A row that another release
// answers differently belongs into docs/providers.md as well.

// by is who signs an update, and how.
type by struct {
	key, algorithm, secret string // without a key it is not signed
	ahead                  time.Duration
}

var (
	ctl  = by{"ctl.", dns.HmacSHA256, dnsctl.SecretText, 0}
	hand = by{"hand.", dns.HmacSHA256, dnsctl.OtherText, 0}
)

// update sends an update and tells what came back: the code, the error of the
// signature, whether there was a good one, and by how much the serial rose.
func (s primary) update(t testing.TB, zone string, b by, edit func(*dns.Msg)) string {
	t.Helper()
	before := s.serial(t)
	m := new(dns.Msg)
	m.SetUpdate(zone)
	edit(m)
	conn, err := dns.DialTimeout("tcp", s.addr.String(), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if b.key != "" {
		m.SetTsig(b.key, b.algorithm, 300, time.Now().Add(b.ahead).Unix())
		conn.TsigSecret = map[string]string{b.key: b.secret}
	}
	if err := conn.WriteMsg(m); err != nil {
		t.Fatal(err)
	}
	p, err := conn.ReadMsgHeader(nil)
	if err != nil {
		t.Fatalf("%s does not answer: %v", s.kind, err)
	}
	r := new(dns.Msg)
	if err := r.Unpack(p); err != nil {
		t.Fatal(err)
	}
	got := dns.RcodeToString[r.Rcode]
	switch sig := r.IsTsig(); {
	case sig == nil:
		got += " unsigned"
	case sig.Error != dns.RcodeSuccess:
		got += " " + dns.RcodeToString[int(sig.Error)]
	}
	return fmt.Sprintf("%s +%d", got, s.serial(t)-before)
}

const at = string(orders)

func cname(t testing.TB, name, to string, ttl int) []dns.RR {
	t.Helper()
	return []dns.RR{rr(t, "%s %d IN CNAME %s", name, ttl, to)}
}

// matrix: before each row the name shows a.lab.test. for 30 s without a mark.
var matrix = []struct {
	name             string
	by               by
	zone             string // empty is lab.test.
	edit             func(t testing.TB, m *dns.Msg)
	bind, knot, pdns string
	after            string // value and TTL of the name; empty where another one is meant
}{
	{
		name: "conditional replacement", by: ctl,
		edit: func(t testing.TB, m *dns.Msg) {
			m.Used(cname(t, at, "a.lab.test.", 0))
			m.RemoveRRset(cname(t, at, ".", 0))
			m.Insert(cname(t, at, "b.lab.test.", 31))
		},
		bind: "NOERROR +1", knot: "NOERROR +1", pdns: "NOERROR +1", after: "b.lab.test. 31",
	},
	{
		name: "stale prerequisite", by: ctl,
		edit: func(t testing.TB, m *dns.Msg) {
			m.Used(cname(t, at, "b.lab.test.", 0))
			m.RemoveRRset(cname(t, at, ".", 0))
			m.Insert(cname(t, at, "b.lab.test.", 31))
		},
		bind: "NXRRSET +0", knot: "NXRRSET +0", pdns: "NXRRSET +0", after: "a.lab.test. 30",
	},
	{
		name: "old value in other letters", by: ctl,
		edit: func(t testing.TB, m *dns.Msg) {
			m.Used(cname(t, "ORDERS.lab.test.", "A.Lab.TEST.", 0))
			m.RemoveRRset(cname(t, at, ".", 0))
			m.Insert(cname(t, at, "b.lab.test.", 31))
		},
		bind: "NOERROR +1", knot: "NOERROR +1", pdns: "NOERROR +1", after: "b.lab.test. 31",
	},
	{
		name: "same value and TTL", by: ctl,
		edit: func(t testing.TB, m *dns.Msg) {
			m.Used(cname(t, at, "a.lab.test.", 0))
			m.RemoveRRset(cname(t, at, ".", 0))
			m.Insert(cname(t, at, "a.lab.test.", 30))
		},
		bind: "NOERROR +0", knot: "NOERROR +0", pdns: "NOERROR +1", after: "a.lab.test. 30",
	},
	{
		name: "only the TTL", by: ctl,
		edit: func(t testing.TB, m *dns.Msg) {
			m.Used(cname(t, at, "a.lab.test.", 0))
			m.RemoveRRset(cname(t, at, ".", 0))
			m.Insert(cname(t, at, "a.lab.test.", 77))
		},
		bind: "NOERROR +1", knot: "NOERROR +1", pdns: "NOERROR +1", after: "a.lab.test. 77",
	},
	{
		name: "CNAME over a CNAME, nothing removed", by: ctl,
		edit: func(t testing.TB, m *dns.Msg) { m.Insert(cname(t, at, "b.lab.test.", 31)) },
		bind: "NOERROR +1", knot: "NOERROR +1", pdns: "NOERROR +1", after: "b.lab.test. 31",
	},
	{
		name: "CNAME beside an address", by: hand,
		edit: func(t testing.TB, m *dns.Msg) { m.Insert(cname(t, "busy.lab.test.", "b.lab.test.", 31)) },
		bind: "NOERROR +0", knot: "NOERROR +0", pdns: "REFUSED +0",
	},
	{
		name: "TXT beside the CNAME", by: hand,
		edit: func(t testing.TB, m *dns.Msg) { m.Insert([]dns.RR{rr(t, `%s 30 IN TXT "x"`, at)}) },
		bind: "NOERROR +0", knot: "NOERROR +0", pdns: "REFUSED +0", after: "a.lab.test. 30",
	},
	{
		name: "name must not be in use, and is", by: ctl,
		edit: func(t testing.TB, m *dns.Msg) {
			m.NameNotUsed(cname(t, at, ".", 0))
			m.Insert(cname(t, at, "b.lab.test.", 31))
		},
		bind: "YXDOMAIN +0", knot: "YXDOMAIN +0", pdns: "YXDOMAIN +0", after: "a.lab.test. 30",
	},
	{
		name: "set must not exist, and does", by: ctl,
		edit: func(t testing.TB, m *dns.Msg) {
			m.RRsetNotUsed(cname(t, at, ".", 0))
			m.Insert(cname(t, at, "b.lab.test.", 31))
		},
		bind: "YXRRSET +0", knot: "YXRRSET +0", pdns: "YXRRSET +0", after: "a.lab.test. 30",
	},
	{
		name: "name must be in use, and is not", by: ctl,
		edit: func(t testing.TB, m *dns.Msg) {
			m.NameUsed(cname(t, "nothing.lab.test.", ".", 0))
			m.Insert(cname(t, at, "b.lab.test.", 31))
		},
		bind: "NXDOMAIN +0", knot: "NXDOMAIN +0", pdns: "NXDOMAIN +0", after: "a.lab.test. 30",
	},
	{
		name: "prerequisite outside of the zone", by: ctl,
		edit: func(t testing.TB, m *dns.Msg) {
			m.NameUsed(cname(t, "a.elsewhere.test.", ".", 0))
			m.Insert(cname(t, at, "b.lab.test.", 31))
		},
		bind: "NOTZONE +0", knot: "NOTZONE +0", pdns: "NOTZONE +0", after: "a.lab.test. 30",
	},
	{
		name: "unknown zone", by: ctl, zone: "elsewhere.test.",
		edit: func(t testing.TB, m *dns.Msg) { m.Insert(cname(t, "orders.elsewhere.test.", "b.lab.test.", 31)) },
		bind: "NOTAUTH +0", knot: "NOTAUTH unsigned +0", pdns: "NOTAUTH +0", after: "a.lab.test. 30",
	},
	{
		name: "name not granted", by: ctl,
		edit: func(t testing.TB, m *dns.Msg) { m.Insert(cname(t, "denied.lab.test.", "b.lab.test.", 31)) },
		bind: "REFUSED +0", knot: "NOTAUTH BADKEY +0", pdns: "NOERROR +1", after: "a.lab.test. 30",
	},
	{
		name: "type not granted", by: ctl,
		edit: func(t testing.TB, m *dns.Msg) { m.Insert([]dns.RR{rr(t, "new.lab.test. 30 IN A 192.0.2.9")}) },
		bind: "REFUSED +0", knot: "NOTAUTH BADKEY +0", pdns: "NOERROR +1", after: "a.lab.test. 30",
	},
	{
		name: "wrong secret", by: by{"ctl.", dns.HmacSHA256, dnsctl.OtherText, 0}, edit: toB,
		bind: "NOTAUTH BADSIG +0", knot: "NOTAUTH BADSIG +0", pdns: "REFUSED unsigned +0", after: "a.lab.test. 30",
	},
	{
		name: "unknown key", by: by{"nobody.", dns.HmacSHA256, dnsctl.SecretText, 0}, edit: toB,
		bind: "NOTAUTH BADKEY +0", knot: "NOTAUTH BADKEY +0", pdns: "REFUSED unsigned +0", after: "a.lab.test. 30",
	},
	{
		name: "wrong algorithm", by: by{"ctl.", dns.HmacSHA512, dnsctl.SecretText, 0}, edit: toB,
		bind: "NOTAUTH BADKEY +0", knot: "NOTAUTH BADKEY +0", pdns: "REFUSED unsigned +0", after: "a.lab.test. 30",
	},
	{
		name: "clock an hour ahead", by: by{"ctl.", dns.HmacSHA256, dnsctl.SecretText, time.Hour}, edit: toB,
		bind: "NOTAUTH BADTIME +0", knot: "NOTAUTH BADTIME +0", pdns: "REFUSED unsigned +0", after: "a.lab.test. 30",
	},
	{
		name: "not signed", edit: toB,
		bind: "REFUSED unsigned +0", knot: "NOTAUTH unsigned +0", pdns: "REFUSED unsigned +0", after: "a.lab.test. 30",
	},
}

func toB(t testing.TB, m *dns.Msg) {
	t.Helper()
	m.RemoveRRset(cname(t, at, ".", 0))
	m.Insert(cname(t, at, "b.lab.test.", 31))
}

func TestBINDMatrix(t *testing.T)     { playMatrix(t, startBIND(t)) }
func TestKnotMatrix(t *testing.T)     { playMatrix(t, startKnot(t)) }
func TestPowerDNSMatrix(t *testing.T) { playMatrix(t, startPowerDNS(t)) }

func playMatrix(t *testing.T, s primary) {
	mark := string(dnsctl.MarkName(orders))
	for _, row := range matrix {
		t.Run(row.name, func(t *testing.T) {
			s.set(t, at, mark, contract.Record{Value: targetA, TTL: 30})
			zone := row.zone
			if zone == "" {
				zone = s.zone
			}
			want := map[string]string{"BIND": row.bind, "Knot": row.knot, "PowerDNS": row.pdns}[s.kind]
			if got := s.update(t, zone, row.by, func(m *dns.Msg) { row.edit(t, m) }); got != want {
				t.Errorf("%s answers %s, want %s", s.kind, got, want)
			}
			if row.after == "" {
				return
			}
			if got := s.see(t, at, mark); fmt.Sprintf("%s %d", got.Value, got.TTL) != row.after {
				t.Errorf("the name shows %s %d, want %s", got.Value, got.TTL, row.after)
			}
		})
	}
}

// TestMatrixIsInTheDocument: docs/providers.md shows the rows as they are played.
func TestMatrixIsInTheDocument(t *testing.T) {
	text, err := os.ReadFile("../docs/providers.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range matrix {
		line := fmt.Sprintf("| %s | `%s` | `%s` | `%s` |\n", row.name, row.bind, row.knot, row.pdns)
		if !strings.Contains(string(text), line) {
			t.Errorf("docs/providers.md lacks\n%s", line)
		}
	}
}
