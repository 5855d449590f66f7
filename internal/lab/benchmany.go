package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"time"
)

// Names of the figures of many instances.
const (
	figureManyFloor      = "many_floor_percent"
	figureManyController = "many_controller_cpu_percent"
	figureManyVantage    = "many_vantage_cpu_percent"
	figureManyDecides    = "many_decides_cpu_percent"
	figureManyServers    = "many_servers_cpu_percent"
	figureManyControlMem = "many_controller_kb_each"
	figureManyVantageMem = "many_vantage_kb_each"
	figureManyDowns      = "many_false_downs"
	figureManyMisses     = "many_misses"
	figureManyNotUp      = "many_not_up"
	figureManyReady      = "many_ready_s"
	figureManyPicture    = "many_picture_s"
	figureManyAgain      = "many_picture_again_s"
	figureManyStatus     = "many_status_ms"
	figureManySummary    = "many_summary_json_ms"
	figureManyPage       = "many_page_ms"
	figureManyAll        = "many_status_json_ms"
	figureManyMetrics    = "many_metrics_ms"
	figureManyScrape     = "many_metrics_kb"
	figureManySeries     = "many_metrics_series"
	figureManyReadyz     = "many_readyz_ms"
)

// declareMany lists the figures of many instances.
func declareMany(n int, round time.Duration) []Figure {
	least := 6 * round // rise
	return []Figure{
		{Name: figureManyFloor, What: fmt.Sprintf("%d instances at %s: the connections of one vantage, by a bare loop", n, round), Unit: "% of a core"},
		{Name: figureManyVantage, What: "their vantage", Unit: "% of a core", Goal: "≤ 20, and not below the bare loop"},
		{Name: figureManyController, What: "their controller, which has eyes of its own", Unit: "% of a core", Goal: "≤ 20 beside the vantage's"},
		{Name: figureManyDecides, What: "the controller less the vantage", Unit: "% of a core", Goal: "≤ 20"},
		{Name: figureManyServers, What: "servers of their clusters, and this program", Unit: "% of a core"},
		{Name: figureManyVantageMem, What: "vantage, memory of each instance", Unit: "KB", Goal: "≤ 10"},
		{Name: figureManyControlMem, What: "controller, memory of each instance", Unit: "KB", Goal: "≤ 10 beside the vantage's"},
		{Name: figureManyDowns, What: "votes and verdicts of down, all clusters being well", Unit: "", Goal: "0"},
		{Name: figureManyMisses, What: "missed probes of the controller's eyes", Unit: "", Goal: "0"},
		{Name: figureManyNotUp, What: "verdicts that were not up at any look", Unit: "", Goal: "0"},
		{Name: figureManyReady, What: "controller started → ready", Unit: "s"},
		{Name: figureManyPicture, What: "controller started → all verdicts up", Unit: "s", Goal: fmt.Sprintf("%.1f (6 rounds) and little more", least.Seconds())},
		{Name: figureManyAgain, What: "the same after kill -9, with records", Unit: "s", Goal: "the same"},
		{Name: figureManyStatus, What: "pointsman status", Unit: "ms"},
		{Name: figureManySummary, What: "pointsman status --summary -o json", Unit: "ms"},
		{Name: figureManyAll, What: "pointsman status -o json, all pages", Unit: "ms"},
		{Name: figureManyPage, What: "one page of 500 views", Unit: "ms"},
		{Name: figureManyMetrics, What: "/metrics", Unit: "ms"},
		{Name: figureManyScrape, What: "/metrics, size", Unit: "KB"},
		{Name: figureManySeries, What: "/metrics, time series", Unit: ""},
		{Name: figureManyReadyz, What: "/readyz", Unit: "ms"},
	}
}

// many measures the programs with many instances, beside the same programs
// with one.
func (b *bench) many(ctx context.Context) error {
	b.cfg.Say("one instance, to compare with")
	var alone [2]int64
	err := runCrowd(ctx, b.cfg.Lab, 1, b.cfg.ManyRound, func(ctx context.Context, c *crowd) error {
		if err := c.startController(ctx, b.cfg.Lab); err != nil {
			return err
		}
		if _, err := c.picture(ctx); err != nil {
			return err
		}
		var err error
		alone, err = c.resident()
		return err
	})
	if err != nil {
		return err
	}
	b.cfg.Say(fmt.Sprintf("%d instances", b.cfg.Many))
	return runCrowd(ctx, b.cfg.Lab, b.cfg.Many, b.cfg.ManyRound, func(ctx context.Context, c *crowd) error { return b.crowded(ctx, c, alone) })
}

