package lab

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"
)

// BenchConfig says what is measured.
type BenchConfig struct {
	Lab     Config        // Tune is set by the benchmark
	Only    []string      // of BenchParts; empty is all
	Rounds  int           // of each story, at least 1
	RideOut time.Duration // of the second lab, above 0
	Idle    time.Duration // how long an idle controller is watched
	Ask     time.Duration // how long the authority is loaded, each time

	Many      int           // how many instances the part of that name has, above 0
	ManyRound time.Duration // between two probes of their clusters

	Say   func(string)        // what is being measured, may be nil
	Begin func(Story)         // before each story, may be nil
	End   func(Story, Result) // after each story, may be nil
}

// BenchParts are the parts of a benchmark. All but the last are carried out
// where none is asked for.
var BenchParts = []string{partStories, partWatch, partFlood, partRideOut, partIdle, partAnswers, partMany}

const (
	partStories = "stories"
	partWatch   = "watch"
	partFlood   = "flood"
	partRideOut = "ride-out"
	partIdle    = "idle"
	partAnswers = "answers"
	partMany    = "many"
)

// fastRound is the time between two probes with the preset fast-lab.
const fastRound = 200 * time.Millisecond

// Names of the figures.
const (
	figureSync        = "sync_ms"
	figureKill        = "kill_answered_ms"
	figureStall       = "stall_answered_ms"
	figureNormalKill  = "normal_load_kill_answered_ms"
	figureFloodKill   = "flood_kill_answered_ms"
	figureFloodRatio  = "flood_ratio"
	figureRiddenKill  = "ride_out_kill_beyond_ms"
	figureRiddenStall = "ride_out_stall_beyond_ms"
	figureColdStart   = "cold_start_ms"
	figureResume      = "resume_rounds"
	figureFastIdle    = "idle_fast_cpu_percent"
	figureCalmIdle    = "idle_cpu_percent"
	figureFastMemory  = "idle_fast_memory_mb"
	figureCalmMemory  = "idle_memory_mb"
	figureAnswers     = "answers_per_cpu_second"
)

// declare lists every figure, in the order of the table. The goals are those
// of one machine of two cores on loopback.
func declare(cfg BenchConfig) Figures {
	const limit = 300 // with the watch no round is waited for
	f := Figures{OK: true, CPUs: runtime.NumCPU(), Stories: []Result{}, Figures: []Figure{
		{Name: figureSync, What: "one small write made durable", Unit: "ms", Goal: "the disk at hand; one failover waits for it twice"},
		{Name: figureKill, What: "kill → new answer, no ride-out", Unit: "ms", Goal: "< 20, never 100, and a durable write"},
		{Name: figureStall, What: "stall → new answer, no ride-out", Unit: "ms", Goal: "< 500, never 800"},
		{Name: figureNormalKill, What: fmt.Sprintf("kill → new answer, %d questions a second", normalLoad), Unit: "ms"},
		{Name: figureFloodKill, What: fmt.Sprintf("kill → new answer, %d questions a second", floodLoad), Unit: "ms"},
		{Name: figureFloodRatio, What: "the second beside the first, in turn", Unit: "×", Goal: "about 1"},
		{Name: figureRiddenKill, What: fmt.Sprintf("kill → new answer, beyond a ride-out of %s", cfg.RideOut), Unit: "ms", Goal: fmt.Sprintf("< %d", limit)},
		{Name: figureRiddenStall, What: fmt.Sprintf("stall → new answer, beyond a ride-out of %s", cfg.RideOut), Unit: "ms", Goal: fmt.Sprintf("< %d", limit)},
		{Name: figureColdStart, What: "controller started → first right answer", Unit: "ms", Goal: "never a wrong one"},
		{Name: figureResume, What: "started after kill -9 amid a failover → verified", Unit: "rounds", Goal: "< 3"},
		{Name: figureCalmIdle, What: "idle controller, stateless-http", Unit: "% of a core", Goal: "< 1"},
		{Name: figureCalmMemory, What: "idle controller, stateless-http, memory", Unit: "MB", Goal: "< 40"},
		{Name: figureFastIdle, What: "idle controller, fast-lab (5 rounds a second)", Unit: "% of a core"},
		{Name: figureFastMemory, What: "controller after the stories, memory", Unit: "MB", Goal: "< 40"},
		{Name: figureAnswers, What: "authority, answers per second of its CPU", Unit: "1/s", Goal: "≥ 85000"},
	}}
	f.Figures = append(f.Figures, declareWatch(cfg.RideOut)...)
	f.Figures = append(f.Figures, declareMany(cfg.Many, cfg.ManyRound)...)
	return f
}

