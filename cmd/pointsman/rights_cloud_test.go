package main

import (
	"encoding/json"
	"strings"
	"testing"

	"pointsman/internal/lab/alicloud"
)

// labAccount is the number of the account that owns the lab's zones.
const labAccount = "1234567890123456"

// rightsFor is what init rights prints for a configuration, as one policy of the
// lab, with the account's number filled in.
func rightsFor(t *testing.T, provider, file string, grantees ...string) *alicloud.Policy {
	t.Helper()
	out, _, err := runVerb(t, "init", "rights", "--provider", provider, "-c", file, "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	var g struct {
		Grants []struct {
			For    string           `json:"for"`
			Policy *alicloud.Policy `json:"policy"`
		} `json:"grants"`
	}
	if err := json.Unmarshal([]byte(strings.ReplaceAll(out, ":ACCT:", ":"+labAccount+":")), &g); err != nil {
		t.Fatal(err)
	}
	p := &alicloud.Policy{Version: "1"}
	for _, who := range grantees {
		n := len(p.Statement)
		for _, x := range g.Grants {
			if x.For == who {
				p.Statement = append(p.Statement, x.Policy.Statement...)
			}
		}
		if len(p.Statement) == n {
			t.Fatalf("%s has no policy in\n%s", who, out)
		}
	}
	return p
}