func (b *bench) crowded(ctx context.Context, c *crowd, alone [2]int64) error {
	began := time.Now()
	if err := c.startController(ctx, b.cfg.Lab); err != nil {
		return err
	}
	ready, err := c.ready(ctx)
	if err != nil {
		return err
	}
	b.figures.add(figureManyReady, ready.Sub(began).Seconds())
	seen, err := c.picture(ctx)
	if err != nil {
		return err
	}
	b.figures.add(figureManyPicture, seen.Sub(began).Seconds())
	for range b.cfg.Rounds {
		if err := b.steady(ctx, c); err != nil {
			return err
		}
	}
	now, err := c.resident()
	if err != nil {
		b.figures.lack(figureManyVantageMem, err)
		b.figures.lack(figureManyControlMem, err)
	} else {
		b.figures.add(figureManyControlMem, float64(now[0]-alone[0])/float64(c.size)/1000)
		b.figures.add(figureManyVantageMem, float64(now[1]-alone[1])/float64(c.size)/1000)
	}
	for range b.cfg.Rounds {
		if err := b.asked(ctx, c); err != nil {
			return err
		}
	}
	b.cfg.Say("the controller being started again")
	if err := c.family.Kill(Controller); err != nil {
		return err
	}
	began = time.Now()
	if err := c.family.Again(ctx, Controller); err != nil {
		return err
	}
	if seen, err = c.picture(ctx); err != nil {
		return err
	}
	b.figures.add(figureManyAgain, seen.Sub(began).Seconds())
	downs, err := c.downs()
	if err != nil {
		return err
	}
	b.figures.add(figureManyDowns, float64(downs))
	return nil
}

// steady watches both programs while all is well, and makes a part of the same
// connections itself, before and after.
func (b *bench) steady(ctx context.Context, c *crowd) error {
	b.cfg.Say(fmt.Sprintf("many instances for %s", b.cfg.Idle))
	if floor, err := c.floor(ctx); err != nil {
		b.figures.lack(figureManyFloor, err)
	} else {
		b.figures.add(figureManyFloor, floor)
	}
	var err error
	var before, after [3]usage
	if before, err = c.usages(); err == nil {
		miss := -c.metric(ctx, `pointsman_probes_total{outcome="miss"}`)
		if err := pause(ctx, b.cfg.Idle); err != nil {
			return err
		}
		after, err = c.usages()
		b.figures.add(figureManyMisses, miss+c.metric(ctx, `pointsman_probes_total{outcome="miss"}`))
	}
	if err != nil {
		for _, name := range []string{figureManyController, figureManyVantage, figureManyDecides, figureManyServers} {
			b.figures.lack(name, err)
		}
		return ctx.Err()
	}
	var share [3]float64
	for i := range share {
		share[i] = 100 * (after[i].cpu - before[i].cpu).Seconds() / after[i].at.Sub(before[i].at).Seconds()
	}
	b.figures.add(figureManyController, share[0])
	b.figures.add(figureManyVantage, share[1])
	b.figures.add(figureManyDecides, share[0]-share[1])
	b.figures.add(figureManyServers, share[2])
	p, err := c.look(ctx)
	if err == nil {
		b.figures.add(figureManyNotUp, float64(2*c.size-p.up()))
	}
	return err
}

// asked asks for everything that people and machines ask for, once.
func (b *bench) asked(ctx context.Context, c *crowd) error {
	for name, args := range map[string][]string{
		figureManyStatus: {"status"}, figureManySummary: {"status", "--summary", "-o", "json"}, figureManyAll: {"status", "-o", "json"},
	} {
		start := time.Now()
		if _, err := c.tool.DoWithin(ctx, time.Minute, args...); err != nil {
			return err
		}
		b.figures.add(name, milliseconds(time.Since(start)))
	}
	for name, path := range map[string]string{
		figureManyPage: "/v1/instances?limit=500", figureManyReadyz: "/readyz", figureManyMetrics: "/metrics",
	} {
		a, err := c.ask(ctx, path)
		switch {
		case err != nil:
			return err
		case a.status != http.StatusOK:
			return fmt.Errorf("ask for %s: status %d: %.300s", path, a.status, a.body)
		}
		b.figures.add(name, milliseconds(a.took))
		if name == figureManyMetrics {
			b.figures.add(figureManyScrape, float64(len(a.body))/1000)
			b.figures.add(figureManySeries, float64(len(seriesLine.FindAll(a.body, -1))))
		}
	}
	return nil
}

