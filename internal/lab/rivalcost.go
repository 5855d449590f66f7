package lab

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"time"
)

// The processors of the servers and of the generator.
const serverCPU, generatorCPU = "0", "1"

// costs asks one server after the other as fast as it answers, and again.
func (b *bench) costs(ctx context.Context, l *Lab) error {
	type served struct {
		name, part string
		addr       netip.AddrPort
	}
	all := []served{{us, Controller, l.World.DNS}}
	declare := func(name string, err error) {
		for _, f := range []Figure{
			{Name: "cost_" + name + "_us", What: "CPU of an answer, " + name, Unit: "µs"},
			{Name: "rate_" + name, What: "answers, " + name, Unit: "1/s"},
		} {
			if err != nil {
				f.Missing = err.Error()
			}
			b.figures.Figures = append(b.figures.Figures, f)
		}
	}
	declare(us, nil)
	taken := map[uint16]bool{0: true}
	for _, a := range answerers() {
		if len(installed(map[string][]string{a.name: a.needs})) == 0 {
			declare(a.name, fmt.Errorf("%s %w", a.name, ErrNotInstalled))
			continue
		}
		addr, err := loopback(taken)
		if err != nil {
			return err
		}
		s := a.server(l.World, "cost-"+a.name, addr)
		s.cpu = l.cfg.CPU
		if err := l.startServer(ctx, s); err != nil {
			return err
		}
		declare(a.name, nil)
		all = append(all, served{a.name, s.part, addr})
	}
	generator := ""
	if l.cfg.CPU != "" {
		generator = generatorCPU
	}
	for round := range max(b.cfg.Rounds, 3) {
		for _, s := range all {
			b.cfg.Say(fmt.Sprintf("answers of %s, round %d", s.name, round+1))
			st, _ := l.family.State(s.part)
			before, err := groupCPU(st.PID)
			start, n := time.Now(), 0
			if err == nil {
				n, err = questionsFrom(ctx, generator, s.addr, l.World.Dir, l.World.Instances[0].Names[0], b.cfg.Ask)
			}
			took := time.Since(start)
			after, gone := groupCPU(st.PID)
			switch {
			case ctx.Err() != nil:
				return context.Cause(ctx)
			case err != nil || gone != nil || n == 0:
				b.figures.lack("cost_"+s.name+"_us", errors.Join(err, gone))
				b.figures.lack("rate_"+s.name, errors.Join(err, gone))
			default:
				b.figures.add("cost_"+s.name+"_us", float64((after-before).Microseconds())/float64(n))
				b.figures.add("rate_"+s.name, math.Round(float64(n)/took.Seconds()))
			}
		}
	}
	return nil
}
