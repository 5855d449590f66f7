package report

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/go-analyze/charts"

	"pointsman/internal/ledger"
)

// KindExposure is the kind of samples that hold an ExposureHour.
const KindExposure = "exposure"

const (
	// ExposureEvery is how long a stretch is of which the worst exposure is kept.
	ExposureEvery = 10 * time.Second
	// ExposureSlots is how many of them an hour has.
	ExposureSlots = int(time.Hour / ExposureEvery)

	// ExposureUnknown and ExposureUnseen stand in the place of an exposure.
	ExposureUnknown = -1 // nobody knew what a switch would lose
	ExposureUnseen  = -2 // nobody looked
)

// ExposureHour is what a switch would have lost, in one hour, by what one
// controller knew: an upper bound.
type ExposureHour struct {
	Hour  time.Time `json:"hour"`                // its beginning
	Worst []int64   `json:"worst_ms"`            // of each 10 s from then on; -1 unknown, -2 nobody looked. What is missing at the end was not seen
	RPO   int64     `json:"rpo_ms"`              // what a failover may lose; -1 is any
	Rows  int64     `json:"rows,omitempty"`      // the most at one time
	At    time.Time `json:"worst_at,omitzero"`   // of the worst that was known
	Why   string    `json:"worst_why,omitempty"` // what it hung on
	Gap   string    `json:"gap,omitempty"`       // the newest gap in a stream
}

// WorstKnown is the worst that was known, -1 where nothing was.
func (h *ExposureHour) WorstKnown() int64 {
	worst := int64(ExposureUnknown)
	for _, ms := range h.Worst {
		worst = max(worst, ms)
	}
	return worst
}

// Note takes one look at it: below 0 for one that is not known. It says whether
// the moment is one of this hour.
func (h *ExposureHour) Note(at time.Time, ms int64) bool {
	i := int(at.Sub(h.Hour) / ExposureEvery)
	if at.Before(h.Hour) || i >= ExposureSlots {
		return false
	}
	for len(h.Worst) <= i {
		h.Worst = append(h.Worst, ExposureUnseen)
	}
	was := &h.Worst[i]
	switch {
	case ms < 0:
		*was = ExposureUnknown
	case *was != ExposureUnknown:
		*was = max(*was, ms)
	}
	return true
}

const (
	maxExposureMS = int64(10 * 365 * 24 * time.Hour / time.Millisecond) // a damaged history cannot say more

	exposurePoints = 240  // of the chart
	exposureGrowth = 1.05 // of the classes that are counted: what is said of a share is at most 5 % too large
)

// Exposure is what a failover would have lost over the window: upper bounds.
// Seen, Unknown and Missing make up the window.
type Exposure struct {
	RPO     time.Duration  `json:"rpo_ns"` // what a failover may lose by the newest policy; -1 is any
	Max     *time.Duration `json:"max_ns"` // null: it was never known
	P99     *time.Duration `json:"p99_ns"` // of the worst of each 10 s in which it was known
	At      time.Time      `json:"max_at,omitzero"`
	Why     string         `json:"max_why,omitempty"` // what the worst hung on
	Rows    int64          `json:"rows"`              // the most at one time
	Seen    time.Duration  `json:"known_ns"`
	Over    time.Duration  `json:"over_ns"` // of that: more than the rpo of its time
	Unknown time.Duration  `json:"unknown_ns"`
	Missing time.Duration  `json:"missing_ns"`    // nobody looked
	Gap     string         `json:"gap,omitempty"` // the newest gap in a stream
	Points  []int64        `json:"points_ms"`     // the worst of equal parts of the window; -1 unknown, -2 nobody looked
}

// exposurePast is what was recorded of one instance.
type exposurePast struct {
	classes              map[int]int // how many 10 s, by class
	worst, rows, rpo     int64
	at, newest           time.Time
	why, gap             string
	known, over, unknown int
	points               [exposurePoints]int64
}

func newExposurePast() *exposurePast {
	e := &exposurePast{classes: map[int]int{}, worst: -1, rpo: -1}
	for i := range e.points {
		e.points[i] = ExposureUnseen
	}
	return e
}

