package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// Bound is how long the demo waits for what must come. It is generous on
// purpose: times are printed, never judged; only what never comes is a fault.
const Bound = 30 * time.Second

// Result is one story with its times, in milliseconds after the fault (or
// after the command, for a planned move). Detected, decided and verified are
// the controller's own moments; answered is what the recorder saw. A time is
// null where nothing of that kind happened.
type Result struct {
	Name       string   `json:"name"`
	In         string   `json:"in,omitempty"` // how the instances of a benchmark were tuned
	OK         bool     `json:"ok"`
	From       string   `json:"from"`
	To         string   `json:"to"` // empty where nothing moved
	DetectedMS *float64 `json:"detected_ms"`
	DecidedMS  *float64 `json:"decided_ms"`
	AnsweredMS *float64 `json:"answered_ms"`
	VerifiedMS *float64 `json:"verified_ms"`
	Counts
	Alone       map[string]int `json:"alone,omitempty"`        // answers of each secondary while the controller was dead
	Evidence    []string       `json:"evidence,omitempty"`     // what made the vantages look
	UnwatchedMS *float64       `json:"unwatched_ms,omitempty"` // answered, for the same fault while nothing was held open
	Client      *ClientView    `json:"client,omitempty"`       // of the client that writes, where there is one
	Why         []string       `json:"why,omitempty"`          // the promises that were broken

	measured map[string]float64 // what only a benchmark asks for, by figure
}

// Report is the whole demo.
type Report struct {
	OK      bool         `json:"ok"`
	Stories []Result     `json:"stories"`
	LeftOut []string     `json:"left_out,omitempty"` // stories that could not be told here, each with the reason
	Writes  *WriteReport `json:"writes,omitempty"`   // of the client that writes, where there is one
	// Replicated is the same where rows are carried to the standby.
	Replicated *WriteReport `json:"replicated_writes,omitempty"`
}

// Join adds what was told in another lab.
func (r *Report) Join(o Report) {
	r.OK = r.OK && o.OK
	r.Stories = append(r.Stories, o.Stories...)
	r.LeftOut = append(r.LeftOut, o.LeftOut...)
	switch {
	case o.Writes == nil:
	case o.Writes.Replicated:
		r.Replicated = o.Writes
	default:
		r.Writes = o.Writes
	}
}

// JSON is the report as demo -o json prints it.
func (r Report) JSON() ([]byte, error) {
	if r.Stories == nil {
		r.Stories = []Result{}
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	return append(b, '\n'), nil
}

// DemoConfig says which stories are told, how often, and who hears of it.
type DemoConfig struct {
	Stories []Story
	Rounds  int
	Begin   func(Story)         // before each story, may be nil
	End     func(Story, Result) // after each story, may be nil
	Tell    func(string)        // how far the story is that is told, may be nil
}

// Demo tells the stories on a running lab, with a recorder that asks the
// authority throughout. The error is for a demo that could not be carried
// out; broken promises stand in the report.
func Demo(ctx context.Context, l *Lab, cfg DemoConfig) (Report, error) {
	in := l.World.Instances[0]
	rec, err := NewRecorder(RecorderConfig{Server: l.World.DNS, Name: in.Names[0], Hosts: l.World.Hosts()})
	if err != nil {
		return Report{}, err
	}
	report := Report{OK: true}
	told, left := tellable(cfg.Stories, l.World)
	report.LeftOut = left
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return rec.Run(gctx) })
	stop := l.write(gctx, g)
	g.Go(func() error {
		for range max(cfg.Rounds, 1) {
			for _, s := range told {
				if cfg.Begin != nil {
					cfg.Begin(s)
				}
				res, err := tell(gctx, &stage{lab: l, rec: rec, writer: l.writer, instance: in.Name, name: in.Names[0], say: cfg.Tell}, s)
				if err != nil {
					return fmt.Errorf("story %s: %w", s.Name, err)
				}
				report.OK = report.OK && res.OK
				report.Stories = append(report.Stories, res)
				if cfg.End != nil {
					cfg.End(s, res)
				}
			}
		}
		if l.writer != nil {
			var err error
			if report.Writes, err = settleWrites(gctx, l, stop); err != nil {
				return fmt.Errorf("count the writes: %w", err)
			}
			report.OK = report.OK && len(report.Writes.Why) == 0
		}
		return errBodyDone
	})
	if err := g.Wait(); !errors.Is(err, errBodyDone) {
		return report, err
	}
	if !report.OK {
		l.Keep()
	}
	return report, nil
}

