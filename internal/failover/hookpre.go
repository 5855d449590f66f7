package failover

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// awaitsHooks says that an operation stands before its pre-hooks' answer.
func (t *turn) awaitsHooks(op *Op) bool {
	return op.Step == StepIntent && (op.Hooks == nil || op.Hooks.At.IsZero()) && len(t.p.hooks(HookPre, op.Kind)) > 0
}

// hooksStep passes when every pre-hook let the operation pass, or there is
// none. Nothing outside was touched yet.
func (t *turn) hooksStep(op *Op) (verdictOn, string, Guard) {
	if !t.awaitsHooks(op) {
		return pass, "", ""
	}
	hooks := t.p.hooks(HookPre, op.Kind)
	names := strings.Join(hookNames(hooks), ", ")
	if slices.Contains(op.Override, GuardHooks) {
		d := t.edit().Op
		d.Hooks = &OpHooks{Attempt: attemptOf(op), Asked: hookNames(hooks), AskedAt: t.now, At: t.now, Skipped: true}
		t.note("hook", fmt.Sprintf("pre-hooks are not asked, a person overrode them: %s", names)).By = op.By
		return pass, "", ""
	}
	run := &t.s.hooking
	if op.Hooks == nil || run.op != op.ID || run.attempt != op.Hooks.Attempt || !slices.Equal(op.Hooks.Asked, hookNames(hooks)) {
		t.numberRun(op, hooks, hookRun{since: t.now})
		return stay, "", ""
	}
	limit := HookLimit(hooks)
	switch {
	case run.done != nil && run.done.Err != "" && run.tries < hookTries:
		t.note("hook", fmt.Sprintf("what the pre-hooks said is not known: %s", run.done.Err))
		t.numberRun(op, hooks, *run)
		return stay, "", ""
	case run.done != nil:
		return t.hooksAnswered(hooks, run.done)
	case t.now.Sub(run.since) >= limit+hookSlack:
		return t.hooksAnswered(hooks, &HooksDone{Err: fmt.Sprintf("no answer within %s", limit)})
	}
	t.do(hookKey(HookPre, op.ID, run.attempt), RunHooks{When: HookPre, Op: t.hookOp(op), Attempt: run.attempt, Hooks: hooks})
	return stay, "", ""
}

func attemptOf(op *Op) int {
	if op.Hooks == nil {
		return 0
	}
	return op.Hooks.Attempt
}

// numberRun commits the number of a run before it begins: one of an earlier
// life may have begun under every smaller one.
func (t *turn) numberRun(op *Op, hooks []Hook, last hookRun) {
	n := attemptOf(op) + 1
	d := t.edit().Op
	d.Hooks = &OpHooks{Attempt: n, Asked: hookNames(hooks), AskedAt: t.now}
	t.s.hooking = hookRun{op: op.ID, attempt: n, tries: last.tries + 1, since: last.since}
	t.note("hook", fmt.Sprintf("pre-hooks are asked, attempt %d: %s", n, strings.Join(hookNames(hooks), ", ")))
}

// hooksAnswered takes the answer. The first hook that vetoes, or that has no
// verdict and may not pass, ends the operation.
func (t *turn) hooksAnswered(hooks []Hook, e *HooksDone) (verdictOn, string, Guard) {
	var notes []string
	for _, h := range hooks {
		r := HookResult{Name: h.Name, Verdict: HookBroken, Reason: "it gave no answer"}
		if e.Err != "" {
			r.Reason = e.Err
		}
		if i := slices.IndexFunc(e.Results, func(r HookResult) bool { return r.Name == h.Name }); i >= 0 {
			r = e.Results[i]
		}
		switch {
		case r.Verdict == HookPassed:
			if r.Reason != "" {
				notes = append(notes, r.words())
			}
			continue
		case r.Verdict == HookVetoed && r.Reason == "":
			r.Reason = "it gave no reason"
		case r.Verdict == HookVetoed:
		case h.Pass:
			notes = append(notes, "passed without a verdict (on_error: pass), "+r.words())
			continue
		default:
			r.Reason = "no verdict, which counts as a veto: " + r.Reason
		}
		return t.vetoed(r, notes)
	}
	d := t.edit()
	d.Op.Hooks.At, d.Op.Hooks.Notes = t.now, notes
	d.Op.StepSince = t.now // the budget of what follows begins now
	d.Vetoes = nil
	text := "pre-hooks let it pass"
	if len(notes) > 0 {
		text += ": " + strings.Join(notes, "; ")
	}
	t.note("hook", text)
	return pass, "", ""
}

