package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"pointsman/internal/api"
	"pointsman/internal/failover"
	"pointsman/internal/ledger"
)

// TestARealProcessFinishesItsFailoverAfterEveryKill kills the program before
// and after each side effect of an automatic failover of a name of our own and
// one elsewhere. Whoever is started next brings both to the cluster that is
// alive, each once, with marks that only grow.
func TestARealProcessFinishesItsFailoverAfterEveryKill(t *testing.T) {
	t.Parallel()
	bin := failpointBinary(t)
	var g errgroup.Group
	g.SetLimit(8)
	for _, fail := range visits(false) {
		if !strings.HasSuffix(fail, "=kill") {
			continue
		}
		g.Go(func() error {
			t.Run(fail, func(t *testing.T) { newCrash(t, bin).fail(t, fail) })
			return nil
		})
	}
	_ = g.Wait()
}

// movedTo wants the instance at rest at a cluster, whatever the other one does.
func movedTo(cluster failover.ClusterName) func(failover.View) bool {
	return func(v failover.View) bool {
		return v.Active == cluster && v.Phase == failover.PhaseIdle && v.Op == nil
	}
}

func (c *crash) fail(t *testing.T, fail string) {
	cmd, gone, log := c.start(t, "")
	c.until(t, "both up", log, bothUp)
	c.arm(t, log)
	c.until(t, "rest", log, atRest)
	end(cmd, gone)

	_, gone, log = c.start(t, fail)
	c.ready(t, gone, atRest)
	c.sites["a"].down()
	c.await(t, gone, log)
	if !strings.Contains(log.String(), "failpoint "+strings.Split(fail, "=")[0]+":") {
		t.Errorf("the failpoint was not reached:\n%s", log)
	}
	cmd, gone, log = c.start(t, "")
	v := c.until(t, "the failover", log, movedTo("b"))
	c.check(t, v, log)
	if v.LastOp == nil || v.LastOp.Outcome != failover.Settled {
		t.Errorf("the last operation is %+v", v.LastOp)
	}
	end(cmd, gone)
}

// ready waits until the controller is as wanted, or dead.
func (c *crash) ready(t *testing.T, gone <-chan struct{}, ok func(failover.View) bool) {
	t.Helper()
	for deadline := time.Now().Add(40 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		select {
		case <-gone:
			return
		default:
		}
		if v, err := c.view(t.Context()); err == nil && ok(v) {
			return
		}
	}
	t.Error("the controller neither became ready nor died")
}

// await waits for the death of the controller.
func (c *crash) await(t *testing.T, gone <-chan struct{}, log *safeBuffer) {
	t.Helper()
	select {
	case <-gone:
	case <-time.After(40 * time.Second):
		t.Fatalf("the failpoint did not come\n%s", log)
	}
}

// The crowd of the test below: of so many instances so many lose their active
// cluster together, which the breaker allows.
const crowdAll, crowdLost = 60, 12

// TestARealProcessFinishesManyFailoversAfterAKillInTheirMiddle: twelve of sixty
// instances lose their active cluster in the same round, and the program is
// killed while their records are committed. Whoever is started next brings
// each of them to the other cluster, once, and touches no other; nothing is
// missing in the audit.
func TestARealProcessFinishesManyFailoversAfterAKillInTheirMiddle(t *testing.T) {
	t.Parallel()
	bin := failpointBinary(t)
	var g errgroup.Group
	g.SetLimit(4)
	// A start commits and verifies each once; what comes after that counts.
	for _, at := range []struct {
		point string
		after int
	}{{"commit/before", 1}, {"commit/after", 6}, {"commit/before", 18}, {"verify/before", 7}} {
		g.Go(func() error {
			t.Run(fmt.Sprintf("%s %d", at.point, at.after), func(t *testing.T) {
				newCrash(t, bin).failMany(t, fmt.Sprintf("%s#%d=kill", at.point, crowdAll+at.after))
			})
			return nil
		})
	}
	_ = g.Wait()
}

func member(i int) string { return fmt.Sprintf("i%02d", i) }

