package failover

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// postWaits are the pauses before a post-hook is tried again.
var postWaits = [postTries - 1]time.Duration{10 * time.Second, time.Minute, 5 * time.Minute}

// owePostHooks notes with the end of an operation which hooks are due, so that
// no crash forgets them.
func (t *turn) owePostHooks() {
	d := t.edit()
	l := d.LastOp
	hooks := t.p.hooks(HookPost, l.Op.Kind)
	if len(hooks) == 0 {
		return
	}
	op := t.hookOp(&l.Op)
	op.Evidence, op.Outcome, op.Why, op.EndedAt = nil, l.Outcome, l.Why, l.At
	d.HooksDue = append(slices.Clone(d.HooksDue), HookDue{Op: op, Left: hookNames(hooks), Next: t.now})
	if len(d.HooksDue) > maxDue {
		t.note("hook", fmt.Sprintf("post-hooks of %s are given up: those of %d later operations wait, too", d.HooksDue[0].Op.ID, maxDue))
		d.HooksDue = d.HooksDue[1:]
	}
}

// postHooks runs what is due. Nothing waits for it, and it changes nothing but
// the list itself.
func (t *turn) postHooks() {
	if t.p.ForceShadow || t.dirty {
		return
	}
	for i := range t.rec.HooksDue {
		if t.postHook(i); t.dirty {
			return // one change per commit
		}
	}
}

func (t *turn) postHook(i int) {
	due := &t.rec.HooksDue[i]
	var hooks []Hook
	for _, h := range t.p.hooks(HookPost, due.Op.Kind) {
		if slices.Contains(due.Left, h.Name) {
			hooks = append(hooks, h)
		}
	}
	if len(hooks) == 0 {
		t.note("hook", fmt.Sprintf("post-hooks of %s are given up: the config has none of %s any more", due.Op.ID, strings.Join(due.Left, ", ")))
		t.noLongerDue(i)
		return
	}
	run, mine := t.s.posts[due.Op.ID]
	mine = mine && run.attempt == due.Attempt
	limit := HookLimit(hooks) + HookQueue
	switch {
	case mine && run.done != nil:
		t.postAnswered(i, hooks, run.done)
	case mine && t.now.Sub(run.since) >= limit+hookSlack:
		t.postAnswered(i, hooks, &HooksDone{Err: fmt.Sprintf("no answer within %s", limit)})
	case mine:
		t.do(hookKey(HookPost, due.Op.ID, due.Attempt), RunHooks{When: HookPost, Op: due.Op, Attempt: due.Attempt, Hooks: hooks})
	case t.now.Before(due.Next):
	case due.Attempt >= postTries:
		t.giveUp(i, "the last run was interrupted")
	default:
		d := t.edit()
		d.HooksDue = slices.Clone(d.HooksDue)
		d.HooksDue[i].Attempt++
		set(&t.s.posts, due.Op.ID, hookRun{op: due.Op.ID, attempt: d.HooksDue[i].Attempt, since: t.now})
		t.postNote(&due.Op, fmt.Sprintf("post-hooks of %s are run, attempt %d of %d: %s", due.Op.ID, d.HooksDue[i].Attempt, postTries, strings.Join(hookNames(hooks), ", ")))
	}
}

// postNote adds an audit entry about an operation that has ended.
func (t *turn) postNote(op *HookOp, text string) { t.note("hook", text).Op = op.ID }

// postAnswered takes the answer of one run: what went well is done, the rest
// is tried again, or given up.
func (t *turn) postAnswered(i int, hooks []Hook, e *HooksDone) {
	due := t.rec.HooksDue[i]
	op := due.Op
	var left, words []string
	for _, name := range due.Left {
		r := HookResult{Name: name, Verdict: HookBroken, Reason: "it gave no answer"}
		if e.Err != "" {
			r.Reason = e.Err
		}
		if j := slices.IndexFunc(e.Results, func(r HookResult) bool { return r.Name == name }); j >= 0 {
			r = e.Results[j]
		}
		known := slices.ContainsFunc(hooks, func(h Hook) bool { return h.Name == name })
		switch {
		case r.Verdict == HookPassed:
			words = append(words, fmt.Sprintf("hook %s: done", name))
		case known:
			left = append(left, name)
			words = append(words, fmt.Sprintf("hook %s: failed: %s", name, short(r.Reason)))
		default:
			words = append(words, fmt.Sprintf("hook %s: given up: the config does not have it any more", name))
		}
	}
	t.postNote(&op, fmt.Sprintf("post-hooks of %s, attempt %d of %d: %s", op.ID, due.Attempt, postTries, strings.Join(words, "; ")))
	delete(t.s.posts, op.ID)
	d := t.edit()
	d.HooksDue = slices.Clone(d.HooksDue)
	d.HooksDue[i].Left = left
	switch {
	case len(left) == 0:
		t.noLongerDue(i)
	case due.Attempt >= postTries:
		t.giveUp(i, words[len(words)-1])
	default:
		d.HooksDue[i].Next = t.now.Add(postWaits[due.Attempt-1])
	}
}

func (t *turn) giveUp(i int, why string) {
	due := t.rec.HooksDue[i]
	text := fmt.Sprintf("post-hooks of %s are given up after %d attempts: %s (%s)", due.Op.ID, due.Attempt, strings.Join(due.Left, ", "), why)
	t.postNote(&due.Op, text)
	t.pageOnce("hook", due.Op.ID, fmt.Sprintf("%s: %s", t.p.Instance, text))
	t.noLongerDue(i)
}

func (t *turn) noLongerDue(i int) {
	d := t.edit()
	d.HooksDue = slices.Delete(slices.Clone(d.HooksDue), i, i+1)
}

// hookNotices says which post-hooks are still due.
func (r *Record) hookNotices() []string {
	var out []string
	for _, due := range r.HooksDue {
		text := fmt.Sprintf("post-hooks of %s are due: %s", due.Op.ID, strings.Join(due.Left, ", "))
		if due.Attempt > 0 {
			text += fmt.Sprintf("; attempt %d of %d", due.Attempt, postTries)
		}
		out = append(out, text)
	}
	return out
}

// cloneHooks makes what a copy of the record holds of hooks its own.
func (r *Record) cloneHooks() {
	if r.Vetoes != nil {
		v := *r.Vetoes
		r.Vetoes = &v
	}
	r.HooksDue = slices.Clone(r.HooksDue)
	for i := range r.HooksDue {
		due := &r.HooksDue[i]
		due.Left, due.Op.Names, due.Op.Evidence = slices.Clone(due.Left), slices.Clone(due.Op.Names), slices.Clone(due.Op.Evidence)
	}
}
