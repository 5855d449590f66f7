package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"

	"github.com/go-analyze/charts"

	"pointsman/internal/failover"
)

//go:embed page.html
var pageText string

// HTML is the whole report as one file without scripts that prints well. With
// pictures the charts are those of [Report.Pictures], by name (cid:NAME), for
// mail programs, which show no SVG; else they are in the file.
func (r *Report) HTML(pictures bool) ([]byte, error) {
	t, err := template.New("page").Funcs(r.funcs()).Parse(pageText)
	if err != nil {
		return nil, fmt.Errorf("read the page: %w", err)
	}
	page := struct {
		*Report
		Pictures bool
		Images   []string
	}{Report: r, Pictures: pictures}
	if pictures {
		images, err := r.Pictures()
		if err != nil {
			return nil, err
		}
		for _, i := range images {
			page.Images = append(page.Images, i.Name)
		}
	}
	var b bytes.Buffer
	if err := t.Execute(&b, &page); err != nil {
		return nil, fmt.Errorf("write the page: %w", err)
	}
	return b.Bytes(), nil
}

func (r *Report) funcs() template.FuncMap {
	return template.FuncMap{
		"plain": func(s any) string { return plain(fmt.Sprint(s)) },
		"stamp": r.stamp, "span": span, "percent": percent, "available": available, "short": short,
		"tally": r.tally, "late": r.late, "shown": r.shown, "limited": r.limited, "rest": r.rest,
		"sentence":     func(i Instance) string { return i.sentence() },
		"terms":        func(i Instance) string { return i.terms() },
		"flapping":     func(c Cluster) string { return c.flapping() },
		"rto":          func(s Switch) string { return s.rto() },
		"phases":       func(s Switch) string { return s.phases() },
		"followedText": func() string { return followedText },
		"followed":     func(i Instance) []*Switch { return i.followed() },
		"published":    func(s *Switch) string { return s.published() },
		"reached":      func(s *Switch) string { return s.reached() },
		"named":        func(s *Switch) string { return s.named() },
		"because":      func(s Switch) string { return s.because() },
		"says":         func(v VantageSeen) string { return v.sentence() },
		"judged":       func(s *Score) string { return s.sentence() },
		"incidents":    func(s *Score) []Incident { return s.newest() },
		"shows":        func(p Proof) string { return p.sentence() },
		"until":        func(s failover.Stop) string { return r.until(s) },
		"strip": func(s []Stretch) (template.HTML, error) {
			b, err := stripSVG(s, r.From, r.To)
			return drawn(b), err
		},
		"rtoChart": func() (template.HTML, error) {
			b, err := r.phasesChart(charts.ChartOutputSVG)
			return drawn(b), err
		},
		"replicated":   func() []*Instance { return r.replicated() },
		"exposureNote": func() string { return exposureNote },
		"exposureHead": func() []string { return exposureHead },
		"exposed":      func(x *Exposure) []string { return x.cells() },
		"exposedWorst": func(x *Exposure) string { return x.worst(r.stamp) },
		"exposure": func(x *Exposure) (template.HTML, error) {
			b, err := exposureSVG(x)
			return drawn(b), err
		},
		"clockNow":   func(c Clock) string { return c.now() },
		"clockWorst": func(c Clock) string { return c.worstSeen(r.stamp) },
		"clockKnown": func(c Clock) string { return c.known() },
		"clocks":     func() []Clock { return r.Vantages[:min(len(r.Vantages), maxShown)] },
		"first":      func(s []string) []string { return s[:min(len(s), maxLines)] },
		"moves":      func(s []Switch) []Switch { return s[:min(len(s), maxLines)] },
		"spells":     func(s []Stretch) []Stretch { return s[:min(len(s), maxLines)] },
		"cid":        func(name string) template.URL { return template.URL("cid:" + label(name)) },
	}
}

// drawn is a chart of ours: the only text in it went through label.
func drawn(svg []byte) template.HTML {
	if i := bytes.Index(svg, []byte("<svg")); i > 0 {
		svg = svg[i:]
	}
	return template.HTML(svg)
}
