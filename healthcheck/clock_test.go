package healthcheck

import (
	"bytes"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pointsman/internal/failover"
)

// The real sender with a clock that is off, the real receiver, and a way that
// takes its time: what is read is as far off as the clock, within what it says.
func TestTheClockOfAVantageIsRead(t *testing.T) {
	for name, off := range map[string]time.Duration{"right": 0, "ahead": 90 * time.Second, "behind": -3 * time.Second, "a little": 700 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			b := newBox(t, asIs)
			s := startSender(t, SenderConfig{Controllers: []string{b.url}, Wall: func() time.Time { return time.Now().Add(off) }})
			for n := 1; n <= 4; n++ {
				s.Send(made(n))
				eventually(t, "delivery", func() bool { _, got := b.last(); return got == n })
			}
			c := b.rec.Clocks()["van-1"]
			if c.At.IsZero() || c.Within <= 0 || (c.Offset-off).Abs() > c.Within {
				t.Errorf("read %+v, the clock is off by %s", c, off)
			}
			if r, _ := b.last(); r.Clusters[0].Vote != made(4).Clusters[0].Vote {
				t.Errorf("delivered %+v", r)
			}
		})
	}
}

// What a way takes, one way or the other, is never more than what is said of
// the precision.
func TestAReadingHoldsTheTruth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		span := func(name string) time.Duration {
			return time.Duration(rapid.Int64Range(0, int64(5*time.Second)).Draw(t, name))
		}
		off := time.Duration(rapid.Int64Range(-int64(time.Hour), int64(time.Hour)).Draw(t, "off"))
		there, back, pause := span("there"), span("back"), span("pause")
		sent := time.Unix(1_800_000_000, int64(span("fraction")))
		p := &peer{}
		first := &message{Seq: 1, SentMS: sent.Add(off).UnixMilli()}
		if c, ok := p.read(first, sent.Add(there)); ok {
			t.Fatalf("one message says %+v", c)
		}
		next := sent.Add(there + back + pause)
		c, ok := p.read(&message{Seq: 2, SentMS: next.Add(off).UnixMilli(), Answered: &answered{Seq: 1, Took: there + back}}, next.Add(there))
		if !ok || (c.Offset-off).Abs() > c.Within || c.Within > (there+back+clockStep)/2 || !c.At.Equal(sent.Add(there)) {
			t.Fatalf("read %+v, %v; the clock is off by %s", c, ok, off)
		}
		if least := c.Least(); least > off.Abs() {
			t.Fatalf("at least %s, it is %s", least, off)
		}
		if _, ok := p.read(&message{Seq: 3, SentMS: 1, Answered: &answered{Seq: 1}}, next); ok {
			t.Fatal("an answer counts twice")
		}
	})
}

// A vantage of an earlier version says nothing of answers, and one that lies or
// errs says what cannot be: its votes count, and its clock is not known.
func TestAClockIsNotKnownAndVotesCount(t *testing.T) {
	for name, a := range map[string]*answered{
		"an earlier version":    nil,
		"below nothing":         {Seq: 1, Took: -1},
		"longer than ever":      {Seq: 1, Took: math.MaxInt64},
		"the least":             {Seq: 1, Took: math.MinInt64},
		"what was not sent":     {Seq: 7, Took: 1},
		"itself":                {Seq: 2, Took: 1},
		"no message":            {Took: 1},
		"the greatest sequence": {Seq: math.MaxUint64, Took: 1},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			d.config.Clock = func(_ failover.VantageName, c ClockReading) { t.Errorf("told of %+v", c) }
			d.post("van-1", keyOne, encoded(t, envelope(1, twoVotes())))
			m := envelope(2, twoVotes())
			m.Answered = a
			if code, text := d.post("van-1", keyOne, encoded(t, m)); code != http.StatusNoContent {
				t.Errorf("%d %s", code, text)
			}
			d.expect(t, name, map[Refusal]uint64{}, 2)
			if c := d.Clocks()["van-1"]; c != (ClockReading{}) {
				t.Errorf("read %+v", c)
			}
		})
	}
}

