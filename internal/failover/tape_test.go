package failover

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func testTape() *Tape {
	return &Tape{
		Version: TapeVersion, Instance: "orders", Life: 1, Seq: 1, From: time.Date(2026, 1, 31, 2, 0, 0, 0, time.UTC), Until: time.Date(2026, 1, 31, 2, 0, 0, 0, time.UTC),
		Clusters: [2]ClusterName{"a", "b"}, Vantages: []VantageName{"v1", "v2"}, Standing: Standing{Active: "a"},
	}
}

// TestANoteIsReadAsItWasWritten, whatever it is about.
func TestANoteIsReadAsItWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tape := testTape()
		tape.Until = tape.From.Add(time.Hour)
		tape.Changes = []Standing{{Active: "b"}}
		when := func(name string) time.Time {
			ms := rapid.SampledFrom([]int64{-1, -5, 0, 20, 4000, 86_400_000 * 300}).Draw(t, name)
			if ms == -1 {
				return time.Time{}
			}
			return tape.From.Add(-time.Duration(ms) * time.Millisecond)
		}
		n := TapeNote{At: tape.From.Add(time.Duration(rapid.Int64Range(-60_000, 60_000).Draw(t, "at")) * time.Millisecond)}
		switch n.Kind = rapid.SampledFrom([]NoteKind{NoteReport, NoteReport, NoteReport, NoteSilent, NoteRecord, NoteTilt, NoteLead}).Draw(t, "kind"); n.Kind {
		case NoteSilent:
			n.Vantage = "v2"
		case NoteTilt:
			n.Stall = 3 * time.Second
		case NoteLead:
			n.Leading = rapid.Bool().Draw(t, "leading")
		case NoteReport:
			n.Vantage, n.Foreign = rapid.SampledFrom(tape.Vantages).Draw(t, "vantage"), rapid.Bool().Draw(t, "foreign")
			n.Sick = rapid.SampledFrom([]string{"", "its controls do not answer"}).Draw(t, "sick")
			for i := range n.Seen {
				if rapid.IntRange(0, 4).Draw(t, "probed") == 0 {
					continue
				}
				s := &Sighting{
					Vote: rapid.SampledFrom([]Vote{Unknown, Up, Down}).Draw(t, "vote"), Misses: rapid.IntRange(0, 9).Draw(t, "misses"), Received: n.At,
					FirstMiss: when("first"), LastMiss: when("last"), UpSince: when("up"), LastSuccess: when("success"), LastProbe: when("probe"),
					Identity: rapid.Bool().Draw(t, "identity"), Reason: rapid.SampledFrom([]string{"", "refused", "no answer within 2s"}).Draw(t, "reason"),
				}
				if s.Vote == Up && s.LastSuccess.IsZero() {
					s.LastSuccess = s.LastProbe // an up without a success is none
				}
				if s.Vote == Unknown {
					s.Fault = rapid.SampledFrom(append([]Fault{FaultNone}, Faults...)).Draw(t, "fault")
				}
				if c := when("canary"); !c.IsZero() {
					s.Canary, s.CanaryAt = rapid.SampledFrom([]CanaryResult{CanaryOK, CanaryBad}).Draw(t, "result"), c
				}
				if c := when("client"); !c.IsZero() {
					s.Client, s.ClientAt = rapid.SampledFrom([]ClientResult{ClientAccepted, ClientRefused, ClientSilent}).Draw(t, "client result"), c
				}
				n.Seen[i] = s
			}
		}
		tape.put(n)
		data, err := json.Marshal(tape)
		if err != nil {
			t.Fatal(err)
		}
		var back Tape
		if err := json.Unmarshal(data, &back); err != nil {
			t.Fatal(err)
		}
		got, err := back.Read()
		if err != nil || len(got) != 1 || !reflect.DeepEqual(got[0], n) {
			t.Fatalf("%q\nwas  %s\nread %s, %v", tape.Notes[0], noteText(n), noteText(got[0]), err)
		}
	})
}

func noteText(n TapeNote) string { return fmt.Sprintf("%+v %+v %+v", n, n.Seen[0], n.Seen[1]) }

// TestATapeWithManyReasonsIsBounded: later words share a place.
func TestATapeWithManyReasonsIsBounded(t *testing.T) {
	tape := testTape()
	for i := range 100 {
		tape.put(TapeNote{At: tape.From, Kind: NoteReport, Vantage: "v1", Sick: fmt.Sprint("reason ", i)})
	}
	notes, err := tape.Read()
	if err != nil || len(tape.Reasons) != mostReasons || notes[0].Sick != "reason 0" || notes[99].Sick != "one of several reasons" {
		t.Errorf("%d reasons, %v, %+v", len(tape.Reasons), err, notes[99])
	}
}

