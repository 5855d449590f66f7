package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"

	"pointsman/internal/failover"
)

const waitTTL = 12 // seconds; a planned switchover lowers it to five

// ttlAt is the TTL that an authority serves a name with, 0 where it does not.
func ttlAt(server, name string) uint32 {
	c := &dns.Client{Timeout: 2 * time.Second}
	r, _, err := c.Exchange(new(dns.Msg).SetQuestion(name, dns.TypeCNAME), server)
	if err != nil || len(r.Answer) != 1 {
		return 0
	}
	return r.Answer[0].Header().Ttl
}

// TestARealProcessIsKilledWhileItWaitsOutTheTTL: kill -9 around the write that
// lowers the TTL, and in the middle of the wait for the old one; an abort there;
// and the old cluster lost while nobody runs. Either the names stay and get
// their TTL back, or they move and the bound counts the TTL that was not waited
// out. One name is ours, the other stands in a BIND.
func TestARealProcessIsKilledWhileItWaitsOutTheTTL(t *testing.T) {
	t.Parallel()
	bin := failpointBinary(t)
	var g errgroup.Group
	g.SetLimit(3)
	for _, how := range []string{
		"write-name/before#2=kill", "write-name/after#2=kill", // the first is the claim of a new life
		"in the wait", "in the wait, the old cluster is lost", "abort",
	} {
		g.Go(func() error {
			t.Run(how, func(t *testing.T) { newCrash(t, bin).wait(t, how) })
			return nil
		})
	}
	_ = g.Wait()
}

func (c *crash) wait(t *testing.T, how string) {
	bind := startNamedTTL(t, bindA, waitTTL)
	file := filepath.Join(c.dir, "pointsman.yaml")
	config, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	writeFiles(t, c.dir, map[string]string{"pointsman.yaml": strings.NewReplacer(
		c.primary.addr, bind.addr, "{a: a.example.com., b: b.example.com.}", "{a: "+bindA+", b: "+bindB+"}",
		"preset: fast-lab\n", "preset: fast-lab\n    ttl: 12s\n    read_every: 1s\n",
	).Replace(string(config))})
	ttls := func() (uint32, uint32) { return ttlAt(c.dns, "orders.lab.test."), ttlAt(bind.addr, bindName) }

	cmd, gone, log := c.start(t, "")
	c.until(t, "both up", log, bothUp)
	c.arm(t, log)
	c.until(t, "rest", log, atRest)
	end(cmd, gone)
	fail := ""
	if strings.HasSuffix(how, "=kill") {
		fail = how
	}
	cmd, gone, log = c.start(t, fail)
	c.until(t, "the marks", log, bearsTerm)
	order := func() {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, _ = c.verb(ctx, "switchover", "orders", "--to", "b", "--yes", "--timeout", "500ms") // it is not over by then
	}
	order()
	if fail == "" {
		v := c.until(t, "the wait", log, func(v failover.View) bool { return v.Op != nil && !v.Op.LoweredAt.IsZero() })
		if own, there := ttls(); own != 5 || there != 5 || v.Op.Step != failover.StepIntent || v.Op.OldTTL != waitTTL {
			t.Errorf("in the wait: %d s, %d s, %+v", own, there, v.Op)
		}
	}
	switch how {
	case "abort":
		if _, err := c.verb(t.Context(), "abort", "orders"); err != nil {
			t.Error(err)
		}
	default:
		if fail == "" {
			_ = cmd.Process.Kill()
		}
		c.await(t, gone, log)
		if strings.HasSuffix(how, "is lost") {
			c.sites["a"].down()
		}
		cmd, gone, log = c.start(t, "")
	}
	if strings.HasSuffix(how, "is lost") {
		v := c.until(t, "the failover", log, movedTo("b"))
		if m := v.MovedBy; m == nil || m.TTLOld != waitTTL || m.LookupsBy.Sub(m.Published) < waitTTL*time.Second {
			t.Errorf("the bound: %+v", m)
		}
	} else {
		v := c.until(t, "the end", log, func(v failover.View) bool { return atRest(v) && v.LastOp != nil })
		if v.Active != "a" || v.LastOp.Outcome != failover.Unwound {
			t.Errorf("active %s, %+v", v.Active, v.LastOp)
		}
	}
	var own, there uint32
	for end := time.Now().Add(patience); time.Now().Before(end) && (own != waitTTL || there != waitTTL); time.Sleep(50 * time.Millisecond) {
		own, there = ttls()
	}
	if own != waitTTL || there != waitTTL {
		t.Errorf("left with %d s and %d s\n%s", own, there, log)
	}
	if _, err := c.verb(t.Context(), "audit", "--verify"); err != nil {
		t.Error(err)
	}
	end(cmd, gone)
}
