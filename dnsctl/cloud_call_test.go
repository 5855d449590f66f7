package dnsctl

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pointsman/internal/failover"
	"pointsman/internal/lab/alicloud"
)

// A server of ours that answers what no good API would: what the lab, which
// keeps to the vendor's forms, does not do.
type strangeAPI struct {
	*httptest.Server
	asked atomic.Int64
}

func startStrange(t testing.TB, answer http.HandlerFunc) *strangeAPI {
	t.Helper()
	s := &strangeAPI{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		w.Header().Set("Content-Type", "application/json")
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

var strangeKey = alicloud.Key{ID: "LTAI5tStrangeKeyId", Secret: "aSecretOfStrangeLength+/=&", Token: "CAIS/token+of&some=length/and+more"}

func (s *strangeAPI) config(t testing.TB) CloudConfig {
	return CloudConfig{
		Endpoint: s.URL, Zone: labZone, Credentials: CloudCredentials{File: keyFile(t, strangeKey)},
		Timeout: 30 * time.Second, Settle: time.Millisecond, RequestsPerSecond: 1000,
		Allowed: map[failover.RecordName][]failover.Target{orders: {targetA, targetB}},
	}
}

func (s *strangeAPI) provider(t testing.TB, private bool) cloudProvider {
	t.Helper()
	p := NewCloud(t, s.config(t), private, "zone-1").(cloudProvider)
	core(p).pause = soon
	return p
}

// wantNoSecret looks for the parts of a key, in every form in which an answer
// could echo them, in all that a value prints.
func wantNoSecret(t testing.TB, k alicloud.Key, values ...any) {
	t.Helper()
	for _, v := range values {
		for _, text := range []string{fmt.Sprintf("%v", v), fmt.Sprintf("%+v", v), fmt.Sprintf("%#v", v), fmt.Sprintf("%s", v), fmt.Sprintf("%q", v)} {
			for _, secret := range []string{k.ID, k.Secret, k.Token, "SignatureNonce=", "Signature=a", "Signature%3D"} {
				if secret == "" {
					continue
				}
				for _, form := range []string{secret, escapeQuery(secret), escapeQuery(escapeQuery(secret))} {
					if strings.Contains(text, form) {
						t.Errorf("a secret (%q) in %q", form, text)
						return
					}
				}
			}
		}
	}
}

// The vendor's library puts the whole signed URL into its errors, and answers
// may repeat what was signed. Nothing of it comes out.
func TestCloudShowsNoKey(t *testing.T) {
	echo := func(r *http.Request) string {
		q := r.URL.Query()
		return fmt.Sprintf("key %s token %s in %s; server string to sign is:POST&%%2F&%s; plain %s",
			q.Get("AccessKeyId"), q.Get("SecurityToken"), r.URL.String(), escapeQuery(r.URL.RawQuery), r.URL.RawQuery)
	}
	answers := map[string]http.HandlerFunc{
		"an error that repeats the request": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(400)
			_ = json.NewEncoder(w).Encode(map[string]any{"Code": "SomethingOdd", "Message": echo(r), "RequestId": "r"})
		},
		"a code that repeats the request": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(400)
			_ = json.NewEncoder(w).Encode(map[string]any{"Code": r.URL.Query().Get("AccessKeyId"), "Message": "", "RequestId": r.URL.Query().Get("SecurityToken")})
		},
		"an echo without its name": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(400)
			token := r.URL.Query().Get("SecurityToken")
			_ = json.NewEncoder(w).Encode(map[string]any{"Code": "SomethingOdd", "Message": escapeQuery(token) + " " + escapeQuery(escapeQuery(token)), "RequestId": "r"})
		},
		"a wrong signature": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(400)
			_ = json.NewEncoder(w).Encode(map[string]any{"Code": "SignatureDoesNotMatch", "Message": echo(r), "RequestId": "r"})
		},
		"a page": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprintf(w, "<html>%s</html>", echo(r))
		},
		"no HTTP": func(w http.ResponseWriter, r *http.Request) {
			c, _, _ := http.NewResponseController(w).Hijack()
			fmt.Fprintf(c, "%s\r\n\r\n", echo(r))
			c.Close()
		},
		"cut off": func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) },
		"a redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:9/?"+r.URL.RawQuery, http.StatusTemporaryRedirect)
		},
		"records that repeat it": func(w http.ResponseWriter, r *http.Request) {
			_ = json.NewEncoder(w).Encode(map[string]any{"RequestId": "r", "TotalCount": 1, "DomainRecords": map[string]any{"Record": []any{map[string]any{
				"RR": "orders", "Type": "CNAME", "RecordId": r.URL.Query().Get("AccessKeyId"), "Line": "default", "Status": r.URL.Query().Get("SecurityToken"),
				"Value": r.URL.Query().Get("AccessKeyId") + "..x",
			}}}})
		},
	}
	for name, answer := range answers {
		t.Run(name, func(t *testing.T) {
			s := startStrange(t, answer)
			p := s.provider(t, false)
			st, err := p.Read(t.Context(), orders)
			if err == nil {
				t.Fatalf("read %+v", st)
			}
			_, werr := p.Write(t.Context(), moved())
			facts, ierr := p.(*Alidns).Inspect(t.Context(), orders)
			wantNoSecret(t, strangeKey, err, werr, ierr, facts, p, p.String(), p.Capabilities(), core(p).call.keys.file)
			for e := err; e != nil; e = errors.Unwrap(e) {
				wantNoSecret(t, strangeKey, e)
			}
		})
	}
	t.Run("cut in the middle of it", func(t *testing.T) {
		s := startStrange(t, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(400)
			_ = json.NewEncoder(w).Encode(map[string]any{"Code": "SomethingOdd", "Message": strings.Repeat("x", 185) + strangeKey.Token, "RequestId": "r"})
		})
		_, err := s.provider(t, false).Read(t.Context(), orders)
		if err == nil || strings.Contains(err.Error(), strangeKey.Token[:6]) {
			t.Errorf("%v", err)
		}
	})
	t.Run("nobody there", func(t *testing.T) {
		s := startStrange(t, func(http.ResponseWriter, *http.Request) {})
		p := s.provider(t, false)
		s.Close()
		_, err := p.Read(t.Context(), orders)
		if !errors.Is(err, ErrNotSent) {
			t.Errorf("%v", err)
		}
		wantNoSecret(t, strangeKey, err)
	})
}

