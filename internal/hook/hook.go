package hook

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"pointsman/internal/failover"
)

// How many hooks run at once over all instances. Those that an operation waits
// for never wait for those that come after one.
const (
	maxPre  = 64
	maxPost = 8
)

// Def is one hook: a command, or a URL with the secret that signs to it.
type Def struct {
	failover.Hook
	Command []string // absolute path and arguments; no shell reads them
	URL     string
	Secret  []byte // with URL
}

// Config is everything that a Runner needs.
type Config struct {
	Controller string // its name, which hooks are told
	Hooks      map[failover.InstanceName][]Def

	// Program refuses a file that must not be run: somebody else could change it.
	Program func(path string) error
	// Forbidden refuses an address that must not be dialled, after a name was
	// resolved to it.
	Forbidden func(netip.Addr) error
}

func (c *Config) validate() error {
	if c.Program == nil || c.Forbidden == nil {
		return errors.New("hooks: nothing says which files and addresses are refused")
	}
	for i, ds := range c.Hooks {
		for _, d := range ds {
			switch {
			case (len(d.Command) > 0) == (d.URL != ""):
				return fmt.Errorf("instance %s: hook %s: wants either a command or a URL", i, d.Name)
			case d.URL != "" && len(d.Secret) == 0:
				return fmt.Errorf("instance %s: hook %s: has no secret to sign with", i, d.Name)
			}
		}
	}
	return nil
}

// Runner runs hooks. Safe for concurrent use.
type Runner struct {
	cfg       atomic.Pointer[Config]
	pre, post chan struct{}

	mu    sync.Mutex
	stats Stats
}

// Stats counts runs since the start, tests left out.
type Stats struct {
	Runs map[failover.HookWhen]map[failover.HookVerdict]uint64
	Took map[failover.HookWhen]time.Duration // in sum
}

// Stats returns a copy of the counters.
func (r *Runner) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := Stats{Runs: map[failover.HookWhen]map[failover.HookVerdict]uint64{}, Took: maps.Clone(r.stats.Took)}
	for when, by := range r.stats.Runs {
		out.Runs[when] = maps.Clone(by)
	}
	return out
}

func (r *Runner) tally(when failover.HookWhen, res *failover.HookResult) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stats.Runs == nil {
		r.stats = Stats{Runs: map[failover.HookWhen]map[failover.HookVerdict]uint64{}, Took: map[failover.HookWhen]time.Duration{}}
	}
	if r.stats.Runs[when] == nil {
		r.stats.Runs[when] = map[failover.HookVerdict]uint64{}
	}
	r.stats.Runs[when][res.Verdict]++
	r.stats.Took[when] += res.Took
}

// New returns a Runner.
func New(cfg Config) (*Runner, error) {
	r := &Runner{pre: make(chan struct{}, maxPre), post: make(chan struct{}, maxPost)}
	return r, r.Set(cfg)
}

// Set takes another config. Hooks that run go on with what they began with.
func (r *Runner) Set(cfg Config) error {
	if err := cfg.validate(); err != nil {
		return err
	}
	r.cfg.Store(&cfg)
	return nil
}

// Run runs the hooks of an order one after the other and returns what each
// said. Pre-hooks end at the first that does not let the operation go on. When
// ctx ends, what runs is killed, and what has not run is not begun. The error
// says that none was run.
func (r *Runner) Run(ctx context.Context, i failover.InstanceName, a failover.RunHooks) ([]failover.HookResult, error) {
	return r.run(ctx, i, a, false)
}

// Test is Run for an operation that there is none of. Each hook is told so, and
// all are run, whatever the others say.
func (r *Runner) Test(ctx context.Context, i failover.InstanceName, a failover.RunHooks) ([]failover.HookResult, error) {
	return r.run(ctx, i, a, true)
}

func (r *Runner) run(ctx context.Context, i failover.InstanceName, a failover.RunHooks, test bool) ([]failover.HookResult, error) {
	cfg := r.cfg.Load()
	var out []failover.HookResult
	for _, h := range a.Hooks {
		at := slices.IndexFunc(cfg.Hooks[i], func(d Def) bool { return d.When == a.When && d.Name == h.Name })
		res := failover.HookResult{Name: h.Name, Verdict: failover.HookBroken, Reason: "it is not in the config any more"}
		if at >= 0 {
			res = r.one(ctx, cfg, i, &a, &cfg.Hooks[i][at], test)
		}
		out = append(out, res)
		if !test {
			r.tally(a.When, &res)
		}
		stops := res.Verdict == failover.HookVetoed || res.Verdict == failover.HookBroken && !h.Pass
		if a.When == failover.HookPre && stops && !test {
			break
		}
	}
	return out, nil
}

// one runs a hook when its turn has come.
func (r *Runner) one(ctx context.Context, cfg *Config, i failover.InstanceName, a *failover.RunHooks, d *Def, test bool) failover.HookResult {
	began := time.Now()
	res := failover.HookResult{Name: d.Name, Verdict: failover.HookBroken}
	places := r.pre
	wait := ctx
	if a.When == failover.HookPost && !test {
		places = r.post
	} else {
		var stop context.CancelFunc // the time of a pre-hook runs while it waits
		ctx, stop = context.WithTimeout(ctx, d.Timeout)
		defer stop()
		wait = ctx
	}
	select {
	case places <- struct{}{}:
		defer func() { <-places }()
	case <-wait.Done():
		res.Reason, res.Took = fmt.Sprintf("not run: %d others were running", cap(places)), time.Since(began)
		return res
	}
	if a.When == failover.HookPost && !test {
		began = time.Now()
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, d.Timeout)
		defer stop()
	}
	b := bodyOf(cfg, i, a, d, test)
	if end, ok := ctx.Deadline(); ok {
		b.Deadline = end.UTC()
	}
	var reason string
	if d.URL != "" {
		res.Verdict, reason = d.request(ctx, cfg, b)
	} else {
		res.Verdict, reason = d.command(ctx, cfg, b)
	}
	res.Reason, res.Took = oneLine(reason, maxReason), time.Since(began)
	return res
}

// outOfTime says why a context ended a hook.
func (d *Def) outOfTime(ctx context.Context) string {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Sprintf("no answer within %s", d.Timeout)
	}
	return "called off: the controller ends, or does not lead any more"
}
