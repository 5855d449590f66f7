package report

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"pointsman/internal/failover"
	"pointsman/internal/ledger"
)

// Source gives what the controller knows. Calls read memory and never wait for
// a decision.
type Source interface {
	Names() []failover.InstanceName
	// Facts are those of an instance now; false: there is none any more.
	Facts(failover.InstanceName) (Facts, bool)
	// Config is the SHA-256 of the configuration that runs, and since when.
	Config() (hash string, since time.Time)
	// Leading says whether this controller leads, and why not.
	Leading() (bool, string)
	// Clocks says of each vantage elsewhere how far its clock is off now.
	Clocks() []ClockNow
}

// Past reads the measured history, newest pages last as [ledger.History.List]
// does.
type Past interface {
	List(context.Context, ledger.HistoryFilter) ([]ledger.Sample, error)
	Stats() ledger.HistoryStats
}

// Judge says how good the decisions were.
type Judge interface {
	Score(ctx context.Context, wanted func(failover.InstanceName) bool, from, to time.Time) (*Score, error)
}

// Deliverer hands a report to the channels of these names. It returns once they
// have it in hand, not once it has arrived.
type Deliverer interface {
	Deliver(ctx context.Context, channels []string, d Document) error
}

// Document is a report to be delivered. The same ID twice is the same document.
type Document struct {
	ID       string
	Title    string
	Summary  string
	Markdown string
	HTML     string // pictures as <img src="cid:NAME">
	JSON     []byte
	PNGs     []Image
}

// Setup is what a service is made of. Judge and Deliver may be nil.
type Setup struct {
	Dir        string // the folder of the reports
	Controller string
	Source     Source
	Past       Past // nil: there is no history, and reports say so
	Judge      Judge
	Deliver    Deliverer
	Log        *slog.Logger
	Now        func() time.Time
}

// Service makes reports when their time has come, and when one is asked for.
// Make one by New; Run owns its goroutine. One report is made at a time.
type Service struct {
	s     Setup
	files files
	turn  chan struct{} // the right to make a report
	wake  chan struct{}

	mu      sync.Mutex
	reports []Config
	state   state
	runs    map[string]Runs
	begun   time.Time // of this process
}

// Runs counts the reports of one name since the start, those asked for included.
type Runs struct {
	Made, Failed uint64
	Last         time.Time // when one was last made, kept and, where wanted, handed over; zero: none was
}

// Runs returns the counters of every report that is configured.
func (v *Service) Runs() map[string]Runs {
	v.mu.Lock()
	defer v.mu.Unlock()
	out := make(map[string]Runs, len(v.reports))
	for _, r := range v.reports {
		out[r.Name] = v.runs[r.Name]
	}
	return out
}

func (v *Service) tally(name string, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	n := v.runs[name]
	if err != nil {
		n.Failed++
	} else {
		n.Made++
		n.Last = v.s.Now()
	}
	if v.runs == nil {
		v.runs = map[string]Runs{}
	}
	v.runs[name] = n
}

const (
	makeTimeout = 5 * time.Minute // for one report
	lookEvery   = time.Minute     // at the wall clock, which may jump
	samplePage  = 1000            // samples read in one turn of the history
	tapePage    = 64              // tapes, of some ten kilobytes each
	tries       = 3               // of a run that fails
	tryAgain    = time.Minute
)

// ErrBusy is what asking for a report gives while another is made for too long.
var ErrBusy = errors.New("another report is being made")

// New makes a service. What was remembered and cannot be read is no error: it is
// logged, and nothing is made up.
func New(s Setup, reports []Config) *Service {
	if s.Now == nil {
		s.Now = time.Now
	}
	v := &Service{s: s, files: files{s.Dir}, turn: make(chan struct{}, 1), wake: make(chan struct{}, 1), begun: s.Now()}
	st, err := loadState(s.Dir)
	if err != nil {
		s.Log.Warn("what was missed by reports is not known", "reason", err)
	}
	v.state = st
	v.Set(reports)
	return v
}

// Set takes other reports in the place of those there are, as a reload does.
// One that is new, or whose calendar changed, has missed nothing.
func (v *Service) Set(reports []Config) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.reports = slices.Clone(reports)
	now, changed := v.s.Now(), false
	for i := range v.reports {
		r := &v.reports[i]
		if d, ok := v.state.Reports[r.Name]; !ok || d.Calendar != r.print() {
			d.Due, d.Calendar, d.Error = now, r.print(), ""
			v.state.Reports[r.Name] = d
			changed = true
		}
	}
	for name := range v.state.Reports {
		if !slices.ContainsFunc(v.reports, func(r Config) bool { return r.Name == name }) {
			delete(v.state.Reports, name)
			changed = true
		}
	}
	if changed {
		v.save()
	}
	select {
	case v.wake <- struct{}{}:
	default:
	}
}

// save writes the state; with mu. A disk that refuses costs what was missed
// over a restart, and nothing else.
func (v *Service) save() {
	if err := v.state.save(v.s.Dir); err != nil {
		v.s.Log.Warn("when reports ran is not remembered over a restart", "reason", err)
	}
}