// coldStart is no story of the demo: nothing moves in it.
var coldStart = Story{Name: "cold-start", Says: "the controller is killed with SIGKILL while nothing happens, and started again", play: playColdStart}

// Bench starts one lab after the other and measures. The error is for a
// benchmark that could not be carried out; figures that could not be taken
// here say why, and broken promises stand in the stories.
func Bench(ctx context.Context, cfg BenchConfig) (Figures, error) {
	if cfg.Say == nil {
		cfg.Say = func(string) {}
	}
	f := declare(cfg)
	f.Load[0] = loadAverage()
	b := &bench{cfg: cfg, figures: &f}
	err := b.run(ctx)
	f.Load[1] = loadAverage()
	f.sum()
	return f, err
}

// bench is a benchmark at work.
type bench struct {
	cfg     BenchConfig
	figures *Figures
}

func (b *bench) wants(part string) bool {
	return len(b.cfg.Only) == 0 || slices.Contains(b.cfg.Only, part)
}

// run starts one lab after the other.
func (b *bench) run(ctx context.Context) error {
	if b.wants(partStories) || b.wants(partFlood) || b.wants(partIdle) || b.wants(partAnswers) {
		if err := b.in(ctx, Tune{}, b.fast); err != nil {
			return err
		}
	}
	if b.wants(partWatch) {
		if err := b.watch(ctx); err != nil {
			return err
		}
	}
	if slices.Contains(b.cfg.Only, partMany) {
		if err := b.many(ctx); err != nil {
			return err
		}
	}
	if b.wants(partRideOut) {
		if err := b.in(ctx, Tune{RideOut: b.cfg.RideOut}, b.ridden); err != nil {
			return err
		}
	}
	if !b.wants(partIdle) {
		return nil
	}
	return b.in(ctx, Tune{Preset: "stateless-http"}, func(ctx context.Context, l *Lab) error {
		return b.idle(ctx, l, figureCalmIdle, figureCalmMemory)
	})
}

// in runs a lab that is tuned like that.
func (b *bench) in(ctx context.Context, t Tune, body func(context.Context, *Lab) error) error {
	cfg := b.cfg.Lab
	cfg.Tune = t
	return Run(ctx, cfg, body)
}

// fast measures everything that needs the lab as it usually is.
func (b *bench) fast(ctx context.Context, l *Lab) error {
	if err := b.syncs(l.World.Dir, 20); err != nil {
		return err
	}
	if b.wants(partStories) {
		stories, err := pick("kill", "stall", "controller-killed")
		if err != nil {
			return err
		}
		if err := b.stories(ctx, l, append(stories, coldStart), map[string]string{"kill": figureKill, "stall": figureStall}); err != nil {
			return err
		}
	}
	if b.wants(partFlood) {
		if err := b.flood(ctx, l); err != nil {
			return err
		}
	}
	if b.wants(partIdle) {
		if err := b.idle(ctx, l, figureFastIdle, figureFastMemory); err != nil {
			return err
		}
	}
	if !b.wants(partAnswers) {
		return nil
	}
	return b.answers(ctx, l)
}

// ridden measures with a ride-out.
func (b *bench) ridden(ctx context.Context, l *Lab) error {
	stories, err := pick("kill", "stall")
	if err != nil {
		return err
	}
	return b.stories(ctx, l, stories, map[string]string{"kill": figureRiddenKill, "stall": figureRiddenStall})
}

