package dnsctl

import (
	"testing"
)

// What the tests of the package dnsctl_test use of the cloud's.
var (
	KeyFile    = keyFile
	FromRemark = fromRemark
)

// Remark is a mark as the API keeps it; none is none.
func Remark(t testing.TB, mark string) string {
	t.Helper()
	if mark == "" {
		return ""
	}
	return mustRemark(t, mark)
}

// NewCloud builds a provider of either product, closed with the test.
func NewCloud(t testing.TB, c CloudConfig, private bool, zone string) Provider {
	t.Helper()
	var p cloudProvider
	var err error
	if private {
		p, err = NewPvtz(PvtzConfig{CloudConfig: c, ZoneID: zone})
	} else {
		p, err = NewAlidns(AlidnsConfig{CloudConfig: c})
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}
