package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"pointsman/internal/failover"
	"pointsman/internal/hook"
)

// hookVisits are kills and faults around each run of hooks of a failover: the
// first run is that of the pre-hook, the second that of the post-hook; and
// around the commits that number a run, keep the answer, and clear what is due.
var hookVisits = []string{
	"run-hooks/before#1=kill", "run-hooks/after#1=kill", "run-hooks/before#2=kill", "run-hooks/after#2=kill",
	"run-hooks/before#1=error", "run-hooks/after#1=error", "run-hooks/before#2=error", "run-hooks/after#2=error",
	"run-hooks/before#1=delay:300ms", "run-hooks/before#1=pause", "run-hooks/after#1=pause",
	"commit/after#4=kill", "commit/before#5=kill", "commit/after#5=kill", "commit/before#7=kill", "commit/after#8=kill", "commit/before#9=kill",
}

// TestARealProcessAsksItsHooksThroughEveryCrash: whatever happens around a run,
// the failover is finished, hooks of one operation are told growing numbers, no
// pre-hook is asked after the name has moved, and what is to be told after the
// end is told.
func TestARealProcessAsksItsHooksThroughEveryCrash(t *testing.T) {
	t.Parallel()
	bin := failpointBinary(t)
	var g errgroup.Group
	g.SetLimit(8)
	for i, fail := range hookVisits {
		if (underRace || testing.Short()) && i > 5 {
			continue
		}
		g.Go(func() error {
			t.Run(fail, func(t *testing.T) { newCrash(t, bin).hooked(t, fail) })
			return nil
		})
	}
	_ = g.Wait()
}

// hookScript keeps what it was told.
const hookScript = `#!/bin/sh
cat >> "$1"
`

func (c *crash) hooked(t *testing.T, fail string) {
	told := filepath.Join(c.dir, "told")
	script := filepath.Join(c.dir, "hook")
	if err := os.WriteFile(script, []byte(hookScript), 0o700); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(c.dir, "pointsman.yaml")
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	text = fmt.Appendf(text, "hooks:\n  retry: 1s\n  pre: [{name: ask, command: [%q, %q]}]\n  post: [{name: tell, command: [%q, %q]}]\n", script, told, script, told)
	if err := os.WriteFile(config, text, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd, gone, log := c.start(t, "")
	c.until(t, "both up", log, bothUp)
	c.arm(t, log)
	c.until(t, "rest", log, atRest)
	end(cmd, gone)

	cmd, gone, log = c.start(t, fail)
	c.ready(t, gone, atRest)
	c.sites["a"].down()
	switch {
	case strings.HasSuffix(fail, "=kill"):
		c.await(t, gone, log)
		reached := log.String()
		if !strings.Contains(reached, "failpoint "+strings.Split(fail, "=")[0]+":") {
			t.Errorf("the failpoint was not reached:\n%s", reached)
		}
		cmd, gone, log = c.start(t, "")
	case strings.HasSuffix(fail, "=pause"):
		go wake(cmd, gone)
	}
	v := c.until(t, "the failover and its hooks", log, func(v failover.View) bool {
		return movedTo("b")(v) && v.LastOp != nil && v.LastOp.Outcome == failover.Settled && !strings.Contains(strings.Join(v.Notices, " "), "post-hooks")
	})
	c.check(t, v, log)
	c.checkTold(t, told, v.LastOp)
	end(cmd, gone)
}

func (c *crash) checkTold(t *testing.T, file string, last *failover.OpSummary) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	attempts := map[string]int{}
	after := map[string]bool{} // operations whose end was told
	d := json.NewDecoder(strings.NewReader(string(data)))
	for d.More() {
		var b hook.Body
		if err := d.Decode(&b); err != nil {
			t.Fatalf("%v in\n%s", err, data)
		}
		key := string(b.When) + " " + b.Op.ID
		if b.Attempt <= attempts[key] {
			t.Errorf("%s was told attempt %d after %d", key, b.Attempt, attempts[key])
		}
		attempts[key] = b.Attempt
		switch b.When {
		case failover.HookPost:
			after[b.Op.ID] = true
		case failover.HookPre:
			if after[b.Op.ID] {
				t.Errorf("%s was asked after its end", b.Op.ID)
			}
			if !last.Op.MovedAt.IsZero() && b.Op.ID == last.Op.ID && b.Deadline.After(last.Op.MovedAt.Add(10*time.Second)) {
				t.Errorf("%s was asked until %s, and it moved at %s", b.Op.ID, b.Deadline, last.Op.MovedAt)
			}
		}
	}
	if attempts["pre "+last.Op.ID] == 0 || !after[last.Op.ID] || last.Op.Hooks == nil || last.Op.Hooks.Attempt < attempts["pre "+last.Op.ID] {
		t.Errorf("%s: told %v, the record has %+v", last.Op.ID, attempts, last.Op.Hooks)
	}
}
