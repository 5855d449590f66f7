package failover

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Hooks are people's own questions and duties around an operation. A pre-hook
// is asked after the intent is committed and before anything outside is
// touched; it may veto with a reason, and the operation is unwound. A post-hook
// runs when an operation has ended and cannot change what became of it. After
// the point of no return nothing waits for a hook. How one is called is the
// shell's; the core knows their names, their limits and their answers.

// HookWhen says on which side of an operation a hook stands.
type HookWhen string

const (
	HookPre  HookWhen = "pre"
	HookPost HookWhen = "post"
)

// Hook is what the core must know of one hook. Those of one kind run one after
// the other, in the order of the list.
type Hook struct {
	Name    string        `json:"name"`
	When    HookWhen      `json:"when"`
	On      []OpKind      `json:"on,omitempty"` // empty: every kind
	Timeout time.Duration `json:"timeout_ns"`
	Pass    bool          `json:"pass,omitempty"` // a pre-hook without a verdict lets the operation go on
	Call    string        `json:"call,omitempty"` // fingerprint of what is called: another call is another policy
}

// Limits of hooks.
const (
	MaxHooks         = 5 // of one instance on one side
	MinHookTimeout   = 100 * time.Millisecond
	MaxPreTimeout    = time.Minute
	MaxPostTimeout   = 10 * time.Minute
	DefaultHookRetry = time.Minute
	MaxHookRetry     = 10 * time.Minute

	// hookSlack is what the core waits beyond the limits of all hooks for the
	// shell's answer, and HookQueue how long a post-hook may wait for its turn.
	hookSlack = 2 * time.Second
	HookQueue = 10 * time.Minute

	hookTries = 3 // runs of one life whose answer is lost before that is the answer
	postTries = 4 // runs of a post-hook: one, and three more
	maxDue    = 8 // ended operations whose post-hooks are still due
	maxReason = 300
)

// HookVerdict is what one hook said.
type HookVerdict string

const (
	HookPassed HookVerdict = "pass"
	HookVetoed HookVerdict = "veto"
	HookBroken HookVerdict = "error" // it said neither: not started, killed, no answer, a strange one
)

// HookResult is the answer of one hook. Reason is one line of printable text.
type HookResult struct {
	Name    string        `json:"name"`
	Verdict HookVerdict   `json:"verdict"`
	Reason  string        `json:"reason,omitempty"`
	Took    time.Duration `json:"took_ns"`
}

// HookOp is what a hook is told of an operation.
type HookOp struct {
	ID       string      `json:"id"`
	Kind     OpKind      `json:"kind"`
	From     ClusterName `json:"from"`
	To       ClusterName `json:"to"`
	Auto     bool        `json:"auto,omitempty"`
	By       string      `json:"by"`
	Reason   string      `json:"reason"`
	Change   string      `json:"change,omitempty"` // number of the change request
	Since    time.Time   `json:"since"`
	Names    []HookName  `json:"names,omitempty"`
	Evidence []string    `json:"evidence,omitempty"` // pre only

	Outcome Outcome   `json:"outcome,omitempty"` // post only, like the rest
	Why     string    `json:"why,omitempty"`
	EndedAt time.Time `json:"ended_at,omitzero"`
}

// HookName is one name and where the operation moves it.
type HookName struct {
	Name RecordName `json:"name"`
	From Target     `json:"from"`
	To   Target     `json:"to"`
}

type (
	// RunHooks runs the hooks one after the other. Pre-hooks end at the first
	// that vetoes, or has no verdict and may not pass; post-hooks are all run.
	RunHooks struct {
		When    HookWhen
		Op      HookOp
		Attempt int // from 1, over restarts
		Hooks   []Hook
	}

	// HooksDone answers RunHooks. Err says that nothing is known of what
	// happened, and then there are no results.
	HooksDone struct {
		OpID    string
		When    HookWhen
		Attempt int
		Results []HookResult
		Err     string
	}
)

func (RunHooks) action() {}
func (HooksDone) event() {}

// OpHooks is what became of the pre-hooks of an operation.
type OpHooks struct {
	Attempt int       `json:"attempt"`
	Asked   []string  `json:"asked,omitempty"`
	AskedAt time.Time `json:"asked_at"`
	At      time.Time `json:"at,omitzero"` // when they had answered; zero: they have not
	Veto    string    `json:"veto,omitempty"`
	By      string    `json:"by,omitempty"` // the hook that vetoed
	Notes   []string  `json:"notes,omitempty"`
	Skipped bool      `json:"skipped,omitempty"` // a person overrode them by name
}

