package ots

import (
	"net/http"
	"strings"
	"sync"
	"time"
)

// serverTime is a moment of the service's clock, at from or less than within
// after it: answers round down.
type serverTime struct {
	from   time.Time
	within time.Duration
}

// parseServerTime reads the clock of an answer: x-ots-date, else Date.
func parseServerTime(h http.Header) (serverTime, bool) {
	if text := h.Get("x-ots-date"); text != "" {
		if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
			within := time.Second
			if _, fraction, ok := strings.Cut(strings.TrimSuffix(text, "Z"), "."); ok {
				for range min(len(fraction), 9) {
					within /= 10
				}
			}
			return serverTime{t, max(within, time.Nanosecond)}, true
		}
	}
	if t, err := http.ParseTime(h.Get("Date")); err == nil {
		return serverTime{t, time.Second}, true
	}
	return serverTime{}, false
}

// A clock bounds how far the service's clock is before ours. An answer sent
// after s and received before r, with the time d, says: d-r to d-s. Within a
// slot of time those are intersected; over the slots, and where answers
// contradict each other (several machines answer, or a clock was set), the
// hull is taken, so that it is a bound for all of them.
type clock struct {
	mu    sync.Mutex
	slots [slots]slot
}

const (
	slots  = 6
	slotOf = 10 * time.Second
)

type slot struct {
	number    int64 // of the time since 1970
	low, high time.Duration
	torn      bool // answers contradicted each other
}

func (c *clock) add(d serverTime, sent, received time.Time) {
	low, high := d.from.Sub(received.Round(0)), d.from.Add(d.within).Sub(sent.Round(0))
	if high < low { // our clock was set meanwhile
		return
	}
	n := received.Unix() / int64(slotOf/time.Second)
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &c.slots[uint64(n)%slots]
	switch {
	case s.number != n:
		*s = slot{number: n, low: low, high: high}
	case low > s.high || high < s.low:
		s.low, s.high, s.torn = min(s.low, low), max(s.high, high), true
	case !s.torn:
		s.low, s.high = max(s.low, low), min(s.high, high)
	}
}

func (c *clock) offset(now time.Time) (low, high time.Duration, known bool) {
	n := now.Unix() / int64(slotOf/time.Second)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.slots {
		if s.number == 0 || s.number <= n-slots || s.number > n {
			continue
		}
		if !known {
			low, high, known = s.low, s.high, true
			continue
		}
		low, high = min(low, s.low), max(high, s.high)
	}
	if known {
		return low, high, true
	}
	// Nothing was asked for a minute: the newest there is.
	var newest *slot
	for i := range c.slots {
		if s := &c.slots[i]; s.number != 0 && (newest == nil || s.number > newest.number) {
			newest = s
		}
	}
	if newest == nil {
		return 0, 0, false
	}
	return newest.low, newest.high, true
}
