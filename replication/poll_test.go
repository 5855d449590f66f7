package replication

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pointsman/replication/ots"
)

func TestPace(t *testing.T) {
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	p := newPace(0, 0)
	for i, s := range []struct {
		records int
		more    bool
		want    time.Duration
	}{
		{0, false, ms(100)},
		{0, false, ms(200)},
		{0, false, ms(400)},
		{0, true, ms(800)},
		{0, false, ms(1600)},
		{0, false, ms(2000)},
		{0, false, ms(2000)},
		{1, false, ms(100)},
		{0, false, ms(100)},
		{0, false, ms(200)},
		{1000, true, 0},
		{1, false, ms(100)},
		{0, false, ms(100)},
	} {
		if got := p.after(s.records, s.more); got != s.want {
			t.Errorf("step %d: %v, want %v", i, got, s.want)
		}
	}
	for i, want := range []time.Duration{ms(100), ms(200), ms(400), ms(800), ms(1600), ms(3200), ms(5000), ms(5000)} {
		if got := p.backoff(i + 1); got != want {
			t.Errorf("failure %d: %v, want %v", i+1, got, want)
		}
	}
	if got := p.backoff(1 << 40); got != maxBackoff {
		t.Error(got)
	}
	p = newPace(ms(500), ms(50)) // busy is not above idle
	if a, b := p.after(0, false), p.after(0, false); a != ms(500) || b != ms(500) {
		t.Error(a, b)
	}
	slow := newPace(10*time.Second, 0)
	if got := slow.backoff(3); got != 10*time.Second {
		t.Error(got)
	}
	for range 1000 {
		if d := jittered(time.Second); d > time.Second || d < 3*time.Second/4 {
			t.Fatal(d)
		}
	}
}

// still is a stream with one shard, on a clock of a test: what it has is told
// by calls to have, and reads are counted with their times.
type still struct {
	mu    sync.Mutex
	have  int // records that were not read
	page  int
	err   error
	slow  time.Duration // a read takes
	reads []time.Time
	seq   int64
}

func (s *still) Streams(context.Context, string) ([]ots.Stream, error) {
	return []ots.Stream{{ID: "s"}}, nil
}

func (s *still) Shards(context.Context, string) (ots.Stream, []ots.Shard, error) {
	return ots.Stream{ID: "s"}, []ots.Shard{{ID: "1"}}, nil
}

func (s *still) Iterator(context.Context, string, string, time.Time) (string, error) {
	return "", errors.New("no shard is opened here")
}

func (s *still) Offset() (low, high time.Duration, known bool) { return 0, 0, true }

func (s *still) Records(ctx context.Context, iterator string, limit int) (ots.Page, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sent := time.Now()
	s.reads = append(s.reads, sent)
	if s.slow > 0 {
		s.mu.Unlock()
		time.Sleep(s.slow)
		s.mu.Lock()
	}
	if s.err != nil {
		return ots.Page{}, s.err
	}
	p := ots.Page{Next: iterator, Sent: sent, Received: time.Now()}
	for s.have > 0 && len(p.Records) < min(s.page, limit) {
		s.have--
		s.seq++
		p.Records = append(p.Records, ots.Record{Seq: ots.Sequence{Time: s.seq}})
		p.Next = fmt.Sprint(s.seq)
	}
	p.More = s.have > 0
	return p, nil
}

// pauses are those before each read since it was asked the last time; the first
// is after a given moment.
func (s *still) pauses(from time.Time) (out []time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, at := range s.reads {
		out = append(out, at.Sub(from))
		from = at
	}
	s.reads = nil
	return out
}

