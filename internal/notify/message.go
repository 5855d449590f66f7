package notify

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"pointsman/internal/failover"
)

// State says what a message is to the incident that it belongs to.
type State string

const (
	// Fire opens an incident, or is news of one that wants a person.
	Fire State = "fire"
	// Resolve ends one.
	Resolve State = "resolve"
	// Info wants nobody now.
	Info State = "info"
)

// Message is one thing to tell about one instance. What is empty is not
// written, except what is not known: that is said.
type Message struct {
	ID       string                `json:"id"` // made where it is empty; stays the same over every try
	Instance failover.InstanceName `json:"instance"`
	Kind     string                `json:"kind"`  // of a call for people, see Kinds; others are told as they are
	State    State                 `json:"state"` // empty is Info
	Change   bool                  `json:"change,omitempty"`
	Incident string                `json:"incident,omitempty"` // given by the outbox: the open one of the instance
	At       time.Time             `json:"at"`
	Since    time.Time             `json:"since,omitzero"` // of the trouble; zero: not known

	Title    string  `json:"title,omitempty"`    // a few words of the instance's state, such as "a is down, b is up"
	Text     string  `json:"text,omitempty"`     // the sentence of the core
	Evidence []Sight `json:"evidence,omitempty"` // one for each vantage and cluster
	Loss     *Loss   `json:"loss,omitempty"`     // of a move now; nil: not known

	Will     string    `json:"will,omitempty"`    // what happens by itself: a key of the tables of words, or a text; empty: nothing
	WillTo   string    `json:"will_to,omitempty"` // the cluster or the like that a key is about
	WillAt   time.Time `json:"will_at,omitzero"`
	Commands []string  `json:"commands,omitempty"`
	Unknown  []string  `json:"unknown,omitempty"` // what is not known

	From   string `json:"from,omitempty"` // the controller
	Shadow bool   `json:"shadow,omitempty"`

	Document *Document `json:"-"` // of a report; kept apart because it is large
}

// Sight is what one vantage says of one cluster.
type Sight struct {
	Cluster string        `json:"cluster"`
	Vantage string        `json:"vantage"`
	Domain  string        `json:"domain,omitempty"`
	Vote    failover.Vote `json:"vote"`
	Reason  string        `json:"reason,omitempty"`
}

// Loss is an upper bound of what a move would lose.
type Loss struct {
	Bound time.Duration `json:"bound_ns"`
	Rows  int64         `json:"rows,omitempty"`
}

// urgent says that a message may use the place in a channel's rate that is
// kept for changes of state.
func (m *Message) urgent() bool { return m.State != Info || m.Change }

// Document is a report to be delivered: whichever of its forms a channel takes.
type Document struct {
	ID       string  `json:"id"`       // while one of this ID waits it is not queued again; empty: made
	Title    string  `json:"title"`    // one line
	Summary  string  `json:"summary"`  // the verdict, one to three lines
	Markdown string  `json:"markdown"` // the whole report, for chats and the plain part of an e-mail
	HTML     string  `json:"html"`     // the whole report; pictures as <img src="cid:NAME">, see PNGs
	JSON     []byte  `json:"json"`     // the whole report for programs
	PNGs     []Image `json:"pngs"`     // charts: an e-mail carries them inline
}

// Image is one chart. Name is a file name such as "availability.png".
type Image struct {
	Name string `json:"name"`
	Data []byte `json:"data"`
}

// Bounds of what a message may carry. More is cut, and the cut is seen.
const (
	maxTitle    = 200     // characters
	maxText     = 2_000   // characters of a sentence
	maxLines    = 32      // lines of evidence, commands and unknowns, each
	maxDocument = 8 << 20 // bytes of a document with everything in it
	maxName     = 120     // characters of the names of images
	ellipsis    = "…"
)

// bound cuts what is too long and takes out what could forge a line or move
// the cursor of whoever reads it: part of it comes from outside.
func (m Message) bound() Message {
	m.Kind, m.Title = oneLine(m.Kind, 64), oneLine(m.Title, maxTitle)
	m.Text, m.Will, m.WillTo = oneLine(m.Text, maxText), oneLine(m.Will, maxText), oneLine(m.WillTo, maxTitle)
	m.Commands, m.Unknown = lines(m.Commands), lines(m.Unknown)
	var seen []Sight
	for _, s := range m.Evidence[:min(len(m.Evidence), maxLines)] {
		s.Cluster, s.Vantage, s.Domain, s.Reason = oneLine(s.Cluster, 64), oneLine(s.Vantage, 64), oneLine(s.Domain, 64), oneLine(s.Reason, maxTitle)
		seen = append(seen, s)
	}
	m.Evidence = seen
	return m
}

func lines(in []string) []string {
	var out []string
	for _, l := range in {
		if l = oneLine(l, maxText); l != "" {
			out = append(out, l)
		}
		if len(out) == maxLines {
			return append(out[:maxLines-1], ellipsis)
		}
	}
	return out
}

// oneLine is text without control characters, those that turn the direction of
// writing included, and at most so many characters long.
func oneLine(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == utf8.RuneError, r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069:
			return -1
		case unicode.IsControl(r), r == 0x2028, r == 0x2029:
			return ' '
		}
		return r
	}, s)
	s = strings.TrimSpace(s)
	return clip(s, most)
}

// clip cuts after so many characters.
func clip(s string, most int) string {
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most-1]) + ellipsis
}

// clipBytes cuts so that at most so many bytes remain, between characters.
func clipBytes(s string, most int) string {
	if len(s) <= most {
		return s
	}
	cut := most - len(ellipsis)
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + ellipsis
}

func (d *Document) size() int {
	n := len(d.Title) + len(d.Summary) + len(d.Markdown) + len(d.HTML) + len(d.JSON)
	for _, p := range d.PNGs {
		n += len(p.Name) + len(p.Data)
	}
	return n
}