// exposure takes a line, of which a part may lie in the window.
func (p *past) exposure(s *ledger.Sample) bool {
	var h ExposureHour
	if json.Unmarshal(s.Data, &h) != nil || h.Hour.IsZero() || len(h.Worst) > ExposureSlots || h.Rows < 0 {
		return false
	}
	r := p.of(s.Instance)
	if r.exposure == nil {
		r.exposure = newExposurePast()
	}
	return r.exposure.take(&h, p.from, p.to)
}

func (e *exposurePast) take(h *ExposureHour, from, to time.Time) bool {
	whole, some := to.Sub(from), false
	for i, ms := range h.Worst {
		at := h.Hour.Add(time.Duration(i) * ExposureEvery)
		if ms < ExposureUnseen || ms > maxExposureMS {
			return false
		}
		if at.Before(from) || !at.Before(to) || ms == ExposureUnseen {
			continue
		}
		some = true
		point := &e.points[min(int(int64(exposurePoints)*int64(at.Sub(from))/int64(whole)), exposurePoints-1)]
		if ms == ExposureUnknown {
			e.unknown++
			*point = ExposureUnknown
			continue
		}
		e.known++
		e.classes[classOf(ms)]++
		if h.RPO >= 0 && ms > h.RPO {
			e.over++
		}
		if *point != ExposureUnknown {
			*point = max(*point, ms)
		}
		if ms > e.worst {
			e.worst, e.at, e.why = ms, at, ""
			if ms == h.WorstKnown() && !h.At.IsZero() {
				e.at, e.why = h.At, plain(h.Why)
			}
		}
	}
	if !some {
		return true
	}
	e.rows = max(e.rows, h.Rows)
	if h.Hour.After(e.newest) || e.newest.IsZero() {
		e.newest, e.rpo = h.Hour, h.RPO
	}
	if h.Gap != "" && e.gap == "" { // they come newest first
		e.gap = plain(h.Gap)
	}
	return true
}

// classOf is the class whose upper end is the least that is not below ms.
func classOf(ms int64) int {
	if ms <= 1 {
		return 0
	}
	return int(math.Ceil(math.Log(float64(ms)) / math.Log(exposureGrowth)))
}

// share is what so large a share was not above; the upper end of its class.
func (e *exposurePast) share(part float64) time.Duration {
	left := e.known - int(part*float64(e.known))
	for _, c := range slices.Backward(slices.Sorted(maps.Keys(e.classes))) {
		if left -= e.classes[c]; left <= 0 {
			ms := int64(math.Ceil(math.Pow(exposureGrowth, float64(c))))
			return time.Duration(min(ms, e.worst)) * time.Millisecond
		}
	}
	return time.Duration(e.worst) * time.Millisecond
}

// of makes the result for a window; nil past: nothing was recorded.
func (e *exposurePast) of(from, to time.Time) *Exposure {
	if e == nil {
		e = newExposurePast()
	}
	x := &Exposure{
		RPO: time.Duration(e.rpo) * time.Millisecond, Rows: e.rows, Gap: e.gap, Points: slices.Clone(e.points[:]),
		Seen: time.Duration(e.known) * ExposureEvery, Over: time.Duration(e.over) * ExposureEvery, Unknown: time.Duration(e.unknown) * ExposureEvery,
	}
	if e.rpo < 0 {
		x.RPO = -1
	}
	x.Missing = max(to.Sub(from)-x.Seen-x.Unknown, 0)
	if e.known > 0 {
		worst, most := time.Duration(e.worst)*time.Millisecond, e.share(0.99)
		x.Max, x.P99, x.At, x.Why = &worst, &most, e.at.UTC(), e.why
	}
	return x
}

// warnings are what wants a look.
func (x *Exposure) warnings() []string {
	if x == nil {
		return nil
	}
	var out []string
	if x.Over > 0 {
		out = append(out, fmt.Sprintf("for %s a failover would have lost more than the rpo allows: %s at worst", span(x.Over), span(*x.Max)))
	}
	if x.Unknown > 0 {
		out = append(out, fmt.Sprintf("for %s nobody knew what a failover would have lost", span(x.Unknown)))
	}
	if x.Gap != "" {
		out = append(out, "a stream had a gap: "+x.Gap)
	}
	return out
}

