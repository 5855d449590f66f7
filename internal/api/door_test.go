package api

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"
)

func TestWrongTokensAreCountedAndSaidOnceAMinute(t *testing.T) {
	var said []uint64
	d := newDoor(func(n uint64) { said = append(said, n) })
	now := time.Now()
	d.now, d.delay = func() time.Time { return now }, 0
	for range 25 {
		d.wrongToken(t.Context())
	}
	now = now.Add(guessWindow)
	d.wrongToken(t.Context())
	d.wrongToken(t.Context())
	if want := []uint64{1, 25}; !slices.Equal(said, want) {
		t.Errorf("said %v, want %v", said, want)
	}
	if got := d.stats()[RefusedToken]; got != 27 {
		t.Errorf("counted %d", got)
	}
}

func TestGuessesAreSlowedAfterTenAndOnlySoManyWait(t *testing.T) {
	d := newDoor(nil)
	now := time.Now()
	d.now, d.delay = func() time.Time { return now }, time.Hour
	for i := range guessFree {
		if !d.wrongToken(t.Context()) { // an hour's wait would fail the test
			t.Fatalf("guess %d was turned away", i)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	for range maxDelayed {
		waiting.Go(func() { d.wrongToken(ctx) })
	}
	for end := time.Now().Add(2 * time.Minute); len(d.slots) < maxDelayed; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d wait", len(d.slots))
		}
	}
	if d.wrongToken(t.Context()) {
		t.Error("one more than may wait got an answer")
	}
	cancel()
	waiting.Wait()
	now = now.Add(guessWindow)
	if !d.wrongToken(t.Context()) {
		t.Error("a minute later the first guess was slowed")
	}
}

func TestTheRightTokenIsNeverSlowed(t *testing.T) {
	warned := make(chan uint64, 100)
	cfg := newWorld().config(t)
	cfg.Listen, cfg.Token, cfg.OnWrongToken = "127.0.0.1:0", []byte(testToken), func(n uint64) { warned <- n }
	s := serveChanged(t, cfg, func(s *Server) { s.door.slots = make(chan struct{}, 1) })
	url := "http://" + s.Addr() + "/v1/version"
	wrong := func(r *http.Request) { r.Header.Set("Authorization", "Bearer wrong") }
	for range guessFree {
		if resp := ask(t, "GET", url, nil, wrong); resp.StatusCode != http.StatusUnauthorized {
			t.Fatal(resp.Status)
		}
	}
	began := time.Now()
	if resp := ask(t, "GET", url, nil, wrong); resp.StatusCode != http.StatusUnauthorized || time.Since(began) < guessDelay {
		t.Errorf("guess %d: %s after %s", guessFree+1, resp.Status, time.Since(began))
	}
	s.door.slots <- struct{}{} // one more waits, and no other can: a right token need not
	if resp := ask(t, "GET", url, nil, wrong); resp.StatusCode != http.StatusTooManyRequests {
		t.Errorf("too many wait: %s", resp.Status)
	}
	if resp := ask(t, "GET", url, nil, nil); resp.StatusCode != http.StatusOK {
		t.Errorf("right token: %s", resp.Status)
	}
	ask(t, "GET", url, nil, func(r *http.Request) { r.Host = "evil.example" })
	ask(t, "GET", url, nil, func(r *http.Request) { r.Header.Set("Origin", "http://evil.example") })
	got := s.Refused()
	if got[RefusedToken] != guessFree+2 || got[RefusedHost] != 1 || got[RefusedOrigin] != 1 || len(warned) != 1 {
		t.Errorf("counted %v, %d warnings", got, len(warned))
	}
}