func (t *turn) vetoed(r HookResult, notes []string) (verdictOn, string, Guard) {
	d := t.edit()
	d.Op.Hooks.At, d.Op.Hooks.Notes = t.now, notes
	d.Op.Hooks.Veto, d.Op.Hooks.By = r.Reason, r.Name
	t.note("hook", fmt.Sprintf("vetoed by hook %s: %s", r.Name, r.Reason)).By = "hook " + r.Name
	if d.Op.Auto {
		t.vetoStop(r)
	}
	return unwind, fmt.Sprintf("vetoed by hook %s: %s", r.Name, short(r.Reason)), GuardHooks
}

// vetoStop keeps automation from asking again at once. Each veto that follows
// the last is asked again after twice the time.
func (t *turn) vetoStop(r HookResult) {
	d := t.edit()
	n := 1
	if v := d.Vetoes; v != nil && t.now.Sub(v.Until) < MaxHookRetry {
		n = v.Times + 1
	}
	retry := t.p.HookRetry
	if retry == 0 {
		retry = DefaultHookRetry
	}
	for range n - 1 {
		retry = min(2*retry, MaxHookRetry)
	}
	until := t.now.Add(retry)
	d.Vetoes = &Vetoes{Times: n, Until: until}
	t.stop(Stop{Kind: StopHooks, By: "hook " + r.Name, Why: short(r.Reason), Until: until})
}

func hooksGuard(a *ask) (string, string) {
	return stopGuard(a, StopHooks, fmt.Sprintf("they are asked again then; pointsman failover %s --to %s asks them now, and with --override %s --reason TEXT goes past them", a.p.Instance, a.to, GuardHooks))
}

// askedHooks is when the pre-hooks had answered, within the step at which they
// are asked; zero when they were not asked, or never answered.
func (o *Op) askedHooks(from, end time.Time) time.Time {
	if h := o.Hooks; h != nil && !h.Skipped && h.At.After(from) && !h.At.After(end) {
		return h.At
	}
	return time.Time{}
}

// vetoed says that a pre-hook ended the operation.
func (o *Op) vetoed() bool { return o.Hooks != nil && o.Hooks.Veto != "" }

// hookDoing says that an operation waits for its pre-hooks, and until when.
func hookDoing(p *Policy, op *Op) (doing string, deadline time.Time) {
	if op.Step != StepIntent || op.Unwind || op.Hooks == nil || !op.Hooks.At.IsZero() {
		return "", time.Time{}
	}
	return fmt.Sprintf("waiting for pre-hooks, attempt %d: %s", op.Hooks.Attempt, strings.Join(op.Hooks.Asked, ", ")),
		op.Hooks.AskedAt.Add(HookLimit(p.hooks(HookPre, op.Kind)))
}

// hookLines is what explain says of an operation's pre-hooks.
func hookLines(op *Op) []string {
	h := op.Hooks
	if h == nil {
		return nil
	}
	asked := strings.Join(h.Asked, ", ")
	var out []string
	switch {
	case h.Skipped:
		out = append(out, "  pre-hooks were overridden and not asked: "+asked)
	case h.Veto != "":
		out = append(out, fmt.Sprintf("  vetoed by hook %s: %s", h.By, h.Veto))
	case h.At.IsZero():
		out = append(out, fmt.Sprintf("  pre-hooks are asked, attempt %d: %s", h.Attempt, asked))
	default:
		out = append(out, "  pre-hooks let it pass: "+asked)
	}
	for _, n := range h.Notes {
		out = append(out, "    "+n)
	}
	return out
}

// PlanHook is one hook that an operation would run.
type PlanHook struct {
	Name    string        `json:"name"`
	When    HookWhen      `json:"when"`
	Timeout time.Duration `json:"timeout_ns"`
	Late    string        `json:"late"` // what no verdict means
	Skip    string        `json:"skip,omitempty"`
}

func planHooks(p *Policy, c *Command, kind OpKind) []PlanHook {
	var out []PlanHook
	for _, when := range []HookWhen{HookPre, HookPost} {
		for _, h := range p.hooks(when, kind) {
			ph := PlanHook{Name: h.Name, When: when, Timeout: h.Timeout, Late: "veto"}
			switch {
			case when == HookPost:
				ph.Late = fmt.Sprintf("tried again %d times", postTries-1)
			case h.Pass:
				ph.Late = "pass"
			}
			if when == HookPre && slices.Contains(c.Override, GuardHooks) {
				ph.Skip = "overridden"
			}
			out = append(out, ph)
		}
	}
	return out
}

const preNote = "at most, one after the other; clients are not moved meanwhile"

// preTime is the most that the pre-hooks of a plan may take.
func preTime(hooks []PlanHook) (d time.Duration) {
	for _, h := range hooks {
		if h.When == HookPre && h.Skip == "" {
			d += h.Timeout
		}
	}
	return d
}
