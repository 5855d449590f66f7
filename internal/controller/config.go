package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"pointsman/internal/failover"
)

var (
	// ErrConflict: another writer changed the record first. Ledgers return it
	// from Commit; nothing was written.
	ErrConflict = errors.New("the record was changed by another writer")
	// ErrPoisoned: a write could not be made durable, so nothing can be written
	// any more by this process. Ledgers return it from Commit.
	ErrPoisoned = errors.New("the ledger cannot be written any more")
	// ErrUnknownInstance: no policy names it.
	ErrUnknownInstance = errors.New("no such instance")
	// ErrUnknownVantage: the policy of the instance does not list it.
	ErrUnknownVantage = errors.New("no such vantage")
	// ErrBusy: too many commands of one instance wait already.
	ErrBusy = errors.New("too many commands are waiting")
	// ErrStopped: the controller ended before it answered.
	ErrStopped = errors.New("the controller has stopped")
	// ErrNotRecorded: the core agreed, but the ledger did not take it, or it is
	// unknown whether it did.
	ErrNotRecorded = errors.New("it could not be recorded")
	// ErrInHand: an instance cannot be removed while an operation is in hand, or
	// before it is known that none is.
	ErrInHand = errors.New("the instance cannot be removed now")
	// ErrNotLeading ends the context of everything that changes the world.
	ErrNotLeading = errors.New("this process does not lead")

	errOldTerm   = errors.New("it was asked for under an older term")
	errReload    = errors.New("it was asked for before the record was read again")
	errRemoved   = fmt.Errorf("%w any more: it was removed by a reload", ErrUnknownInstance)
	errRestarted = errors.New("the instance was started again after a fault of this program: look whether it was done")
)

// Receipt is what a ledger gives for a commit.
type Receipt struct {
	Record  failover.Record                // with the new Rev and AuditHead
	Serials map[failover.RecordName]uint32 // zones whose serial rose
}

// Ledger keeps the records. Its methods are called from many goroutines; they
// must not change what they are given.
type Ledger interface {
	// Load returns the record of an instance, and false when there is none. It
	// comes after every Commit of the instance that was called before it, also
	// after one whose caller has gone.
	Load(ctx context.Context, i failover.InstanceName) (failover.Record, bool, error)
	// Commit replaces the record whose revision is r.Rev (0: there must be
	// none) and adds the audit, durably, in one transaction. It may take as long
	// as it takes: nothing is decided for the instance meanwhile. An error that is
	// ErrConflict or ErrPoisoned (by errors.Is) means what these say; an error
	// of the context means that the outcome is unknown; every other error means
	// that nothing was written.
	Commit(ctx context.Context, r failover.Record, audit []failover.AuditEntry) (Receipt, error)
}

// Names reads and writes the names of one external provider.
type Names interface {
	// Read asks the write point of a name. The Err of the result is not used.
	// Where Urgent(ctx), a move waits for it.
	Read(ctx context.Context, n failover.RecordName) (failover.NameRead, error)
	// Write makes one conditional change. An empty outcome with an error counts
	// as unknown.
	Write(ctx context.Context, w failover.WriteName) (failover.WriteOutcome, error)
}

// ByHand is what Names may be besides: it says by which command a person makes
// the same write without this program, exactly and without a secret in it; ""
// where there is none. A page that says a write does not get through carries it.
type ByHand interface {
	ByHand(w failover.WriteName) string
}

// Shown is what the embedded authority answers for a name.
type Shown struct {
	Value failover.Target
	TTL   uint32 // seconds
	Mark  string
}

// View looks at the embedded authority; false when the name is not published.
type View func(failover.RecordName) (Shown, bool)

// Verifier asks every authority of every name once.
type Verifier interface {
	Verify(ctx context.Context, names []failover.NameRecord) map[failover.RecordName]failover.NameAgreement
}

// Gates orders gate drivers. That the order was taken proves nothing.
type Gates interface {
	SetGate(ctx context.Context, i failover.InstanceName, a failover.SetGate) error
}

// Drainer reads what the old side still holds. From the deadline of the order on
// nothing is applied any more, nor after the answer. The Op of the answer is not
// used. A newer order of the instance takes the place of one that still runs.
type Drainer interface {
	Drain(ctx context.Context, i failover.InstanceName, a failover.Drain) (failover.Drained, error)
}

// Cutter makes pooled clients let go of a cluster and lists who did not.
type Cutter interface {
	Cut(ctx context.Context, i failover.InstanceName, a failover.Cut) (stragglers []string, err error)
}

// Hooks runs people's own commands and requests around operations.
type Hooks interface {
	// Run runs the hooks of the order one after the other and returns what each
	// said. It keeps to the limit of each, and kills what runs when ctx ends. The
	// error means that it is not known what was run.
	Run(ctx context.Context, i failover.InstanceName, a failover.RunHooks) ([]failover.HookResult, error)
}