// due is one run that has to be made.
type due struct {
	cfg    Config
	first  time.Time // the oldest time that was missed, or at
	at     time.Time // the newest
	missed int       // how many times, at least 1
}

// Run makes reports until ctx ends.
func (v *Service) Run(ctx context.Context) error {
	failed := map[string]int{} // tries of the run that is due
	for {
		timer := time.NewTimer(v.look(ctx, failed))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-v.wake:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// look makes what is due, and says when to look again. A fault of ours, or of
// the library that reads calendars, costs this look and not the process.
func (v *Service) look(ctx context.Context, failed map[string]int) (wait time.Duration) {
	defer func() {
		if x := recover(); x != nil {
			v.s.Log.Error("the calendar of the reports panicked", "reason", fmt.Sprint(x), "stack", string(debug.Stack()))
			wait = lookEvery
		}
	}()
	wait = lookEvery
	if leads, _ := v.s.Source.Leading(); leads {
		for _, d := range v.dues() {
			if ctx.Err() != nil {
				return wait
			}
			wait = min(wait, v.attempt(ctx, d, failed))
		}
	}
	if next := v.next(); !next.IsZero() {
		wait = min(wait, max(next.Sub(v.s.Now()), 0))
	}
	return wait
}

// dues are the runs whose time has come.
func (v *Service) dues() []due {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := v.s.Now()
	var out []due
	for _, r := range v.reports {
		d := v.state.Reports[r.Name]
		if d.Due.Sub(now) > 24*time.Hour {
			// The clock was far ahead once. What it called done is not.
			v.s.Log.Warn("the clock went back: a report begins anew", "report", r.Name, "was_due", d.Due)
			d.Due = now
			v.state.Reports[r.Name] = d
			v.save()
			continue
		}
		x := due{cfg: r}
		for at := r.Schedule.Next(latest(d.Due, now.Add(-longAgo))); !at.IsZero() && !at.After(now); at = r.Schedule.Next(at) {
			if x.missed == 0 {
				x.first = at
			}
			x.at, x.missed = at, x.missed+1
		}
		if x.missed > 0 {
			out = append(out, x)
		}
	}
	return out
}

// longAgo bounds the search after a long time out; it is above a year.
const longAgo = 400 * 24 * time.Hour

// next is when something is due next.
func (v *Service) next() time.Time {
	v.mu.Lock()
	defer v.mu.Unlock()
	var first time.Time
	for _, r := range v.reports {
		if at := r.Schedule.Next(v.s.Now()); !at.IsZero() && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return first
}

// attempt makes one run and returns when to try again where it failed. A fault
// of ours costs the run, not the process.
func (v *Service) attempt(ctx context.Context, d due, failed map[string]int) time.Duration {
	id, err := v.scheduled(ctx, d)
	if ctx.Err() != nil {
		return 0 // it is made up after the restart
	}
	if err != nil {
		if failed[d.cfg.Name]++; failed[d.cfg.Name] < tries {
			v.s.Log.Warn("a report could not be made and is tried again", "report", d.cfg.Name, "reason", err)
			return tryAgain
		}
		v.s.Log.Error("a report could not be made", "report", d.cfg.Name, "due", d.at, "reason", err)
	}
	delete(failed, d.cfg.Name)
	v.mu.Lock()
	defer v.mu.Unlock()
	was, ok := v.state.Reports[d.cfg.Name]
	if !ok || was.Calendar != d.cfg.print() {
		return lookEvery // a reload took it away meanwhile
	}
	was.Due, was.Error = d.at, ""
	if err != nil {
		was.Error = err.Error()
	} else {
		was.RanAt, was.ID = v.s.Now().UTC(), id
	}
	v.state.Reports[d.cfg.Name] = was
	v.save()
	return lookEvery
}

// scheduled makes, keeps and hands over the report of a due run.
func (v *Service) scheduled(ctx context.Context, d due) (id string, err error) {
	h := v.head(&d.cfg)
	h.Due = d.at
	h.From, h.To = d.cfg.Window.Range(d.at, d.cfg.Schedule.Location)
	if d.missed > 1 {
		// One report stands for all, so it tells of all.
		from, _ := d.cfg.Window.Range(d.first, d.cfg.Schedule.Location)
		h.From = latest(from, h.To.Add(-MostWindow))
	}
	h.Late = v.late(d, h.MadeAt)
	made, err := v.make(ctx, &d.cfg, h, true)
	if made == nil {
		return "", err
	}
	v.s.Log.Info("report made", "report", made.ID, "verdict", made.Verdict.Level, "says", made.Verdict.Text, "late", made.Late != nil)
	return made.ID, err
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// grace is how late a run may be that is not called late.
const grace = 2 * time.Minute

// late says why a run comes after its time, nil where it does not.
func (v *Service) late(d due, now time.Time) *Late {
	if now.Sub(d.at) <= grace && d.missed == 1 {
		return nil
	}
	l := &Late{Missed: d.missed, Why: "the controller did not lead then, or the machine slept"}
	if d.at.Before(v.begun) {
		l.Why = "the controller did not run then"
	}
	return l
}