// Nothing but a whole, sane answer says anything about a name: not one of these
// reads as a name without records, and none lets a write begin.
func TestCloudBadAnswers(t *testing.T) {
	rec := func(edit map[string]any) string {
		r := map[string]any{"RR": "orders", "Type": "CNAME", "RecordId": "11", "Line": "default", "Status": "ENABLE", "Value": "a.lab.test", "TTL": 60, "DomainName": "lab.test"}
		for k, v := range edit {
			r[k] = v
		}
		text, err := json.Marshal(map[string]any{"RequestId": "r", "TotalCount": 1, "DomainRecords": map[string]any{"Record": []any{r}}})
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	cases := map[string]struct {
		status int
		body   string
		want   error
	}{
		"empty":                         {200, "", ErrMalformed},
		"no JSON":                       {200, "hello", ErrMalformed},
		"half of it":                    {200, rec(nil)[:60], ErrMalformed},
		"a page":                        {200, "<html>log in</html>", ErrMalformed},
		"a page of a gateway":           {502, "<html>502</html>", ErrServer},
		"an array":                      {200, "[]", ErrMalformed},
		"null":                          {200, "null", ErrMalformed},
		"an object without anything":    {200, "{}", ErrMalformed},
		"no list":                       {200, `{"RequestId":"r","TotalCount":0}`, ErrMalformed},
		"a list that is null":           {200, `{"RequestId":"r","TotalCount":0,"DomainRecords":null}`, ErrMalformed},
		"no count":                      {200, `{"RequestId":"r","DomainRecords":{"Record":[]}}`, ErrMalformed},
		"no request ID":                 {200, `{"TotalCount":0,"DomainRecords":{"Record":[]}}`, ErrMalformed},
		"a list of another kind":        {200, `{"RequestId":"r","TotalCount":1,"DomainRecords":{"Record":"x"}}`, ErrMalformed},
		"a record of another kind":      {200, `{"RequestId":"r","TotalCount":1,"DomainRecords":{"Record":[3]}}`, ErrMalformed},
		"keys in other letters":         {200, `{"requestid":"r","totalcount":0,"domainrecords":{"record":[]}}`, ErrMalformed},
		"a negative count":              {200, `{"RequestId":"r","TotalCount":-1,"DomainRecords":{"Record":[]}}`, ErrMalformed},
		"a million records":             {200, `{"RequestId":"r","TotalCount":1000000,"DomainRecords":{"Record":[]}}`, ErrMalformed},
		"a page less than it says":      {200, `{"RequestId":"r","TotalCount":5,"DomainRecords":{"Record":[]}}`, ErrUnstable},
		"no RR":                         {200, rec(map[string]any{"RR": ""}), ErrMalformed},
		"no type":                       {200, rec(map[string]any{"Type": nil}), ErrMalformed},
		"no ID":                         {200, rec(map[string]any{"RecordId": ""}), ErrMalformed},
		"an ID that is none":            {200, rec(map[string]any{"RecordId": "0"}), ErrMalformed},
		"an ID with a command in it":    {200, rec(map[string]any{"RecordId": "1; rm"}), ErrMalformed},
		"no line":                       {200, rec(map[string]any{"Line": ""}), ErrMalformed},
		"a line that moves a terminal":  {200, rec(map[string]any{"Line": "a\x1b[2J"}), ErrMalformed},
		"a negative TTL":                {200, rec(map[string]any{"TTL": -1}), ErrMalformed},
		"a TTL beyond all":              {200, rec(map[string]any{"TTL": 1 << 40}), ErrMalformed},
		"no status":                     {200, rec(map[string]any{"Status": ""}), ErrMalformed},
		"an unknown status":             {200, rec(map[string]any{"Status": "MAYBE"}), ErrMalformed},
		"an empty value":                {200, rec(map[string]any{"Value": ""}), ErrMalformed},
		"the root as value":             {200, rec(map[string]any{"Value": "."}), ErrMalformed},
		"a value with an empty label":   {200, rec(map[string]any{"Value": "a..b"}), ErrMalformed},
		"a value beyond 255 octets":     {200, rec(map[string]any{"Value": strings.Repeat("abcdefg.", 40) + "x"}), ErrMalformed},
		"a record of another zone":      {200, rec(map[string]any{"DomainName": "other.test"}), ErrZone},
		"a remark of 100 KB":            {200, rec(map[string]any{"Remark": strings.Repeat("x", 100<<10)}), ErrMalformed},
		"2 MB of it":                    {200, rec(map[string]any{"Remark": strings.Repeat("x", 2<<20)}), ErrMalformed},
		"an error without a code":       {400, `{"RequestId":"r","Message":"m"}`, ErrServer},
		"an error whose code is number": {400, `{"RequestId":"r","Code":404,"Message":[1],"AccessDeniedDetail":"x"}`, ErrServer},
		"an error that is a page":       {403, "<html>forbidden</html>", ErrMalformed},
		"a redirect":                    {302, `{}`, ErrMalformed},
		"a locked record":               {200, rec(map[string]any{"Locked": true}), ErrLocked},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startStrange(t, func(w http.ResponseWriter, r *http.Request) {
				if strings.HasPrefix(r.URL.Query().Get("Action"), "Update") {
					t.Error("a write was sent")
				}
				w.WriteHeader(c.status)
				_, _ = w.Write([]byte(c.body))
			})
			p := s.provider(t, false)
			st, err := p.Read(t.Context(), orders)
			if !errors.Is(err, c.want) || st.Absent || st.Value != "" || st.Lines != nil {
				t.Errorf("%+v, %v; want %v", st, err, c.want)
			}
			got, err := p.Write(t.Context(), moved())
			if got == failover.WriteDone || err == nil {
				t.Errorf("%s, %v", got, err)
			}
		})
	}
}

