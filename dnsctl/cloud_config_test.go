package dnsctl

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pointsman/internal/failover"
)

func goodCloud() CloudConfig {
	return CloudConfig{
		Zone: "lab.test", Credentials: CloudCredentials{Env: true},
		Allowed: map[failover.RecordName][]failover.Target{orders: {targetA, targetB}},
	}
}

// Every fault is named with the path of its key, all of them at once.
func TestCloudConfigFaults(t *testing.T) {
	if errs := (AlidnsConfig{CloudConfig: goodCloud()}).Validate(); len(errs) != 0 {
		t.Fatal(errs)
	}
	for want, edit := range map[string]func(*CloudConfig){
		`endpoint: "http://example.com": the key would be signed into plain text`: func(c *CloudConfig) { c.Endpoint = "http://example.com" },
		`endpoint: "https://a/b" is no host`:                                      func(c *CloudConfig) { c.Endpoint = "https://a/b" },
		`endpoint: "https://u:p@a" is no host`:                                    func(c *CloudConfig) { c.Endpoint = "https://u:p@a" },
		`endpoint: "a:0" has no port`:                                             func(c *CloudConfig) { c.Endpoint = "a:0" },
		`endpoint: host "a_b!"`:                                                   func(c *CloudConfig) { c.Endpoint = "a_b!" },
		`zone: zone "": is empty`:                                                 func(c *CloudConfig) { c.Zone = "" },
		`zone: zone "例子.测试": has the character`:                                   func(c *CloudConfig) { c.Zone = "例子.测试" },
		`credentials: exactly one of file, env, ecs_role and oidc_token_file says where the key comes from, 0 do`: func(c *CloudConfig) { c.Credentials = CloudCredentials{} },
		`credentials: exactly one of file, env, ecs_role and oidc_token_file says where the key comes from, 2 do`: func(c *CloudConfig) { c.Credentials.File = "x" },
		`credentials.oidc_token_file: role_arn and oidc_provider_arn are needed`:                                  func(c *CloudConfig) { c.Credentials = CloudCredentials{OIDCTokenFile: "x"} },
		`credentials.oidc_provider_arn: goes with oidc_token_file alone`:                                          func(c *CloudConfig) { c.Credentials.OIDCProviderARN = "x" },
		`credentials.role_arn: "dns" is not acs:ram::`:                                                            func(c *CloudConfig) { c.Credentials.RoleARN = "dns" },
		`credentials.ecs_role: "../x" is no name of a role`:                                                       func(c *CloudConfig) { c.Credentials = CloudCredentials{ECSRole: "../x"} },
		`credentials.duration: 1m0s is outside 15m to 12h`:                                                        func(c *CloudConfig) { c.Credentials.Duration = time.Minute },
		`credentials.sts_endpoint: "http://sts.aliyuncs.com"`:                                                     func(c *CloudConfig) { c.Credentials.STSEndpoint = "http://sts.aliyuncs.com" },
		`read_credentials: is missing`:                                                                            func(c *CloudConfig) { c.ReadOnly = true },
		`read_credentials: exactly one of`:                                                                        func(c *CloudConfig) { c.ReadOnly, c.ReadCredentials = true, CloudCredentials{Env: true, File: "x"} },
		`timeout: -1s must not be negative`:                                                                       func(c *CloudConfig) { c.Timeout = -time.Second },
		`settle: 16m0s is outside 0 to 15m0s`:                                                                     func(c *CloudConfig) { c.Settle = 16 * time.Minute },
		`requests_per_second: 61 is outside 0 to 60`:                                                              func(c *CloudConfig) { c.RequestsPerSecond = 61 },
		`proxy: is no http://host:port`:                                                                           func(c *CloudConfig) { c.Proxy = "socks5://user:secret@x" },
		`ca_file: stat /nonexistent/ca`:                                                                           func(c *CloudConfig) { c.CAFile = "/nonexistent/ca" },
		`allowed: orders.else.test. does not lie in the zone lab`: func(c *CloudConfig) {
			c.Allowed = map[failover.RecordName][]failover.Target{"orders.else.test": {targetA}}
		},
		`allowed: lab.test. is the apex`:                       func(c *CloudConfig) { c.Allowed = map[failover.RecordName][]failover.Target{"lab.test": {targetA}} },
		`records: x.else.test. does not lie in the zone`:       func(c *CloudConfig) { c.Records = map[failover.RecordName]map[string]string{"x.else.test": nil} },
		`records.orders.lab.test.: "a b" is no code of a line`: func(c *CloudConfig) { c.Records = map[failover.RecordName]map[string]string{orders: {"a b": "1"}} },
		`records.orders.lab.test..default: "x" is no ID`:       func(c *CloudConfig) { c.Records = map[failover.RecordName]map[string]string{orders: {"default": "x"}} },
	} {
		c := goodCloud()
		edit(&c)
		errs := AlidnsConfig{CloudConfig: c}.Validate()
		if len(errs) != 1 || !strings.HasPrefix(errs[0].Error(), want) {
			t.Errorf("%v\nwant %s", errs, want)
		}
		if strings.Contains(fmt.Sprint(errs), "secret") {
			t.Errorf("%v shows a password", errs)
		}
		if p, err := NewAlidns(AlidnsConfig{CloudConfig: c}); err == nil || p != nil {
			t.Errorf("%s: built", want)
		}
	}
	two := goodCloud()
	two.Zone, two.Timeout = "", -1
	if errs := (AlidnsConfig{CloudConfig: two}).Validate(); len(errs) != 2 {
		t.Errorf("%v", errs)
	}
	a := AlidnsConfig{CloudConfig: goodCloud(), Authorities: []netip.AddrPort{{}}}
	if errs := a.Validate(); len(errs) != 1 || !strings.HasPrefix(errs[0].Error(), "authorities[0]: ") {
		t.Errorf("%v", errs)
	}
	for _, id := range []string{"", "a/b", "a b"} {
		errs := PvtzConfig{CloudConfig: goodCloud(), ZoneID: id}.Validate()
		if len(errs) != 1 || !strings.HasPrefix(errs[0].Error(), "zone_id: ") {
			t.Errorf("%q: %v", id, errs)
		}
	}
}