// tellable parts the stories that can be told in a world from the others, of
// which it says why not.
func tellable(stories []Story, w *World) (told []Story, left []string) {
	for _, s := range stories {
		if s.Replicated != w.Tune.Replicate {
			left = append(left, fmt.Sprintf("story %s: it is told in a lab whose rows are replicated: %t", s.Name, s.Replicated))
			continue
		}
		if s.lacks != nil {
			if why := s.lacks(w); why != "" {
				left = append(left, fmt.Sprintf("story %s: %s", s.Name, why))
				continue
			}
		}
		told = append(told, s)
	}
	return told, left
}

// stage is where one story is told.
type stage struct {
	lab      *Lab
	rec      *Recorder
	writer   *Writer // nil where nothing is written
	instance string
	name     string // the one of the instance that is recorded

	from, to string    // the active cluster when the story began, and the other
	before   View      // the status when it began
	fault    time.Time // when the fault was made, or the command was given
	answered time.Time // when the recorder saw the other target
	why      []string  // promises that were broken
	measured map[string]float64
	alone    map[string]int // by secondary, see Result
	rebuilt  bool           // the client was, see ClientView
	say      func(string)   // see DemoConfig.Tell

	evidence    []string // see Result
	unwatchedMS *float64 // see Result
}

// measure keeps a figure of the story.
func (st *stage) measure(figure string, v float64) {
	if st.measured == nil {
		st.measured = map[string]float64{}
	}
	st.measured[figure] = v
}

func (st *stage) broken(format string, args ...any) {
	st.why = append(st.why, fmt.Sprintf(format, args...))
}

// tell prepares the world, plays one story and judges it.
func tell(ctx context.Context, st *stage, s Story) (Result, error) {
	if err := st.prepare(ctx); err != nil {
		return Result{}, err
	}
	if err := st.onActive(ctx); err != nil {
		return Result{}, err
	}
	if _, err := st.rec.Take(ctx); err != nil { // what was answered between stories is no part of one
		return Result{}, err
	}
	written := st.mark()
	if err := s.play(ctx, st); err != nil {
		return Result{}, err
	}
	if s.Moves && st.writer != nil {
		if err := st.follow(ctx, s.pins); err != nil {
			return Result{}, err
		}
	}
	view := st.view(written)
	answers, err := st.rec.Take(ctx)
	if err != nil {
		return Result{}, err
	}
	after, err := st.lab.Tool.View(ctx, st.instance)
	if err != nil {
		return Result{}, err
	}
	st.judge(s, answers, after)
	commits, err := st.commits(ctx)
	if err != nil {
		return Result{}, err
	}
	counts, examples := Judge(answers, commits)
	if counts.Broken() {
		st.broken("answers that must not be: %d empty, %d NXDOMAIN, %d SERVFAIL, %d wrong", counts.Empty, counts.NXDomain, counts.Servfail, counts.Wrong)
		st.why = append(st.why, examples...)
	}
	if counts.Answers == 0 {
		st.broken("the authority did not answer at all")
	}
	res := st.result(s, after)
	res.Counts, res.Alone, res.Why, res.OK = counts, st.alone, st.why, len(st.why) == 0
	res.Evidence, res.UnwatchedMS, res.Client = st.evidence, st.unwatchedMS, view
	if !res.OK {
		st.explain(ctx)
	}
	return res, nil
}

// prepare heals the world and waits until a story may begin: both clusters
// up, nothing in hand, no cool-down, no lock-out.
func (st *stage) prepare(ctx context.Context) error {
	if err := st.lab.Heal(ctx, Controller); err != nil {
		return err
	}
	// The active one first: else the other one may come up alone, and the
	// controller would be right to move.
	names := []string{}
	if v, err := st.lab.Tool.View(ctx, st.instance); err == nil && v.Active != "" {
		names = append(names, v.Active)
	}
	for _, c := range append(st.lab.World.Clusters, ClusterSite{}) {
		if c.Name != "" && !slices.Contains(names, c.Name) {
			names = append(names, c.Name)
		}
	}
	for _, name := range append(names, st.lab.World.Vantages...) {
		if err := st.lab.Heal(ctx, name); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, 2*Bound, ErrNotReady)
	defer cancel()
	if st.lab.World.Tune.Replicate {
		if err := st.lab.AwaitReplication(ctx, st.instance, "to follow", protected); err != nil {
			return err
		}
	}
	acked := false
	return st.lab.AwaitView(ctx, st.instance, "to be calm", func(v View) string {
		if why := bothUp(v); why != "" {
			return why
		}
		if v.Has("unacknowledged") && !acked {
			_, err := st.lab.Tool.Do(ctx, "ack", st.instance)
			acked = err == nil
		}
		if v.Op != nil || len(v.Stops) > 0 {
			return "still: " + v.Stopped()
		}
		if v.Mode != "auto" {
			return "armed to " + v.Mode
		}
		st.before, st.from = v, v.Active
		for _, c := range st.lab.World.Clusters {
			if c.Name != v.Active {
				st.to = c.Name
			}
		}
		return ""
	})
}

