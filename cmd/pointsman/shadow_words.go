package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"pointsman/dnsctl"
	"pointsman/internal/api"
	"pointsman/internal/failover"
	"pointsman/internal/ledger"
	reporting "pointsman/internal/report"
)

// episodeText is one episode for people, in the order in which it happened.
func episodeText(w io.Writer, j *failover.Judged) {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%-12s  %s\n", name, clean(fmt.Sprintf(format, args...)))
	}
	line("episode", "%s of %s, in mode %s", j.ID, j.Instance, j.Mode)
	line("judgement", "%s: %s", j.Judgement, j.Why)
	if j.Gained > 0 {
		line("gained", "%s", age(j.Gained))
	}
	line("began", "%s: a domain said down of %s, the active cluster", stamp(j.Began), j.Active)
	line("votes", "at most %d of %d domains said down, %d needed", j.MostDown, j.Domains, j.Quorum)
	if !j.DownAt.IsZero() {
		line("down", "%s, first miss %s, at most %s without a break", stamp(j.DownAt), stamp(j.DownSince), age(j.Longest))
	}
	if !j.RodeOutAt.IsZero() {
		line("ridden out", "%s, after %s", stamp(j.RodeOutAt), j.RideOut)
	} else {
		line("ridden out", "no: ride_out is %s", j.RideOut)
	}
	if j.WouldAt.IsZero() {
		line("would move", "no")
	} else {
		line("would move", "%s: failover from %s to %s", stamp(j.WouldAt), j.Active, j.Standby)
	}
	if j.Exposure != "" {
		line("exposure", "%s", j.Exposure)
	}
	line("then", "%s", endWords(&j.Episode))
	for _, g := range j.Gaps {
		to := stamp(g.To)
		if g.To.IsZero() {
			to = "now"
		}
		line("gap", "%s to %s: %s", stamp(g.From), to, g.Why)
	}
	if len(j.Guards) > 0 {
		fmt.Fprintln(w, "\nguards that spoke:")
	}
	for _, g := range j.Guards {
		fmt.Fprintf(w, "  %s by %s, from %s: %s\n", spokeWords[g.Kind], g.Guard, stamp(g.First), clean(g.Why))
	}
	if len(j.Evidence) > 0 {
		fmt.Fprintln(w, "\nevidence at that moment:")
	}
	for _, e := range j.Evidence {
		fmt.Fprintf(w, "  %s\n", clean(e))
	}
}

var spokeWords = map[failover.SpokeKind]string{
	failover.SpokeNotArmed: "not armed", failover.SpokeStop: "stopped", failover.SpokeWorld: "refused",
}

// endWords says what really happened.
func endWords(e *failover.Episode) string {
	switch e.End {
	case failover.EndRecovered:
		return fmt.Sprintf("%s was up again from %s on", e.Active, stamp(e.UpAt))
	case failover.EndUnseen:
		return fmt.Sprintf("from %s on nobody could say how %s was", stamp(e.EndedAt), e.Active)
	case failover.EndMoved:
		m := e.Moved
		who := "a person"
		if m.Auto {
			who = "pointsman"
		} else if m.By != "" {
			who = m.By
		}
		s := fmt.Sprintf("%s moved it to %s at %s (%s", who, m.To, stamp(m.At), m.Kind)
		if m.Op != "" {
			s += " " + m.Op
		}
		s += ")"
		if !e.UpAt.IsZero() {
			s += fmt.Sprintf("; %s was up again from %s on", e.Active, stamp(e.UpAt))
		}
		return s
	}
	return "it is not over"
}

// pastWords says lines of the history that look back in one line each, and as
// they are where they cannot be read; false for those of other kinds.
func pastWords(s api.Sample) (string, bool) {
	line, ok := readPast(s)
	if !ok && slices.Contains([]string{episodeKind, propagationKind, recordingKind, silenceKind, policyKind, ledger.KindVotes, reporting.KindClock, reporting.KindExposure}, s.Kind) {
		return string(s.Data), true
	}
	return line, ok
}

