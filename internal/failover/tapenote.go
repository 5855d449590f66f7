package failover

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// TapeNote is one note of a tape. On the tape it is a short text, since there
// are many: "1250 0 df4020p20m3R1 uu86400000p20i" says that 1250 ms after the
// tape began vantage 0 said down of the first cluster, first miss 4020 ms and
// newest probe 20 ms before, 3 misses, for reason 1; and up of the second since
// a day, which it was seen to be itself.
type TapeNote struct {
	At      time.Time
	Kind    NoteKind
	Vantage VantageName   // of a report, and of one that fell silent: At is then when it was last heard
	Foreign bool          // of a report: it probes another config generation than was wanted
	Sick    string        // of a report: why the vantage abstains
	Seen    [2]*Sighting  // of a report, in the order of the clusters; nil: it does not probe this one
	Change  int           // of a record: its place in Changes
	Stall   time.Duration // of a tilt
	Leading bool          // of a change of the lead
}

// NoteKind is what a note is about.
type NoteKind byte

const (
	NoteReport NoteKind = 'r'
	NoteSilent NoteKind = '.'
	NoteRecord NoteKind = '='
	NoteTilt   NoteKind = '!'
	NoteLead   NoteKind = 'L'
)

func (t *Tape) ms(at time.Time) int64 {
	return at.Sub(t.From).Milliseconds()
}

func (t *Tape) encode(n *TapeNote) string {
	at := strconv.FormatInt(t.ms(n.At), 10)
	switch n.Kind {
	case NoteSilent:
		return fmt.Sprintf("%s . %d", at, slices.Index(t.Vantages, n.Vantage))
	case NoteRecord:
		return fmt.Sprintf("%s = %d", at, n.Change)
	case NoteTilt:
		return fmt.Sprintf("%s ! %d", at, n.Stall.Milliseconds())
	case NoteLead:
		lead := 0
		if n.Leading {
			lead = 1
		}
		return fmt.Sprintf("%s L %d", at, lead)
	}
	var b strings.Builder
	b.WriteString(at + " " + strconv.Itoa(slices.Index(t.Vantages, n.Vantage)))
	if n.Foreign {
		b.WriteByte('x')
	}
	if n.Sick != "" {
		b.WriteString("k" + strconv.Itoa(t.reason(n.Sick)))
	}
	for _, s := range n.Seen {
		b.WriteByte(' ')
		t.encodeSighting(&b, s, n.At)
	}
	return b.String()
}

// reason is the place of some words; when there are too many on one tape the
// last place stands for all that come.
func (t *Tape) reason(w string) int {
	if i := slices.Index(t.Reasons, w); i >= 0 {
		return i
	}
	if len(t.Reasons) == mostReasons {
		t.Reasons[mostReasons-1] = "one of several reasons"
		return mostReasons - 1
	}
	t.Reasons = append(t.Reasons, w)
	return len(t.Reasons) - 1
}

func (t *Tape) encodeSighting(b *strings.Builder, s *Sighting, at time.Time) {
	if s == nil {
		b.WriteByte('-')
		return
	}
	b.WriteByte("nud"[s.Vote])
	age := func(key byte, x time.Time) {
		if !x.IsZero() {
			b.WriteByte(key)
			b.WriteString(strconv.FormatInt(at.Sub(x).Milliseconds(), 10))
		}
	}
	age('f', s.FirstMiss)
	age('u', s.UpSince)
	age('p', s.LastProbe)
	switch {
	case s.Vote == Down && s.LastMiss.IsZero():
		b.WriteByte('z') // down by its window, and the newest probe was a success
	case s.Vote != Down || !s.LastMiss.Equal(s.LastProbe):
		age('l', s.LastMiss)
	}
	if !s.LastSuccess.Equal(s.LastProbe) || s.Vote != Up {
		age('s', s.LastSuccess)
	}
	if s.Misses > 0 {
		b.WriteString("m" + strconv.Itoa(s.Misses))
	}
	if s.Identity {
		b.WriteByte('i')
	}
	switch s.Canary {
	case CanaryOK:
		age('c', s.CanaryAt)
	case CanaryBad:
		age('b', s.CanaryAt)
	}
	switch s.Client {
	case ClientAccepted:
		age('A', s.ClientAt)
	case ClientRefused:
		age('F', s.ClientAt)
	case ClientSilent:
		age('Q', s.ClientAt)
	}
	if i := slices.Index(Faults, s.Fault); i >= 0 {
		b.WriteString("K" + strconv.Itoa(i))
		t.Version = max(t.Version, faultTape)
	}
	if s.Reason != "" {
		b.WriteString("R" + strconv.Itoa(t.reason(s.Reason)))
	}
}

