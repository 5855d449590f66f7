package dnsctl

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pointsman/internal/lab/alicloud"
)

// A key that is rotated is taken up at the next request; a file that is half
// written costs nothing.
func TestCloudKeyFileIsReadAgain(t *testing.T) {
	both(t, func(t *testing.T, l *cloudLab) {
		l.seed("default", targetA, "")
		path := keyFile(t, l.Key())
		p := l.provider(func(c *CloudConfig) { c.Credentials.File = path })
		readOrders(t, p)
		next := alicloud.Key{ID: "LTAI5tRotated0", Secret: "rotatedRotatedRotatedRotated01"}
		if err := l.AddKey(next); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(`{"AccessKeyId": "LTAI5tRot`), 0o600); err != nil {
			t.Fatal(err)
		}
		readOrders(t, p)
		writeKey(t, path, next)
		readOrders(t, p)
		var used []string
		for _, r := range l.Requests(l.listing()) {
			used = append(used, r.KeyID)
		}
		if want := []string{l.Key().ID, l.Key().ID, next.ID}; strings.Join(used, " ") != strings.Join(want, " ") {
			t.Errorf("keys %v, want %v", used, want)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		readOrders(t, p) // the mount may come back
	})
}

// What a file of a key must be, and that no error shows what is in it.
func TestCloudKeyFileFaults(t *testing.T) {
	good := `{"AccessKeyId":"LTAI5tInTheFile","AccessKeySecret":"secretInTheFile0123"}`
	for name, c := range map[string]struct {
		text string
		mode os.FileMode
		want string
	}{
		"read by others":  {good, 0o644, "chmod 600"},
		"read by a group": {good, 0o640, "chmod 600"},
		"no JSON":         {"LTAI5tInTheFile secretInTheFile0123", 0o600, "is no JSON with AccessKeyId"},
		"empty":           {"", 0o600, "is no JSON with AccessKeyId"},
		"no secret":       {`{"AccessKeyId":"LTAI5tInTheFile"}`, 0o600, "holds no AccessKeyId and AccessKeySecret"},
		"a space":         {`{"AccessKeyId":"LTAI5tInTheFile ","AccessKeySecret":"secretInTheFile0123"}`, 0o600, "printable ASCII without spaces"},
		"an odd end":      {`{"AccessKeyId":"LTAI5tInTheFile","AccessKeySecret":"secretInTheFile0123","Expiration":"tomorrow"}`, 0o600, "Expiration is no time"},
		"too long":        {good + strings.Repeat(" ", 70<<10), 0o600, "longer than 64 KiB"},
		"missing":         {"", 0, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			s := startStrange(t, func(http.ResponseWriter, *http.Request) {})
			path := filepath.Join(t.TempDir(), "key.json")
			if c.mode != 0 {
				if err := os.WriteFile(path, []byte(c.text), c.mode); err != nil {
					t.Fatal(err)
				}
			}
			cfg := s.config(t)
			cfg.Credentials.File = path
			_, err := NewCloud(t, cfg, false, "").Read(t.Context(), orders)
			if !errors.Is(err, errNoKey) || !errors.Is(err, ErrNotSent) {
				t.Fatalf("%v", err)
			}
			wantText(t, err.Error(), c.want)
			if strings.Contains(err.Error(), "InTheFile") {
				t.Errorf("%v shows what is in the file", err)
			}
			if n := s.asked.Load(); n != 0 {
				t.Errorf("%d requests without a key", n)
			}
		})
	}
}

func TestCloudKeyFromTheEnvironment(t *testing.T) {
	both(t, func(t *testing.T, l *cloudLab) {
		l.seed("default", targetA, "")
		p := l.provider(func(c *CloudConfig) { c.Credentials = CloudCredentials{Env: true} })
		t.Setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", "")
		if _, err := p.Read(t.Context(), orders); !errors.Is(err, errNoKey) {
			t.Errorf("%v", err)
		}
		t.Setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", l.Key().ID)
		t.Setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", l.Key().Secret)
		readOrders(t, p)
	})
}

