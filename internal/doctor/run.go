package doctor

import (
	"context"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Check looks at one thing and says what it found for one or more ids.
type Check struct {
	IDs   []string
	About string        // for progress, and for what it did not get to
	Time  time.Duration // 0 is Options.Each
	Look  func(ctx context.Context) []Finding
}

// Options bound a run.
type Options struct {
	Only       []string      // ids; what else a check says is dropped
	Concurrent int           // checks at a time; 0 is 16
	Each       time.Duration // deadline of one check; 0 is 10 s
	// Progress is called before a check with the number of those that ended.
	Progress func(ended, all int, about string)
}

const (
	defaultConcurrent = 16
	defaultEach       = 10 * time.Second
	// grace is what a check may take beyond its deadline until it is given up:
	// a system call on a dead file server cannot be ended.
	grace = 500 * time.Millisecond
)

// Run carries the checks out, some at a time, and returns what they found,
// merged. Each has its deadline; one that does not come back in spite of it is
// left behind and said to be skipped, so the caller should end soon. When ctx
// ends, what was not begun is skipped.
func Run(ctx context.Context, checks []Check, o Options) []Finding {
	if o.Concurrent <= 0 {
		o.Concurrent = defaultConcurrent
	}
	if o.Each <= 0 {
		o.Each = defaultEach
	}
	checks = slices.DeleteFunc(slices.Clone(checks), func(c Check) bool {
		return !slices.ContainsFunc(c.IDs, func(id string) bool { return slices.Contains(o.Only, id) })
	})
	var (
		mu    sync.Mutex
		found = make([][]Finding, len(checks)) // in the order of the checks, not of their ends
		ended int
		g     errgroup.Group
	)
	tell := func(about string) {
		if o.Progress != nil {
			o.Progress(ended, len(checks), about)
		}
	}
	g.SetLimit(o.Concurrent)
	for i, c := range checks {
		g.Go(func() error {
			mu.Lock()
			tell(c.About)
			mu.Unlock()
			fs := c.look(ctx, o.Each)
			mu.Lock()
			defer mu.Unlock()
			ended++
			found[i] = fs
			tell(c.About)
			return nil
		})
	}
	_ = g.Wait() // a check has findings, not errors
	out := slices.Concat(found...)
	out = slices.DeleteFunc(out, func(f Finding) bool { return !slices.Contains(o.Only, f.ID) })
	for _, id := range o.Only {
		if !slices.ContainsFunc(out, func(f Finding) bool { return f.ID == id }) {
			out = append(out, Skip(id, "", "there is nothing here to look at"))
		}
	}
	return Merge(out)
}

// look runs one check within its deadline. Its panic is a fault of this
// program and no reason to hide what the others found.
func (c Check) look(ctx context.Context, each time.Duration) []Finding {
	if c.Time > 0 {
		each = c.Time
	}
	all := func(v Verdict, fix, format string, args ...any) []Finding {
		var out []Finding
		for _, id := range c.IDs {
			out = append(out, bad(v, id, c.About, fix, format, args...))
		}
		return out
	}
	if err := ctx.Err(); err != nil {
		return all(Skipped, "", "not begun: the time of all checks together was over")
	}
	limited, cancel := context.WithTimeout(ctx, each)
	defer cancel()
	done := make(chan []Finding, 1)
	go func() {
		defer func() {
			if r := recover(); r != nil {
				done <- all(Warn, "report it, with the version of this program", "the check itself broke: %v", r)
			}
		}()
		done <- c.Look(limited)
	}()
	select {
	case fs := <-done:
		return fs
	case <-limited.Done():
	}
	select {
	case fs := <-done:
		return fs
	case <-time.After(grace):
		return all(Skipped, "", "no end within %s", each)
	}
}
