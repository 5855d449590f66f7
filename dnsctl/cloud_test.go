package dnsctl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pointsman/internal/failover"
	"pointsman/internal/lab/alicloud"
)

// cloudLab is the API of the lab with the zone lab.test in it.
type cloudLab struct {
	*alicloud.Server
	t    testing.TB
	pvtz bool
	zone string // ID of the zone, for PrivateZone
}

const labZone = "lab.test"

func startCloud(t testing.TB, private bool, o alicloud.Options, z alicloud.Zone) *cloudLab {
	t.Helper()
	o.NoQuota = true
	if o.Authorities == nil {
		o.Authorities = []alicloud.Authority{}
	}
	s, err := alicloud.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	z.Name, z.Private = labZone, private
	id, err := s.AddZone(z)
	if err != nil {
		t.Fatal(err)
	}
	return &cloudLab{Server: s, t: t, pvtz: private, zone: id}
}

// seed puts the CNAME of orders on a line, as a person would in the console.
func (l *cloudLab) seed(line string, to failover.Target, remark string) alicloud.Record {
	l.t.Helper()
	r, err := l.AddRecord(l.zone, alicloud.Record{RR: "orders", Type: "CNAME", Value: bare(to), TTL: 60, Line: line, Remark: remark})
	if err != nil {
		l.t.Fatal(err)
	}
	return r
}

func (l *cloudLab) shows(line string) (failover.Target, string) {
	l.t.Helper()
	r, ok := l.Record(l.zone, "orders", line)
	if !ok {
		l.t.Fatalf("no record on line %s", line)
	}
	return failover.Target(r.Value + "."), fromRemark(r.Remark)
}

func (l *cloudLab) wantLine(line string, value failover.Target, mark string) {
	l.t.Helper()
	if v, m := l.shows(line); v != value || m != mark {
		l.t.Errorf("line %s shows %s with %q, want %s with %q", line, v, m, value, mark)
	}
}

// writes counts the requests that could have changed something.
func (l *cloudLab) writes() int {
	n := 0
	for _, r := range l.Requests() {
		if !strings.HasPrefix(r.Action, "Describe") && !strings.HasPrefix(r.Action, "Assume") {
			n++
		}
	}
	return n
}

// calmed waits until nothing that the provider sent, and waits for no more, can
// still take effect: it closes its connections, and the API has come to their end.
func (l *cloudLab) calmed(p cloudProvider) {
	l.t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		if p.Close(); l.Connections() == 0 {
			return
		}
		if time.Now().After(end) {
			l.t.Fatalf("%d connections do not end", l.Connections())
		}
	}
}

// cutOnceStruck gives up the next request of this action for this record, as if
// its time were over, when the fault that was armed for it has struck. Other
// requests have all the time that they want.
func (l *cloudLab) cutOnceStruck(p cloudProvider, action string, r alicloud.Record) {
	c := core(p).call
	c.http = cutter{RoundTripper: c.http, l: l, action: action, id: fmt.Sprint(r.ID), done: new(atomic.Bool)}
}

type cutter struct {
	http.RoundTripper
	l          *cloudLab
	action, id string
	done       *atomic.Bool
}

func (c cutter) RoundTrip(r *http.Request) (*http.Response, error) {
	q := r.URL.Query()
	if q.Get("Action") != c.action || q.Get("RecordId") != c.id || !c.done.CompareAndSwap(false, true) {
		return c.RoundTripper.RoundTrip(r)
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for len(c.l.Faults()) != 0 && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		cancel(context.DeadlineExceeded)
	}()
	defer func() { cancel(nil); <-ended }()
	return c.RoundTripper.RoundTrip(r.WithContext(ctx))
}

// action is the name of the request that both products have under different names.
func (l *cloudLab) action(value bool) string {
	switch {
	case value && l.pvtz:
		return "UpdateZoneRecord"
	case value:
		return "UpdateDomainRecord"
	case l.pvtz:
		return "UpdateRecordRemark"
	}
	return "UpdateDomainRecordRemark"
}

func (l *cloudLab) listing() string {
	if l.pvtz {
		return "DescribeZoneRecords"
	}
	return "DescribeSubDomainRecords"
}

func keyFile(t testing.TB, k alicloud.Key) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key.json")
	writeKey(t, path, k)
	return path
}