// Records that only look like the name's are none of it (ddns-updater#1142:
// a search by substring hit b.a instead of a); escapes are no dots.
func TestAlidnsOthersAreOthers(t *testing.T) {
	var recs []map[string]any
	for i, rr := range []string{"a.orders", "xorders", "orders2", `orders\.x`, "@", "*", "ORDERS"} {
		recs = append(recs, map[string]any{
			"RR": rr, "Type": "CNAME", "RecordId": fmt.Sprint(i + 1), "Line": "default", "Status": "ENABLE", "Value": "A.lab.test", "TTL": "60", "Locked": "false",
		})
	}
	s := startStrange(t, func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"RequestId": "r", "TotalCount": len(recs), "DomainRecords": map[string]any{"Record": recs}})
	})
	st := readOrders(t, s.provider(t, false))
	if len(st.Lines) != 1 || st.Lines[0].ID != "7" || st.Value != targetA {
		t.Errorf("%+v", st)
	}
}

// A name is read to its last page.
func TestCloudPages(t *testing.T) {
	both(t, func(t *testing.T, l *cloudLab) {
		l.seed("default", targetA, "")
		for i := range 2*pageSize + 5 {
			r := alicloud.Record{RR: "orders", Type: "TXT", Value: fmt.Sprint("text ", i), TTL: 60}
			if _, err := l.AddRecord(l.zone, r); err != nil {
				t.Fatal(err)
			}
		}
		s := readOrders(t, l.provider(nil))
		if len(s.Lines) != 1 || strings.Count(s.Other, "TXT") != 2*pageSize+5 {
			t.Errorf("%d lines, %d others", len(s.Lines), strings.Count(s.Other, "TXT"))
		}
		if n := len(l.Requests(l.listing())); n != 3 {
			t.Errorf("%d pages", n)
		}
	})
}

