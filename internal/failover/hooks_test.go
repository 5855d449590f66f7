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

// TestTheTTLHasItsBudgetAfterTheHooks: the time that hooks took is not taken
// from what follows.
func TestTheTTLHasItsBudgetAfterTheHooks(t *testing.T) {
	p := testPolicy()
	p.Names = []NamePolicy{externalName("orders.test.")}
	p.Hooks = []Hook{{Name: "gate", When: HookPre, Timeout: time.Minute}}
	w := newWorld(p)
	w.quiet = true
	w.start()
	w.settleUp()
	w.command(Command{Do: DoAdopt})
	w.command(Command{Do: DoArm, Mode: ModePropose})
	w.after(40 * time.Second)
	w.fault["pre-hooks"] = "never"
	w.command(Command{Do: DoSwitchover, To: "b", Reason: "x"})
	w.after(29 * time.Second) // of the 30 s that lowering the TTL may take
	w.fault["write"] = "always dropped"
	w.feed(HooksDone{OpID: w.ledger.Op.ID, When: HookPre, Attempt: 1, Results: []HookResult{{Name: "gate", Verdict: HookPassed}}})
	w.after(5 * time.Second)
	if op := w.ledger.Op; op == nil || op.Unwind {
		t.Fatalf("5 s after the hooks: %+v", op)
	}
	delete(w.fault, "write")
	w.after(2 * time.Minute)
	if l := w.ledger.LastOp; l == nil || l.Outcome != Settled {
		t.Fatalf("%+v", l)
	}
}

// TestAReloadWhileHooksAreAsked: the new list is asked, under another number.
func TestAReloadWhileHooksAreAsked(t *testing.T) {
	p := testPolicy()
	p.Hooks = []Hook{{Name: "gate", When: HookPre, Timeout: 10 * time.Second}}
	w := armed(p)
	w.fault["pre-hooks"] = "never"
	w.command(Command{Do: DoSwitchover, To: "b", Reason: "x"})
	w.p.Hooks = append(w.p.Hooks, Hook{Name: "second", When: HookPre, Timeout: 10 * time.Second})
	w.fault["hook second"] = "veto no"
	w.feed(PolicyChanged{})
	if n := len(w.asked); n != 2 || w.asked[1].Attempt != 2 || len(w.asked[1].Hooks) != 2 {
		t.Fatalf("asked %+v", w.asked)
	}
	if l := w.ledger.LastOp; l == nil || l.Op.Hooks.By != "second" {
		t.Fatalf("%+v", w.ledger)
	}
	w.fault["pre-hooks"] = "never"
	w.command(Command{Do: DoSwitchover, To: "b", Reason: "x"})
	w.p.Hooks = nil
	w.feed(PolicyChanged{})
	w.after(time.Minute)
	if l := w.ledger.LastOp; l.Outcome != Settled {
		t.Fatalf("without hooks any more: %+v", l)
	}
}

// TestShadowRunsNoHooks: what is due waits for a process that may do something.
func TestShadowRunsNoHooks(t *testing.T) {
	p := testPolicy()
	p.Hooks = []Hook{{Name: "tell", When: HookPost, Timeout: time.Second}}
	w := armed(p)
	w.fault["post-hooks"] = "never"
	w.command(Command{Do: DoSwitchover, To: "b", Reason: "x"})
	w.after(40 * time.Second)
	rev, asked := w.rev, len(w.asked)
	if asked != 1 || len(w.ledger.HooksDue) != 1 {
		t.Fatalf("%d runs, due %+v", asked, w.ledger.HooksDue)
	}
	w.p.ForceShadow = true
	w.start()
	w.after(time.Minute)
	if w.rev != rev || len(w.asked) != asked {
		t.Fatalf("in shadow: %d commits, %d runs", w.rev-rev, len(w.asked)-asked)
	}
	w.p.ForceShadow = false
	w.start()
	w.after(time.Second)
	if len(w.asked) != asked+1 || len(w.ledger.HooksDue) != 0 {
		t.Fatalf("%d runs, due %+v", len(w.asked), w.ledger.HooksDue)
	}
}

// TestANewLeadAsksAnew: what was asked under an older term may still run, so
// the next run has another number, before the move and after the end.
func TestANewLeadAsksAnew(t *testing.T) {
	p := testPolicy()
	p.Hooks = []Hook{{Name: "gate", When: HookPre, Timeout: time.Minute}, {Name: "tell", When: HookPost, Timeout: time.Minute}}
	w := armed(p)
	again := func() {
		w.feed(Lead{Why: "the lease was lost"})
		w.term++
		w.feed(Lead{Leading: true, Term: w.term})
		w.all("a", "down", "refused")
		w.after(4 * time.Second)
	}
	w.fault["pre-hooks"], w.fault["post-hooks"] = "never", "never"
	w.all("a", "down", "refused")
	w.after(4 * time.Second)
	again()
	again()
	var got []string
	for _, a := range w.asked {
		got = append(got, fmt.Sprintf("%s %d", a.When, a.Attempt))
	}
	if want := "pre 1, pre 2, post 1, post 2"; strings.Join(got, ", ") != want {
		t.Errorf("asked %v, want %s", got, want)
	}
}
