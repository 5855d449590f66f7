package config

import (
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // zones on machines that have no files of them

	"pointsman/internal/failover"
)

// weekdays are the words for days, in the order of time.Weekday.
var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

const (
	maxWindows   = 64 // of one cluster
	maxReason    = 200
	stretchHint  = "write one stretch as {from: 2026-12-01T02:00:00+08:00, to: 2026-12-01T04:00:00+08:00}, or a weekly one as {days: [sat], at: \"02:00\", for: 2h, zone: Asia/Shanghai}"
	instantHint  = "write date, time and offset as in 2026-12-01T02:00:00+08:00 (RFC 3339)"
	wallTimeHint = "write hours and minutes as in \"02:00\", between 00:00 and 23:59"
)

// windows takes the maintenance windows of the clusters.
func (c *compiler) windows(doc *instanceDoc, p *failover.Policy) {
	for i := range doc.Clusters {
		e := &doc.Clusters[i]
		if len(e.val.Maintenance) > maxWindows {
			c.fault(e.val.Maintenance[maxWindows].pos, "remove those that are over", "cluster %s has %d maintenance windows, at most %d are taken", e.key, len(e.val.Maintenance), maxWindows)
			continue
		}
		for j := range e.val.Maintenance {
			if w, ok := c.window(&e.val.Maintenance[j]); ok {
				w.Cluster = failover.ClusterName(e.key)
				p.Maintenance = append(p.Maintenance, w)
			}
		}
	}
}

func (c *compiler) window(doc *maintenanceDoc) (w failover.Window, ok bool) {
	before := len(c.faults)
	w.Reason = c.reason(doc.Reason)
	once, weekly := doc.From.set || doc.To.set, len(doc.Days) > 0 || doc.At.set || doc.For.set || doc.Zone.set
	switch {
	case once == weekly:
		c.fault(doc.pos, stretchHint, "a window is either one stretch (from, to) or comes again (days, at, for)")
	case once:
		w.From, w.To = c.instant("from", doc.From, doc.pos), c.instant("to", doc.To, doc.pos)
		if len(c.faults) == before && !w.To.After(w.From) {
			c.fault(doc.To.at, "the end comes after the beginning", "to %s is not after from %s", doc.To.v, doc.From.v)
		}
	default:
		c.weekly(doc, &w)
	}
	return w, len(c.faults) == before
}

func (c *compiler) weekly(doc *maintenanceDoc, w *failover.Window) {
	if len(doc.Days) == 0 {
		c.fault(doc.pos, "for every day write days: [sun, mon, tue, wed, thu, fri, sat]", "days is missing")
	}
	seen := map[time.Weekday]bool{}
	for _, x := range doc.Days {
		day := time.Weekday(-1)
		for i, word := range weekdays {
			if strings.EqualFold(x.v, word) {
				day = time.Weekday(i)
			}
		}
		switch {
		case day < 0:
			c.fault(x.at, choice(x.v, weekdays), "day %q is not known", x.v)
		case seen[day]:
			c.fault(x.at, "write each day once", "%s is there twice", x.v)
		default:
			seen[day] = true
			w.Days = append(w.Days, day)
		}
	}
	switch at, err := time.Parse("15:04", doc.At.v); {
	case !doc.At.set:
		c.fault(doc.pos, wallTimeHint, "at is missing")
	case err != nil:
		c.fault(doc.At.at, wallTimeHint, "at: %q is no time of a day", doc.At.v)
	default:
		w.Start = time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute
	}
	if !doc.For.set {
		c.fault(doc.pos, "write how long it lasts, as in for: 2h", "for is missing")
	}
	w.Length = between(c, "for", doc.For, time.Hour, time.Minute, 7*24*time.Hour)
	w.Zone, w.Location = c.timeZone(doc.Zone)
}

func (c *compiler) instant(key string, x val[string], at pos) time.Time {
	if !x.set {
		if x.at == (pos{}) {
			c.fault(at, instantHint, "%s is missing", key)
		}
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, x.v)
	if err != nil {
		c.fault(x.at, instantHint, "%s: %q is no moment", key, x.v)
	}
	return t
}

// maintenanceText lists the windows for people.
func maintenanceText(p failover.Policy) []Setting {
	var out []Setting
	for i := range p.Maintenance {
		w := &p.Maintenance[i]
		out = append(out, Setting{Key: fmt.Sprintf("maintenance of %s", w.Cluster), Value: windowText(w), From: orElse(w.Reason, "no reason given")})
	}
	return out
}

// windowText says when a window is, for people.
func windowText(w *failover.Window) string {
	switch {
	case w.Schedule != nil:
		return fmt.Sprintf("%s for %s, %s", w.Spec, figure(w.Length), w.Zone)
	case len(w.Days) > 0:
		var ds []string
		for _, d := range w.Days {
			ds = append(ds, weekdays[d])
		}
		return fmt.Sprintf("%s %02d:%02d for %s, %s", strings.Join(ds, " "), w.Start/time.Hour, w.Start%time.Hour/time.Minute, figure(w.Length), w.Zone)
	}
	return fmt.Sprintf("%s to %s", w.From.Format(time.RFC3339), w.To.Format(time.RFC3339))
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