// Errors of a tape that cannot be read.
var (
	ErrTapeVersion = errors.New("the tape was written by a newer program")
	ErrTape        = errors.New("the tape is damaged")
)

// MostTapeNotes is the most notes that one tape may have to be read at all.
const MostTapeNotes = 64 * tapeNotes

// longestTape is far longer than the recorder makes one: it ends them with the
// round that follows half a minute.
const longestTape = 24 * time.Hour

// longAgo bounds how far a note may lie from its tape: ten years, in
// milliseconds. Beyond it a damaged digit would pass for a date.
const longAgo = 10 * 366 * 24 * 3600 * 1000

// Read returns the notes of a tape in their order, or ErrTape or ErrTapeVersion
// with the note that is wrong.
func (t *Tape) Read() ([]TapeNote, error) {
	switch {
	case t.Version > TapeVersion:
		return nil, fmt.Errorf("%w: form %d, this one reads %d", ErrTapeVersion, t.Version, TapeVersion)
	case t.Version < 1 || t.Instance == "" || t.From.IsZero() || t.Clusters[0] == "" || t.Clusters[0] == t.Clusters[1]:
		return nil, fmt.Errorf("%w: its head does not say what it is", ErrTape)
	case t.Standing.Active != t.Clusters[0] && t.Standing.Active != t.Clusters[1]:
		return nil, fmt.Errorf("%w: active is %q, which is none of its clusters", ErrTape, t.Standing.Active)
	case t.Until.Before(t.From):
		return nil, fmt.Errorf("%w: it ends before it begins", ErrTape)
	case t.Until.Sub(t.From) > longestTape:
		return nil, fmt.Errorf("%w: it is longer than %s", ErrTape, longestTape)
	case len(t.Notes) > MostTapeNotes:
		return nil, fmt.Errorf("%w: %d notes are more than %d", ErrTape, len(t.Notes), MostTapeNotes)
	}
	out := make([]TapeNote, 0, len(t.Notes))
	for i, text := range t.Notes {
		n, err := t.decode(text)
		if err != nil {
			return nil, fmt.Errorf("%w: note %d %.60q: %w", ErrTape, i+1, text, err)
		}
		if n.At.After(t.Until.Add(time.Second)) {
			return nil, fmt.Errorf("%w: note %d %.60q: it lies behind the end", ErrTape, i+1, text)
		}
		out = append(out, n)
	}
	return out, nil
}

func (t *Tape) decode(text string) (n TapeNote, err error) {
	words := strings.Split(text, " ")
	if len(words) < 3 {
		return n, errors.New("too few words")
	}
	at, err := number(words[0], -longAgo, longAgo)
	if err != nil {
		return n, err
	}
	n.At = t.From.Add(time.Duration(at) * time.Millisecond)
	switch words[1] {
	case ".", "=", "!", "L":
		return n, t.decodeOther(&n, NoteKind(words[1][0]), words[2:])
	}
	n.Kind = NoteReport
	if len(words) != 4 {
		return n, fmt.Errorf("%d words where a report has 4", len(words))
	}
	if err := t.decodeWho(&n, words[1]); err != nil {
		return n, err
	}
	for i, w := range words[2:] {
		if w == "-" {
			continue
		}
		if n.Seen[i], err = t.decodeSighting(w, n.At); err != nil {
			return n, err
		}
	}
	return n, nil
}

func (t *Tape) decodeOther(n *TapeNote, kind NoteKind, words []string) error {
	n.Kind = kind
	if len(words) != 1 {
		return errors.New("one word too many")
	}
	most := int64(1)
	switch kind {
	case NoteSilent:
		most = int64(len(t.Vantages)) - 1
	case NoteRecord:
		most = int64(len(t.Changes)) - 1
	case NoteTilt:
		most = longAgo
	}
	x, err := number(words[0], 0, most)
	if err != nil {
		return err
	}
	switch kind {
	case NoteSilent:
		n.Vantage = t.Vantages[x]
	case NoteRecord:
		n.Change = int(x)
		if a := t.Changes[x].Active; a != t.Clusters[0] && a != t.Clusters[1] {
			return fmt.Errorf("active is %q, which is none of the clusters", a)
		}
	case NoteTilt:
		n.Stall = time.Duration(x) * time.Millisecond
	case NoteLead:
		n.Leading = x == 1
	}
	return nil
}

