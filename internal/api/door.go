package api

import (
	"context"
	"sync"
	"time"
)

// Reasons for turning a request over TCP away at the door.
const (
	RefusedHost   = "host"   // the Host header is none of ours
	RefusedOrigin = "origin" // it comes from a web page
	RefusedToken  = "token"  // the token is missing or wrong
	// RefusedCrowded: the connection made room for another one (lobby).
	RefusedCrowded = "crowded"
)

const (
	guessWindow = time.Minute // in which wrong tokens are counted together
	guessFree   = 10          // wrong tokens in a window that are answered at once
	guessDelay  = time.Second // before the answer to each further one
	// maxDelayed bounds the answers that wait, far below maxConns, so that
	// whoever guesses does not take every connection from those who need not.
	maxDelayed = 32
)

// door counts whom the TCP listener turns away, and slows down whoever guesses
// the token. All methods are safe for concurrent use.
type door struct {
	now   func() time.Time
	delay time.Duration
	warn  func(wrong uint64) // told of wrong tokens; nil drops it
	slots chan struct{}      // of answers that wait

	mu      sync.Mutex
	refused map[string]uint64
	began   time.Time // of the window
	wrong   int       // tokens in the window
	warned  time.Time
	unsaid  uint64 // wrong tokens since the last warning
}

func newDoor(warn func(uint64)) *door {
	return &door{
		now: time.Now, delay: guessDelay, warn: warn, slots: make(chan struct{}, maxDelayed),
		refused: map[string]uint64{RefusedHost: 0, RefusedOrigin: 0, RefusedToken: 0, RefusedCrowded: 0},
	}
}

func (d *door) refuse(reason string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refused[reason]++
}

func (d *door) stats() map[string]uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make(map[string]uint64, len(d.refused))
	for k, n := range d.refused {
		out[k] = n
	}
	return out
}

// wrongToken counts one, warns at the first and then at most once a window,
// and returns when the answer may go out. False means that too many wait
// already: the caller is told to come back later.
func (d *door) wrongToken(ctx context.Context) (answer bool) {
	d.refuse(RefusedToken)
	slow, say := d.count()
	if say > 0 && d.warn != nil {
		d.warn(say)
	}
	if !slow {
		return true
	}
	select {
	case d.slots <- struct{}{}:
		defer func() { <-d.slots }()
	default:
		return false
	}
	select {
	case <-time.After(d.delay):
	case <-ctx.Done():
	}
	return true
}

func (d *door) count() (slow bool, say uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	if d.began.IsZero() || now.Sub(d.began) >= guessWindow {
		d.began, d.wrong = now, 0
	}
	d.wrong++
	d.unsaid++
	if d.warned.IsZero() || now.Sub(d.warned) >= guessWindow {
		d.warned, say, d.unsaid = now, d.unsaid, 0
	}
	return d.wrong > guessFree, say
}
