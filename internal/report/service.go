package report

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
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
	begun   time.Time // of this process
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
	made, err := v.make(ctx, &d.cfg, h)
	if err != nil {
		return "", err
	}
	if err := v.keep(made, &d.cfg); err != nil {
		return "", err
	}
	v.s.Log.Info("report made", "report", made.ID, "verdict", made.Verdict.Level, "says", made.Verdict.Text, "late", made.Late != nil)
	return made.ID, v.deliver(ctx, made, d.cfg.Channels)
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

func (v *Service) head(c *Config) Head {
	h := Head{Name: c.Name, Controller: v.s.Controller, MadeAt: v.s.Now(), Zone: c.Schedule.Zone}
	h.Config, h.ConfigAt = v.s.Source.Config()
	return h
}

// make gathers and builds a report, on a thread of its own of low priority and
// never two at once.
func (v *Service) make(ctx context.Context, c *Config, h Head) (*Report, error) {
	select {
	case v.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ErrBusy
	}
	defer func() { <-v.turn }()
	ctx, cancel := context.WithTimeout(ctx, makeTimeout)
	defer cancel()
	type result struct {
		r   *Report
		err error
	}
	out := make(chan result, 1)
	go func() {
		// Without an unlock the thread, which nothing else should get, ends
		// with this goroutine.
		runtime.LockOSThread()
		lowPriority()
		defer func() {
			if x := recover(); x != nil {
				v.s.Log.Error("a report panicked", "report", c.Name, "reason", fmt.Sprint(x), "stack", string(debug.Stack()))
				out <- result{nil, fmt.Errorf("a fault of this program: %v", x)}
			}
		}()
		r, err := v.gather(ctx, c, h)
		out <- result{r, err}
	}()
	got := <-out
	return got.r, got.err
}

// gather reads the history and asks the controller.
func (v *Service) gather(ctx context.Context, c *Config, h Head) (*Report, error) {
	b := NewBuilder(h, c.Wants)
	v.readPast(ctx, b)
	for _, name := range v.s.Source.Names() {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("gather facts: %w", err)
		}
		if !c.Wants(name) {
			continue
		}
		if f, ok := v.s.Source.Facts(name); ok {
			b.Instance(&f)
		}
	}
	if v.s.Judge != nil {
		score, err := v.s.Judge.Score(ctx, c.Wants, h.From, h.To)
		if err != nil {
			v.s.Log.Warn("how good decisions were is not in a report", "report", c.Name, "reason", err)
			b.NotKnown("how good the decisions were: " + err.Error())
		}
		b.Score(score)
	}
	return b.Report(v.before(c.Name)), nil
}

// before is the report that was kept last under the name.
func (v *Service) before(name string) *Report {
	id, err := v.files.newest(name)
	if err != nil || id == "" {
		return nil
	}
	r, err := v.files.report(id)
	if err != nil {
		v.s.Log.Warn("the report before cannot be read", "report", id, "reason", err)
		return nil
	}
	return r
}

// readPast gives the builder what the history has, page by page, so that it is
// never held up for long and never in memory at once.
func (v *Service) readPast(ctx context.Context, b *Builder) {
	if v.s.Past == nil {
		b.Trouble("there is no history, see the log of the controller")
		b.Lives(nil)
		return
	}
	if why := v.s.Past.Stats().Trouble; why != nil {
		b.Trouble(why.Error())
	}
	lives, err := v.s.Past.List(ctx, ledger.HistoryFilter{Kind: KindRecording, Limit: maxLives})
	if err != nil {
		b.Trouble(fmt.Sprintf("it cannot be read: %v", err))
		lives = nil // a part of them would call times recorded that were not
	}
	b.Lives(lives)
	if err := v.readPages(ctx, ledger.HistoryFilter{Limit: samplePage, Except: ledger.KindVotes}, b.Sample); err != nil {
		b.Trouble(fmt.Sprintf("it cannot be read: %v", err))
		b.SamplesEnd()
	}
	if err := v.readPages(ctx, ledger.HistoryFilter{Limit: tapePage, Kind: ledger.KindVotes}, b.Tape); err != nil {
		b.Trouble(fmt.Sprintf("it cannot be read: %v", err))
		b.TapesEnd()
	}
}

// readPages hands samples over, newest first, until take has enough. An error
// means that those older than the last one taken are not known.
func (v *Service) readPages(ctx context.Context, f ledger.HistoryFilter, take func(ledger.Sample) bool) error {
	for {
		page, err := v.s.Past.List(ctx, f)
		if err = errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		for _, s := range slices.Backward(page) {
			if !take(s) {
				return nil
			}
		}
		if len(page) < f.Limit {
			return nil
		}
		f.Below = page[0].ID
	}
}

// keep writes the forms that the report is kept in.
func (v *Service) keep(r *Report, c *Config) error {
	forms := map[Format][]byte{}
	var err error
	if forms[JSON], err = r.encode(); err != nil {
		return fmt.Errorf("write the report as JSON: %w", err)
	}
	for _, f := range c.Formats {
		if f == JSON {
			continue
		}
		if forms[f], err = r.Form(f); err != nil {
			return err
		}
	}
	if err := v.files.write(r.ID, forms, c.Keep); err != nil {
		return fmt.Errorf("keep the report: %w", err)
	}
	return nil
}

// Form renders the report.
func (r *Report) Form(f Format) ([]byte, error) {
	switch f {
	case HTML:
		return r.HTML(false)
	case Markdown:
		return []byte(r.Markdown()), nil
	case Text:
		return []byte(r.Text()), nil
	case JSON:
		return r.encode()
	}
	return nil, fmt.Errorf("%q is no form of a report", f)
}

// deliver hands the report over where it is to be delivered.
func (v *Service) deliver(ctx context.Context, r *Report, channels []string) error {
	if len(channels) == 0 || v.s.Deliver == nil {
		return nil
	}
	d, err := r.document()
	if err != nil {
		return err
	}
	if err := v.s.Deliver.Deliver(ctx, channels, d); err != nil {
		return fmt.Errorf("hand the report over: %w", err)
	}
	return nil
}

func (r *Report) document() (Document, error) {
	pictures, err := r.Pictures()
	if err != nil {
		return Document{}, err
	}
	page, err := r.HTML(true)
	if err != nil {
		return Document{}, err
	}
	data, err := r.encode()
	if err != nil {
		return Document{}, err
	}
	return Document{
		ID: r.ID, Title: plain(r.Name) + ": " + string(r.Verdict.Level) + ", " + r.Verdict.Text, Summary: r.Text(),
		Markdown: r.Markdown(), HTML: string(page), JSON: data, PNGs: pictures,
	}, nil
}