// startRoles is a cloud with a user that may do nothing but take on a role.
func startRoles(t *testing.T, role alicloud.Role) (*cloudLab, alicloud.Key) {
	t.Helper()
	user := alicloud.Key{ID: "LTAI5tUser0000", Secret: "userUserUserUserUserUser012345", User: "pointsman", Policy: alicloud.Allow([]string{"sts:AssumeRole"})}
	l := startCloud(t, false, alicloud.Options{Roles: []alicloud.Role{role}}, alicloud.Zone{})
	if err := l.AddKey(user); err != nil {
		t.Fatal(err)
	}
	l.seed("default", targetA, mustRemark(t, mark(1, 0)))
	return l, user
}

func dnsPolicy() *alicloud.Policy {
	return alicloud.Allow([]string{"alidns:Describe*", "alidns:UpdateDomainRecord", "alidns:UpdateDomainRecordRemark"}, labZone)
}

// A role is taken on once and kept; a dry run takes it on with a session that
// may only look, whatever the role may.
func TestCloudRole(t *testing.T) {
	l, user := startRoles(t, alicloud.Role{Name: "dns", Policy: dnsPolicy(), ExternalID: "x-1"})
	creds := CloudCredentials{File: keyFile(t, user), RoleARN: l.RoleARN("dns"), ExternalID: "x-1", STSEndpoint: "http://" + l.Endpoint()}
	p := l.provider(func(c *CloudConfig) { c.Credentials = creds })
	readOrders(t, p)
	got, err := p.Write(t.Context(), moved())
	wantOutcome(t, got, err, "done")
	if n := len(l.Requests("AssumeRole")); n != 1 {
		t.Errorf("taken on %d times", n)
	}
	for _, r := range l.Requests(l.action(true)) {
		if !strings.HasPrefix(r.KeyID, "STS.") {
			t.Errorf("written with the key %s", r.KeyID)
		}
	}
	l.Forget()
	dry := l.provider(func(c *CloudConfig) { c.ReadOnly, c.Credentials = true, creds })
	readOrders(t, dry)
	k, err := core(dry).call.keys.get(t.Context(), laneUrgent)
	if err != nil {
		t.Fatal(err)
	}
	// Even past the transport, in other hands, the session cannot write.
	free := core(p).call
	free = &caller{at: free.at, http: free.http, timeout: free.timeout, pace: free.pace, keys: &keyring{session: k, c: creds, now: time.Now}}
	err = (&alidnsAPI{call: free, zone: "lab.test."}).setRemark(t.Context(), cloudRecord{id: core(dry).names[orders].last[0].id}, "x")
	if !errors.Is(err, ErrRights) {
		t.Errorf("the session of a dry run may write: %v", err)
	}
}