// Whatever goes wrong while reading is an error with its class, never a name
// without a record.
func TestCloudReadFaults(t *testing.T) {
	for kind, want := range map[alicloud.Kind]error{
		alicloud.InternalError: ErrServer, alicloud.Unavailable: ErrServer, alicloud.Throttled: ErrThrottled, alicloud.NotFinished: ErrServer,
		alicloud.Hang: ErrNoAnswer, alicloud.Reset: ErrNoAnswer, alicloud.HTML: ErrServer, alicloud.Malformed: ErrMalformed,
		alicloud.Short: ErrNoAnswer, alicloud.Empty: ErrMalformed, alicloud.HugeBody: ErrMalformed, alicloud.SlowBody: ErrNoAnswer,
	} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			both(t, func(t *testing.T, l *cloudLab) {
				l.seed("default", targetA, "")
				p := l.provider(nil)
				if kind == alicloud.Hang || kind == alicloud.SlowBody {
					core(p).call.timeout = 2 * time.Second                       // waited out,
					core(p).pause = func(int) time.Duration { return time.Hour } // once
				}
				l.Fail(l.listing(), alicloud.Fault{Kind: kind, Delay: 200 * time.Millisecond}, -1)
				s, err := p.Read(t.Context(), orders)
				if !errors.Is(err, want) || s.Absent || s.Value != "" {
					t.Errorf("%+v, %v; want %v", s, err, want)
				}
				if kind == alicloud.HugeBody { // read to the bound, not to its end
					wantText(t, err.Error(), "longer than 1 MiB")
				}
			})
		})
	}
}

