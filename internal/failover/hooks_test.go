package failover

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// parseHook reads pre|post/name/timeout[/failover|switchover][/pass].
func parseHook(s string) (Hook, error) {
	f := strings.Split(s, "/")
	if len(f) < 3 {
		return Hook{}, fmt.Errorf("hook %q", s)
	}
	d, err := time.ParseDuration(f[2])
	h := Hook{When: HookWhen(f[0]), Name: f[1], Timeout: d}
	for _, x := range f[3:] {
		switch x {
		case "pass":
			h.Pass = true
		default:
			h.On = append(h.On, OpKind(x))
		}
	}
	return h, err
}

// hooks answers as people's hooks would. A fault of "hook NAME" is what that
// one says: veto REASON, error REASON; of "pre-hooks" or "post-hooks": never,
// or lost REASON.
func (w *world) hooks(a RunHooks) {
	w.say("%s", describe(a))
	w.asked = append(w.asked, a)
	done := HooksDone{OpID: a.Op.ID, When: a.When, Attempt: a.Attempt}
	word, reason, _ := strings.Cut(w.take(string(a.When)+"-hooks"), " ")
	switch word {
	case "never":
		return
	case "lost":
		done.Err = cmp.Or(reason, "no answer")
		w.feed(done)
		return
	}
	for _, h := range a.Hooks {
		word, reason, _ := strings.Cut(w.take("hook "+h.Name), " ")
		r := HookResult{Name: h.Name, Verdict: HookPassed, Reason: reason}
		if word != "" {
			r.Verdict = HookVerdict(word)
		}
		done.Results = append(done.Results, r)
		if a.When == HookPre && (r.Verdict == HookVetoed || r.Verdict == HookBroken && !h.Pass) {
			break
		}
	}
	if w.passed == nil {
		w.passed = map[string]bool{}
	}
	if a.When == HookPre && len(done.Results) == len(a.Hooks) {
		last := done.Results[len(a.Hooks)-1]
		if last.Verdict == HookPassed || last.Verdict == HookBroken && a.Hooks[len(a.Hooks)-1].Pass {
			w.passed[a.Op.ID] = true
		}
	}
	w.feed(done)
}

var hookPolicies = map[string]func(*Policy){
	"hooks": func(p *Policy) {
		p.Hooks = []Hook{{Name: "gate", When: HookPre, Timeout: 3 * time.Second}, {Name: "soft", When: HookPre, Timeout: time.Second, Pass: true}, {Name: "tell", When: HookPost, Timeout: time.Second}}
		p.HookRetry = 2 * time.Second
	},
	"hooks elsewhere": func(p *Policy) {
		p.Names = []NamePolicy{externalName("orders.test.")}
		p.Hooks = []Hook{
			{Name: "gate", When: HookPre, Timeout: 3 * time.Second, On: []OpKind{Failover}},
			{Name: "window", When: HookPre, Timeout: time.Second, On: []OpKind{Switchover}},
			{Name: "tell", When: HookPost, Timeout: time.Second},
			{Name: "books", When: HookPost, Timeout: time.Second, On: []OpKind{Failover}},
		}
		p.HookRetry = 2 * time.Second
	},
	"hooks and gates": func(p *Policy) {
		replicated(p)
		p.RPO.Bound = time.Hour
		p.Gated, p.ClientProbes, p.Fence, p.GateDriver, p.CanCut = true, true, FencePrefer, FencePrefer, true
		p.Hooks = []Hook{{Name: "gate", When: HookPre, Timeout: 3 * time.Second}, {Name: "tell", When: HookPost, Timeout: time.Second}}
		p.HookRetry = 2 * time.Second
	},
}

func init() {
	for name, change := range hookPolicies {
		historyPolicies[name] = change
	}
}

