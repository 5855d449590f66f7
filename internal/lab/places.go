package lab

import (
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// Place is one of the places where a name may be kept, and what became of the
// name when the active cluster died. Times are milliseconds after the death.
type Place struct {
	Provider string         `json:"provider"`
	Name     string         `json:"name"`  // that clients ask for
	Asked    netip.AddrPort `json:"asked"` // as clients do: an authority, or their resolver
	Limits   string         `json:"limits,omitempty"`

	DetectedMS *float64 `json:"detected_ms"` // the controller's own moments
	WrittenMS  *float64 `json:"written_ms"`  // read back at the provider
	AnsweredMS *float64 `json:"answered_ms"` // what the recorder saw
	SettledMS  *float64 `json:"settled_ms"`  // every authority or resolver shows it
	Counts
	Why []string `json:"why,omitempty"` // the promises that were broken

	from, to string // targets
	resolver bool
	embedded bool
	rec      *Recorder
}

// PlacesReport is the whole of it.
type PlacesReport struct {
	OK      bool     `json:"ok"`
	Places  []*Place `json:"places"`
	LeftOut []string `json:"left_out,omitempty"`
}

// JSON is the report as providers -o json prints it.
func (r PlacesReport) JSON() ([]byte, error) {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	return append(b, '\n'), nil
}

// WriteTable prints the report for people.
func (r PlacesReport) WriteTable(w io.Writer) {
	t := newTable(w)
	t.AppendHeader(table.Row{"provider", "detected", "written", "answered", "settled", "answers", "empty", "nxdomain", "servfail", "wrong", "missing", "clients ask", ""})
	for _, p := range r.Places {
		verdict := "ok"
		if len(p.Why) > 0 {
			verdict = "BROKEN"
		}
		t.AppendRow(table.Row{
			p.Provider, ms(p.DetectedMS), ms(p.WrittenMS), ms(p.AnsweredMS), ms(p.SettledMS),
			p.Answers, p.Empty, p.NXDomain, p.Servfail, p.Wrong, p.Missing, p.Name + " at " + p.Asked.String(), verdict,
		})
	}
	var columns []table.ColumnConfig
	for n := 2; n <= 11; n++ {
		columns = append(columns, table.ColumnConfig{Number: n, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	t.SetColumnConfigs(columns)
	if len(r.Places) > 0 {
		t.Render()
	}
	for _, p := range r.Places {
		if p.Limits != "" {
			fmt.Fprintf(w, "%s: %s\n", p.Provider, p.Limits)
		}
		for _, why := range p.Why {
			fmt.Fprintf(w, "%s: %s\n", p.Provider, why)
		}
	}
	for _, l := range r.LeftOut {
		fmt.Fprintf(w, "left out: %s\n", l)
	}
}

// judge holds what was recorded and what the controller says against what is
// promised: the name moves once, no answer is empty or wrong, the failover
// settles. commits are those since the death.
func (p *Place) judge(answers []Answer, commits []Commit, v View, death time.Time) {
	broken := func(format string, args ...any) { p.Why = append(p.Why, fmt.Sprintf(format, args...)) }
	counts, examples := Judge(answers, append([]Commit{{Target: p.from}}, commits...))
	p.Counts = counts
	if counts.Broken() {
		broken("answers that must not be: %d empty, %d NXDOMAIN, %d SERVFAIL, %d wrong", counts.Empty, counts.NXDomain, counts.Servfail, counts.Wrong)
		p.Why = append(p.Why, examples...)
	}
	if order := Moves(answers); !slices.Equal(order, []string{p.from, p.to}) {
		broken("the name went %s, not %s → %s", strings.Join(order, " → "), p.from, p.to)
	}
	for _, n := range v.Names {
		if n.Name == p.Name {
			p.Limits = n.Limits
		}
	}
	if v.Active != "b" || v.Op != nil || v.LastOp == nil || v.LastOp.Outcome != "settled" {
		broken("the failover did not settle: %s is active", v.Active)
		return
	}
	p.DetectedMS, p.SettledMS = msAfter(death, v.LastOp.Op.DetectedAt), msAfter(death, v.LastOp.Op.StepAt["settle"])
}

// written takes from the audit when the name was read back with its new value;
// what our own authority serves is written with the intent.
func (p *Place) written(entries []auditEntry, death time.Time) {
	for _, e := range entries {
		shows := e.Kind == "proof" && strings.HasPrefix(e.Text, p.Name+" shows CNAME "+p.to+" ")
		if p.embedded {
			shows = e.Kind == "write" && strings.HasPrefix(e.Text, p.Name+" CNAME "+p.to)
		}
		if shows && e.At.After(death) && p.WrittenMS == nil {
			p.WrittenMS = msAfter(death, e.At)
		}
	}
}
