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