// A dry run sends nothing that is not Describe*, whoever asks for it.
func TestCloudReadOnly(t *testing.T) {
	both(t, func(t *testing.T, l *cloudLab) {
		l.seed("default", targetA, mustRemark(t, mark(1, 0)))
		p := l.provider(func(c *CloudConfig) {
			c.ReadOnly, c.ReadCredentials, c.Credentials = true, c.Credentials, CloudCredentials{File: "/nonexistent/key/that/may/write"}
		})
		s := readOrders(t, p) // the key that may write was not even looked for
		if s.Value != targetA {
			t.Errorf("%+v", s)
		}
		got, err := p.Write(t.Context(), moved())
		wantOutcome(t, got, err, failover.WriteRefused, ErrReadOnly)
		// Past everything that is further up:
		r := cloudRecord{id: s.Lines[0].ID, line: "default"}
		for name, err := range map[string]error{
			"value":  core(p).api.setValue(t.Context(), orders, r, targetB, 60),
			"remark": core(p).api.setRemark(t.Context(), r, "x"),
		} {
			if !errors.Is(err, ErrReadOnly) || !errors.Is(err, ErrNotSent) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if l.writes() != 0 {
			t.Error("something was sent")
		}
		l.wantLine("default", targetA, mark(1, 0))
	})
	t.Run("the wire", func(t *testing.T) {
		w := &wire{ctx: t.Context(), at: endpoint{"http", "127.0.0.1:9"}, readOnly: true}
		for url, header := range map[string]string{
			"http://127.0.0.1:9/?Action=UpdateDomainRecord":   "DescribeDomains",
			"http://127.0.0.1:9/?Action=DescribeDomains":      "UpdateDomainRecord",
			"http://127.0.0.1:9/":                             "DescribeDomains",
			"http://127.0.0.1:9/?Action=describeDomains":      "describeDomains",
			"http://127.0.0.1:9/?Action=DeleteDomainRecord&x": "",
		} {
			r, err := http.NewRequest("POST", url, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			if header != "" {
				r.Header["x-acs-action"] = []string{header}
			}
			if err := w.judge(r); !errors.Is(err, ErrReadOnly) {
				t.Errorf("%s, header %q: %v", url, header, err)
			}
		}
	})
}

// A key never leaves in plain text, and never for another host.
func TestCloudPlainTextIsRefused(t *testing.T) {
	for _, at := range []string{"http://alidns.aliyuncs.com", "http://192.0.2.1:80", "ftp://127.0.0.1", "http://127.0.0.1.example.com"} {
		c := CloudConfig{Endpoint: at, Zone: labZone, Credentials: CloudCredentials{Env: true}}
		if _, err := NewAlidns(AlidnsConfig{CloudConfig: c}); err == nil || !strings.Contains(err.Error(), "endpoint: ") {
			t.Errorf("%s: %v", at, err)
		}
	}
	for at, url := range map[endpoint]string{
		{"http", "192.0.2.1"}:             "http://192.0.2.1/?Action=DescribeDomains",
		{"https", "alidns.aliyuncs.com"}:  "http://alidns.aliyuncs.com/?Action=DescribeDomains",
		{"https", "alidns.aliyuncs.com:"}: "https://elsewhere.example/?Action=DescribeDomains",
	} {
		r, err := http.NewRequest("POST", url, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if err := (&wire{ctx: t.Context(), at: at}).judge(r); !errors.Is(err, ErrNotSent) {
			t.Errorf("%v %s: %v", at, url, err)
		}
	}
}

// The library would follow a redirect and hand the signed URL on.
func TestCloudRedirectsAreNotFollowed(t *testing.T) {
	var elsewhere atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		s := startStrange(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, status) })
		_, err := s.provider(t, false).Read(t.Context(), orders)
		if !errors.Is(err, ErrMalformed) {
			t.Errorf("%d: %v", status, err)
		}
	}
	if n := elsewhere.Load(); n != 0 {
		t.Errorf("%d redirects were followed", n)
	}
}

// Proxies of the environment get nothing; variables that the library cannot
// parse do not matter. A proxy of the config is used, with TLS to the vendor's
// own name behind it.
func TestCloudProxies(t *testing.T) {
	var trapped atomic.Int64
	trap := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { trapped.Add(1) }))
	defer trap.Close()
	for _, v := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"} {
		t.Setenv(v, trap.URL)
	}
	t.Setenv("NO_PROXY", "+(")
	both(t, func(t *testing.T, l *cloudLab) {
		l.seed("default", targetA, "")
		readOrders(t, l.provider(nil))
		ca := filepath.Join(t.TempDir(), "ca.pem")
		if err := os.WriteFile(ca, l.CA(), 0o600); err != nil {
			t.Fatal(err)
		}
		p := l.provider(func(c *CloudConfig) { c.Endpoint, c.Proxy, c.CAFile, c.RequestsPerSecond = "", l.Proxy(), ca, 60 })
		if s := readOrders(t, p); s.Value != targetA {
			t.Errorf("%+v", s)
		}
		reqs := l.Requests(l.listing())
		if last := reqs[len(reqs)-1]; !last.TLS {
			t.Errorf("not over TLS: %+v", last)
		}
		wantText(t, p.String(), "aliyuncs.com zone lab.test.")
		n := len(l.Requests())
		// Without the CA the certificate is nobody's: no request gets there.
		p = l.provider(func(c *CloudConfig) {
			c.Endpoint, c.Proxy, c.RequestsPerSecond, c.Timeout = "", l.Proxy(), 60, 30*time.Second
		})
		if _, err := p.Read(t.Context(), orders); !errors.Is(err, ErrNotSent) {
			t.Errorf("%v", err)
		}
		if len(l.Requests()) != n {
			t.Error("a request went to a certificate that nobody vouches for")
		}
	})
	if n := trapped.Load(); n != 0 {
		t.Errorf("%d requests went to the proxy of the environment", n)
	}
}