// Vetoes remembers vetoes of automatic operations that follow each other, so
// that each is tried again later than the one before.
type Vetoes struct {
	Times int       `json:"times"`
	Until time.Time `json:"until"`
}

// HookDue is an ended operation whose post-hooks have not all run yet.
type HookDue struct {
	Op      HookOp    `json:"op"`
	Left    []string  `json:"left"`    // names of those that have not gone well
	Attempt int       `json:"attempt"` // of the run that was begun last; 0: none was
	Next    time.Time `json:"next,omitzero"`
}

// hookRun is a run of this life.
type hookRun struct {
	op      string
	attempt int
	tries   int // runs of this life, for those whose answer was lost
	since   time.Time
	done    *HooksDone
}

// hooks are those of one side that an operation of the kind has.
func (p *Policy) hooks(when HookWhen, kind OpKind) []Hook {
	var out []Hook
	for _, h := range p.Hooks {
		if h.When == when && (len(h.On) == 0 || slices.Contains(h.On, kind)) {
			out = append(out, h)
		}
	}
	return out
}

// HookLimit is how long the hooks may take together.
func HookLimit(hooks []Hook) time.Duration {
	var d time.Duration
	for _, h := range hooks {
		d += h.Timeout
	}
	return d
}

func hookNames(hooks []Hook) []string {
	out := make([]string, 0, len(hooks))
	for _, h := range hooks {
		out = append(out, h.Name)
	}
	return out
}

// hooksDone keeps an answer that is waited for; any other says nothing.
func (t *turn) hooksDone(e HooksDone) {
	s := t.s
	delete(s.busy, hookKey(e.When, e.OpID, e.Attempt))
	if r := s.hooking; e.When == HookPre && r.op == e.OpID && r.attempt == e.Attempt {
		s.hooking.done = &e
	}
	if r, ok := s.posts[e.OpID]; ok && e.When == HookPost && r.attempt == e.Attempt {
		r.done = &e
		set(&s.posts, e.OpID, r)
	}
}

func hookKey(when HookWhen, op string, attempt int) string {
	return fmt.Sprintf("hooks:%s:%s:%d", when, op, attempt)
}

// hookOp is what hooks are told of an operation.
func (t *turn) hookOp(op *Op) HookOp {
	out := HookOp{
		ID: op.ID, Kind: op.Kind, From: op.From, To: op.To, Auto: op.Auto, By: op.By, Reason: op.Reason, Change: op.Change, Since: op.Since,
		Evidence: slices.Clone(op.Evidence),
	}
	for _, n := range t.rec.Names {
		if to, ok := op.Targets[n.Name]; ok && to != "" {
			from := n.Value
			if np := t.p.Name(n.Name); np != nil {
				from = np.Targets[op.From] // also of one that has moved
			}
			out.Names = append(out.Names, HookName{Name: n.Name, From: from, To: to})
		}
	}
	return out
}

// short keeps the beginning of a reason where people read it beside others;
// the audit and the operation have all of it.
func short(s string) string {
	if r := []rune(s); len(r) > maxReason {
		return string(r[:maxReason]) + "…"
	}
	return s
}

func (r *HookResult) words() string {
	if r.Reason == "" {
		return fmt.Sprintf("hook %s: %s", r.Name, r.Verdict)
	}
	return fmt.Sprintf("hook %s: %s: %s", r.Name, r.Verdict, r.Reason)
}

// validateHooks returns every fault of the hooks.
func (p *Policy) validateHooks(bad func(string, ...any)) {
	count := map[HookWhen]int{}
	seen := map[string]bool{}
	for _, h := range p.Hooks {
		count[h.When]++
		most := MaxPreTimeout
		if h.When == HookPost {
			most = MaxPostTimeout
		}
		switch {
		case h.When != HookPre && h.When != HookPost:
			bad("hooks: %q is neither pre nor post", h.When)
		case h.Name == "" || strings.ContainsAny(h.Name, " \t\n"):
			bad("hooks: %q is no name of a hook", h.Name)
		case seen[string(h.When)+h.Name]:
			bad("hooks: %s is there twice", h.Name)
		case h.Timeout < MinHookTimeout || h.Timeout > most:
			bad("hooks: timeout %s of %s is outside %s to %s", h.Timeout, h.Name, MinHookTimeout, most)
		}
		seen[string(h.When)+h.Name] = true
	}
	for when, n := range count {
		if n > MaxHooks {
			bad("hooks: %d hooks under %s, at most %d are taken", n, when, MaxHooks)
		}
	}
	if p.HookRetry < 0 || p.HookRetry > MaxHookRetry {
		bad("hooks: retry %s is outside 0 to %s", p.HookRetry, MaxHookRetry)
	}
}
