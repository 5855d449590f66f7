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

// phaseColors are in the order of the phases in time. What is ours to make
// shorter, up to the move, is warm; what comes after it is cold.
var phaseColors = []struct {
	phase string
	color charts.Color
}{
	{"detect", charts.ColorFromHex("#a3152b")},
	{"decide", charts.ColorFromHex("#d9622b")},
	{"intent", charts.ColorFromHex("#f2c14e")},
	{"close", charts.ColorFromHex("#8a6100")},
	{"drain", charts.ColorFromHex("#b78bd0")},
	{"open", charts.ColorFromHex("#7a4f9a")},
	{"move", charts.ColorFromHex("#1c2330")},
	{"cut", charts.ColorFromHex("#4f6d8f")},
	{"confirm", charts.ColorFromHex("#6fa3d8")},
	{"settle", charts.ColorFromHex("#c9dcef")},
}

// phasesChart draws the time of the newest switches, split by phase; nil
// without switches.
func (r *Report) phasesChart(format string) ([]byte, error) {
	names, switches := r.recent()
	var most time.Duration
	seen := map[string]bool{}
	for _, s := range switches {
		var sum time.Duration
		for _, p := range s.Phases {
			sum += p.Took
			seen[p.Phase] = true
		}
		most = max(most, sum)
	}
	if most <= 0 {
		return nil, nil
	}
	const left, width, right, top = 230, 430, 100, 30
	p := charts.NewPainter(charts.PainterOptions{OutputFormat: format, Width: left + width + right, Height: top + barHeight*len(switches) + 6})
	p.FilledRect(0, 0, left+width+right, top+barHeight*len(switches)+6, charts.ColorWhite, charts.ColorWhite, 0)
	x := 8
	for _, c := range phaseColors {
		if seen[c.phase] {
			p.FilledRect(x, 6, x+12, 18, c.color, c.color, 0)
			p.Text(c.phase, x+16, 17, 0, chartFont)
			x += 74
		}
	}
	for i, s := range switches {
		y := top + barHeight*i
		p.Text(label(names[i]+" "+s.At.In(r.location()).Format("01-02 15:04")), 8, y+14, 0, chartFont)
		at := float64(left)
		for _, c := range phaseColors {
			for _, t := range s.Phases {
				if t.Phase == c.phase {
					end := at + float64(width)*float64(t.Took)/float64(most)
					p.FilledRect(int(at), y+2, max(int(end), int(at)+1), y+18, c.color, c.color, 0)
					at = end
				}
			}
		}
		p.Text(label(s.rto()), int(at)+6, y+14, 0, chartFont)
	}
	return p.Bytes()
}

var chartFont = charts.FontStyle{FontSize: 9, FontColor: charts.ColorFromHex("#1c2330")}

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
	for i, x := range rows {
		p.Text(x.name, 8, 10+line*i+stripHeight-2, 0, chartFont)
		strip(p, x.s, r.From, r.To, left, 10+line*i, width, stripHeight)
	}
	low := 10 + line*len(rows)
	p.Text(r.From.In(r.location()).Format("01-02 15:04"), left, low+14, 0, chartFont)
	p.Text(r.To.In(r.location()).Format("01-02 15:04"), left+width-72, low+14, 0, chartFont)
	x := left
	for _, s := range []State{IsUp, IsDown, IsUnknown, IsGap} {
		p.FilledRect(x, low+26, x+12, low+38, stateColors[s], stateColors[s], 0)
		p.Text(legendWords[s], x+16, low+37, 0, chartFont)
		x += 130
	}
	return p.Bytes()
}

var legendWords = map[State]string{IsUp: "up", IsDown: "down", IsUnknown: "not known", IsGap: "not recorded"}