// With this variable the library prints every signed URL.
func TestCloudDebugOfTheLibraryIsRefused(t *testing.T) {
	t.Setenv("DEBUG", "x,sdk")
	_, err := NewAlidns(AlidnsConfig{CloudConfig: CloudConfig{Zone: labZone, Credentials: CloudCredentials{Env: true}}})
	if err == nil || !strings.Contains(err.Error(), "DEBUG holds sdk") {
		t.Errorf("%v", err)
	}
}

// Numbers as text and null for nothing are borne.
func TestCloudLooseAnswers(t *testing.T) {
	both(t, func(t *testing.T, l *cloudLab) {
		l.two()
		l.SetLoose(true)
		p := l.provider(nil)
		if s := readOrders(t, p); s.Value != targetA || s.TTL != 60 || len(s.Lines) != 2 {
			t.Errorf("%+v", s)
		}
		got, err := p.Write(t.Context(), moved())
		wantOutcome(t, got, err, failover.WriteDone)
	})
}

// What the API says of key, clock, rights and zone is named, with what to do.
func TestCloudDenials(t *testing.T) {
	describe := []string{"alidns:Describe*", "pvtz:Describe*"}
	both(t, func(t *testing.T, l *cloudLab) {
		l.seed("default", targetA, mustRemark(t, mark(1, 0)))
		readerKey := alicloud.Key{ID: "LTAI5tReader00", Secret: "readerReaderReaderReader012345", User: "reader", Policy: alicloud.Allow(describe)}
		blind := alicloud.Key{ID: "LTAI5tBlind000", Secret: "blindBlindBlindBlindBlind01234", User: "blind", Policy: alicloud.Allow([]string{"ots:*"})}
		idle := alicloud.Key{ID: "LTAI5tIdle0000", Secret: "idleIdleIdleIdleIdleIdle012345", Inactive: true}
		for _, k := range []alicloud.Key{readerKey, blind, idle} {
			if err := l.AddKey(k); err != nil {
				t.Fatal(err)
			}
		}
		unknown := alicloud.Key{ID: "LTAI5tNobody00", Secret: "x0123456789012345678901234567"}
		wrong := alicloud.Key{ID: l.Key().ID, Secret: "x0123456789012345678901234567"}
		for name, c := range map[string]struct {
			key  alicloud.Key
			read error
			out  failover.WriteOutcome
			err  error
			hint string
		}{
			"may only look": {readerKey, nil, failover.WriteRefused, ErrRights, "docs/providers.md"},
			"may nothing":   {blind, ErrRights, failover.WriteRefused, ErrRights, "docs/providers.md"},
			"inactive":      {idle, ErrKey, failover.WriteRefused, ErrKey, "look at the credentials"},
			"unknown key":   {unknown, ErrKey, failover.WriteRefused, ErrKey, "look at the credentials"},
			"wrong secret":  {wrong, ErrSecret, failover.WriteRefused, ErrSecret, "look at the credentials"},
		} {
			t.Run(name, func(t *testing.T) {
				p := l.provider(func(cc *CloudConfig) { cc.Credentials.File = keyFile(t, c.key) })
				if _, err := p.Read(t.Context(), orders); !errors.Is(err, c.read) {
					t.Errorf("read: %v", err)
				}
				got, err := p.Write(t.Context(), moved())
				wantOutcome(t, got, err, c.out, c.err)
				if err != nil {
					wantText(t, err.Error(), c.hint)
					wantNoSecret(t, c.key, err)
				}
			})
		}
		t.Run("clock", func(t *testing.T) {
			l.SetClockOffset(time.Hour)
			defer l.SetClockOffset(0)
			p := l.provider(nil)
			if _, err := p.Read(t.Context(), orders); !errors.Is(err, ErrClock) {
				t.Errorf("read: %v", err)
			}
			got, err := p.Write(t.Context(), moved())
			wantOutcome(t, got, err, failover.WriteRefused, ErrClock)
			wantText(t, err.Error(), "synchronise the clocks")
		})
		l.wantLine("default", targetA, mark(1, 0))
	})
}

