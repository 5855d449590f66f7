package report

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"pointsman/internal/failover"
)

const (
	maxShown = 50 // instances on a page; the rest is counted, and in the JSON
	maxLines = 20 // of a list of one instance
)

// Title is one line that names the report.
func (r *Report) Title() string {
	return fmt.Sprintf("%s: %s to %s", plain(r.Name), r.stamp(r.From), r.stamp(r.To))
}

// Text is a few lines for a chat.
func (r *Report) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", strings.ToUpper(string(r.Verdict.Level)), r.Verdict.Text)
	for _, w := range r.Verdict.Why {
		fmt.Fprintf(&b, "- %s\n", w)
	}
	fmt.Fprintf(&b, "%s\n", r.tally())
	if r.Late != nil {
		fmt.Fprintf(&b, "%s\n", r.late())
	}
	for i := range r.Instances[:min(len(r.Instances), 5)] {
		in := &r.Instances[i]
		if in.Ready == ByItself {
			break
		}
		fmt.Fprintf(&b, "- %s: %s\n", plain(string(in.Name)), in.sentence())
	}
	fmt.Fprintf(&b, "%s, %s\n", r.Title(), plain(r.Controller))
	return b.String()
}

// tally is the counts in one line.
func (r *Report) tally() string {
	n := &r.Counts
	return strings.Join([]string{
		count(n.Switches, "switch", "switches"), count(n.Outages, "outage of a cluster", "outages of clusters"), count(n.Warnings, "warning", "warnings"),
		count(n.Stops, "standing stop", "standing stops"), count(n.Stale, "stale proof", "stale proofs"), count(n.Flapping, "flapping cluster", "flapping clusters"),
	}, ", ")
}

func (r *Report) late() string {
	if r.Late == nil {
		return ""
	}
	s := fmt.Sprintf("late, made up: it was due %s, %s", r.stamp(r.Due), plain(r.Late.Why))
	if r.Late.Missed > 1 {
		s += fmt.Sprintf("; it stands for %d runs", r.Late.Missed)
	}
	return s
}

// sentence says whether the instance could fail over, and why not.
func (i *Instance) sentence() string {
	s := i.ready()
	if i.Loss != "" {
		s += "; switching now would lose: " + i.Loss
	}
	return s
}

func (i *Instance) ready() string {
	switch i.Ready {
	case ByItself:
		return "could fail over by itself"
	case ByPerson:
		return "a person could move it; automation could not: " + reasons(i.Auto)
	case WhenArmed:
		return "in shadow: could fail over if it were armed" + also(i.Auto)
	case Unsure:
		return "not known: " + reasons(i.Why)
	}
	return "could not fail over: " + reasons(i.Why)
}

func also(rs []failover.Refusal) string {
	if len(rs) == 0 {
		return ""
	}
	return "; automation would still be refused: " + reasons(rs)
}

func reasons(rs []failover.Refusal) string {
	var out []string
	for _, x := range rs {
		if x.Guard == "" {
			out = append(out, plain(x.Why))
			continue
		}
		out = append(out, fmt.Sprintf("%s (%s)", plain(string(x.Guard)), plain(x.Why)))
	}
	if len(out) == 0 {
		return "for no reason that was given"
	}
	return strings.Join(out, "; ")
}