// poll runs a follower of s on the clock of a test.
func poll(t *testing.T, s *still, change func(*followConfig), do func(t *testing.T, f *follower)) {
	synctest.Test(t, func(t *testing.T) {
		cfg := followConfig{
			Client: s, Table: "t", Start: []position{{Stream: "s", Shard: "1", Iterator: "0"}}, Visibility: time.Second,
			Deliver: func(context.Context, delivery) error { return nil },
		}
		if change != nil {
			change(&cfg)
		}
		f := newFollower(cfg)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ended := make(chan error, 1)
		go func() { ended <- f.Run(ctx) }()
		synctest.Wait()
		do(t, f)
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

// within checks pauses against what they are without jitter.
func within(t *testing.T, got []time.Duration, want ...time.Duration) {
	t.Helper()
	if len(got) < len(want) {
		t.Fatalf("%d reads, want %d: %v", len(got), len(want), got)
	}
	for i, d := range want {
		if got[i] > d || got[i] < d-d/4 {
			t.Errorf("pause %d is %v, want %v less a quarter at most", i, got[i], d)
		}
	}
}

func TestPollSlowsDownAndUpAgain(t *testing.T) {
	const ms = time.Millisecond
	s := &still{page: 10}
	poll(t, s, nil, func(t *testing.T, f *follower) {
		begun := time.Now()
		time.Sleep(20 * time.Second)
		synctest.Wait()
		got := s.pauses(begun)
		within(t, got, 0, 100*ms, 200*ms, 400*ms, 800*ms, 1600*ms, 2000*ms, 2000*ms)
		if n := len(got); n < 14 || n > 18 { // 3.1 s until it is slow, then 2 s each
			t.Errorf("%d reads of nothing in 20s", n)
		}
		s.mu.Lock()
		s.have = 35
		s.mu.Unlock()
		time.Sleep(2500 * time.Millisecond) // the read that finds them, and all after it
		synctest.Wait()
		got = s.pauses(time.Now())
		within(t, got[1:], 0, 0, 0, 100*ms, 100*ms, 200*ms)
	})
}

func TestNudgeReadsAtOnce(t *testing.T) {
	s := &still{page: 10}
	poll(t, s, nil, func(t *testing.T, f *follower) {
		time.Sleep(time.Minute)
		synctest.Wait()
		s.pauses(time.Now())
		f.Nudge()
		synctest.Wait()
		within(t, s.pauses(time.Now()), 0)

		// One that is under way was sent before the nudge: another follows it.
		s.mu.Lock()
		s.slow = time.Second
		s.mu.Unlock()
		f.Nudge()
		synctest.Wait()
		f.Nudge()
		begun := time.Now()
		time.Sleep(1100 * time.Millisecond)
		synctest.Wait()
		if got := s.pauses(begun); len(got) != 2 || got[1] != time.Second {
			t.Errorf("%v, want another read when the one under way ended", got)
		}
		time.Sleep(time.Second)
	})
}

func TestNudgeCutsABackoffShort(t *testing.T) {
	s := &still{page: 10, err: ots.ErrLine}
	poll(t, s, nil, func(t *testing.T, f *follower) {
		begun := time.Now()
		time.Sleep(time.Minute)
		synctest.Wait()
		within(t, s.pauses(begun), 0, 100*time.Millisecond, 200*time.Millisecond, 400*time.Millisecond, 800*time.Millisecond, 1600*time.Millisecond, 3200*time.Millisecond, 5*time.Second, 5*time.Second)
		if since, err := f.Trouble(); !errors.Is(err, ots.ErrLine) || !since.Equal(begun) {
			t.Error(since, err)
		}
		s.mu.Lock()
		s.err = nil
		s.mu.Unlock()
		f.Nudge()
		synctest.Wait()
		within(t, s.pauses(time.Now()), 0)
		if _, err := f.Trouble(); err != nil {
			t.Error(err)
		}
	})
}

// While nobody takes a page, no other is asked for.
func TestPollWaitsForItsTaker(t *testing.T) {
	s := &still{page: 10, have: 100}
	var take chan struct{}
	poll(t, s, func(cfg *followConfig) {
		take = make(chan struct{})
		cfg.Deliver = func(ctx context.Context, d delivery) error {
			select {
			case <-take:
			case <-ctx.Done():
			}
			return ctx.Err()
		}
	}, func(t *testing.T, f *follower) {
		time.Sleep(time.Minute)
		f.Nudge()
		synctest.Wait()
		if got := s.pauses(time.Now()); len(got) != 1 {
			t.Errorf("%d reads, want the one that nobody took", len(got))
		}
		take <- struct{}{}
		synctest.Wait()
		if got := s.pauses(time.Now()); len(got) != 1 {
			t.Errorf("%d reads after one was taken, want 1", len(got))
		}
	})
}

// An iterator that is given again with records would have them read for ever.
func TestPollDoesNotReadTheSameForEver(t *testing.T) {
	s := &repeating{}
	synctest.Test(t, func(t *testing.T) {
		f := newFollower(followConfig{
			Client: s, Table: "t", Start: []position{{Stream: "s", Shard: "1", Iterator: "0"}},
			Deliver: func(context.Context, delivery) error { t.Error("delivered"); return nil },
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := f.Run(ctx)
		if _, trouble := f.Trouble(); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(trouble, errRepeated) {
			t.Error(err, trouble)
		}
		if n := len(s.reads); n > 20 {
			t.Errorf("%d reads in a minute", n)
		}
	})
}

type repeating struct{ still }

func (r *repeating) Records(_ context.Context, iterator string, _ int) (ots.Page, error) {
	r.reads = append(r.reads, time.Now())
	return ots.Page{Records: make([]ots.Record, 1), Next: iterator, Sent: time.Now()}, nil
}
