package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-analyze/charts"
)

// Colours that differ in brightness too: a page may be printed in grey, or be
// read by somebody who does not see red and green apart.
var stateColors = map[State]charts.Color{
	IsUp:      charts.ColorFromHex("#7fc79a"),
	IsDown:    charts.ColorFromHex("#a3152b"),
	IsUnknown: charts.ColorFromHex("#f2c14e"),
	IsGap:     charts.ColorFromHex("#dcdfe4"),
}

const (
	stripWidth, stripHeight = 560, 14 // pixels

	maxBars     = 15 // switches in the chart, the newest
	maxPictured = 12 // clusters in the picture for an e-mail
	barHeight   = 26
)

// label keeps what a chart may show of a name. Names come from the config and
// are words; this library writes text into an SVG, and must never be given more.
func label(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune(" -_.:,", r):
			return r
		}
		return '?'
	}, s)
	if len(s) > 40 {
		s = s[:39] + "."
	}
	return s
}

// strip draws what a cluster was over the window.
func strip(p *charts.Painter, s []Stretch, from, to time.Time, x, y, width, height int) {
	whole := float64(to.Sub(from))
	at := func(t time.Time) int { return x + int(float64(width)*float64(t.Sub(from))/whole) }
	p.FilledRect(x, y, x+width, y+height, stateColors[IsGap], stateColors[IsGap], 0)
	// What lies in front comes last: an outage of a second is still one pixel.
	for _, state := range []State{IsUp, IsUnknown, IsGap, IsDown} {
		for _, t := range s {
			if t.State == state {
				l := at(t.From)
				p.FilledRect(l, y, max(at(t.To), l+1), y+height, stateColors[state], stateColors[state], 0)
			}
		}
	}
}

func stripSVG(s []Stretch, from, to time.Time) ([]byte, error) {
	p := charts.NewPainter(charts.PainterOptions{OutputFormat: charts.ChartOutputSVG, Width: stripWidth, Height: stripHeight})
	strip(p, s, from, to, 0, 0, stripWidth, stripHeight)
	return p.Bytes()
}

// recent are the newest switches of the instances on the page.
func (r *Report) recent() (names []string, switches []Switch) {
	type one struct {
		name string
		s    Switch
	}
	var all []one
	for _, in := range r.shown() {
		for _, s := range in.Switches {
			all = append(all, one{string(in.Name), s})
		}
	}
	slices.SortStableFunc(all, func(a, b one) int { return cmp.Or(-a.s.At.Compare(b.s.At), cmp.Compare(a.name, b.name)) })
	for _, x := range all[:min(len(all), maxBars)] {
		names, switches = append(names, x.name), append(switches, x.s)
	}
	return names, switches
}

// phaseOrder is the order of the phases in time.
var phaseOrder = []string{"detect", "decide", "intent", "close", "drain", "open", "move", "cut", "confirm", "settle"}

// phases draws the time of each switch, split by phase; nil without switches.
func (r *Report) phasesChart(format string) ([]byte, error) {
	names, switches := r.recent()
	if len(switches) == 0 {
		return nil, nil
	}
	// The last bar is drawn on top, and the newest is to stand there.
	slices.Reverse(names)
	slices.Reverse(switches)
	var values [][]float64
	var legend, rows []string
	for i, s := range switches {
		rows = append(rows, label(names[i]+" "+s.At.In(r.location()).Format("01-02 15:04")))
	}
	for _, phase := range phaseOrder {
		line := make([]float64, len(switches))
		some := false
		for i, s := range switches {
			for _, p := range s.Phases {
				if p.Phase == phase {
					line[i] += p.Took.Seconds()
					some = true
				}
			}
		}
		if some {
			values, legend = append(values, line), append(legend, phase)
		}
	}
	if len(values) == 0 {
		return nil, nil
	}
	p := charts.NewPainter(charts.PainterOptions{OutputFormat: format, Width: 760, Height: 90 + barHeight*len(switches)})
	opt := charts.NewBarChartOptionWithData(values)
	opt.Horizontal, opt.StackSeries = true, charts.Ptr(true)
	opt.Theme = charts.GetTheme(charts.ThemeLight)
	opt.CategoryAxis.Labels = rows
	opt.Legend.SeriesNames = legend
	opt.ValueFormatter = func(v float64) string { return fmt.Sprintf("%g s", v) }
	if err := p.BarChart(opt); err != nil {
		return nil, err
	}
	return p.Bytes()
}

// Image is one chart for an e-mail.
type Image struct {
	Name string
	Data []byte
}

// Pictures are the charts as PNG.
func (r *Report) Pictures() ([]Image, error) {
	var out []Image
	if data, err := r.stripPicture(); err != nil {
		return nil, fmt.Errorf("draw availability: %w", err)
	} else if data != nil {
		out = append(out, Image{"availability.png", data})
	}
	if data, err := r.phasesChart(charts.ChartOutputPNG); err != nil {
		return nil, fmt.Errorf("draw phases: %w", err)
	} else if data != nil {
		out = append(out, Image{"phases.png", data})
	}
	return out, nil
}

func (r *Report) stripPicture() ([]byte, error) {
	type row struct {
		name string
		s    []Stretch
	}
	var rows []row
	for _, in := range r.shown() {
		for _, c := range in.Clusters {
			if len(rows) < maxPictured {
				rows = append(rows, row{label(string(in.Name) + " " + string(c.Name)), c.Strip})
			}
		}
	}
	if len(rows) == 0 {
		return nil, nil
	}
	const left, line, width = 200, 22, 540
	p := charts.NewPainter(charts.PainterOptions{OutputFormat: charts.ChartOutputPNG, Width: left + width + 20, Height: line*len(rows) + 60})
	p.FilledRect(0, 0, left+width+20, line*len(rows)+60, charts.ColorWhite, charts.ColorWhite, 0)
	font := charts.FontStyle{FontSize: 10, FontColor: charts.ColorFromHex("#222222")}
	for i, x := range rows {
		p.Text(x.name, 8, 10+line*i+stripHeight-2, 0, font)
		strip(p, x.s, r.From, r.To, left, 10+line*i, width, stripHeight)
	}
	low := 10 + line*len(rows)
	p.Text(r.From.In(r.location()).Format("01-02 15:04"), left, low+14, 0, font)
	p.Text(r.To.In(r.location()).Format("01-02 15:04"), left+width-72, low+14, 0, font)
	x := left
	for _, s := range []State{IsUp, IsDown, IsUnknown, IsGap} {
		p.FilledRect(x, low+26, x+12, low+38, stateColors[s], stateColors[s], 0)
		word := legendWords[s]
		p.Text(word, x+16, low+37, 0, font)
		x += 130
	}
	return p.Bytes()
}

var legendWords = map[State]string{IsUp: "up", IsDown: "down", IsUnknown: "not known", IsGap: "not recorded"}