// A zone that is not there, or is another one, is named and never written.
func TestCloudWrongZone(t *testing.T) {
	l := startCloud(t, false, alicloud.Options{}, alicloud.Zone{})
	l.seed("default", targetA, "")
	p := l.provider(func(c *CloudConfig) {
		c.Zone, c.Allowed = "elsewhere.test", map[failover.RecordName][]failover.Target{"orders.elsewhere.test.": {targetA, targetB}}
	})
	if _, err := p.Read(t.Context(), "orders.elsewhere.test."); !errors.Is(err, ErrZone) {
		t.Errorf("alidns: %v", err)
	}
	if _, err := p.Read(t.Context(), orders); !errors.Is(err, ErrForbidden) {
		t.Errorf("a name outside: %v", err)
	}
	l = startCloud(t, true, alicloud.Options{}, alicloud.Zone{})
	other, err := l.AddZone(alicloud.Zone{Name: "other.test", Private: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.AddRecord(other, alicloud.Record{RR: "orders", Type: "CNAME", Value: "a.lab.test", TTL: 60}); err != nil {
		t.Fatal(err)
	}
	l.zone = other // its name is not the one in the config
	p = l.provider(nil)
	if _, err := p.Read(t.Context(), orders); !errors.Is(err, ErrZone) {
		t.Errorf("pvtz: %v", err)
	}
	c := moved()
	c.ExpectMark = ptr("")
	got, err := p.Write(t.Context(), c)
	wantOutcome(t, got, err, failover.WriteRefused, ErrZone)
	if l.writes() != 0 {
		t.Error("another zone was written")
	}
}

// The floor of the edition is read, and a TTL below it is refused before
// anything is sent.
func TestAlidnsMinTTLIsRead(t *testing.T) {
	l := startCloud(t, false, alicloud.Options{}, alicloud.Zone{Edition: alicloud.Free})
	_, err := l.AddRecord(l.zone, alicloud.Record{RR: "orders", Type: "CNAME", Value: "a.lab.test", TTL: 600, Remark: mustRemark(t, mark(1, 0))})
	if err != nil {
		t.Fatal(err)
	}
	p := l.provider(nil)
	got, err := p.Write(t.Context(), moved())
	wantOutcome(t, got, err, failover.WriteRefused, ErrTTL)
	wantText(t, err.Error(), "60 s is below the 600 s")
	if l.writes() != 0 {
		t.Error("something was sent")
	}
	c := moved()
	c.TTL = 600
	got, err = p.Write(t.Context(), c)
	wantOutcome(t, got, err, failover.WriteDone)
	if n := len(l.Requests("DescribeDomainInfo")); n != 1 {
		t.Errorf("the zone was asked for %d times within ten minutes", n)
	}
}

// A zone that the vendor has taken out under an attack is read, and nothing is
// written there: nobody would be answered with it.
func TestAlidnsZoneUnderAttackIsNotWritten(t *testing.T) {
	for _, out := range []string{"InBlackHole", "InClean", ""} {
		s := startStrange(t, func(w http.ResponseWriter, r *http.Request) {
			a := map[string]any{"RequestId": "r"}
			switch action := r.URL.Query().Get("Action"); action {
			case "DescribeDomainInfo":
				a["DomainName"], a["MinTtl"], a[out] = labZone, 1, true
			case "DescribeSubDomainRecords":
				a["TotalCount"], a["DomainRecords"] = 1, map[string]any{"Record": []any{map[string]any{
					"RR": "orders", "Type": "CNAME", "RecordId": "11", "Line": "default", "Status": "ENABLE", "Value": "a.lab.test", "TTL": 60,
					"Remark": mustRemark(t, mark(1, 0)),
				}}}
			default:
				if out != "" {
					t.Errorf("%s was sent", action)
				}
				w.WriteHeader(http.StatusBadRequest)
				a["Code"] = "DomainRecordLocked" // to end it
			}
			_ = json.NewEncoder(w).Encode(a)
		})
		p := s.provider(t, false)
		if st := readOrders(t, p); st.Value != targetA {
			t.Errorf("%s: %+v", out, st)
		}
		got, err := p.Write(t.Context(), moved())
		wantOutcome(t, got, err, failover.WriteRefused, ErrLocked)
		if says := "black hole or cleaning"; strings.Contains(err.Error(), says) != (out != "") {
			t.Errorf("%s: %v", out, err)
		}
	}
}
