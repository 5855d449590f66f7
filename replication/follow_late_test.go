package replication

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pointsman/replication/ots"
)

// delta is a stream whose listing a test writes, on the clock of a test. Shards
// with others after them have ended; none has records.
type delta struct {
	mu     sync.Mutex
	listed string
	ended  map[string]bool // though none is told to come after it
	slow   time.Duration   // a read takes
	reads  map[string]int
	gone   bool // from the list of streams
	now    int  // reads under way
	most   int
}

func (d *delta) Streams(context.Context, string) ([]ots.Stream, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.gone {
		return nil, nil
	}
	return []ots.Stream{{ID: "s"}}, nil
}

func (d *delta) Shards(context.Context, string) (ots.Stream, []ots.Shard, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return ots.Stream{}, slices.Collect(maps.Values(family(d.listed).shards)), nil
}

func (d *delta) Iterator(_ context.Context, _, shard string, _ time.Time) (string, error) {
	return shard, nil
}

func (d *delta) Offset() (low, high time.Duration, known bool) { return 0, 0, false }

func (d *delta) Records(_ context.Context, iterator string, _ int) (ots.Page, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reads[iterator]++
	d.now++
	d.most = max(d.most, d.now)
	p := ots.Page{Next: iterator, Sent: time.Now()}
	if d.slow > 0 {
		d.mu.Unlock()
		time.Sleep(d.slow)
		d.mu.Lock()
	}
	d.now--
	if d.ended[iterator] || len(family(d.listed).children(iterator)) > 0 {
		p.Next = ""
	}
	p.Received = time.Now()
	return p, nil
}

// list puts the stream into the list of streams, or takes it out.
func (d *delta) list(there bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.gone = !there
}

// tell changes what the service says.
func (d *delta) tell(listed string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.listed = listed
}

func (d *delta) readOf(shard string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.reads[shard]
}

// flow runs a follower of d from the positions of its first listing.
func flow(t *testing.T, d *delta, do func(t *testing.T, f *follower, got func() string)) {
	synctest.Test(t, func(t *testing.T) {
		d.reads = map[string]int{}
		l := family(d.listed)
		cfg := followConfig{Client: d, Table: "t", Visibility: time.Second}
		for _, s := range l.shards {
			cfg.Start = append(cfg.Start, position{Stream: "s", Shard: s.ID, Iterator: s.ID, Parents: s.Parents})
		}
		var mu sync.Mutex
		var came []string
		cfg.Deliver = func(_ context.Context, d delivery) error {
			mu.Lock()
			defer mu.Unlock()
			for _, c := range d.Children {
				came = append(came, c.Shard+"<"+d.After.Shard)
			}
			return nil
		}
		f := newFollower(cfg)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- f.Run(ctx) }()
		defer func() {
			cancel()
			<-ended
		}()
		do(t, f, func() string {
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			return strings.Join(came, " ")
		})
	})
}

// A split has two children. When one is told of, the other is waited for as long
// as the service may take to tell.
func TestFollowWaitsForTheOtherChild(t *testing.T) {
	d := &delta{listed: "a"}
	flow(t, d, func(t *testing.T, f *follower, got func() string) {
		time.Sleep(10 * time.Second)
		d.tell("a b<a")
		f.Nudge()
		time.Sleep(500 * time.Millisecond)
		if now := got(); now != "" || d.readOf("b") > 0 {
			t.Errorf("%q at once, though the other child may be told of still", now)
		}
		if _, err := f.Trouble(); err == nil || !strings.Contains(err.Error(), "only one is told to come after it") {
			t.Error(err)
		}
		d.tell("a b<a c<a")
		time.Sleep(5 * time.Second)
		if now := got(); now != "b<a c<a" || d.readOf("b") == 0 || d.readOf("c") == 0 {
			t.Errorf("%q", now)
		}
		if _, err := f.Trouble(); err != nil {
			t.Error(err)
		}
	})
}

// Where there is no other, it goes on; and one that is told of later still is
// read then.
func TestFollowReadsAChildThatIsToldLate(t *testing.T) {
	d := &delta{listed: "a b<a"}
	flow(t, d, func(t *testing.T, f *follower, got func() string) {
		time.Sleep(5 * time.Second)
		if now := got(); now != "b<a" || d.readOf("b") == 0 {
			t.Errorf("%q", now)
		}
		d.tell("a b<a c<a")
		time.Sleep(defaultCheck)
		if now := got(); now != "b<a b<a c<a" || d.readOf("c") == 0 {
			t.Errorf("%q", now)
		}
	})
}

func TestFollowBelievesNoEndWithoutChildren(t *testing.T) {
	d := &delta{listed: "a b", ended: map[string]bool{"a": true}}
	flow(t, d, func(t *testing.T, f *follower, got func() string) {
		time.Sleep(time.Minute)
		if n := d.readOf("b"); got() != "" || n < 25 {
			t.Errorf("the other shard was read %d times in a minute", n)
		}
		if _, err := f.Trouble(); err == nil || !strings.Contains(err.Error(), "none is told to come after it") {
			t.Error(err)
		}
		if n := d.readOf("a"); n < 20 || n > 60 { // each time twice
			t.Errorf("read %d times in a minute", n)
		}
		d.mu.Lock()
		d.ended = nil
		d.mu.Unlock()
		time.Sleep(maxBackoff)
		if _, err := f.Trouble(); got() != "" || err != nil {
			t.Error(err)
		}
	})
}

func TestFollowReadsSomeShardsAtATime(t *testing.T) {
	var names []string
	for i := range 200 {
		names = append(names, fmt.Sprint("s", i))
	}
	d := &delta{listed: strings.Join(names, " "), slow: 10 * time.Millisecond}
	flow(t, d, func(t *testing.T, f *follower, got func() string) {
		time.Sleep(time.Minute)
		got()
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.most != defaultParallel {
			t.Errorf("%d reads at a time, want %d", d.most, defaultParallel)
		}
		for _, n := range names {
			if d.reads[n] < 20 {
				t.Errorf("shard %s was read %d times in a minute", n, d.reads[n])
			}
		}
	})
}

// A stream that is listed no more while its old places still answer: what clients
// write now may be in none, so that nothing more is claimed until it is listed
// again.
func TestFollowClaimsNothingOfAStreamThatIsNotListed(t *testing.T) {
	d := &delta{listed: "a"}
	flow(t, d, func(t *testing.T, f *follower, got func() string) {
		upto := func() time.Duration {
			synctest.Wait()
			f.mu.Lock()
			defer f.mu.Unlock()
			return time.Since(f.frontier["a"].Upto)
		}
		time.Sleep(10 * time.Second)
		if behind := upto(); behind > 4*time.Second {
			t.Fatalf("it is %v behind", behind)
		}
		d.list(false)
		time.Sleep(defaultCheck) // when it looks
		before, n := upto(), d.readOf("a")
		time.Sleep(10 * time.Minute)
		if behind := upto() - 10*time.Minute; behind < before-time.Second || d.readOf("a") < n+100 {
			t.Errorf("all before %v is claimed, and %d reads were made of it", behind, d.readOf("a")-n)
		}
		if _, err := f.Trouble(); err == nil || !strings.Contains(err.Error(), "does not list it") {
			t.Error(err)
		}
		d.list(true)
		time.Sleep(10 * time.Second)
		if behind := upto(); behind > 4*time.Second {
			t.Errorf("it is listed again, and %v behind", behind)
		}
	})
}
