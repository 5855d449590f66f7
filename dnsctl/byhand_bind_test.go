package dnsctl

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pointsman/internal/failover"
)

// TestBINDTakesTheCommandOfPeople: a shell and nsupdate make the very change,
// once; what stands there otherwise is not written over; and the secret is
// nowhere in the command.
func TestBINDTakesTheCommandOfPeople(t *testing.T) {
	n := startNamed(t)
	p := bindProvider(t, n, nil)
	secret := filepath.Join(t.TempDir(), "it's $HOME's.key")
	write(t, secret, secretText+"\nolder-one\n")
	was := mustRead(t, p, orders)
	// A controller may be named so.
	c := Change{Name: orders, Expect: was.Value, Value: targetB, TTL: 7, Mark: failover.Mark{Token: failover.Token{Term: 3, Epoch: 4}, Op: "orders-3.4", By: "it's-100%d-$(id)"}.String()}
	command := p.ByHand(c, secret)
	if strings.Contains(command, secretText) {
		t.Fatalf("the secret is in %s", command)
	}
	run := func() (string, error) {
		out, err := exec.CommandContext(t.Context(), "sh", "-c", command).CombinedOutput()
		return string(out), err
	}
	if out, err := run(); err != nil {
		t.Fatalf("%v: %s\n%s", err, out, command)
	}
	if got := mustRead(t, p, orders); got.Value != targetB || got.TTL != 7 || got.Mark != c.Mark {
		t.Errorf("%+v\n%s", got, command)
	}
	if out, err := run(); err == nil || !strings.Contains(out, "NXRRSET") {
		t.Errorf("a second time: %v %s", err, out)
	}
	if got := p.ByHand(Change{Name: orders, Value: targetB, TTL: 7, Mark: c.Mark}, ""); !strings.Contains(got, "prereq nxrrset "+string(orders)+" CNAME") || !strings.Contains(got, "head -n 1 SECRET_FILE") {
		t.Error(got)
	}
}