// What is delivered, and dated how, is the same whatever the clock shows.
func TestAClockChangesNoVote(t *testing.T) {
	for _, off := range []time.Duration{-4 * time.Minute, 0, 4 * time.Minute} {
		d := newDesk(t)
		for seq := range uint64(3) {
			m := envelope(seq+1, twoVotes())
			m.SentMS = time.Now().Add(off).UnixMilli()
			if seq > 0 {
				m.Answered = &answered{Seq: seq, Took: time.Millisecond}
			}
			d.post("van-1", keyOne, encoded(t, m))
		}
		d.expect(t, off.String(), map[Refusal]uint64{}, 3)
		for i, r := range d.got {
			e, plain := r.Event(d.at[i], "x"), twoVotes().Event(d.at[i], "x")
			for c := range plain.Clusters {
				if x, y := e.Clusters[c], plain.Clusters[c]; x.Vote != y.Vote || !x.LastProbe.Equal(y.LastProbe) || !x.Received.Equal(y.Received) {
					t.Errorf("off by %s: %+v, want %+v", off, x, y)
				}
			}
		}
		if c := d.Clocks()["van-1"]; (c.Offset - off).Abs() > time.Second {
			t.Errorf("off by %s, read %+v", off, c)
		}
	}
}

// A boot begins its numbers anew: what was answered before it is of none of them.
func TestABootForgetsWhatWasOnItsWay(t *testing.T) {
	d := newDesk(t)
	d.post("van-1", keyOne, encoded(t, envelope(1, twoVotes())))
	m := envelope(2, twoVotes())
	m.Boot, m.Answered = strings.Repeat("0b", nonceSize), &answered{Seq: 1, Took: time.Millisecond}
	d.post("van-1", keyOne, encoded(t, m))
	d.expect(t, "both", map[Refusal]uint64{}, 2)
	if c := d.Clocks()["van-1"]; !c.At.IsZero() {
		t.Errorf("read %+v", c)
	}
}

// A controller of an earlier version refuses the key by its name. It gets every
// vote all the same, and is asked again once it is another process.
func TestAnEarlierControllerHearsNothingOfAnswers(t *testing.T) {
	var old atomic.Bool
	var refusals atomic.Int64
	old.Store(true)
	b := newBox(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return
			}
			for _, key := range []string{"answered", "config_refused"} {
				if old.Load() && bytes.Contains(body, []byte(`"`+key+`":`)) {
					refusals.Add(1)
					r.Body = io.NopCloser(bytes.NewReader(nil))
					asks := httptest.NewRecorder()
					next.ServeHTTP(asks, r)
					w.Header().Set(challengeHeader, asks.Header().Get(challengeHeader))
					http.Error(w, `malformed: json: unknown field "`+key+`"`, http.StatusBadRequest)
					return
				}
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
			next.ServeHTTP(w, r)
		})
	})
	s := startSender(t, SenderConfig{Controllers: []string{b.url}})
	s.Refused(time.Now(), "no")
	for n := 1; n <= 10; n++ {
		s.Send(made(n))
		eventually(t, "delivery", func() bool { r, _ := b.last(); return r.Clusters != nil && r.Clusters[0].Misses == n })
	}
	if n, st := refusals.Load(), s.Stats()[0]; n == 0 || n > 6 || st.Failures != 0 {
		t.Errorf("refused %d times, %+v", n, st)
	}
	if c := b.rec.Clocks()["van-1"]; !c.At.IsZero() {
		t.Errorf("read %+v", c)
	}
	old.Store(false)
	again, err := NewReceiver(b.rec.config)
	if err != nil {
		t.Fatal(err)
	}
	swap(b.rec, again)
	for n := 11; n <= 14; n++ {
		s.Send(made(n))
		eventually(t, "the report", func() bool { r, _ := b.last(); return r.Clusters[0].Misses == n })
	}
	if c := b.rec.Clocks()["van-1"]; c.At.IsZero() {
		t.Error("the new version reads no clock")
	}
}
