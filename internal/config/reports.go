package config

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"pointsman/internal/report"
)

const (
	maxReports        = 64 // of a file
	maxGlobs          = 64 // of one report
	maxReportChannels = 32 // of one report

	scheduleHint = "write minute, hour, day, month, weekday as in \"0 8 * * *\", or @daily, @weekly, @monthly"
	windowHint   = "write 24h, 7d, previous day, previous week or previous month"
)

// reports takes the health reports.
func (c *compiler) reports(cfg *Config) {
	docs := cfg.doc.Reports
	if len(docs) > maxReports {
		c.fault(docs[maxReports].pos, "join those that go to the same people", "there are %d reports, at most %d are taken", len(docs), maxReports)
		return
	}
	seen := map[string]pos{}
	for i := range docs {
		doc := &docs[i]
		if !doc.Name.set || c.twice(seen, "report", doc.Name) {
			continue
		}
		if !report.IsName(doc.Name.v) || doc.Name.v == report.ByHand {
			c.fault(doc.Name.at, "use lower case letters, digits, '-', '_' and '.', at most 63, and not "+report.ByHand, "%q cannot be the name of a report", doc.Name.v)
			continue
		}
		cfg.Reports = append(cfg.Reports, c.report(doc, cfg))
	}
}

func (c *compiler) report(doc *reportDoc, cfg *Config) report.Config {
	r := report.Config{Name: doc.Name.v}
	loc := c.timezone(doc.Timezone)
	jitter := c.jitter(doc.Jitter)
	var err error
	if doc.Schedule.set && loc != nil {
		if r.Schedule, err = report.ParseSchedule(doc.Schedule.v, loc, jitter, r.Name); err != nil {
			c.fault(doc.Schedule.at, hintOfSchedule(doc.Schedule.v), "schedule: %v", err)
		}
	}
	if r.Window, err = report.ParseWindow(doc.Window.or("24h")); err != nil {
		c.fault(doc.Window.at, windowHint, "window: %v", err)
	}
	r.Keep = between(c, "keep", doc.Keep, report.DefaultKeep, 1, report.MostKeep)
	r.Formats = c.formats(doc.Formats)
	r.Instances = c.globs(doc.Instances, cfg)
	if len(doc.Channels) > maxReportChannels {
		c.fault(doc.Channels[maxReportChannels].at, "leave some out", "report %s has %d channels, at most %d are taken", r.Name, len(doc.Channels), maxReportChannels)
		return r
	}
	seen := map[string]pos{}
	for _, x := range doc.Channels {
		if x.set && !c.twice(seen, "channel", x) {
			if known := cfg.channels(); !slices.Contains(known, x.v) {
				hint := "write it under notify.channels: {name: " + x.v + ", type: folder, path: notices}"
				if len(known) > 0 {
					hint = choice(x.v, known)
				}
				c.fault(x.at, hint, "channel %q is none of notify.channels", x.v)
			}
			r.Channels = append(r.Channels, x.v)
		}
	}
	return r
}

// hintOfSchedule knows what people bring from elsewhere.
func hintOfSchedule(text string) string {
	if zone, _, ok := strings.Cut(text, " "); ok && strings.Contains(zone, "=") {
		_, zone, _ = strings.Cut(zone, "=")
		return fmt.Sprintf("write timezone: %s beside it, and the fields alone here", zone)
	}
	if len(strings.Fields(text)) == 6 && text[0] != '@' {
		return "leave the seconds out: " + scheduleHint
	}
	return scheduleHint
}

// timezone is the place whose wall a calendar is read on, nil where there is
// none of the name.
func (c *compiler) timezone(x val[string]) *time.Location {
	loc, err := time.LoadLocation(x.or("UTC"))
	if err != nil || x.or("UTC") == "Local" {
		c.fault(x.at, "write a name such as Asia/Shanghai or UTC", "timezone %q is not known", x.v)
		return nil
	}
	return loc
}

func (c *compiler) jitter(x val[time.Duration]) time.Duration {
	if x.set && x.v == 0 {
		return 0
	}
	return between(c, "jitter", x, report.DefaultJitter, time.Minute, report.MaxJitter)
}

func (c *compiler) formats(xs []val[string]) []report.Format {
	if xs == nil {
		return slices.Clone(report.Formats)
	}
	out := []report.Format{}
	seen := map[string]pos{}
	for _, x := range xs {
		if !x.set || c.twice(seen, "format", x) {
			continue
		}
		if f := oneOf(c, "formats", x, "", report.Formats...); f != "" {
			out = append(out, f)
		}
	}
	return out
}

// globs are patterns over names of instances; one that meets none is a doubt,
// since the instance may come later.
func (c *compiler) globs(xs []val[string], cfg *Config) []string {
	var out []string
	if len(xs) > maxGlobs {
		c.fault(xs[maxGlobs].at, "use * and ? to name several at once", "instances: %d patterns, at most %d are taken", len(xs), maxGlobs)
		return nil
	}
	for _, x := range xs {
		if !x.set {
			continue
		}
		if err := report.CheckGlob(x.v); err != nil {
			c.fault(x.at, "use * for any letters, ? for one, [ab] for one of some", "instances: %v", err)
			continue
		}
		one := report.Config{Instances: []string{x.v}}
		if !slices.ContainsFunc(cfg.Instances, func(i Instance) bool { return one.Wants(i.Policy.Instance) }) {
			c.warn(x.at, "check the spelling; the report leaves it out until there is one", "no instance is called %q", x.v)
		}
		out = append(out, x.v)
	}
	return out
}

// channels are the names of the channels that there are.
func (cfg *Config) channels() []string {
	if cfg.Notify == nil {
		return nil
	}
	var out []string
	for _, ch := range cfg.Notify.Setup.Channels {
		out = append(out, ch.Name)
	}
	return out
}
