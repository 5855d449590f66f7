package lab

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// WriteTable prints the report for people; over several rounds also the
// least, middle and largest time from fault to answer of each story.
func (r Report) WriteTable(w io.Writer) {
	t := newTable(w)
	t.AppendHeader(table.Row{"story", "move", "detected", "decided", "answered", "verified", "answers", "empty", "nxdomain", "servfail", "wrong", "missing", ""})
	for _, s := range r.Stories {
		move := s.From + " stays"
		if s.To != "" {
			move = s.From + " → " + s.To
		}
		verdict := "ok"
		if !s.OK {
			verdict = "BROKEN"
		}
		t.AppendRow(table.Row{
			s.Name, move, ms(s.DetectedMS), ms(s.DecidedMS), ms(s.AnsweredMS), ms(s.VerifiedMS),
			s.Answers, s.Empty, s.NXDomain, s.Servfail, s.Wrong, s.Missing, verdict,
		})
	}
	var columns []table.ColumnConfig
	for n := 3; n <= 12; n++ {
		columns = append(columns, table.ColumnConfig{Number: n, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	t.SetColumnConfigs(columns)
	t.Render()
	fmt.Fprintln(w, "Times are ms after the fault, or after the command. An answer is asked for every 2 ms.")
	r.writeSpread(w)
	r.writeClients(w)
	for _, s := range r.Stories {
		if len(s.Alone) > 0 {
			var each []string
			for _, name := range slices.Sorted(maps.Keys(s.Alone)) {
				each = append(each, fmt.Sprintf("%s %d", name, s.Alone[name]))
			}
			fmt.Fprintf(w, "%s: answers of the secondaries while the controller was dead: %s\n", s.Name, strings.Join(each, ", "))
		}
		s.writeEvidence(w)
		for _, why := range s.Why {
			fmt.Fprintf(w, "%s: %s\n", s.Name, why)
		}
	}
	for _, what := range r.LeftOut {
		fmt.Fprintf(w, "left out: %s\n", what)
	}
}

// writeClients prints what the client that writes saw, where there is one.
func (r Report) writeClients(w io.Writer) {
	if r.Writes == nil && r.Replicated == nil {
		return
	}
	t := newTable(w)
	t.AppendHeader(table.Row{"client", "acknowledged", "errors", "pause", "to the old one", "errors there", "for", "not found", ""})
	for _, s := range r.Stories {
		if c := s.Client; c != nil {
			old, there, long, how := "–", "–", "–", ""
			if s.To != "" {
				old, there, long = fmt.Sprint(c.Old), fmt.Sprint(c.OldErrors), ms(&c.OldMS)
			}
			if c.Rebuilt {
				how = "built anew"
			}
			t.AppendRow(table.Row{s.Name, c.Acknowledged, c.Errors, ms(&c.PauseMS), old, there, long, c.Missed, how})
		}
	}
	var columns []table.ColumnConfig
	for n := 2; n <= 8; n++ {
		columns = append(columns, table.ColumnConfig{Number: n, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	t.SetColumnConfigs(columns)
	t.Render()
	fmt.Fprintln(w, "To the old one: after the name had shown the new one. Built anew: the client, for nothing else takes it from a cluster that answers.")
	for _, writes := range []*WriteReport{r.Writes, r.Replicated} {
		if writes != nil {
			writes.Write(w)
		}
	}
}

// Write prints the report for people.
func (r WriteReport) Write(w io.Writer) {
	fmt.Fprintf(w, "writes: %d acknowledged (%d by more than one try), %d errors, longest pause %s ms; of %d rows that were read back %d were not there\n",
		r.Acknowledged, r.Again, r.Errors, ms(&r.PauseMS), r.Reads, r.Missed)
	for _, s := range r.Sides {
		if s.Unread != "" {
			fmt.Fprintf(w, "writes: %s acknowledged %s; what it holds is not known: %s\n", s.Cluster, rows(s.Acknowledged), s.Unread)
			continue
		}
		fmt.Fprintf(w, "writes: %s acknowledged %s and holds %d", s.Cluster, rows(s.Acknowledged), s.Held)
		if s.Beyond > 0 {
			fmt.Fprintf(w, " (%d that it did not acknowledge)", s.Beyond)
		}
		fmt.Fprintf(w, "; of what the other one acknowledged it lacks %d", s.Lacks)
		if s.Which != "" {
			fmt.Fprintf(w, ": %s", s.Which)
		}
		fmt.Fprintln(w)
	}
	switch {
	case !r.Replicated:
		fmt.Fprintln(w, "writes: nothing is replicated: what the active cluster lacks, its clients have lost")
	case !r.Rest:
		fmt.Fprintln(w, "writes: rows are replicated: what one cluster lacks is on its way, or was lost in a failover (pointsman replication status, lost)")
	case r.Lost > 0:
		fmt.Fprintf(w, "writes: %s that had been acknowledged did not cross in a failover, each named by pointsman replication lost: %s\n", rows(r.Lost), r.Named)
	default:
		fmt.Fprintln(w, "writes: rows are replicated, and none that was acknowledged is lost")
	}
	for _, why := range r.Why {
		fmt.Fprintf(w, "writes: BROKEN: %s\n", why)
	}
}

// writeEvidence says what made the vantages look, and what that was worth.
func (s Result) writeEvidence(w io.Writer) {
	if s.UnwatchedMS != nil && s.AnsweredMS != nil {
		fmt.Fprintf(w, "%s: the new answer after %s ms with watch: request, after %s ms with watch: off (%.1f times)\n",
			s.Name, ms(s.AnsweredMS), ms(s.UnwatchedMS), *s.UnwatchedMS / *s.AnsweredMS)
	}
	for _, line := range s.Evidence {
		fmt.Fprintf(w, "%s: %s\n", s.Name, line)
	}
}

// writeSpread says how times vary, when there is more than one of a story.
func (r Report) writeSpread(w io.Writer) {
	times := map[string][]float64{}
	var order []string
	for _, s := range r.Stories {
		if s.AnsweredMS == nil {
			continue
		}
		if len(times[s.Name]) == 0 {
			order = append(order, s.Name)
		}
		times[s.Name] = append(times[s.Name], *s.AnsweredMS)
	}
	if !slices.ContainsFunc(order, func(n string) bool { return len(times[n]) > 1 }) {
		return
	}
	t := newTable(w)
	t.AppendHeader(table.Row{"fault to answer, ms", "times", "least", "median", "largest"})
	for _, name := range order {
		x := slices.Sorted(slices.Values(times[name]))
		t.AppendRow(table.Row{name, len(x), ms(&x[0]), ms(&x[len(x)/2]), ms(&x[len(x)-1])})
	}
	t.Render()
}

// WriteParts prints the status of a lab's parts.
func WriteParts(w io.Writer, parts []Part) {
	t := newTable(w)
	t.AppendHeader(table.Row{"part", "process", "state", "at", ""})
	for _, p := range parts {
		pid := "–"
		if p.PID != 0 {
			pid = fmt.Sprint(p.PID)
		}
		t.AppendRow(table.Row{p.Name, pid, p.State, p.Addr, strings.TrimSpace(p.Words + " " + p.How)})
	}
	t.Render()
}

func newTable(w io.Writer) table.Writer {
	t := table.NewWriter()
	t.SetOutputMirror(w)
	t.SetStyle(table.StyleLight)
	t.Style().Format.Header = text.FormatDefault
	t.Style().Options = table.OptionsNoBordersAndSeparators
	return t
}

func ms(v *float64) string {
	if v == nil {
		return "–"
	}
	return fmt.Sprintf("%.1f", *v)
}