// Core is the pure core; every field that is nil stands for the function of
// that name in internal/failover.
type Core struct {
	New      func(now time.Time) failover.State
	Step     func(failover.State, *failover.Policy, failover.Event, time.Time) (failover.State, []failover.Action)
	NextWake func(*failover.State, *failover.Policy, time.Time) time.Time
	Look     func(*failover.State, *failover.Policy, time.Time) failover.View
	Sketch   func(*failover.State, *failover.Policy, time.Time) failover.View // nil with a Look: that
	Quiet    func(*failover.State, *failover.Policy, failover.Report, time.Time) bool
}

func (c Core) filled() Core {
	if c.New == nil {
		c.New = failover.New
	}
	if c.Step == nil {
		c.Step = failover.Step
	}
	if c.NextWake == nil {
		c.NextWake = failover.NextWake
	}
	if c.Sketch == nil {
		c.Sketch = c.Look
	}
	if c.Look == nil {
		c.Look = failover.Look
	}
	if c.Sketch == nil {
		c.Sketch = failover.Sketch
	}
	if c.Quiet == nil {
		c.Quiet = (*failover.State).Quiet
	}
	return c
}

// Limits bounds single calls; a zero field takes its default. Reads and writes
// of names and orders to gates are bounded by the policy's LongestCall.
type Limits struct {
	// Commit is no bound of a commit, which is waited for: from here on people
	// are told that it is slow. It bounds a load, and what is left to a commit
	// that the ledger has not begun when the process ends. 5 s.
	Commit time.Duration
	Verify time.Duration // 5 s
	Drain  time.Duration // 25 s: for its answer, after its deadline; what is under way then is waited for
	Cut    time.Duration // 10 s
}

func (l Limits) filled() Limits {
	or := func(d *time.Duration, def time.Duration) {
		if *d <= 0 {
			*d = def
		}
	}
	or(&l.Commit, 5*time.Second)
	or(&l.Verify, 5*time.Second)
	or(&l.Drain, 25*time.Second)
	or(&l.Cut, 10*time.Second)
	return l
}

// Config is everything a Controller needs.
type Config struct {
	Policies []failover.Policy
	// Lead is what holds at the start; later changes come by SetLead. Until
	// must be set while leading: far away where a file lock is the lease.
	Lead failover.Lead

	Ledger   Ledger
	Names    map[string]Names // by provider, external ones only
	View     View             // needed where a name is embedded and the core reads it
	Verifier Verifier
	Gates    Gates   // nil: gate orders are answered with an error
	Drainer  Drainer // nil: likewise
	Cutter   Cutter  // nil: likewise
	Hooks    Hooks   // nil: likewise

	Core   Core
	Limits Limits
	Flood  Flood

	Now  func() time.Time // with a monotonic reading; nil is time.Now
	Wall func() time.Time // the wall clock alone; nil is Now without its monotonic reading

	Log     *slog.Logger // nil discards
	Page    func(context.Context, failover.InstanceName, failover.Page)
	History func(context.Context, failover.InstanceName, failover.OpSummary)

	// Episode is told of an outage, or the like of one, as it goes on; nil: nobody
	// wants to know. Unfinished are those that an earlier life left open.
	Episode func(context.Context, failover.Episode)
	// Tape is handed recorded votes with the policy that ran; nil: none are recorded.
	Tape       func(context.Context, failover.Tape, *failover.Policy)
	Unfinished map[failover.InstanceName]Unfinished

	// Fail is called with each name of [Failpoints] as it is passed; an error
	// takes the place of the call's own outcome. It is nil in production.
	Fail func(name string) error
}

// Unfinished is an episode that was open when nobody looked any more.
type Unfinished struct {
	Episode failover.Episode
	Seen    time.Time // until when somebody looked
}

// Validate returns every fault of the configuration.
func (c *Config) Validate() error {
	var errs []error
	if len(c.Policies) == 0 {
		errs = append(errs, errors.New("policies: at least one instance is needed"))
	}
	if c.Lead.Leading && c.Lead.Until.IsZero() {
		errs = append(errs, errors.New("lead: the end of the lease is missing"))
	}
	if c.Ledger == nil {
		errs = append(errs, errors.New("ledger: missing"))
	}
	if c.Verifier == nil {
		errs = append(errs, errors.New("verifier: missing"))
	}
	seen := make(map[failover.InstanceName]bool, len(c.Policies))
	for i := range c.Policies {
		p := &c.Policies[i]
		if seen[p.Instance] {
			errs = append(errs, fmt.Errorf("instance %s: named twice", p.Instance))
		}
		seen[p.Instance] = true
		for _, err := range p.Validate() {
			errs = append(errs, fmt.Errorf("instance %s: %w", p.Instance, err))
		}
		for _, n := range p.Names {
			if !n.Embedded && c.Names[n.Provider] == nil {
				errs = append(errs, fmt.Errorf("instance %s: name %s has the provider %q, which is not configured", p.Instance, n.Name, n.Provider))
			}
		}
	}
	return errors.Join(errs...)
}