// TestHooksOfAPolicy: every fault of a list has its words.
func TestHooksOfAPolicy(t *testing.T) {
	good := Hook{Name: "gate", When: HookPre, Timeout: time.Second}
	with := func(f func(*Hook)) []Hook { h := good; f(&h); return []Hook{h} }
	for want, hooks := range map[string][]Hook{
		"hooks: \"during\" is neither pre nor post":                  with(func(h *Hook) { h.When = "during" }),
		"hooks: \"\" is no name of a hook":                           with(func(h *Hook) { h.Name = "" }),
		"hooks: \"a b\" is no name of a hook":                        with(func(h *Hook) { h.Name = "a b" }),
		"hooks: gate is there twice":                                 {good, good},
		"hooks: timeout 99ms of gate is outside 100ms to 1m0s":       with(func(h *Hook) { h.Timeout = 99 * time.Millisecond }),
		"hooks: timeout 1m0.001s of gate is outside 100ms to 1m0s":   with(func(h *Hook) { h.Timeout = time.Minute + time.Millisecond }),
		"hooks: timeout 10m0.001s of gate is outside 100ms to 10m0s": with(func(h *Hook) { h.When, h.Timeout = HookPost, 10*time.Minute+time.Millisecond }),
		"hooks: 6 hooks under pre, at most 5 are taken": {
			{"a", HookPre, nil, time.Second, false, ""},
			{"b", HookPre, nil, time.Second, false, ""},
			{"c", HookPre, nil, time.Second, false, ""},
			{"d", HookPre, nil, time.Second, false, ""},
			{"e", HookPre, nil, time.Second, false, ""},
			{"f", HookPre, nil, time.Second, false, ""},
		},
	} {
		p := testPolicy()
		p.Hooks = hooks
		if errs := p.Validate(); len(errs) != 1 || errs[0].Error() != want {
			t.Errorf("want %s, got %v", want, errs)
		}
	}
	p := testPolicy()
	p.Hooks, p.HookRetry = []Hook{good, {Name: "gate", When: HookPost, Timeout: time.Second}}, 11*time.Minute
	if errs := p.Validate(); len(errs) != 1 || errs[0].Error() != "hooks: retry 11m0s is outside 0 to 10m0s" {
		t.Errorf("got %v", errs)
	}
}

// TestARunIsNumberedBeforeItBegins: a life that dies between the number and
// the run leaves a number that no later run bears.
func TestARunIsNumberedBeforeItBegins(t *testing.T) {
	w := newWorld(func() Policy { p := testPolicy(); hookPolicies["hooks"](&p); return p }())
	w.quiet = true
	w.start()
	w.settleUp()
	w.command(Command{Do: DoArm, Mode: ModeAuto})
	w.after(time.Minute)
	w.all("a", "down", "refused")
	w.fault["pre-hooks"] = "always never"
	for range 4 {
		w.after(4 * time.Second)
		w.start() // killed while the hook runs
		w.all("a", "down", "refused")
	}
	var attempts []int
	for _, a := range w.asked {
		attempts = append(attempts, a.Attempt)
		if a.Op.ID != w.asked[0].Op.ID {
			t.Fatalf("attempt %d is of %s", a.Attempt, a.Op.ID)
		}
	}
	if len(attempts) < 3 || !slices.IsSorted(attempts) || len(slices.Compact(slices.Clone(attempts))) != len(attempts) {
		t.Fatalf("attempts %v", attempts)
	}
	if w.ledger.Names[0].Value != "a.test." {
		t.Fatal("it moved without an answer")
	}
}

// TestDueHooksAreBounded: operations that end while a hook never answers do not
// fill the record.
func TestDueHooksAreBounded(t *testing.T) {
	p := testPolicy()
	p.Cooldown, p.Budget = 0, nil
	p.Hooks = []Hook{{Name: "tell", When: HookPost, Timeout: time.Second}}
	w := armed(p)
	w.fault["post-hooks"] = "always never"
	for i := range maxDue + 3 {
		w.command(Command{Do: DoSwitchover, To: []ClusterName{"b", "a"}[i%2], Reason: "x"})
		w.after(time.Minute)
		if w.ledger.LastOp == nil || w.ledger.Op != nil {
			t.Fatalf("round %d: %+v", i, w.ledger.Op)
		}
	}
	if n := len(w.ledger.HooksDue); n != maxDue {
		t.Fatalf("%d are due", n)
	}
	if !strings.Contains(auditText(w.audit), "are given up: those of 8 later operations wait, too") {
		t.Fatal(auditText(w.audit))
	}
}