// crowd makes the world one of many instances; those that will be lost live at
// the site a, the others at a site of their own.
func (c *crash) crowd(t *testing.T) {
	t.Helper()
	name := "a"
	other := &site{addr: freeAddr(t)}
	other.says.Store(&name)
	if err := other.up(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(other.down)
	head, one, ok := strings.Cut(storyConfig, "  - name: orders\n")
	if !ok {
		t.Fatal("the story's config has changed")
	}
	var b strings.Builder
	b.WriteString(head)
	for i := range crowdAll {
		at := other.addr
		if i < crowdLost {
			at = c.sites["a"].addr
		}
		b.WriteString("  - name: " + member(i) + "\n")
		b.WriteString(strings.NewReplacer("orders", member(i), "$A", at).Replace(one))
	}
	// So many on a busy machine answer late; that one is gone is heard at once.
	patient := strings.NewReplacer("round: 500ms", "round: 2s", "timeout: 400ms", "timeout: 1500ms").Replace(b.String())
	if patient == b.String() {
		t.Fatal("the story's config has changed")
	}
	text := strings.NewReplacer("$DNS", c.dns, "$CONTROL", c.primary.addr, "$B", c.sites["b"].addr).Replace(patient)
	writeFiles(t, c.dir, map[string]string{"pointsman.yaml": text})
}

// eachUntil waits until every instance is as wanted.
func (c *crash) eachUntil(t *testing.T, what string, log *safeBuffer, ok func(i int, v failover.View) bool) {
	t.Helper()
	client, err := api.NewClient(api.ClientConfig{Socket: filepath.Join(c.dir, "s", "s")})
	if err != nil {
		t.Fatal(err)
	}
	missing := "no answer"
	for deadline := time.Now().Add(40 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		vs, err := client.Views(t.Context())
		if err != nil {
			missing = err.Error()
			continue
		}
		missing = ""
		for i, v := range vs {
			if !ok(i, v) {
				missing = fmt.Sprintf("%+v", v)
			}
		}
		if missing == "" && len(vs) == crowdAll {
			return
		}
	}
	t.Fatalf("%s did not come: %s\n%s", what, missing, log)
}

func (c *crash) failMany(t *testing.T, fail string) {
	c.crowd(t)
	cmd, gone, log := c.start(t, "")
	c.eachUntil(t, "rest", log, func(_ int, v failover.View) bool { return atRest(v) })
	client, err := api.NewClient(api.ClientConfig{Socket: filepath.Join(c.dir, "s", "s")})
	if err != nil {
		t.Fatal(err)
	}
	for i := range crowdAll {
		r := api.CommandRequest{Verb: failover.DoArm, By: "ana", Mode: failover.ModeAuto}
		if rep, err := client.Do(t.Context(), failover.InstanceName(member(i)), r); err != nil || rep.Code != failover.ReplyDone {
			t.Fatalf("arm: %+v, %v", rep, err)
		}
	}
	end(cmd, gone)

	_, gone, log = c.start(t, fail)
	c.eachUntil(t, "rest", log, func(_ int, v failover.View) bool { return atRest(v) })
	c.sites["a"].down()
	c.await(t, gone, log)
	cmd, gone, log = c.start(t, "")
	c.eachUntil(t, "every failover", log, func(i int, v failover.View) bool {
		if i < crowdLost {
			return movedTo("b")(v) && v.LastOp != nil
		}
		return atRest(v)
	})
	for i := range crowdAll {
		v, err := client.View(t.Context(), failover.InstanceName(member(i)))
		if err != nil {
			t.Fatal(err)
		}
		want, epochs := failover.ClusterName("a"), uint64(0)
		if i < crowdLost {
			want, epochs = "b", 1
		}
		if v.Active != want || v.Token.Epoch != epochs || (v.LastOp != nil) != (epochs == 1) {
			t.Errorf("%s: active %s, %d operations, last %+v", v.Instance, v.Active, v.Token.Epoch, v.LastOp)
		}
		if got := ask("udp", c.dns, member(i)+".lab.test."); got != string(want)+".lab.test." {
			t.Errorf("%s answers %s, want %s", v.Instance, got, want)
		}
	}
	if _, err := c.verb(t.Context(), "audit", "--verify"); err != nil {
		t.Error(err)
	}
	end(cmd, gone)
	c.audited(t)
}

// audited looks whether the audit has the beginning, the write and the end of
// each operation, once.
func (c *crash) audited(t *testing.T) {
	t.Helper()
	store, err := ledger.Open(context.Background(), ledger.Config{Dir: filepath.Join(c.dir, "data"), Owner: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	entries, err := store.Audit(t.Context(), ledger.AuditFilter{})
	if err != nil {
		t.Fatal(err)
	}
	writes := make(map[failover.InstanceName]int)
	kinds := make(map[string]int)
	for _, e := range entries {
		if e.Kind == "write" && e.After == "b.lab.test." {
			writes[e.Instance]++
		}
		kinds[e.Kind]++
	}
	for i := range crowdAll {
		want := 0
		if i < crowdLost {
			want = 1
		}
		if n := writes[failover.InstanceName(member(i))]; n != want {
			t.Errorf("%s has %d writes of b in the audit, want %d; kinds %v", member(i), n, want, kinds)
		}
	}
}