// cells are those of a table, as text.
func (x *Exposure) cells() []string {
	known := func(d *time.Duration) string {
		if d == nil {
			return "not known"
		}
		return span(*d)
	}
	rpo := "any"
	if x.RPO >= 0 {
		rpo = span(x.RPO)
	}
	return []string{known(x.Max), known(x.P99), rpo, span(x.Over), span(x.Unknown), span(x.Missing)}
}

// at says when the worst was, and on what it hung.
func (x *Exposure) worst(stamp func(time.Time) string) string {
	if x.Max == nil {
		return "-"
	}
	s := stamp(x.At)
	if x.Why != "" {
		s += ", " + x.Why
	}
	if x.Rows > 0 {
		s += fmt.Sprintf("; at most %d rows at one time", x.Rows)
	}
	return s
}

// exposureHead are the columns of the cells.
var exposureHead = []string{"at most", "99 % at most", "rpo", "above it for", "unknown for", "not recorded"}

const exposureNote = "What a failover would have lost, in time: an upper bound, the worst of each 10 s. What is not known is not counted as nothing."

// replicated are the instances on the page of which something is.
func (r *Report) replicated() []*Instance {
	var out []*Instance
	shown := r.shown()
	for i := range shown {
		if shown[i].Exposed != nil {
			out = append(out, &shown[i])
		}
	}
	return out
}

func (m *markdown) exposures() {
	all := m.r.replicated()
	if len(all) == 0 {
		return
	}
	m.line("## What a failover would have lost\n")
	m.line("%s\n", exposureNote)
	var rows [][]string
	for _, in := range all {
		row := []string{md(string(in.Name))}
		for _, c := range in.Exposed.cells() {
			row = append(row, md(c))
		}
		rows = append(rows, append(row, md(in.Exposed.worst(m.r.stamp))))
	}
	m.table(slices.Concat([]string{"instance"}, exposureHead, []string{"the worst"}), rows)
	for _, in := range all {
		if in.Replication != "" {
			m.line("* %s: %s", md(string(in.Name)), md(in.Replication))
		}
	}
	m.line("")
}

// Height and colours of the picture of an exposure.
const exposureHeight = 40

var (
	exposureColor = charts.ColorFromHex("#6fa3d8")
	exposureOver  = charts.ColorFromHex("#a3152b")
	exposureLimit = charts.ColorFromHex("#1c2330")
)

// exposureSVG draws it over the window: what was above the rpo in another
// colour, the rpo as a line, what was not known and not recorded as such.
func exposureSVG(x *Exposure) ([]byte, error) {
	p := charts.NewPainter(charts.PainterOptions{OutputFormat: charts.ChartOutputSVG, Width: stripWidth, Height: exposureHeight})
	p.FilledRect(0, 0, stripWidth, exposureHeight, charts.ColorWhite, charts.ColorWhite, 0)
	top := int64(1)
	for _, ms := range x.Points {
		top = max(top, ms)
	}
	rpo := x.RPO.Milliseconds()
	if x.RPO >= 0 {
		top = max(top, rpo+rpo/5)
	}
	height := func(ms int64) int { return int(int64(exposureHeight-2) * ms / top) }
	for i, ms := range x.Points {
		l, right := stripWidth*i/len(x.Points), stripWidth*(i+1)/len(x.Points)
		switch {
		case ms == ExposureUnseen:
			p.FilledRect(l, 0, right, exposureHeight, stateColors[IsGap], stateColors[IsGap], 0)
		case ms == ExposureUnknown:
			p.FilledRect(l, 0, right, exposureHeight, stateColors[IsUnknown], stateColors[IsUnknown], 0)
		default:
			c := exposureColor
			if x.RPO >= 0 && ms > rpo {
				c = exposureOver
			}
			p.FilledRect(l, exposureHeight-1-height(ms), right, exposureHeight, c, c, 0)
		}
	}
	if x.RPO >= 0 {
		y := exposureHeight - 1 - height(rpo)
		p.FilledRect(0, y, stripWidth, y+1, exposureLimit, exposureLimit, 0)
	}
	return p.Bytes()
}