func TestCloudLoopback(t *testing.T) {
	at := func(e string, c CloudCredentials) CloudConfig { return CloudConfig{Endpoint: e, Credentials: c} }
	env := CloudCredentials{Env: true}
	for _, c := range []struct {
		c    CloudConfig
		want bool
	}{
		{at("http://127.0.0.1:80", env), true},
		{at("http://[::1]:80", env), true},
		{at("https://localhost", env), true},
		{at("", env), false},
		{at("alidns.aliyuncs.com", env), false},
		{at("https://127.0.0.1.example", env), false},
		{at("https://192.0.2.1", env), false},
		{at("http://127.0.0.1", CloudCredentials{Env: true, RoleARN: "acs:ram::1:role/x"}), false},
		{at("http://127.0.0.1", CloudCredentials{Env: true, RoleARN: "acs:ram::1:role/x", STSEndpoint: "http://127.0.0.1:1"}), true},
		{at("http://127.0.0.1", CloudCredentials{ECSRole: "x"}), false},
		{at("http://127.0.0.1", CloudCredentials{ECSRole: "x", MetadataEndpoint: "http://127.0.0.1:1"}), true},
		{CloudConfig{Endpoint: "http://127.0.0.1", Credentials: env, Proxy: "http://192.0.2.1:1"}, false},
		{CloudConfig{Endpoint: "http://127.0.0.1", ReadOnly: true, ReadCredentials: CloudCredentials{ECSRole: "x"}}, false},
	} {
		if got := (AlidnsConfig{CloudConfig: c.c}).Loopback(); got != c.want {
			t.Errorf("%+v: %t", c.c, got)
		}
	}
	away := AlidnsConfig{CloudConfig: at("http://127.0.0.1", env), Authorities: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:53")}}
	if away.Loopback() {
		t.Error("an authority outside")
	}
}

// The documented codes, each with what it comes to; a code that nobody knows is
// a failure that is tried again, and never success.
func TestCloudDenialCodes(t *testing.T) {
	for code, want := range map[string]error{
		"DomainRecordDuplicate": errDuplicate, "DomainRecordNotBelongToUser": ErrReplaced, "InvalidRR.NoExist": ErrReplaced, "InvalidRecordId.NotFound": ErrReplaced,
		"Throttling": ErrThrottled, "Throttling.User": ErrThrottled, "Throttling.Api": ErrThrottled,
		"LastOperationNotFinished": ErrServer, "InternalError": ErrServer, "UnKnownError": ErrServer, "ServiceUnavailable": ErrServer,
		"RecordForbidden.DNSChange": ErrServer, "SignatureNonceUsed": ErrServer,
		"DomainRecordConflict": ErrOtherRecord, "DomainRecordLocked": ErrLocked, "DomainForbidden": ErrLocked, "DomainExpiredDNSForbidden": ErrLocked,
		"Forbidden.DomainExpired": ErrLocked, "RecordForbidden.BlackHole": ErrLocked, "RecordFobidden.BlackHole": ErrLocked,
		"InvalidAccessKeyId.NotFound": ErrKey, "InvalidAccessKeyId.Inactive": ErrKey, "InvalidSecurityToken.Expired": ErrKey,
		"SignatureDoesNotMatch": ErrSecret, "IncompleteSignature": ErrSecret,
		"InvalidTimeStamp.Expired": ErrClock, "IllegalTimestamp": ErrClock,
		"Forbidden": ErrRights, "Forbidden.RAM": ErrRights, "NoPermission": ErrRights, "Forbidden.RiskControl": ErrRights, "Forbidden.UserVerification": ErrRights,
		"OperationDomain.NoPermission": ErrRights, "IllegalUser": ErrRights,
		"InvalidDomainName.NoExist": ErrZone, "IncorrectDomainUser": ErrZone, "DomainNotFound": ErrZone, "Zone.NotExists": ErrZone,
		"QuotaExceeded.TTL": ErrTTL, "SubDomainInvalid.TTL": ErrTTL, "QuotaExceeded.Record": ErrQuota, "QuotaExceeded.ARecord": ErrQuota, "LineDnsSlb.QuotaExceeded": ErrQuota,
		"InvalidRR.Format": ErrParameter, "InvalidRR.TypeEmpty": ErrParameter, "SubDomainInvalid.Value": ErrParameter, "SubDomainInvalid.Line": ErrParameter,
		"UnsupportedLine": ErrParameter, "InvalidParameter": ErrParameter, "MissingParameter": ErrParameter, "Zone.Remark": ErrParameter,
		"InvalidAction.NotFound": ErrUnsupported, "": ErrServer, "SomethingNew": ErrServer,
	} {
		err := cloudDenial(400, code, "message", "request-1")
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", code, err, want)
		}
		wantText(t, err.Error(), code, "request request-1")
		if out := outcome(err); out == failover.WriteDone {
			t.Errorf("%s is done", code)
		}
	}
	if err := cloudDenial(400, "SignatureDoesNotMatch", "server string to sign is:POST&x", ""); strings.Contains(err.Error(), "POST") {
		t.Errorf("%v repeats what was signed", err)
	}
	if err := cloudDenial(429, "", "", ""); !errors.Is(err, ErrThrottled) {
		t.Errorf("%v", err)
	}
	long := cloudDenial(400, strings.Repeat("x", 500), "\x1b[2J"+strings.Repeat("y", 5000), "").Error()
	if len(long) > 500 || strings.Contains(long, "\x1b") {
		t.Errorf("%q", long)
	}
}
