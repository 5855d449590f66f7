package dnsctl

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"pointsman/internal/failover"
	"pointsman/internal/lab/alicloud"
)

var policyBlock = regexp.MustCompile("(?s)```json\n(.*?)```")

// The policies in the document are enough to read and to move, and for nothing
// beyond the zone.
func TestCloudPoliciesOfTheDocument(t *testing.T) {
	text, err := os.ReadFile("../docs/providers.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := policyBlock.FindAllStringSubmatch(string(text), -1)
	if len(blocks) != 2 {
		t.Fatalf("%d policies", len(blocks))
	}
	both(t, func(t *testing.T, l *cloudLab) {
		l.seed("default", targetA, mustRemark(t, mark(1, 0)))
		other, err := l.AddZone(alicloud.Zone{Name: "other.test", Private: l.pvtz})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.AddRecord(other, alicloud.Record{RR: "orders", Type: "CNAME", Value: "a.lab.test", TTL: 60}); err != nil {
			t.Fatal(err)
		}
		block := blocks[0][1]
		if l.pvtz {
			block = blocks[1][1]
		}
		block = strings.NewReplacer("failover.example.com", labZone, "ZONE-ID", l.zone).Replace(block)
		k := alicloud.Key{ID: "LTAI5tDocument", Secret: "documentDocumentDocument012345", User: "dns", Policy: &alicloud.Policy{}}
		if err := json.Unmarshal([]byte(block), k.Policy); err != nil {
			t.Fatal(err)
		}
		if err := l.AddKey(k); err != nil {
			t.Fatal(err)
		}
		p := l.provider(func(c *CloudConfig) { c.Credentials.File = keyFile(t, k) })
		readOrders(t, p)
		got, err := p.Write(t.Context(), moved())
		wantOutcome(t, got, err, failover.WriteDone)
		for _, r := range l.Requests() {
			if r.Code != "" {
				t.Errorf("%s: %s", r.Action, r.Code)
			}
		}
		l.zone = other
		elsewhere := l.provider(func(c *CloudConfig) {
			c.Credentials.File, c.Zone = keyFile(t, k), "other.test"
			c.Allowed = nil
		})
		if _, err := elsewhere.Read(t.Context(), "orders.other.test."); err == nil {
			t.Error("the policy reaches another zone")
		}
	})
}