// md escapes what Markdown would read as markup, also in a cell of a table.
// What it prints comes from servers that were probed, and from the config.
func md(s string) string {
	var b strings.Builder
	for _, r := range plain(s) {
		if strings.ContainsRune("\\`*_{}[]<>#|~!&$", r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// Markdown is the whole report as text.
func (r *Report) Markdown() string {
	m := &markdown{r: r}
	m.head()
	m.readiness()
	m.availability()
	m.exposures()
	m.switches()
	m.following()
	m.warnings()
	m.limits()
	m.clocks()
	m.proofs()
	m.bounds()
	m.stops()
	m.score()
	m.changes()
	m.coverage()
	return m.String()
}

type markdown struct {
	strings.Builder
	r *Report
}

func (m *markdown) line(format string, args ...any) { fmt.Fprintf(m, format+"\n", args...) }

// table prints rows; cells are escaped already.
func (m *markdown) table(head []string, rows [][]string) {
	m.line("| %s |", strings.Join(head, " | "))
	m.line("|%s", strings.Repeat("---|", len(head)))
	for _, row := range rows {
		m.line("| %s |", strings.Join(row, " | "))
	}
	m.line("")
}

// shown are the instances on the page.
func (r *Report) shown() []Instance { return r.Instances[:min(len(r.Instances), maxShown)] }

// rest says what is not on the page.
func (r *Report) rest() string {
	n := len(r.Instances) - maxShown
	if n <= 0 {
		return ""
	}
	ready := map[Readiness]int{}
	for i := range r.Instances[maxShown:] {
		ready[r.Instances[maxShown+i].Ready]++
	}
	var parts []string
	for _, k := range slices.SortedFunc(maps.Keys(ready), func(a, b Readiness) int { return worse[a] - worse[b] }) {
		parts = append(parts, fmt.Sprintf("%s: %d", k, ready[k]))
	}
	return fmt.Sprintf("%d more instances are counted above and stand in the JSON of this report (could fail over: %s)", n, strings.Join(parts, ", "))
}

func (m *markdown) head() {
	r := m.r
	m.line("# %s: %s\n", strings.ToUpper(string(r.Verdict.Level)), md(r.Verdict.Text))
	for _, w := range r.Verdict.Why {
		m.line("* %s", md(w))
	}
	if len(r.Verdict.Why) > 0 {
		m.line("")
	}
	m.line("%s\n", md(r.tally()))
	if r.Late != nil {
		m.line("**%s**\n", md(r.late()))
	}
	m.line("Report %s of %s, made %s%s. Window: %s to %s (%s).\n", md(r.Name), md(r.Controller), md(r.stamp(r.MadeAt)), by(md(r.By)), md(r.stamp(r.From)), md(r.stamp(r.To)), span(r.To.Sub(r.From)))
}

func by(who string) string {
	if who == "" {
		return ""
	}
	return " for " + who
}

func (m *markdown) readiness() {
	m.line("## Could it fail over now?\n")
	var rows [][]string
	for i := range m.r.shown() {
		in := &m.r.Instances[i]
		rows = append(rows, []string{md(string(in.Name)), md(string(in.Ready)), md(in.Mode), md(string(in.Active)), md(in.sentence())})
	}
	m.table([]string{"instance", "could fail over", "mode", "active", "why"}, rows)
	if rest := m.r.rest(); rest != "" {
		m.line("%s\n", md(rest))
	}
}

func (m *markdown) availability() {
	m.line("## Availability\n")
	m.line("Share of the time in which a cluster was known to be up or down; the time in which nothing was recorded is in neither. The flap index is the number of changes between up and down for each day of known time.\n")
	var rows [][]string
	for i := range m.r.shown() {
		in := &m.r.Instances[i]
		for _, c := range in.Clusters {
			rows = append(rows, []string{
				md(string(in.Name)), md(string(c.Name)), md(c.Role), c.Verdict.String(), available(c.Window), span(c.Window.Down), span(c.Window.Unknown), span(c.Window.Gap),
				percent(c.Window.Covered), c.flapping(),
			})
		}
	}
	m.table([]string{"instance", "cluster", "role", "now", "up", "down for", "unknown for", "not recorded", "known", "flap index"}, rows)
	m.outages()
	m.vantages()
}

func (c *Cluster) flapping() string {
	if c.FlapIndex == nil {
		return "not known"
	}
	s := fmt.Sprintf("%.2f", *c.FlapIndex)
	if *c.FlapIndex >= FlapLimit {
		s += " (flaps)"
	}
	return s
}

func (m *markdown) outages() {
	var rows [][]string
	for i := range m.r.shown() {
		in := &m.r.Instances[i]
		for _, c := range in.Clusters {
			for _, o := range c.Outages[:min(len(c.Outages), maxLines)] {
				end := m.r.stamp(o.To)
				if o.Open {
					end = "it goes on"
				}
				rows = append(rows, []string{md(string(in.Name)), md(string(c.Name)), m.r.stamp(o.From), end, span(o.To.Sub(o.From))})
			}
		}
	}
	if len(rows) > 0 {
		m.line("### Outages\n")
		m.table([]string{"instance", "cluster", "from", "to", "for"}, rows)
	}
}

func (m *markdown) vantages() {
	var rows [][]string
	for i := range m.r.shown() {
		in := &m.r.Instances[i]
		for _, c := range in.Clusters {
			var says []string
			for _, v := range c.Vantages {
				says = append(says, md(v.sentence()))
			}
			if len(says) > 0 {
				rows = append(rows, []string{md(string(in.Name)), md(string(c.Name)), strings.Join(says, "; ")})
			}
		}
	}
	if len(rows) > 0 {
		m.line("### By vantage\n")
		m.table([]string{"instance", "cluster", "now, and in the window"}, rows)
	}
}

// sentence is what one vantage says.
func (v *VantageSeen) sentence() string {
	s := fmt.Sprintf("%s in %s: %s", v.Vantage, v.Domain, v.Vote)
	if v.Window != nil {
		s += ", up " + available(*v.Window)
	}
	if v.Vote != failover.Up && v.Reason != "" {
		s += " (" + v.Reason + ")"
	}
	return s
}

func (m *markdown) switches() {
	m.line("## Switches\n")
	var rows [][]string
	for i := range m.r.shown() {
		in := &m.r.Instances[i]
		for _, s := range in.Switches[:min(len(in.Switches), maxLines)] {
			rows = append(rows, []string{
				m.r.stamp(s.At), md(string(in.Name)), md(fmt.Sprintf("%s %s", s.Kind, s.ID)), md(fmt.Sprintf("%s to %s", s.From, s.To)),
				md(string(s.Outcome)), s.rto(), md(s.Slowest), md(s.phases()), md(s.because()),
			})
		}
	}
	if len(rows) == 0 {
		m.line("None was recorded in the window.\n")
		return
	}
	m.line("RTO is from the fault, or without one from the command, until every write point showed the new value; what resolvers and clients keep is not in it.\n")
	m.table([]string{"at", "instance", "operation", "way", "outcome", "RTO", "slowest phase", "phases", "why"}, rows)
}

func (s *Switch) rto() string {
	if s.RTO <= 0 {
		return "-"
	}
	return span(s.RTO)
}

func (s *Switch) phases() string {
	var out []string
	for _, p := range s.Phases {
		out = append(out, p.Phase+" "+span(p.Took))
	}
	return strings.Join(out, ", ")
}

func (s *Switch) because() string {
	who := "by " + s.By
	if s.Auto {
		who = "by itself"
	}
	return strings.Join(slices.DeleteFunc([]string{who, s.Reason, s.Why}, func(x string) bool { return x == "" }), ": ")
}

// limits says what no mending changes: it is no warning.
func (m *markdown) limits() {
	if !m.r.limited() {
		return
	}
	m.line("## What providers do not promise\n")
	for _, in := range m.r.shown() {
		for _, l := range bounded(in.Limits, maxLines) {
			m.line("* %s: %s", md(string(in.Name)), md(l))
		}
	}
	m.line("")
}

// limited says that a provider of an instance on the page does not promise all.
func (r *Report) limited() bool {
	return slices.ContainsFunc(r.shown(), func(i Instance) bool { return len(i.Limits) > 0 })
}

func (m *markdown) warnings() {
	m.line("## Warnings\n")
	none := true
	for _, w := range bounded(m.r.ClockWarnings(), maxLines) {
		m.line("* %s", md(w))
		none = false
	}
	for i := range m.r.shown() {
		in := &m.r.Instances[i]
		for k, w := range in.Warnings {
			if k == maxLines {
				m.line("* %s: %d more", md(string(in.Name)), len(in.Warnings)-k)
				break
			}
			m.line("* %s: %s", md(string(in.Name)), md(w))
			none = false
		}
	}
	if none {
		m.line("None.")
	}
	m.line("")
}

func (m *markdown) proofs() {
	m.line("## Proofs and their age\n")
	var rows [][]string
	for i := range m.r.shown() {
		in := &m.r.Instances[i]
		var proofs []string
		for _, p := range in.Proofs {
			proofs = append(proofs, md(p.sentence()))
		}
		if len(proofs) > 0 {
			rows = append(rows, []string{md(string(in.Name)), strings.Join(proofs, "; ")})
		}
	}
	m.table([]string{"instance", "when it was shown last"}, rows)
	m.line("The configuration %s runs since %s.\n", short(m.r.Config), m.r.stamp(m.r.ConfigAt))
}

func (p *Proof) age() string {
	switch {
	case p.At.IsZero():
		return "never"
	case p.Age < time.Second:
		return "now"
	}
	return span(p.Age)
}

// sentence says how old it is, and for how long it counts where it is stale.
func (p *Proof) sentence() string {
	switch {
	case p.At.IsZero():
		return p.What + ": never"
	case p.Stale:
		return fmt.Sprintf("%s: %s ago, stale, it counts for %s", p.What, p.age(), span(p.Life))
	case p.Age < time.Second:
		return p.What + ": now"
	}
	return p.What + ": " + p.age() + " ago"
}

func (m *markdown) bounds() {
	m.line("## How long a failover takes at worst\n")
	var rows [][]string
	for i := range m.r.shown() {
		in := &m.r.Instances[i]
		if len(in.Bound) == 0 {
			continue
		}
		rows = append(rows, []string{md(string(in.Name)), span(in.Worst), md(in.terms())})
	}
	m.table([]string{"instance", "bounded terms together", "term by term"}, rows)
}

func (i *Instance) terms() string {
	var out []string
	for _, t := range i.Bound {
		if t.Unbounded {
			out = append(out, t.Term+" without bound")
			continue
		}
		out = append(out, t.Term+" "+span(t.Is))
	}
	return strings.Join(out, ", ")
}

func (m *markdown) stops() {
	m.line("## Stops that stand\n")
	var rows [][]string
	for i := range m.r.shown() {
		in := &m.r.Instances[i]
		for _, s := range in.Stops {
			rows = append(rows, []string{md(string(in.Name)), md(string(s.Kind)), md(s.By), md(s.Why), m.r.stamp(s.Since), m.until(s)})
		}
	}
	if len(rows) == 0 {
		m.line("None.\n")
		return
	}
	m.table([]string{"instance", "stop", "by", "why", "since", "until"}, rows)
}

func (m *markdown) until(s failover.Stop) string { return m.r.until(s) }

func (r *Report) until(s failover.Stop) string {
	if s.Until.IsZero() {
		return "it is lifted"
	}
	return r.stamp(s.Until)
}

func (m *markdown) score() {
	s := m.r.Score
	if s == nil {
		return
	}
	m.line("## Near misses and score\n")
	m.line("%s.\n", md(s.sentence()))
	for _, n := range s.newest() {
		m.line("* %s %s, %s: %s", m.r.stamp(n.At), md(string(n.Instance)), md(n.Judgement), md(n.Why))
	}
	m.line("")
}

// judgements are those that count for or against automation, and then the others.
var judgements = []failover.Judgement{
	failover.Needed, failover.Needless, failover.Missed, failover.NearMiss, failover.Stopped, failover.Pending, failover.Unjudged, failover.Blip,
}

func (s *Score) sentence() string {
	var out []string
	for i, j := range judgements {
		if n := s.Counts[string(j)]; n > 0 || i < 4 {
			out = append(out, fmt.Sprintf("%s %d", j, n))
		}
	}
	line := strings.Join(out, ", ")
	if s.Gained > 0 {
		line += "; " + span(s.Gained) + " gained over all that were needed"
	}
	if s.Unseen > 0 {
		line += "; " + count(s.Unseen, "time", "times") + " in which nobody looked"
	}
	if s.Unread > 0 {
		line += "; " + count(s.Unread, "line", "lines") + " of the history could not be read"
	}
	return line
}

// newest are the incidents on the page.
func (s *Score) newest() []Incident { return s.Incidents[max(len(s.Incidents)-maxLines, 0):] }

func (m *markdown) changes() {
	c := &m.r.Changes
	m.line("## What changed since the last report\n")
	switch {
	case c.Since.IsZero():
		m.line("There is no report before this one.\n")
		return
	case len(c.Lines) == 0:
		m.line("Nothing since %s.\n", m.r.stamp(c.Since))
		return
	}
	m.line("Since %s:\n", m.r.stamp(c.Since))
	for _, l := range c.Lines {
		m.line("* %s", md(l))
	}
	if c.More > 0 {
		m.line("* %d more", c.More)
	}
	m.line("")
}

func (m *markdown) coverage() {
	c := &m.r.Coverage
	m.line("## What is not known\n")
	for _, n := range m.r.NotKnown {
		m.line("* %s", md(n))
	}
	m.line("\n%s lie in the window. In %s of it nothing was recorded.", count(c.Samples, "sample", "samples"), percent(c.Missing))
	for _, g := range c.Gaps[:min(len(c.Gaps), maxLines)] {
		m.line("* %s to %s (%s)", m.r.stamp(g.From), m.r.stamp(g.To), span(g.To.Sub(g.From)))
	}
}
