package dnsctl

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"pointsman/internal/failover"
)

// canned answers every request with the same bytes.
type canned struct {
	status int
	head   string
	body   string
}

func (c canned) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: c.status, Proto: "HTTP/1.1", Header: http.Header{"Content-Type": {c.head}},
		Body: io.NopCloser(strings.NewReader(c.body)), Request: r,
	}, nil
}

// fuzzed is a provider that hears nothing but these bytes.
func fuzzed(t testing.TB, private bool, a canned) *cloud {
	t.Helper()
	c := CloudConfig{
		Endpoint: "http://127.0.0.1:9", Zone: labZone, Credentials: CloudCredentials{File: "key"}, RequestsPerSecond: 1e6, Timeout: 40 * time.Millisecond, Settle: time.Millisecond,
		ReadFile: func(string) ([]byte, error) {
			return []byte(`{"AccessKeyId":"` + strangeKey.ID + `","AccessKeySecret":"` + strangeKey.Secret + `","SecurityToken":"` + strangeKey.Token + `"}`), nil
		},
		Allowed: map[failover.RecordName][]failover.Target{orders: {targetA, targetB}},
	}
	p := core(NewCloud(t, c, private, "zone-1").(cloudProvider))
	p.call.http = a
	p.pause = func(int) time.Duration { return 0 }
	return p
}

// Whatever comes back: no panic, no key in the words, and what reads as a state
// is one that holds together.
func FuzzCloudAnswer(f *testing.F) {
	for _, s := range []string{
		`{"RequestId":"r","TotalCount":1,"PageNumber":1,"PageSize":20,"DomainRecords":{"Record":[{"RR":"orders","Type":"CNAME","RecordId":"11","Line":"default","Status":"ENABLE","Value":"a.lab.test","TTL":60,"DomainName":"lab.test","Locked":false,"Weight":1,"Remark":"p1,1,1,orders,,ctl"}]},"DomainName":"lab.test","MinTtl":1}`,
		`{"RequestId":"r","TotalItems":1,"Records":{"Record":[{"Rr":"orders","Type":"CNAME","RecordId":11,"Line":"default","Status":"ENABLE","Value":"a.lab.test","Ttl":60,"ZoneId":"zone-1"}]},"ZoneName":"lab.test"}`,
		`{"RequestId":"r","TotalCount":0,"DomainRecords":{"Record":[]},"TotalItems":0,"Records":{"Record":[]},"ZoneName":"lab.test","DomainName":"lab.test"}`,
		`{"RequestId":"r","Code":"Throttling.User","Message":"m","HostId":"h","Recommend":"x"}`,
		`{"RequestId":"r","Code":404,"AccessDeniedDetail":3}`, `<html>`, ``, `null`, `[]`, `{"RequestId":"` + strangeKey.ID + `"}`,
		`{"RequestId":"r","TotalCount":1e99,"DomainRecords":{"Record":{}}}`, `{"RequestId":"r","TotalCount":true,"DomainRecords":[]}`,
	} {
		for _, status := range []int{200, 400, 503} {
			f.Add(status, "application/json", s, false)
			f.Add(status, "application/json", s, true)
		}
	}
	f.Fuzz(func(t *testing.T, status int, head, body string, private bool) {
		if status < 100 || status > 999 || len(body) > 1<<16 {
			return
		}
		p := fuzzed(t, private, canned{status, head, body})
		st, err := p.Read(t.Context(), orders)
		if err != nil {
			if st.Absent || st.Value != "" || st.Lines != nil {
				t.Fatalf("%+v with %v", st, err)
			}
			for _, s := range []string{strangeKey.ID, strangeKey.Secret, strangeKey.Token} {
				if strings.Contains(err.Error(), s) {
					t.Fatalf("a secret in %q", err)
				}
			}
			if strings.ContainsAny(err.Error(), "\x1b\x00\r") || len(err.Error()) > 4000 {
				t.Fatalf("%q", err)
			}
		} else if st.Absent != (len(st.Lines) == 0) || st.Absent != (st.Value == "") || !st.Absent && !wireName(string(st.Value)) || st.TTL > 1<<31-1 {
			t.Fatalf("%+v", st)
		}
		// The answer to a write is the same bytes: it is never done unless they
		// show just what was wanted.
		got, err := p.Write(t.Context(), moved())
		if got == failover.WriteDone && (st.Value != targetB || st.Mark != mark(1, 1) || err != nil) {
			t.Fatalf("%s, %v after %+v", got, err, st)
		}
		if got != failover.WriteDone && err == nil {
			t.Fatalf("%s without a reason", got)
		}
		if errors.Is(err, ErrReadOnly) {
			t.Fatal(err)
		}
	})
}
