package lab

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// deadFor is how long the controller stays dead while its secondaries answer.
const deadFor = 3 * time.Second

// noSecondary says why the stories of secondaries cannot be told in a world.
func noSecondary(w *World) string {
	if len(w.Secondaries) > 0 {
		return ""
	}
	return "no DNS server is here that could be a secondary: install nsd, knot, bind9 or pdns-server"
}

// playControllerDead kills the controller and watches every secondary answer
// as if nothing had happened; then the controller comes back, a person moves
// the name, and every secondary follows.
func playControllerDead(ctx context.Context, st *stage) error {
	recs := map[string]*Recorder{}
	g, gctx := errgroup.WithContext(ctx)
	for _, s := range st.lab.World.Secondaries {
		rec, err := NewRecorder(RecorderConfig{Server: s.Addr, Name: st.name, Hosts: st.lab.World.Hosts()})
		if err != nil {
			return err
		}
		recs[s.Name] = rec
		g.Go(func() error { return rec.Run(gctx) })
	}
	g.Go(func() error {
		if err := st.killedAndMoved(gctx, recs); err != nil {
			return err
		}
		return errBodyDone
	})
	if err := g.Wait(); !errors.Is(err, errBodyDone) {
		return err
	}
	return nil
}

func (st *stage) killedAndMoved(ctx context.Context, recs map[string]*Recorder) error {
	killed := time.Now()
	if err := st.lab.Kill(Controller); err != nil {
		return err
	}
	if err := pause(ctx, deadFor); err != nil {
		return err
	}
	alone := time.Now()
	if err := st.lab.Heal(ctx, Controller); err != nil {
		return err
	}
	bctx, cancel := context.WithTimeoutCause(ctx, 2*Bound, ErrNotReady)
	defer cancel()
	if err := st.lab.AwaitView(bctx, st.instance, "to be calm", bothUp); err != nil {
		return err
	}
	if err := playSwitchover(ctx, st); err != nil {
		return err
	}
	site, _ := st.lab.World.Cluster(st.to)
	for name, rec := range recs {
		if _, err := rec.Until(bctx, st.fault, func(a Answer) bool { return a.Target == site.Target }); err != nil {
			if ctx.Err() != nil {
				return err
			}
			st.broken("%s did not show %s in time", name, site.Target)
		}
	}
	commits, err := st.commits(ctx)
	if err != nil {
		return err
	}
	for name, rec := range recs {
		answers, err := rec.Take(ctx)
		if err != nil {
			return err
		}
		st.judgeSecondary(name, answers, commits, killed, alone)
	}
	return nil
}

// judgeSecondary wants every question answered, and rightly, and among them
// enough in the time when the controller was dead.
func (st *stage) judgeSecondary(name string, answers []Answer, commits []Commit, from, to time.Time) {
	counts, examples := Judge(answers, commits)
	if counts.Broken() || counts.Missing > 0 {
		st.broken("%s: of %d questions %d went unanswered; %d answers were empty, %d NXDOMAIN, %d SERVFAIL, %d wrong %s", name,
			len(answers), counts.Missing, counts.Empty, counts.NXDomain, counts.Servfail, counts.Wrong, strings.Join(examples, "; "))
	}
	alone := 0
	for _, a := range answers {
		if a.Asked.After(from) && a.Asked.Before(to) && a.Kind == AnswerTarget {
			alone++
		}
	}
	if alone == 0 {
		st.broken("%s was not asked while the controller was dead", name)
	}
	if st.alone == nil {
		st.alone = map[string]int{}
	}
	st.alone[name] = alone
	if order := Moves(answers); fmt.Sprint(order) != fmt.Sprint(targets(st)) {
		st.broken("%s went %s, not %s", name, strings.Join(order, " → "), strings.Join(targets(st), " → "))
	}
}

// targets are the two targets of a story in which the name moves.
func targets(st *stage) []string {
	from, _ := st.lab.World.Cluster(st.from)
	to, _ := st.lab.World.Cluster(st.to)
	return []string{from.Target, to.Target}
}