func writeKey(t testing.TB, path string, k alicloud.Key) {
	t.Helper()
	text, err := json.Marshal(map[string]string{"AccessKeyId": k.ID, "AccessKeySecret": k.Secret, "SecurityToken": k.Token})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (l *cloudLab) config() CloudConfig {
	return CloudConfig{
		Endpoint: "http://" + l.Endpoint(), Zone: labZone, Credentials: CloudCredentials{File: keyFile(l.t, l.Key())},
		Timeout: 30 * time.Second, Settle: time.Millisecond, RequestsPerSecond: 10000,
		Allowed: map[failover.RecordName][]failover.Target{orders: {targetA, targetB}},
	}
}

// cloudProvider is what the tests of both products need.
type cloudProvider interface {
	Provider
	Close()
}

func (l *cloudLab) provider(edit func(*CloudConfig)) cloudProvider {
	l.t.Helper()
	c := l.config()
	if edit != nil {
		edit(&c)
	}
	var p cloudProvider
	var err error
	if l.pvtz {
		p, err = NewPvtz(PvtzConfig{CloudConfig: c, ZoneID: l.zone})
	} else {
		p, err = NewAlidns(AlidnsConfig{CloudConfig: c})
	}
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(p.Close)
	core(p).pause = soon
	return p
}

// soon repeats without much ado: what is tested is what is repeated, not when.
func soon(int) time.Duration { return 2 * time.Millisecond }

// core is the shared part of a provider.
func core(p cloudProvider) *cloud {
	switch p := p.(type) {
	case *Alidns:
		return p.cloud
	case *Pvtz:
		return p.cloud
	}
	panic("none of ours")
}

// both runs a test with either product.
func both(t *testing.T, f func(t *testing.T, l *cloudLab)) {
	for _, private := range []bool{false, true} {
		name := "alidns"
		if private {
			name = "pvtz"
		}
		t.Run(name, func(t *testing.T) { f(t, startCloud(t, private, alicloud.Options{}, alicloud.Zone{})) })
	}
}

// moved is the ordinary change from a to b, TTL 60.
func moved() Change {
	c := move()
	c.TTL = 60
	return c
}

func readOrders(t testing.TB, p Provider) State {
	t.Helper()
	s, err := p.Read(t.Context(), orders)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustRemark(t testing.TB, mark string) string {
	t.Helper()
	r, err := toRemark(mark)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func wantOutcome(t testing.TB, got failover.WriteOutcome, err error, want failover.WriteOutcome, sentinels ...error) {
	t.Helper()
	if got != want {
		t.Errorf("outcome %s, want %s: %v", got, want, err)
	}
	if (got == failover.WriteDone) != (err == nil) {
		t.Errorf("outcome %s with error %v", got, err)
	}
	for _, s := range sentinels {
		if !errors.Is(err, s) {
			t.Errorf("error %v is not %q", err, s)
		}
	}
}

// The record is changed in place, by its ID, on every line: deleting and adding
// leaves a gap that resolvers cache (external-dns#2918), and rewriting one line
// leaves clients of the others behind. What is there already is written by
// nobody, however it is spelt (external-dns#1421).
func TestCloudMovesEveryLineInPlace(t *testing.T) {
	both(t, func(t *testing.T, l *cloudLab) {
		ids := map[string]int64{}
		for _, line := range []string{"default", "telecom"} {
			ids[line] = l.seed(line, targetA, mustRemark(t, mark(1, 0))).ID
		}
		// Names that a substring search would find as well.
		for _, rr := range []string{"b.orders", "orders2", "xorders"} {
			if _, err := l.AddRecord(l.zone, alicloud.Record{RR: rr, Type: "CNAME", Value: "c.lab.test", TTL: 60}); err != nil {
				t.Fatal(err)
			}
		}
		p := l.provider(nil)
		s := readOrders(t, p)
		if s.Value != targetA || s.TTL != 60 || s.Mark != mark(1, 0) || s.Other != "" || len(s.Lines) != 2 {
			t.Errorf("read %+v", s)
		}
		c := moved()
		c.TTL = 45 // no default of anybody
		got, err := p.Write(t.Context(), c)
		wantOutcome(t, got, err, failover.WriteDone)
		for line, id := range ids {
			l.wantLine(line, targetB, mark(1, 1))
			if r, _ := l.Record(l.zone, "orders", line); r.ID != id || r.TTL != 45 {
				t.Errorf("line %s: record %d, TTL %d", line, r.ID, r.TTL)
			}
		}
		for _, rr := range []string{"b.orders", "orders2", "xorders"} {
			if r, ok := l.Record(l.zone, rr, "default"); !ok || r.Value != "c.lab.test" || r.Remark != "" {
				t.Errorf("%s was changed: %+v", rr, r)
			}
		}
		// Value first, then the remark, on each line; nothing twice.
		var order []string
		for _, r := range l.Requests(l.action(true), l.action(false)) {
			order = append(order, r.Action)
		}
		if len(order) != 4 || slices.Index(order, l.action(false)) < 1 {
			t.Errorf("requests: %v", order)
		}
		s = readOrders(t, p)
		if s.Value != targetB || s.Mark != mark(1, 1) || s.Other != "" {
			t.Errorf("read back %+v", s)
		}
		// The same again changes nothing and sends nothing.
		l.Forget()
		got, err = p.Write(t.Context(), c)
		wantOutcome(t, got, err, failover.WriteDone)
		if n := l.writes(); n != 0 {
			t.Errorf("%d requests to write what is there", n)
		}
	})
}

func escapeQuery(s string) string { return url.QueryEscape(s) }
