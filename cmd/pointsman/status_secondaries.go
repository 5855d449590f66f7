package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"

	"pointsman/internal/api"
	"pointsman/internal/failover"
)

// statusView is an instance as status prints it: its view, the secondaries of the
// zones that its own names are in, and what is wrong with its vantages' files.
type statusView struct {
	failover.View
	Secondaries []api.Secondary `json:"secondaries,omitempty"`

	// DNS is the newest round of every authority of its names; of one instance alone.
	DNS []api.NameMatrix `json:"dns,omitempty"`

	// Replication is how its rows get to the standby; of one instance alone.
	Replication *api.ReplicationStatus `json:"replication,omitempty"`

	// Vantages are those elsewhere whose newest file is refused.
	Vantages []api.VantageRefusal `json:"vantages,omitempty"`

	// Clocks are those of the vantages elsewhere that vote on it.
	Clocks []api.VantageClock `json:"vantage_clocks,omitempty"`
}

func statusViews(vs []failover.View, all []api.Secondary, st api.ConfigState) []statusView {
	byZone := make(map[string][]api.Secondary)
	for _, s := range all {
		byZone[s.Zone] = append(byZone[s.Zone], s)
	}
	out := make([]statusView, len(vs))
	for i, v := range vs {
		out[i].View, out[i].Vantages, out[i].Clocks = v, st.Vantages, clocksOf(&v, st.Clocks)
		if len(all) == 0 {
			continue
		}
		told := make(map[string]bool)
		for _, n := range v.Names {
			if zone := zoneOf(n, byZone); zone != "" && !told[zone] {
				told[zone] = true
				out[i].Secondaries = append(out[i].Secondaries, byZone[zone]...)
			}
		}
	}
	return out
}

// zoneOf finds the zone of an embedded name: the longest that it is below.
func zoneOf(n failover.NameView, zones map[string][]api.Secondary) string {
	if n.Provider != "embedded" {
		return ""
	}
	for name := strings.ToLower(string(n.Name)); name != ""; _, name, _ = strings.Cut(name, ".") {
		if zones[name] != nil {
			return name
		}
	}
	return ""
}

// writeSecondaries prints one line for each secondary; of many, for each that
// needs a look. Of none it prints nothing.
func (a *app) writeSecondaries(w io.Writer, all []api.Secondary) {
	var rows [][]string
	for _, s := range all {
		if len(all) > statusMost && (s.OK || len(rows) == statusMost) {
			continue
		}
		verdict := s.Verdict
		if !s.OK {
			verdict = a.paint(text.FgYellow, verdict)
		}
		rows = append(rows, []string{
			s.Address, s.Zone, serialAt(s.Sent, s.SentAt, s.At), serialAt(s.Acknowledged, s.AcknowledgedAt, s.At), serialAt(s.Served, s.ServedAt, s.At), verdict,
		})
	}
	if len(rows) > 0 {
		fmt.Fprintln(w)
		a.table(w, []string{"SECONDARY", "ZONE", "SENT", "ACKNOWLEDGED", "SERVED", "STATE"}, rows)
	}
	if len(all) > statusMost {
		fmt.Fprintf(w, "\nsecondaries: %d of %d are shown, which need a look\n", len(rows), len(all))
	}
}

// serialAt is a serial and how long ago that was; "-" is never.
func serialAt(serial uint32, at, now time.Time) string {
	if at.IsZero() {
		return "-"
	}
	return fmt.Sprintf("%d, %s ago", serial, age(now.Sub(at)))
}

// publishedWords says what the authorities of a name said when they were asked
// last. Without agreement it says how long ago that was, and what was seen
// since: after a first start they are asked before secondaries have the zone,
// and again only when read_every has passed.
func publishedWords(v *statusView, n failover.NameView) string {
	p := n.Published
	switch {
	case p == nil && n.Value == "":
		return "-"
	case p == nil:
		return "not asked yet"
	case p.Wanted != n.Value:
		return "not asked since it changed"
	case p.Agree:
		return fmt.Sprintf("%d of %d", p.Agreeing, p.Asked)
	}
	asked := fmt.Sprintf("%d of %d, %s ago", p.Agreeing, p.Asked, age(v.At.Sub(p.AskedAt)))
	has := 0
	for _, s := range v.Secondaries {
		if !s.Clients {
			continue
		}
		if s.Served != s.Serial || s.Serial == 0 || !s.ServedAt.After(p.AskedAt) {
			return asked
		}
		has++
	}
	if has == 0 || n.Provider != "embedded" {
		return asked
	}
	return "not verified yet (" + asked + "; every secondary has it since)"
}