// TestBadNotesAreNamed: one bad note per mistake, with its words.
func TestBadNotesAreNamed(t *testing.T) {
	for text, says := range map[string]string{
		"":                          "too few words",
		"12 0":                      "too few words",
		"x 0 u u":                   `"x" is no number`,
		"9999999999999999999 0 u u": "is no number",
		"12 2 u u":                  `"2" is no number from 0 to 1`,
		"12 0 u":                    "3 words where a report has 4",
		"12 0 u  u":                 "5 words where a report has 4",
		"12 0 nK9 u":                "there is no fault 9",
		"12 0 w u":                  `"w" begins with no vote`,
		"12 0 uy1 u":                "a sighting has no 'y'",
		"12 0 up99999999999999 u":   "is no number",
		"12 0 up- u":                "is no number",
		"12 0 uR0 u":                "there is no reason 0",
		"12 0 um-3 u":               "-3 misses",
		"12 0 um u":                 "behind 'm': \"\" is no number",
		"12 0z u u":                 "behind 'z'",
		"12 0z1 u u":                "a vantage has no 'z'",
		"12 0k7 u u":                "there is no reason 7",
		"12 . 5":                    `"5" is no number from 0 to 1`,
		"12 = 0":                    `"0" is no number from 0 to -1`,
		"12 ! -1":                   "is no number",
		"12 L 2":                    "is no number",
		"12 L 1 1":                  "one word too many",
		"12 0 " + strings.Repeat("u", 300) + " u": "behind 'u'",
	} {
		tape := testTape()
		tape.Notes = []string{text}
		if _, err := tape.Read(); !errors.Is(err, ErrTape) || !strings.Contains(err.Error(), says) || len(err.Error()) > 250 {
			t.Errorf("%.40q: %v", text, err)
		}
	}
}

// FuzzTape: whatever is on a tape, it is read or refused, and what was read can
// be written and read again.
func FuzzTape(f *testing.F) {
	tape := testTape()
	tape.Changes = []Standing{{Active: "b"}}
	tape.put(TapeNote{At: tape.From, Kind: NoteReport, Vantage: "v1", Sick: "x", Seen: [2]*Sighting{{Vote: Down, FirstMiss: tape.From, LastProbe: tape.From, Misses: 3, Reason: "refused"}, {Vote: Up, UpSince: tape.From, Identity: true}}})
	tape.put(TapeNote{At: tape.From, Kind: NoteSilent, Vantage: "v2"})
	tape.put(TapeNote{At: tape.From, Kind: NoteRecord})
	data, _ := json.Marshal(tape)
	f.Add(data)
	f.Add([]byte(`{"v":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var tape Tape
		if json.Unmarshal(data, &tape) != nil {
			return
		}
		notes, err := tape.Read()
		if err != nil {
			if !errors.Is(err, ErrTape) && !errors.Is(err, ErrTapeVersion) {
				t.Fatal(err)
			}
			return
		}
		again := tape
		again.Notes, again.Reasons = nil, nil
		for _, n := range notes {
			again.put(n)
		}
		back, err := again.Read()
		if err != nil || len(back) != len(notes) {
			t.Fatalf("%v\n%q", err, again.Notes)
		}
	})
}

// TestCalmStirsNothing: what a calm instance does is recorded by nobody, and
// what is news is.
func TestCalmStirsNothing(t *testing.T) {
	w := inShadow(testPolicy())
	if w.stirred > 0 {
		t.Errorf("a start and a calm minute stirred %d times", w.stirred)
	}
	note := func(e Event) bool {
		before := w.s
		w.s, _ = Step(w.s, &w.p, e, w.now)
		return Stirs(&before, &w.s, &w.p, e)
	}
	w.now = w.now.Add(300 * time.Millisecond)
	for _, e := range []Event{Tick{}, w.reportOf("v1"), Reports{w.reportOf("v2"), w.reportOf("v3")}} {
		if note(e) {
			t.Errorf("%T stirs", e)
		}
	}
	w.vote("v1", "a", "down", "refused")
	if !note(w.reportOf("v1")) {
		t.Error("a down vote does not stir")
	}
	w.vote("v1", "a", "up", "200")
	w.feed(w.reportOf("v1"))
	w.sick["v2"] = "no controls"
	if !note(w.reportOf("v2")) {
		t.Error("a sick vantage does not stir")
	}
	if !note(Tilted{Stall: time.Minute}) {
		t.Error("a tilt does not stir")
	}
	w = inShadow(testPolicy())
	w.now = w.now.Add(10 * time.Second)
	if !note(Tick{}) {
		t.Error("silence does not stir")
	}
}

// TestASilenceThatNoTickSawIsNoted: the report that ends it tells of it.
func TestASilenceThatNoTickSawIsNoted(t *testing.T) {
	w := inShadow(testPolicy())
	heard := w.s.sights["v1"].at
	w.now = w.now.Add(time.Minute)
	before, e := w.s, w.reportOf("v1")
	w.s, _ = Step(w.s, &w.p, e, w.now)
	r := Recorder{Life: 1}
	r.Note(&before, &w.s, &w.p, e, w.now)
	notes, err := r.Flush(w.now).Read()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range notes {
		if n.Kind == NoteSilent && n.Vantage == "v1" && n.At.Equal(heard) {
			return
		}
	}
	t.Errorf("%+v", notes)
}

// BenchmarkStirs is what recording costs a calm instance at each step.
func BenchmarkStirs(b *testing.B) {
	w := inShadow(testPolicy())
	before := w.s
	var e Event = w.reportOf("v1")
	b.ReportAllocs()
	for b.Loop() {
		if Stirs(&before, &w.s, &w.p, e) {
			b.Fatal("it stirs")
		}
	}
}
