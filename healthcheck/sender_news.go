package healthcheck

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"pointsman/internal/failover"
)

const (
	// hurryAfter is how long a POST may be under way when a vote has changed
	// before it is given up: a healthy one takes a few milliseconds.
	hurryAfter = 20 * time.Millisecond
	// hurryEvery bounds how often that happens on one line, so that a
	// controller that is only slow gets to answer.
	hurryEvery = 250 * time.Millisecond
	// gatherFor is how long after a message reports that tell nothing new wait
	// for others before the next one goes out: a message costs both ends more
	// than the reports in it. Ages grow meanwhile, as on every way.
	gatherFor = 20 * time.Millisecond
	// refusedKey is the key of a message that controllers of earlier versions
	// refuse by its name.
	refusedKey = "config_refused"
)

var errHurried = errors.New("given up for news")

// said remembers the votes of the newest report of each instance.
type said struct {
	mu    sync.Mutex
	votes map[failover.InstanceName]string
}

// changes says whether a vote of the report is another one than before, or what
// became of a client's write.
func (s *said) changes(r InstanceReport) bool {
	var b strings.Builder
	for _, c := range r.Clusters {
		// Whether a gate is closed is waited for as a vote is.
		b.WriteString(string(c.Cluster) + " " + c.Vote.String() + " " + string(c.Fault) + " " + string(c.Client) + "\n")
	}
	if r.Sick != "" {
		b.WriteString("sick")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.votes == nil {
		s.votes = make(map[failover.InstanceName]string)
	}
	was := s.votes[r.Instance]
	if was == b.String() {
		return false
	}
	s.votes[r.Instance] = b.String()
	return true
}

// isWell says that everything is up, without a miss: nobody waits for such a
// report but for the sake of its age.
func (r InstanceReport) isWell() bool {
	for _, c := range r.Clusters {
		if c.Vote != failover.Up || c.Misses > 0 {
			return false
		}
	}
	return r.Sick == ""
}

// news is what a line does for a vote that has changed. The line's mutex
// guards it.
type news struct {
	rush   chan struct{}           // do not wait for the next try, nor for other reports
	press  chan struct{}           // do not wait for other reports
	cancel context.CancelCauseFunc // of the POST under way; nil: none
	since  time.Time               // of its beginning
	timer  *time.Timer             // that gives it up
	gaveUp time.Time               // when that was done last
}

// hurry puts an instance before all others that wait without news. A POST under way gets a
// moment to end; then its connection is taken for dead and the news goes out
// on another one, with what was in that POST. Whether it arrived all the same
// does not matter.
func (l *line) hurry(i failover.InstanceName) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.backlog.hurry(i)
	n := &l.news
	select {
	case n.rush <- struct{}{}:
	default:
	}
	if n.cancel == nil || n.timer != nil {
		return
	}
	cancel := n.cancel
	wait := max(time.Until(n.since.Add(hurryAfter)), time.Until(n.gaveUp.Add(hurryEvery)))
	n.timer = time.AfterFunc(wait, func() { cancel(errHurried) })
}

// urgently runs one POST so that hurry can give it up.
func (l *line) urgently(ctx context.Context, post func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	l.mu.Lock()
	l.news.cancel, l.news.since = cancel, time.Now()
	select {
	case <-l.news.rush: // it goes out now
	default:
	}
	l.mu.Unlock()
	err := post(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.news.timer != nil {
		l.news.timer.Stop()
	}
	if errors.Is(context.Cause(ctx), errHurried) {
		l.news.gaveUp = time.Now()
		select {
		case l.news.rush <- struct{}{}: // nor does the next try wait
		default:
		}
	}
	l.news.cancel, l.news.timer = nil, nil
	return err
}

// press sends what waits without gathering more.
func (l *line) press() {
	select {
	case l.news.press <- struct{}{}:
	default:
	}
}

// gather takes what goes into the next message. Short after the one before it
// waits a moment for more reports, unless a message is full or somebody waits
// for one of those that are there.
func (l *line) gather(ctx context.Context) []parcel {
	l.mu.Lock()
	wait := time.Until(l.news.since.Add(gatherFor))
	if n := len(l.backlog.places); n == 0 || n >= maxBatch || l.backlog.news.Len() > 0 {
		wait = 0
	}
	l.mu.Unlock()
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-l.news.press:
		case <-l.news.rush:
		}
	}
	return l.take()
}
