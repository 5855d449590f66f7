package failover

import (
	"pgregory.net/rapid"
)

// What random lives ask of hooks. They pass, veto, break, are lost, never
// answer, and the process dies while they run.

// moods draws what hooks will say from now on.
func (h *history) moods() {
	for _, k := range h.p.Hooks {
		h.fault["hook "+k.Name] = rapid.SampledFrom([]string{"", "", "always veto not now", "always error exit 1"}).Draw(h.t, k.Name)
	}
	if len(h.p.Hooks) > 0 {
		for _, when := range []HookWhen{HookPre, HookPost} {
			h.fault[string(when)+"-hooks"] = rapid.SampledFrom([]string{"", "", "", "always never", "lost panic"}).Draw(h.t, string(when))
		}
	}
}

// calm lets every hook pass.
func (h *history) calm() {
	for _, k := range h.p.Hooks {
		delete(h.fault, "hook "+k.Name)
	}
	delete(h.fault, "pre-hooks")
	delete(h.fault, "post-hooks")
}

func (h *history) carryHooks(a RunHooks, how string) {
	switch how {
	case "kill before", "kill after":
		h.unanswered++
		h.kill()
	case "dropped":
		h.unanswered++ // it never answers
	case "lost":
		h.feed(HooksDone{OpID: a.Op.ID, When: a.When, Attempt: a.Attempt, Err: "panic"})
	default:
		if h.fault[string(a.When)+"-hooks"] == "always never" {
			h.unanswered++
		}
		h.manualOnce(a)
	}
}

// checkRun: hooks are asked for what the ledger holds. A pre-hook runs at
// Intent alone, before anything was begun, and under a number that was
// committed; a post-hook for an operation that has ended.
func (h *history) checkRun(a RunHooks) {
	r := h.ledger
	if len(a.Hooks) == 0 || a.Attempt < 1 || h.p.ForceShadow {
		h.fail("a run of no hooks, or in shadow: %+v", a)
	}
	if a.When == HookPre {
		op := r.Op
		if op == nil || op.ID != a.Op.ID || op.Step != StepIntent || op.Unwind || op.Hooks == nil || op.Hooks.Attempt != a.Attempt || !op.Hooks.At.IsZero() {
			h.fail("pre-hooks of %s attempt %d are run with %+v in the ledger", a.Op.ID, a.Attempt, op)
		}
		return
	}
	if _, ended := h.lastOps[a.Op.ID]; !ended || a.Attempt > postTries {
		h.fail("post-hooks of %s attempt %d are run, ended: %v", a.Op.ID, a.Attempt, ended)
	}
}

// untouched: while pre-hooks are asked, nothing of the operation leaves.
func (h *history) untouched(a Action) {
	op := h.ledger.Op
	if op == nil || op.Step != StepIntent || op.Unwind || op.Hooks == nil || !op.Hooks.At.IsZero() {
		return
	}
	switch a := a.(type) {
	case SetGate:
		// keepGates may have ordered it just before the operation began
		if a.Token.Epoch == h.ledger.Epoch {
			h.fail("gate of %s is ordered %s while hooks are asked", a.Cluster, a.Want)
		}
	case WriteName:
		if a.Mark.Op == op.ID {
			h.fail("%s is written while hooks are asked", a.Name.Name)
		}
	case Drain, Cut:
		h.fail("%s while hooks are asked", describe(a))
	}
}

// checkHooks: no operation goes past Intent whose hooks were not really asked
// and let it pass, and none that was vetoed goes anywhere.
func (h *history) checkHooks(before, r *Record) {
	if l := r.LastOp; l != nil && l.Op.vetoed() {
		h.vetoed[l.Op.ID] = true
	}
	op := r.Op
	if op == nil {
		return
	}
	if before != nil && before.Op != nil && before.Op.ID != op.ID {
		h.was[op.ID] = before.Op.ID
	}
	if op.vetoed() && !op.Unwind {
		h.fail("%s was vetoed and goes on", op.ID)
	}
	if op.Step == StepIntent || op.Unwind || op.Hooks != nil && op.Hooks.Skipped {
		return
	}
	begun := op.ID
	for id := op.ID; id != ""; id = h.was[id] {
		if h.passed[id] {
			return
		}
		begun = id
	}
	kind := op.Kind
	if begun != op.ID {
		kind = Switchover // only these become another
	}
	if len(h.p.hooks(HookPre, kind)) > 0 {
		h.fail("%s is at %s and its hooks did not let it pass: %+v", op.ID, op.Step, op.Hooks)
	}
}