// commits is what the name may have shown during the story: its value when
// the story began, and everything that the audit says since.
func (st *stage) commits(ctx context.Context) ([]Commit, error) {
	commits := []Commit{}
	if len(st.before.Names) > 0 {
		commits = append(commits, Commit{Target: st.before.Names[0].Value})
	}
	writes, err := st.lab.Tool.Commits(ctx, st.instance, st.name, st.before.At)
	if err != nil {
		return nil, err
	}
	return append(commits, writes...), nil
}

// judge holds the end of the story against what it promises.
func (st *stage) judge(s Story, answers []Answer, after View) {
	order := Moves(answers)
	seen := make([]string, 0, len(order))
	for _, target := range order {
		seen = append(seen, st.lab.World.Holder(target))
	}
	want := []string{st.from}
	if s.Moves {
		want = append(want, st.to)
	}
	if !slices.Equal(seen, want) {
		st.broken("the name went %s, not %s", strings.Join(seen, " → "), strings.Join(want, " → "))
	}
	if after.Active != want[len(want)-1] {
		st.broken("%s is active at the end, not %s", after.Active, want[len(want)-1])
	}
	if after.Op != nil {
		st.broken("operation %s still stands at step %s", after.Op.ID, after.Op.Step)
	}
	fresh := after.LastOp != nil && (st.before.LastOp == nil || after.LastOp.Op.ID != st.before.LastOp.Op.ID)
	switch {
	case s.Moves && !fresh:
		st.broken("no operation has ended")
	case s.Moves && after.LastOp.Outcome != "settled":
		st.broken("the operation was %s: %s", after.LastOp.Outcome, after.LastOp.Why)
	case !s.Moves && fresh:
		st.broken("operation %s began, from %s to %s", after.LastOp.Op.ID, after.LastOp.Op.From, after.LastOp.Op.To)
	}
}

// result fills in the times.
func (st *stage) result(s Story, after View) Result {
	res := Result{Name: s.Name, From: st.from, measured: st.measured}
	if !s.Moves || after.LastOp == nil || after.Active == st.from {
		return res
	}
	res.To = after.Active
	op := after.LastOp.Op
	res.DetectedMS = st.since(op.DetectedAt)
	res.DecidedMS = st.since(op.Since)
	res.AnsweredMS = st.since(st.answered)
	res.VerifiedMS = st.since(op.StepAt["settle"])
	return res
}

// since is a moment in milliseconds after the fault, to a tenth; nil for none.
func (st *stage) since(t time.Time) *float64 {
	if st.fault.IsZero() {
		return nil
	}
	return msAfter(st.fault, t)
}

// msAfter is the distance in milliseconds, to a tenth; nil for a moment that
// never came.
func msAfter(from, to time.Time) *float64 {
	if to.IsZero() {
		return nil
	}
	ms := tenths(to.Sub(from))
	return &ms
}

// explain keeps the program's own words about a story that went wrong.
func (st *stage) explain(ctx context.Context) {
	f, err := os.OpenFile(filepath.Join(st.lab.World.Dir, "explain.txt"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return // the broken promises are told anyway
	}
	defer f.Close()
	for _, verb := range [][]string{{"explain", st.instance}, {"status", "-o", "json"}, {"audit", "-o", "json"}} {
		out, err := st.lab.Tool.Do(ctx, verb...)
		fmt.Fprintf(f, "$ pointsman %s\n%s\n", strings.Join(verb, " "), out)
		if err != nil {
			fmt.Fprintln(f, err)
		}
	}
}