var seriesLine = regexp.MustCompile(`(?m)^[^#\n]`)

// metric is the value of one series, 0 where it is not shown.
func (c *crowd) metric(ctx context.Context, series string) float64 {
	a, err := c.ask(ctx, "/metrics")
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(a.body) {
		if value, ok := bytes.CutPrefix(line, []byte(series+" ")); ok {
			v, _ := strconv.ParseFloat(string(bytes.TrimSpace(value)), 64)
			return v
		}
	}
	return 0
}

// summary is what the bench reads of status --summary -o json.
type summary struct {
	Instances int                       `json:"instances"`
	Phases    map[string]int            `json:"phases"`
	Verdicts  map[string]map[string]int `json:"verdicts"`
}

func (s summary) up() int { return s.Verdicts["active"]["up"] + s.Verdicts["standby"]["up"] }

func (c *crowd) look(ctx context.Context) (s summary, err error) {
	a, err := c.ask(ctx, "/v1/summary")
	if err == nil {
		err = json.Unmarshal(a.body, &s)
	}
	return s, err
}

// ready waits until the controller says that it is, and returns when.
func (c *crowd) ready(ctx context.Context) (time.Time, error) {
	return c.until(ctx, "the controller to be ready", func() string {
		a, err := c.ask(ctx, "/readyz")
		if err != nil {
			return err.Error()
		}
		if a.status != http.StatusOK {
			return string(a.body)
		}
		return ""
	})
}

// picture waits until all instances are idle and all verdicts up.
func (c *crowd) picture(ctx context.Context) (time.Time, error) {
	return c.until(ctx, "all verdicts to be up", func() string {
		s, err := c.look(ctx)
		if err != nil {
			return err.Error()
		}
		if s.up() != 2*c.size || s.Phases["idle"] != c.size {
			return fmt.Sprintf("%+v", s)
		}
		return ""
	})
}

// crowdBound is how long the bench waits for a crowd: overloaded machines
// abstain, and come to no picture.
const crowdBound = 3 * time.Minute

func (c *crowd) until(ctx context.Context, what string, missing func() string) (time.Time, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, crowdBound, ErrNotReady)
	defer cancel()
	for {
		last := missing()
		if last == "" {
			return time.Now(), nil
		}
		for _, st := range c.family.States() {
			if st.State == Ended {
				return time.Time{}, fmt.Errorf("%s has ended (%s): %q", st.Name, st.How, c.family.Tail(st.Name))
			}
		}
		// Not too often: what is asked for costs the controller a look at all.
		if err := pause(ctx, max(poll, min(time.Second, c.round/5))); err != nil {
			return time.Time{}, fmt.Errorf("wait for %s: %w: %s", what, err, last)
		}
	}
}

// usages are those of the controller, the vantage and this process.
func (c *crowd) usages() (us [3]usage, err error) {
	ctl, _ := c.family.State(Controller)
	van, _ := c.family.State(crowdVantage)
	for i, pid := range []int{ctl.PID, van.PID, os.Getpid()} {
		if us[i], err = readUsage(pid); err != nil {
			return us, err
		}
	}
	return us, nil
}

func (c *crowd) resident() ([2]int64, error) {
	us, err := c.usages()
	return [2]int64{us[0].resident, us[1].resident}, err
}

// downs counts the votes and verdicts of down in the logs.
func (c *crowd) downs() (int, error) {
	n := 0
	for _, part := range []string{Controller, crowdVantage} {
		b, err := os.ReadFile(c.log(part))
		if err != nil {
			return 0, fmt.Errorf("log of %s: %w", part, err)
		}
		n += bytes.Count(b, []byte(" to=down"))
	}
	return n, nil
}

// floor is what the probes of one vantage cost at the least: connect, ask,
// read, close, one after the other, by nothing but system calls.
func (c *crowd) floor(ctx context.Context) (float64, error) {
	const times = 2000
	var doors []netip.AddrPort
	for _, ls := range c.doors {
		for _, l := range ls {
			doors = append(doors, l.Addr().(*net.TCPAddr).AddrPort())
		}
	}
	spent, err := callBarely(ctx, doors, times)
	return 100 * spent.Seconds() / times * float64(2*c.size) / c.round.Seconds(), err
}
