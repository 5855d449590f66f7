package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"pointsman/healthcheck"
	"pointsman/internal/api"
	"pointsman/internal/failover"
	reporting "pointsman/internal/report"
)

// clockFresh is for how long a reading of a vantage's clock counts as now. A
// vantage speaks once a round.
const clockFresh = time.Minute

// clocks keeps what vantages elsewhere show of their clocks, by the hour, until
// the recording writes it into the history. Nothing that decides reads it.
type clocks struct {
	mu    sync.Mutex
	hours map[clockKey]*clockHour
	off   map[failover.VantageName]bool // that a warning was logged of
}

type clockKey struct {
	vantage failover.VantageName
	hour    int64 // Unix
}

type clockHour struct {
	reporting.ClockHour
	told bool // it is in the history as it is
}

// take adds a reading. It says whether the clock went beyond the limit, or came
// back from there by half of it.
func (c *clocks) take(v failover.VantageName, r healthcheck.ClockReading) (off, back bool) {
	at := clockAt(r)
	k := clockKey{v, r.At.Truncate(time.Hour).Unix()}
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.hours[k]
	switch {
	case h == nil:
		if c.hours == nil {
			c.hours, c.off = map[clockKey]*clockHour{}, map[failover.VantageName]bool{}
		}
		c.hours[k] = &clockHour{ClockHour: reporting.ClockHour{Vantage: v, Hour: time.Unix(k.hour, 0).UTC(), Latest: at, Worst: at}}
	default:
		h.Latest, h.told = at, false
		if at.Least() > h.Worst.Least() {
			h.Worst = at
		}
	}
	was := c.off[v]
	switch {
	case at.Off():
		c.off[v] = true
	case was && r.Offset.Abs()+r.Within < reporting.ClockLimit/2:
		delete(c.off, v)
	}
	return !was && c.off[v], was && !c.off[v]
}

func clockAt(r healthcheck.ClockReading) reporting.ClockAt {
	return reporting.ClockAt{At: r.At.Round(0).UTC(), Offset: r.Offset, Within: r.Within}
}

// untold are the hours to be written. Those that are over are given away.
func (c *clocks) untold(now time.Time) []reporting.ClockHour {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []reporting.ClockHour
	for k, h := range c.hours {
		if !h.told {
			h.told = true
			out = append(out, h.ClockHour)
		}
		if now.Unix() >= k.hour+2*3600 {
			delete(c.hours, k)
		}
	}
	return out
}

// heardClock is told of each reading.
func (p *process) heardClock(v failover.VantageName, r healthcheck.ClockReading) {
	switch off, back := p.clocks.take(v, r); {
	case off:
		p.log.Warn("the clock of a vantage and ours are apart", "vantage", v, "reading", clockAt(r).String(),
			"hint", "see which of the two machines lost its time service; no decision hangs on it")
	case back:
		p.log.Info("the clock of a vantage is right again", "vantage", v, "reading", clockAt(r).String())
	}
}

// vantageClocks says of each vantage elsewhere how far its clock is off now, by
// name.
func (p *process) vantageClocks() []api.VantageClock {
	if p.receiver == nil {
		return nil
	}
	now := time.Now()
	heard := p.receiver.Configs()
	var out []api.VantageClock
	for v, r := range p.receiver.Clocks() {
		x := api.VantageClock{Vantage: v}
		switch h, known := heard[v]; {
		case !known || h.Heard.IsZero():
			x.Unknown = "no message of it has come since the start of the controller"
		case now.Sub(h.Heard) > clockFresh:
			x.Unknown = "it is silent since " + stamp(h.Heard)
		case r.At.IsZero() || now.Sub(r.At) > clockFresh:
			x.Unknown = "it says too little of it (a version that says enough comes with its second message)"
		default:
			at := clockAt(r)
			x.At, x.OffsetNS, x.WithinNS, x.Off = at.At, int64(at.Offset), int64(at.Within), at.Off()
		}
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b api.VantageClock) int { return strings.Compare(string(a.Vantage), string(b.Vantage)) })
	return out
}

// Clocks are those of the vantages elsewhere (reporting.Source).
func (r reported) Clocks() []reporting.ClockNow {
	var out []reporting.ClockNow
	for _, c := range r.p.vantageClocks() {
		x := reporting.ClockNow{Vantage: c.Vantage, Why: c.Unknown}
		if c.Unknown == "" {
			x.Now = &reporting.ClockAt{At: c.At, Offset: time.Duration(c.OffsetNS), Within: time.Duration(c.WithinNS)}
		}
		out = append(out, x)
	}
	return out
}

// clocksOf are those of the vantages that vote on an instance.
func clocksOf(v *failover.View, all []api.VantageClock) []api.VantageClock {
	votes := map[failover.VantageName]bool{}
	for i := range v.Clusters {
		for _, x := range v.Clusters[i].Votes {
			votes[x.Vantage] = true
		}
	}
	var out []api.VantageClock
	for _, c := range all {
		if votes[c.Vantage] {
			out = append(out, c)
		}
	}
	return out
}

func writeClocks(w io.Writer, cs []api.VantageClock) {
	for _, c := range cs {
		fmt.Fprintf(w, "clock of vantage %s: %s\n", clean(string(c.Vantage)), clean(clockWords(c)))
	}
}

func clockWords(c api.VantageClock) string {
	if c.Unknown != "" {
		return "unknown, " + c.Unknown
	}
	words := reporting.ClockAt{Offset: time.Duration(c.OffsetNS), Within: time.Duration(c.WithinNS)}.String()
	if c.Off {
		words += " (look at the time service of both machines; no decision hangs on it)"
	}
	return words
}
