package main

import (
	"fmt"
	"io"
	"time"

	"pointsman/internal/failover"
	"pointsman/internal/simulate"
)

func (a *app) replayText(w io.Writer, v *replayView, since time.Time) {
	if len(v.Instances) == 0 {
		from := ""
		if !since.IsZero() {
			from = " since " + stamp(since)
		}
		fmt.Fprintf(w, "no votes are recorded%s: nothing stirred, or nobody looked (pointsman shadow score says which)\n", from)
		return
	}
	for i := range v.Instances {
		if i > 0 {
			fmt.Fprintln(w)
		}
		a.comparison(w, &v.Instances[i])
	}
}

func (a *app) comparison(w io.Writer, c *simulate.Comparison) {
	if c.Ran.From.IsZero() {
		fmt.Fprintf(w, "%s: no votes are recorded\n", c.Instance)
		return
	}
	fmt.Fprintf(w, "%s, votes from %s to %s\n", c.Instance, stamp(c.Ran.From), stamp(c.Ran.Until))
	fmt.Fprintf(w, "  as it ran:  %d moves; %s\n", len(c.Ran.Moves), scoreLine(c.Ran.Counts, c.Ran.Gained))
	fmt.Fprintf(w, "  as asked:   %d moves; %s\n", len(c.Asked.Moves), scoreLine(c.Asked.Counts, c.Asked.Gained))
	if c.Sooner != 0 {
		fmt.Fprintf(w, "  %s\n", soonerWords(c.Sooner)+", over all moves that both make")
	}
	if len(c.Incidents) > 0 {
		fmt.Fprintln(w)
		rows := make([][]string, 0, len(c.Incidents))
		for _, d := range c.Incidents {
			sooner := "-"
			if d.Sooner != 0 {
				sooner = soonerWords(d.Sooner)
			}
			rows = append(rows, []string{stamp(d.Began), string(d.Cluster), wouldMove(d.Ran), wouldMove(d.Asked), sooner, d.What})
		}
		a.table(w, []string{"BEGAN", "CLUSTER", "RAN: MOVE", "ASKED: MOVE", "DIFFERENCE", "JUDGEMENT"}, rows)
	}
	for _, g := range c.Gaps {
		fmt.Fprintf(w, "not covered: %s to %s: %s\n", stamp(g.From), stamp(g.To), clean(g.Why))
	}
	for _, x := range c.Warnings {
		fmt.Fprintf(w, "warning: %s\n", clean(x))
	}
}

func wouldMove(j *failover.Judged) string {
	if j == nil || j.WouldAt.IsZero() {
		return "no"
	}
	return j.WouldAt.Local().Format("15:04:05.000")
}

func soonerWords(d time.Duration) string {
	if d < 0 {
		return took(-d) + " later"
	}
	return took(d) + " sooner"
}