// number reads a whole number within bounds; nothing else stands beside it.
func number(s string, least, most int64) (int64, error) {
	x, err := strconv.ParseInt(s, 10, 64)
	if err != nil || x < least || x > most {
		return 0, fmt.Errorf("%.20q is no number from %d to %d", s, least, most)
	}
	return x, nil
}

// fields calls f with each letter and the number behind it. Those of bare have
// none, all others must have one.
func fields(s, bare string, f func(key byte, x int64) error) error {
	for len(s) > 0 {
		key := s[0]
		end := 1
		for end < len(s) && (s[end] >= '0' && s[end] <= '9' || end == 1 && s[end] == '-') {
			end++
		}
		x := int64(0)
		if strings.IndexByte(bare, key) < 0 || end > 1 {
			var err error
			if x, err = number(s[1:end], -longAgo, longAgo); err != nil {
				return fmt.Errorf("behind %q: %w", key, err)
			}
		}
		if err := f(key, x); err != nil {
			return err
		}
		s = s[end:]
	}
	return nil
}

func (t *Tape) decodeWho(n *TapeNote, word string) error {
	end := 0
	for end < len(word) && word[end] >= '0' && word[end] <= '9' {
		end++
	}
	i, err := number(word[:end], 0, int64(len(t.Vantages))-1)
	if err != nil {
		return err
	}
	n.Vantage = t.Vantages[i]
	return fields(word[end:], "x", func(key byte, x int64) error {
		switch key {
		case 'x':
			n.Foreign = true
		case 'k':
			if x < 0 || x >= int64(len(t.Reasons)) {
				return fmt.Errorf("there is no reason %d", x)
			}
			n.Sick = t.Reasons[x]
		default:
			return fmt.Errorf("a vantage has no %q", key)
		}
		return nil
	})
}

func (t *Tape) decodeSighting(word string, at time.Time) (*Sighting, error) {
	v := -1
	if word != "" {
		v = strings.IndexByte("nud", word[0])
	}
	if v < 0 {
		return nil, fmt.Errorf("%.20q begins with no vote", word)
	}
	s, noMiss := &Sighting{Vote: Vote(v), Received: at}, false
	err := fields(word[1:], "iz", func(key byte, x int64) error {
		when := at.Add(-time.Duration(x) * time.Millisecond)
		switch key {
		case 'f':
			s.FirstMiss = when
		case 'u':
			s.UpSince = when
		case 'p':
			s.LastProbe = when
		case 'l':
			s.LastMiss = when
		case 's':
			s.LastSuccess = when
		case 'm':
			if x < 0 {
				return fmt.Errorf("%d misses", x)
			}
			s.Misses = int(x)
		case 'z':
			noMiss = true
		case 'i':
			s.Identity = true
		case 'c':
			s.Canary, s.CanaryAt = CanaryOK, when
		case 'b':
			s.Canary, s.CanaryAt = CanaryBad, when
		case 'A':
			s.Client, s.ClientAt = ClientAccepted, when
		case 'F':
			s.Client, s.ClientAt = ClientRefused, when
		case 'Q':
			s.Client, s.ClientAt = ClientSilent, when
		case 'K':
			if x < 0 || x >= int64(len(Faults)) {
				return fmt.Errorf("there is no fault %d", x)
			}
			s.Fault = Faults[x]
		case 'R':
			if x < 0 || x >= int64(len(t.Reasons)) {
				return fmt.Errorf("there is no reason %d", x)
			}
			s.Reason = t.Reasons[x]
		default:
			return fmt.Errorf("a sighting has no %q", key)
		}
		return nil
	})
	if s.Vote == Down && s.LastMiss.IsZero() && !noMiss {
		s.LastMiss = s.LastProbe
	}
	if s.Vote == Up && s.LastSuccess.IsZero() {
		s.LastSuccess = s.LastProbe
	}
	return s, err
}
