package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"pointsman/healthcheck"
	"pointsman/internal/api"
	"pointsman/internal/failover"
)

// A vantage elsewhere has no ears: that its newest file is refused stands in
// its log, and in its reports to us.

// refusals lists the vantages elsewhere whose newest file is refused, by name.
func (p *process) refusals() []api.VantageRefusal {
	if p.receiver == nil {
		return nil
	}
	var out []api.VantageRefusal
	for v, c := range p.receiver.Configs() {
		if !c.Refused.IsZero() {
			out = append(out, api.VantageRefusal{Vantage: v, Since: c.Refused, Heard: c.Heard, Reason: c.Reason})
		}
	}
	slices.SortFunc(out, func(a, b api.VantageRefusal) int { return strings.Compare(string(a.Vantage), string(b.Vantage)) })
	return out
}

// heardConfig logs what a vantage says anew, and lets people who watch see it.
func (p *process) heardConfig(v failover.VantageName, c healthcheck.VantageConfig) {
	if c.Refused.IsZero() {
		p.log.Info("config of a vantage is good again", "vantage", v)
	} else {
		p.log.Error("config of a vantage is refused there, its old one goes on", "vantage", v, "since", c.Refused, "reason", c.Reason,
			"hint", "mend the file at the vantage; its log names every mistake")
	}
	if p.news != nil {
		p.news.tell()
	}
}

// refusalNotice is the line of one of them.
func refusalNotice(r api.VantageRefusal) string {
	silent := ""
	if d := time.Since(r.Heard); d > time.Minute {
		silent = fmt.Sprintf(", silent for %s", age(d))
	}
	return fmt.Sprintf("vantage %s: its newest file is refused since %s: %s; its old one goes on%s", r.Vantage, stamp(r.Since), r.Reason, silent)
}

// configured is the reloader for the API: with what vantages say.
type configured struct {
	*reloader
	p *process
}

// Config says what runs (api.Reloads).
func (c configured) Config() api.ConfigState {
	st := c.reloader.Config()
	st.Vantages, st.Clocks = c.p.refusals(), c.p.vantageClocks()
	return st
}

// configOf asks what runs. An older controller knows nothing of it.
func configOf(ctx context.Context, c *api.Client) api.ConfigState {
	st, err := c.Config(ctx)
	if err != nil {
		return api.ConfigState{}
	}
	return st
}

// configBanner are the lines above the status while files are refused.
func configBanner(st api.ConfigState) string {
	var lines []string
	if st.Refused != nil {
		lines = append(lines, "CONFIG  "+strings.TrimPrefix(configNotice(st), "config: "))
	}
	for _, r := range st.Vantages {
		lines = append(lines, "CONFIG  "+refusalNotice(r))
	}
	return strings.Join(lines, "\n")
}
