package dnsctl

import (
	"strconv"
	"strings"
	"testing"

	"pointsman/internal/failover"
	"pointsman/internal/lab/alicloud"
)

// A configuration that is loaded anew makes a provider anew: it goes on with
// the pins of the one before, and does not take for its own what was put in the
// place of a record meanwhile.
func TestCloudInheritsPins(t *testing.T) {
	both(t, func(t *testing.T, l *cloudLab) {
		r := l.seed("default", targetA, "")
		first := l.provider(nil)
		if got := readOrders(t, first); got.Other != "" {
			t.Fatalf("%+v", got)
		}
		if err := l.Change(r.ID, alicloud.Edit{Delete: true}); err != nil {
			t.Fatal(err)
		}
		other := l.seed("default", targetA, "")

		heir := l.provider(func(c *CloudConfig) { c.Allowed["more.lab.test."] = []failover.Target{targetA} })
		if !core(heir).Inherit(first) {
			t.Fatal("they do not belong together")
		}
		if got := readOrders(t, heir); !strings.Contains(got.Other, "was replaced by") {
			t.Errorf("the heir saw nothing: %+v", got)
		}
		if core(heir).settling != core(first).settling || core(heir).call.pace != core(first).call.pace {
			t.Error("what may land late, or the quota, was forgotten")
		}

		// What the config pins counts more than what was learnt.
		pinned := l.provider(func(c *CloudConfig) {
			c.Records = map[failover.RecordName]map[string]string{orders: {"default": strconv.FormatInt(other.ID, 10)}}
		})
		core(pinned).Inherit(first)
		if got := readOrders(t, pinned); got.Other != "" {
			t.Errorf("the pin of the config: %+v", got)
		}
		for what, edit := range map[string]func(*CloudConfig){
			"another endpoint": func(c *CloudConfig) { c.Endpoint = "http://127.0.0.1:1" },
			"another zone": func(c *CloudConfig) {
				c.Zone, c.Allowed = "other.test", map[failover.RecordName][]failover.Target{}
			},
		} {
			if core(l.provider(edit)).Inherit(first) {
				t.Errorf("%s: inherited", what)
			}
		}
		if l.pvtz { // a name tells no private zone from another
			twin := *l
			twin.zone = "another"
			if core(twin.provider(nil)).Inherit(first) {
				t.Error("another zone of the same name: inherited")
			}
		}
		if core(first).Inherit(first) {
			t.Error("inherited from itself")
		}
	})
}

// A session outlives a reload: made anew it would have to be asked for at once,
// and while STS is down no name would move.
func TestCloudInheritsTheSession(t *testing.T) {
	l, user := startRoles(t, alicloud.Role{Name: "dns", Policy: dnsPolicy()})
	role := func(c *CloudConfig) {
		c.Credentials = CloudCredentials{File: keyFile(t, user), RoleARN: l.RoleARN("dns"), STSEndpoint: "http://" + l.Endpoint()}
	}
	var creds CloudCredentials
	first := l.provider(func(c *CloudConfig) { role(c); creds = c.Credentials })
	readOrders(t, first)
	l.Fail("AssumeRole", alicloud.Fault{Kind: alicloud.Unavailable}, -1)
	heir := l.provider(func(c *CloudConfig) { c.Credentials = creds })
	if !core(heir).Inherit(first) {
		t.Fatal("they do not belong together")
	}
	readOrders(t, heir)
	other := l.provider(func(c *CloudConfig) { c.Credentials = creds; c.Credentials.RoleSession = "another" })
	core(other).Inherit(first)
	if !core(other).call.keys.session.isZero() {
		t.Error("the session of other credentials is used")
	}
}
