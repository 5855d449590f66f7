package config

import (
	"sync"
	"time"

	"pointsman/internal/failover"
	"pointsman/internal/report"
)

const (
	maxFreezes = 64 // items of one list
	freezeHint = `write one stretch (from, to), a weekly one (days, at, for, zone), a cron line (cron: "0 18 * * 5", for: 62h, zone: Asia/Shanghai), or a calendar (ics_file: freeze.ics)`
)

// freezes takes the freeze windows of an instance and those of all.
func (c *compiler) freezes(cfg *Config, doc *instanceDoc, p *failover.Policy) {
	if c.frozen == nil {
		all := c.freezeList(cfg.doc.Freeze)
		c.frozen = &all
	}
	p.Freeze = append(append([]failover.Window{}, *c.frozen...), c.freezeList(doc.Freeze)...)
	if len(p.Freeze) == 0 {
		p.Freeze = nil
	}
}

// calendars says that a list depends on more than the file.
func calendars(docs []freezeDoc) bool {
	for i := range docs {
		if docs[i].ICSFile.set {
			return true
		}
	}
	return false
}

func (c *compiler) freezeList(docs []freezeDoc) []failover.Window {
	var out []failover.Window
	if len(docs) > maxFreezes {
		c.fault(docs[maxFreezes].pos, "put them into one calendar file: ics_file", "%d freezes are written, at most %d are taken", len(docs), maxFreezes)
		return nil
	}
	for i := range docs {
		out = append(out, c.freeze(&docs[i])...)
	}
	return out
}

func (c *compiler) freeze(doc *freezeDoc) []failover.Window {
	once := doc.From.set || doc.To.set
	weekly := len(doc.Days) > 0 || doc.At.set
	kinds := 0
	for _, is := range []bool{once, weekly, doc.Cron.set, doc.ICSFile.set} {
		if is {
			kinds++
		}
	}
	if kinds != 1 {
		c.fault(doc.pos, freezeHint, "a freeze is one of four: a stretch, a weekly one, a cron line or a calendar")
		return nil
	}
	switch {
	case doc.Cron.set:
		if w, ok := c.cronFreeze(doc); ok {
			return []failover.Window{w}
		}
		return nil
	case doc.ICSFile.set:
		return c.calendar(doc)
	}
	w, ok := c.window(&doc.maintenanceDoc)
	if !ok {
		return nil
	}
	return []failover.Window{w}
}

func (c *compiler) cronFreeze(doc *freezeDoc) (w failover.Window, ok bool) {
	before := len(c.faults)
	w.Reason = c.reason(doc.Reason)
	if !doc.For.set {
		c.fault(doc.pos, "write how long it lasts, as in for: 62h", "for is missing")
	}
	w.Length = between(c, "for", doc.For, time.Hour, time.Minute, failover.MaxFreeze)
	zone, loc := c.timeZone(doc.Zone)
	spec, err := report.ParseCron(doc.Cron.v)
	if err != nil {
		c.fault(doc.Cron.at, `five fields: minute, hour, day, month, weekday, as in "0 18 * * 5"; the zone has a key of its own`, "cron: %v", err)
		return w, false
	}
	w.Zone, w.Spec = zone, "cron "+doc.Cron.v
	w.Schedule = remembered(failover.WallSchedule{Spec: spec, Location: loc})
	return w, len(c.faults) == before
}

func (c *compiler) reason(x val[string]) string {
	if len(x.v) > maxReason {
		c.fault(x.at, "say it shorter", "the reason has %d bytes, at most %d are taken", len(x.v), maxReason)
	}
	return x.v
}

func (c *compiler) timeZone(x val[string]) (string, *time.Location) {
	name := x.or("UTC")
	loc, err := time.LoadLocation(name)
	if err != nil || name == "Local" {
		c.fault(x.at, "write a name such as Asia/Shanghai or UTC", "zone %q is not known", name)
		return "UTC", time.UTC
	}
	return name, loc
}

// memory is a schedule that keeps its newest answers: guards ask it with every
// event, and finding the next moment of a calendar walks over its past.
type memory struct {
	of failover.Schedule

	mu   sync.Mutex
	seen [2]struct{ from, next time.Time } // Next(t) is next for every t from from up to next
}

func remembered(s failover.Schedule) *memory { return &memory{of: s} }

// Next is that of the schedule.
func (m *memory) Next(t time.Time) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.seen {
		if !s.from.IsZero() && !t.Before(s.from) && (t.Before(s.next) || s.next.IsZero()) {
			return s.next
		}
	}
	next := m.of.Next(t)
	m.seen[1] = m.seen[0]
	m.seen[0].from, m.seen[0].next = t, next
	return next
}

// freezeText lists the freezes for people.
func freezeText(p failover.Policy) []Setting {
	var out []Setting
	for i := range p.Freeze {
		out = append(out, Setting{Key: "freeze", Value: windowText(&p.Freeze[i]), From: orElse(p.Freeze[i].Reason, "no reason given")})
	}
	return out
}