// A session is renewed from half of its life on by routine requests; one of a
// failover never waits for that, and nothing is lost while it cannot be renewed.
func TestCloudSessionIsKeptWarm(t *testing.T) {
	l, user := startRoles(t, alicloud.Role{Name: "dns", Policy: dnsPolicy()})
	var ahead atomic.Int64
	p := l.provider(func(c *CloudConfig) {
		c.Credentials = CloudCredentials{File: keyFile(t, user), RoleARN: l.RoleARN("dns"), STSEndpoint: "http://" + l.Endpoint()}
		c.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	assumed := func(want int) {
		t.Helper()
		if n := len(l.Requests("AssumeRole")); n != want {
			t.Errorf("taken on %d times, want %d", n, want)
		}
	}
	get := func(ln lane) error {
		_, err := core(p).call.keys.get(t.Context(), ln)
		return err
	}
	readOrders(t, p)
	ahead.Store(int64(29 * time.Minute))
	readOrders(t, p)
	assumed(1)
	ahead.Store(int64(31 * time.Minute))
	if err := get(laneUrgent); err != nil {
		t.Error(err)
	}
	assumed(1)
	l.Fail("AssumeRole", alicloud.Fault{Kind: alicloud.Unavailable}, -1)
	readOrders(t, p) // it cannot be renewed, and lasts
	assumed(2)
	readOrders(t, p) // and is not asked for again at once
	assumed(2)
	ahead.Store(int64(60*time.Minute - 20*time.Second))
	if err := get(laneUrgent); !errors.Is(err, ErrServer) {
		t.Errorf("a session at its end: %v", err)
	}
	l.Heal()
	if err := get(laneUrgent); err != nil {
		t.Error(err)
	}
	// A session that the API does not take is not used again.
	core(p).call.keys.doubt(core(p).call.keys.session)
	if !core(p).call.keys.session.isZero() {
		t.Error("a session that is in doubt is kept")
	}
}

func TestCloudOIDC(t *testing.T) {
	l, _ := startRoles(t, alicloud.Role{Name: "pod", Policy: dnsPolicy(), OIDCProvider: "acs:ram::1:oidc-provider/ack", OIDCTokens: []string{"tokenOfThePod1234567", "tokenOfThePod7654321"}})
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte("tokenOfThePod1234567\n"), 0o644); err != nil { // the platform chooses the mode
		t.Fatal(err)
	}
	p := l.provider(func(c *CloudConfig) {
		c.Credentials = CloudCredentials{OIDCTokenFile: path, OIDCProviderARN: "acs:ram::1:oidc-provider/ack", RoleARN: l.RoleARN("pod"), STSEndpoint: "http://" + l.Endpoint()}
	})
	readOrders(t, p)
	got, err := p.Write(t.Context(), moved())
	wantOutcome(t, got, err, "done")
	for _, r := range l.Requests("AssumeRoleWithOIDC") {
		if r.In == "query" {
			t.Error("the token stood in the URL alone")
		}
	}
	if err := os.WriteFile(path, []byte("somebodyElsesToken99"), 0o600); err != nil {
		t.Fatal(err)
	}
	core(p).call.keys.session = accessKey{}
	_, err = p.Read(t.Context(), orders)
	if err == nil || strings.Contains(err.Error(), "somebodyElsesToken99") {
		t.Errorf("%v", err)
	}
}

// The metadata service is asked in its second version only.
func TestCloudMachineRole(t *testing.T) {
	l, _ := startRoles(t, alicloud.Role{Name: "unused"})
	var bare atomic.Int64
	meta := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPut && r.URL.Path == "/latest/api/token" && r.Header.Get("X-aliyun-ecs-metadata-token-ttl-seconds") != "":
			_, _ = w.Write([]byte("metadata-token"))
		case r.Header.Get("X-aliyun-ecs-metadata-token") != "metadata-token":
			bare.Add(1)
			w.WriteHeader(http.StatusForbidden)
		case r.URL.Path == "/latest/meta-data/ram/security-credentials/dns-role":
			k := l.Key()
			_, _ = w.Write([]byte(`{"Code":"Success","AccessKeyId":"` + k.ID + `","AccessKeySecret":"` + k.Secret + `","SecurityToken":"` + "unused-token" + `","Expiration":"` + time.Now().Add(time.Hour).UTC().Format(time.RFC3339) + `"}`))
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer meta.Close()
	p := l.provider(func(c *CloudConfig) {
		c.Credentials = CloudCredentials{ECSRole: "dns-role", MetadataEndpoint: meta.URL}
	})
	k, err := core(p).call.keys.get(t.Context(), laneRoutine)
	if err != nil {
		t.Fatal(err)
	}
	if k.parts().id != l.Key().ID || k.parts().token != "unused-token" {
		t.Error("another key than the metadata has")
	}
	p = l.provider(func(c *CloudConfig) {
		c.Credentials = CloudCredentials{ECSRole: "nobodys-role", MetadataEndpoint: meta.URL}
	})
	if _, err := p.Read(t.Context(), orders); !errors.Is(err, errNoKey) {
		t.Errorf("%v", err)
	}
	if n := bare.Load(); n != 0 {
		t.Errorf("%d questions without a token", n)
	}
}