func readPast(s api.Sample) (string, bool) {
	switch s.Kind {
	case episodeKind:
		var e failover.Episode
		if json.Unmarshal(s.Data, &e) != nil || e.ID == "" {
			return "", false
		}
		j := failover.Judge(e, time.Now())
		return fmt.Sprintf("%s %s: %s; %s", j.ID, j.Judgement, j.Why, endWords(&e)), true
	case propagationKind:
		var g dnsctl.Propagation
		if json.Unmarshal(s.Data, &g) != nil || g.Op == "" {
			return "", false
		}
		return propagationWords(&g), true
	case recordingKind:
		var r failover.Recording
		if json.Unmarshal(s.Data, &r) != nil || r.From.IsZero() {
			return "", false
		}
		end := "and goes on"
		if r.Ended {
			end = "and ended"
		}
		return fmt.Sprintf("%s records from %s, last seen %s, %s; %d lines dropped", r.Controller, stamp(r.From), stamp(r.Until), end, r.Dropped), true
	case ledger.KindVotes:
		var t failover.Tape
		if json.Unmarshal(s.Data, &t) != nil || t.Version == 0 {
			return "", false
		}
		return tapeWords(&t), true
	case policyKind:
		var p failover.Policy
		if json.Unmarshal(s.Data, &p) != nil || p.Instance == "" {
			return "", false
		}
		return fmt.Sprintf("runs by policy %.12s: preset %s, ride_out %s, auto %s", p.Expected, p.Preset, p.RideOut, p.Auto), true
	case reporting.KindClock:
		var h reporting.ClockHour
		if json.Unmarshal(s.Data, &h) != nil || h.Vantage == "" {
			return "", false
		}
		return fmt.Sprintf("the clock of vantage %s is %s; in the hour from %s it was at worst %s", h.Vantage, h.Latest, stamp(h.Hour), h.Worst), true
	case reporting.KindExposure:
		var h reporting.ExposureHour
		if json.Unmarshal(s.Data, &h) != nil || h.Hour.IsZero() {
			return "", false
		}
		return exposureHourWords(&h), true
	case silenceKind:
		var q failover.Silence
		if json.Unmarshal(s.Data, &q) != nil || q.Vantage == "" {
			return "", false
		}
		until := "still"
		if !q.To.IsZero() {
			until = "until " + stamp(q.To)
		}
		return fmt.Sprintf("vantage %s is silent of %d instances from %s, %s", q.Vantage, q.Instances, stamp(q.From), until), true
	}
	return "", false
}

// mostTapeWords is how many changes of votes one line of the history tells.
const mostTapeWords = 6

// tapeWords says which votes changed on a tape.
func tapeWords(t *failover.Tape) string {
	notes, err := t.Read()
	if err != nil {
		return err.Error()
	}
	type key struct {
		v failover.VantageName
		c int
	}
	said := map[key]failover.Vote{}
	var out []string
	for _, n := range notes {
		switch n.Kind {
		case failover.NoteSilent:
			out = append(out, fmt.Sprintf("%s fell silent", n.Vantage))
		case failover.NoteTilt:
			out = append(out, "the process stalled")
		case failover.NoteReport:
			for c, s := range n.Seen {
				was, had := said[key{n.Vantage, c}]
				if s == nil || had && was == s.Vote {
					continue
				}
				said[key{n.Vantage, c}] = s.Vote
				if had {
					out = append(out, strings.TrimSuffix(fmt.Sprintf("%s says %s of %s: %s", n.Vantage, s.Vote, t.Clusters[c], s.Reason), ": "))
				}
			}
		}
	}
	if n := len(out) - mostTapeWords; n > 0 {
		out = append(out[:mostTapeWords], fmt.Sprintf("and %d more", n))
	}
	if len(out) == 0 {
		out = []string{"no vote changed"}
	}
	return fmt.Sprintf("%d notes in %s: %s", len(notes), age(t.Until.Sub(t.From)), strings.Join(out, ", "))
}
