package notify

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"pointsman/internal/failover"
)

// words are those of one language. What an instance, a cluster or a person is
// called, and sentences of the core, stand in messages as they are.
type words struct {
	kinds map[string]phrase
	other phrase // of a kind that is not in the table; Head holds one %s for it

	fire, resolve, info string // states, as a person reads them

	since, evidence, loss, will, commands, unknown, runbook, from string

	votes map[failover.Vote]string
	sight string            // holds cluster, vantage with its domain, and vote
	wills map[string]string // what may happen by itself; each may hold one %s for whom
	comma string            // between parts of a line
	bound string            // of a loss; holds one %s
	rows  string            // holds one %d

	notKnown   string // of the loss
	nothing    string // it does nothing by itself
	in, ago    string // of a countdown; each holds one %s
	shadow     string // mark of a controller that does nothing
	shadowLine string
	testText   string
	digest     string // holds one %d: how many earlier messages
}

// phrase is what is said of one kind of call.
type phrase struct {
	Head string // after the instance's name; a few words
	Do   string // what a person may do; empty: nothing
}

func (l Language) words() *words {
	if l == Chinese {
		return &chinese
	}
	return &english
}

// Kinds lists the kinds that both languages have words for.
func Kinds() []string { return slices.Sorted(maps.Keys(english.kinds)) }

func (w *words) phrase(kind string) phrase {
	if p, ok := w.kinds[kind]; ok {
		return p
	}
	p := w.other
	if kind == "" {
		kind = "?"
	}
	p.Head = fmt.Sprintf(p.Head, kind)
	return p
}

// What may happen by itself, as keys of the tables of words.
const (
	WillFailover = "failover"
	WillContinue = "continue"
	WillUnwind   = "unwind"
	WillExpire   = "expire"
	WillRetry    = "retry"
)

// Text is a message in words.
type Text struct {
	Subject string // one line
	Lines   []Line
}

// Line is one line below the subject.
type Line struct {
	Label string // empty: it belongs to the label above
	Text  string
	Code  bool // a command
	Trust bool // our own words, in which nothing from outside stands
}

// writer puts messages into the words of one channel.
type writer struct {
	lang    Language
	zone    *time.Location
	runbook string
	now     func() time.Time
}

// write makes the text of a parcel: of a digest the newest message whole, of
// the others a line each.
func (w writer) write(p *parcel) Text {
	ws := w.lang.words()
	m := p.newest()
	t := Text{Subject: w.subject(ws, m)}
	if m.Document != nil {
		return w.document(ws, m, t, p.id)
	}
	w.state(ws, m, &t)
	var seen []string
	for _, s := range m.Evidence {
		seen = append(seen, ws.says(s))
	}
	t.list(ws.evidence, seen, false)
	if m.State == Fire {
		t.add(Line{Label: ws.loss, Text: ws.loses(m.Loss)})
		t.add(Line{Label: ws.will, Text: w.will(ws, m)})
	}
	t.list(ws.commands, m.Commands, true)
	t.list(ws.unknown, m.Unknown, false)
	if n := len(p.msgs) - 1; n > 0 {
		t.add(Line{Label: fmt.Sprintf(ws.digest, n), Text: w.brief(ws, p.msgs[0]), Trust: false})
		for _, e := range p.msgs[1:n] {
			t.add(Line{Text: w.brief(ws, e)})
		}
	}
	if w.runbook != "" && m.State == Fire {
		t.add(Line{Label: ws.runbook, Text: strings.ReplaceAll(w.runbook, "KIND", m.Kind), Trust: true})
	}
	t.add(Line{Label: ws.from, Text: strings.TrimSpace(m.From + " · id " + p.id)})
	return t
}

func (w writer) subject(ws *words, m *Message) string {
	head := ws.phrase(m.Kind).Head
	if m.Document != nil {
		head = m.Document.Title
	}
	s := head
	if m.Instance != "" {
		s = string(m.Instance) + ": " + head
	}
	if m.Title != "" && m.Document == nil {
		s += " (" + m.Title + ")"
	}
	switch {
	case m.State == Fire:
		s = ws.fire + " " + s
	case m.State == Resolve:
		s = ws.resolve + " " + s
	case m.Document == nil:
		s = ws.info + " " + s
	}
	if m.Shadow {
		s = ws.shadow + " " + s
	}
	return oneLine(s, maxTitle)
}

func (w writer) state(ws *words, m *Message, t *Text) {
	if m.Text != "" {
		t.add(Line{Text: m.Text})
	}
	if do := ws.phrase(m.Kind).Do; do != "" {
		t.add(Line{Text: do, Trust: true})
	}
	if m.Shadow {
		t.add(Line{Text: ws.shadowLine, Trust: true})
	}
	since := m.Since
	if since.IsZero() {
		since = m.At
	}
	t.add(Line{Label: ws.since, Text: w.moment(since) + w.distance(ws, since), Trust: true})
}

