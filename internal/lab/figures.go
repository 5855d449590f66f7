package lab

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// Figure is one thing that was measured, some times over.
type Figure struct {
	Name    string    `json:"name"`
	What    string    `json:"what"`
	Unit    string    `json:"unit"`
	Goal    string    `json:"goal,omitempty"` // in words; nothing fails for missing it
	Values  []float64 `json:"values"`         // in the order of measuring
	Min     *float64  `json:"min"`            // null where nothing was measured
	Median  *float64  `json:"median"`
	Max     *float64  `json:"max"`
	Missing string    `json:"missing,omitempty"` // why nothing was measured
	Beside  string    `json:"beside,omitempty"`  // the median beside that of ours, in words
}

// Figures is what a benchmark has measured. Stories holds every story that
// was told for it; OK is false when one broke a promise.
type Figures struct {
	OK      bool      `json:"ok"`
	CPUs    int       `json:"cpus"`
	Load    [2]string `json:"load"` // of the machine, before and after
	Figures []Figure  `json:"figures"`
	Stories []Result  `json:"stories"`
}

// add puts a value to a figure that was declared.
func (f *Figures) add(name string, v float64) {
	for i := range f.Figures {
		if f.Figures[i].Name == name {
			f.Figures[i].Values = append(f.Figures[i].Values, v)
			f.Figures[i].Missing = ""
		}
	}
}

// lack says why a figure has no values.
func (f *Figures) lack(name string, why error) {
	for i := range f.Figures {
		if f.Figures[i].Name == name && len(f.Figures[i].Values) == 0 {
			f.Figures[i].Missing = why.Error()
		}
	}
}

// sum fills in least, median and largest.
func (f *Figures) sum() {
	for i := range f.Figures {
		x := slices.Sorted(slices.Values(f.Figures[i].Values))
		if len(x) == 0 {
			f.Figures[i].Values = []float64{}
			continue
		}
		median := (x[(len(x)-1)/2] + x[len(x)/2]) / 2
		f.Figures[i].Min, f.Figures[i].Median, f.Figures[i].Max = &x[0], &median, &x[len(x)-1]
	}
}

// JSON is the figures as bench -o json prints them.
func (f Figures) JSON() ([]byte, error) {
	b, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("figures: %w", err)
	}
	return append(b, '\n'), nil
}

// WriteTable prints the figures for people.
func (f Figures) WriteTable(w io.Writer) {
	t := newTable(w)
	t.AppendHeader(table.Row{"figure", "unit", "times", "least", "median", "largest", "goal"})
	for _, x := range f.Figures {
		goal := cmp.Or(x.Goal, x.Beside)
		if x.Missing != "" {
			goal = x.Missing
		} else if len(x.Values) == 0 {
			continue // was not asked for
		}
		t.AppendRow(table.Row{x.What, x.Unit, len(x.Values), number(x.Min), number(x.Median), number(x.Max), goal})
	}
	var columns []table.ColumnConfig
	for n := 3; n <= 6; n++ {
		columns = append(columns, table.ColumnConfig{Number: n, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	t.SetColumnConfigs(columns)
	t.Render()
	if i := slices.IndexFunc(f.Figures, func(x Figure) bool { return x.Name == figureSync && x.Median != nil }); i >= 0 {
		fmt.Fprintf(w, "A durable write took %s ms in this run, at most %s.\n", number(f.Figures[i].Median), number(f.Figures[i].Max))
	}
	fmt.Fprintf(w, "%d CPUs, load %s before and %s after. Goals are printed, never judged.\n", f.CPUs, f.Load[0], f.Load[1])
	for _, s := range f.Stories {
		for _, why := range s.Why {
			fmt.Fprintf(w, "%s: %s\n", s.Name, why)
		}
	}
}

// number prints three digits that count, and never an exponent.
func number(v *float64) string {
	switch {
	case v == nil:
		return "–"
	case *v >= 100 || *v <= -100:
		return fmt.Sprintf("%.0f", *v)
	case *v >= 10 || *v <= -10:
		return fmt.Sprintf("%.1f", *v)
	}
	return fmt.Sprintf("%.2f", *v)
}