func pick(names ...string) ([]Story, error) {
	var stories []Story
	for _, name := range names {
		s, err := FindStory(HTTP, name)
		if err != nil {
			return nil, err
		}
		stories = append(stories, s)
	}
	return stories, nil
}

// stories tells stories and keeps their times: from the fault to the answer,
// less the ride-out.
func (b *bench) stories(ctx context.Context, l *Lab, stories []Story, figure map[string]string) error {
	report, err := Demo(ctx, l, DemoConfig{Stories: stories, Rounds: b.cfg.Rounds, Begin: b.cfg.Begin, End: b.cfg.End})
	b.figures.OK = b.figures.OK && report.OK
	for i, r := range report.Stories {
		report.Stories[i].In = l.World.Tune.Words()
		if name := figure[r.Name]; name != "" && r.AnsweredMS != nil {
			b.figures.add(name, *r.AnsweredMS-milliseconds(l.World.Tune.RideOut))
		}
		for name, v := range r.measured {
			b.figures.add(name, v)
		}
	}
	b.figures.Stories = append(b.figures.Stories, report.Stories...)
	return err
}

// idle watches the controller while nothing happens and nobody asks.
func (b *bench) idle(ctx context.Context, l *Lab, percent, memory string) error {
	wctx, cancel := context.WithTimeoutCause(ctx, Bound, ErrNotReady)
	defer cancel()
	if err := l.AwaitView(wctx, l.World.Instances[0].Name, "to be calm", bothUp); err != nil {
		return err
	}
	b.cfg.Say(fmt.Sprintf("an idle controller for %s", b.cfg.Idle))
	if err := pause(ctx, 2*time.Second); err != nil {
		return err
	}
	used, err := l.used(func() error { return pause(ctx, b.cfg.Idle) })
	if err != nil {
		b.figures.lack(percent, err)
		b.figures.lack(memory, err)
		return ctx.Err()
	}
	b.figures.add(percent, 100*used.cpu.Seconds()/used.took.Seconds())
	b.figures.add(memory, float64(used.resident)/1e6)
	return nil
}

// answers loads the authority a few times.
func (b *bench) answers(ctx context.Context, l *Lab) error {
	b.cfg.Say("the authority under load")
	for range 3 {
		n := 0
		used, err := l.used(func() (err error) {
			n, err = questions(ctx, l.World.DNS, l.World.Dir, l.World.Instances[0].Names[0], b.cfg.Ask)
			return err
		})
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil && used.cpu <= 0:
			err = errors.New("the controller used no CPU time")
			fallthrough
		case err != nil:
			b.figures.lack(figureAnswers, err)
			return nil
		}
		b.figures.add(figureAnswers, float64(n)/used.cpu.Seconds())
	}
	return nil
}

// spent is what the controller used while something happened.
type spent struct {
	cpu, took time.Duration
	resident  int64 // bytes, at the end
}

func (l *Lab) used(during func() error) (spent, error) {
	st, _ := l.family.State(Controller)
	before, err := readUsage(st.PID)
	if err != nil {
		return spent{}, err
	}
	if err := during(); err != nil {
		return spent{}, err
	}
	after, err := readUsage(st.PID)
	return spent{after.cpu - before.cpu, after.at.Sub(before.at), after.resident}, err
}

// playColdStart measures from the start of the process to the first answer
// with the target that was committed last. Wrong answers break the story.
func playColdStart(ctx context.Context, st *stage) error {
	if err := st.lab.Kill(Controller); err != nil {
		return err
	}
	site, _ := st.lab.World.Cluster(st.from)
	start := time.Now()
	if err := st.lab.family.Again(ctx, Controller); err != nil {
		return err
	}
	bctx, cancel := context.WithTimeoutCause(ctx, Bound, ErrNotReady)
	defer cancel()
	a, err := st.rec.Until(bctx, start, func(a Answer) bool { return a.Target == site.Target })
	if err != nil && ctx.Err() == nil {
		st.broken("no answer within %s of the start", Bound)
		return nil
	}
	st.measure(figureColdStart, milliseconds(a.Received.Sub(start)))
	return err
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