// will is what happens by itself, and when.
func (w writer) will(ws *words, m *Message) string {
	if m.Will == "" {
		return ws.nothing
	}
	will := m.Will
	if form, ok := ws.wills[will]; ok {
		will = strings.ReplaceAll(form, "%s", m.WillTo)
	}
	if m.WillAt.IsZero() {
		return will
	}
	return will + ws.comma + w.moment(m.WillAt) + w.distance(ws, m.WillAt)
}

// says is one line of evidence.
func (w *words) says(s Sight) string {
	who := s.Vantage
	if s.Domain != "" && s.Domain != s.Vantage {
		who += " (" + s.Domain + ")"
	}
	line := fmt.Sprintf(w.sight, s.Cluster, who, w.votes[s.Vote])
	if s.Reason != "" {
		line += w.comma + s.Reason
	}
	return line
}

func (w *words) loses(l *Loss) string {
	if l == nil {
		return w.notKnown
	}
	s := fmt.Sprintf(w.bound, span(l.Bound))
	if l.Rows > 0 {
		s += fmt.Sprintf(w.rows, l.Rows)
	}
	return s
}

func (w writer) brief(ws *words, m *Message) string {
	return w.moment(m.At) + " " + ws.phrase(m.Kind).Head + ": " + m.Text
}

// moment is a time with its zone: a phone at night shows no other.
func (w writer) moment(t time.Time) string {
	zone := w.zone
	if zone == nil {
		zone = time.UTC
	}
	return t.In(zone).Format("2006-01-02 15:04:05 MST (-07:00)")
}

func (w writer) distance(ws *words, t time.Time) string {
	d := t.Sub(w.now()).Round(time.Second)
	if d > 0 {
		return ws.comma + fmt.Sprintf(ws.in, span(d))
	}
	return ws.comma + fmt.Sprintf(ws.ago, span(-d))
}

// span is a duration without what nobody reads: 2h5m, 3m20s, 12s.
func span(d time.Duration) string {
	if d >= time.Hour {
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	}
	return d.String()
}

func (w writer) document(ws *words, m *Message, t Text, id string) Text {
	for l := range strings.Lines(m.Document.Summary) {
		t.add(Line{Text: oneLine(l, maxText)})
	}
	if m.Shadow {
		t.add(Line{Text: ws.shadowLine, Trust: true})
	}
	t.add(Line{Label: ws.from, Text: strings.TrimSpace(m.From + " · id " + id)})
	return t
}

func (t *Text) add(l Line) { t.Lines = append(t.Lines, l) }

func (t *Text) list(label string, lines []string, code bool) {
	for i, l := range lines {
		x := Line{Text: l, Code: code}
		if i == 0 {
			x.Label = label
		}
		t.add(x)
	}
}

// Plain is the text for people who read it as it is.
func (t Text) Plain() string {
	var b strings.Builder
	b.WriteString(t.Subject + "\n")
	under := false
	for _, l := range t.Lines {
		switch {
		case l.Label != "" && l.Code, l.Label != "" && under && l.Text == "":
			fmt.Fprintf(&b, "%s\n    %s\n", l.Label, l.Text)
		case l.Label != "":
			b.WriteString(l.Label + gap(l.Label) + l.Text + "\n")
		case l.Code:
			fmt.Fprintf(&b, "    %s\n", l.Text)
		case under:
			fmt.Fprintf(&b, "  %s\n", l.Text)
		default:
			b.WriteString(l.Text + "\n")
		}
		under = under || l.Label != ""
	}
	return b.String()
}

// gap stands after a label; the wide colon of Chinese brings its own.
func gap(label string) string {
	if strings.HasSuffix(label, "：") {
		return ""
	}
	return " "
}

// Markdown is the text for chats that format it. Words from outside stand in it
// without the signs that would make links, pictures or calls by name.
func (t Text) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "### %s\n\n", tame(t.Subject))
	for _, l := range t.Lines {
		text := l.Text
		if !l.Trust {
			text = tame(text)
		}
		switch {
		case l.Label != "" && l.Code:
			fmt.Fprintf(&b, "**%s**\n\n> %s\n\n", l.Label, text)
		case l.Code:
			fmt.Fprintf(&b, "> %s\n\n", text)
		case l.Label != "":
			fmt.Fprintf(&b, "**%s** %s\n\n", l.Label, text)
		default:
			fmt.Fprintf(&b, "%s\n\n", text)
		}
	}
	return b.String()
}

// tame puts look-alikes in the place of signs by which a chat would make
// something of a text: <!channel>, [text](link), @all. Chats do not agree on
// how such a sign is escaped.
var tame = strings.NewReplacer("<", "‹", ">", "›", "[", "(", "]", ")", "`", "'", "*", "∗", "@", "＠", "\\", "/").Replace

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
