package ledger

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"pointsman/internal/failover"
)

func TestALoadComesAfterTheCommitsThatWereAcceptedBeforeIt(t *testing.T) {
	begun, goOn := make(chan struct{}), make(chan struct{})
	slow := false
	s := mustOpen(t, Config{Dir: memDir(t), fault: func(op string) error {
		if slow && op == "write" {
			close(begun)
			<-goOn
		}
		return nil
	}})
	mustCommit(t, s, named("billing", 0))
	slow = true
	committed := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_, err := s.Commit(ctx, orders(0, "a.lab.test."), nil)
		committed <- err
	}()
	<-begun
	cancel() // the caller no longer wants it; it lands all the same

	brief, end := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer end()
	if r, ok, err := s.Load(brief, "orders"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("load beside a commit in hand: rev %d, found %v, %v", r.Rev, ok, err)
	}
	if r := mustLoad(t, s, "billing"); r.Rev != 1 {
		t.Errorf("the other instance is at rev %d", r.Rev)
	}
	if all, err := s.All(t.Context()); len(all) != 1 || err != nil {
		t.Errorf("all: %v, %v", all, err)
	}
	loaded := make(chan uint64, 1)
	go func() {
		r, _, _ := s.Load(context.Background(), "orders")
		loaded <- r.Rev
	}()
	select {
	case rev := <-loaded:
		t.Errorf("load did not wait, and showed rev %d", rev)
		loaded <- rev
	case <-time.After(20 * time.Millisecond):
	}
	slow = false
	close(goOn)
	if rev := <-loaded; rev != 1 {
		t.Errorf("load showed rev %d", rev)
	}
	if err := <-committed; err != nil {
		t.Error(err)
	}
}

func TestALoadDoesNotWaitForAWithdrawnCommit(t *testing.T) {
	s := mustOpen(t, Config{Dir: memDir(t)})
	<-s.turn // the disk hangs
	ctx, cancel := context.WithCancel(t.Context())
	withdrawn := make(chan struct{})
	go func() {
		_, _ = s.Commit(ctx, named("orders", 0), nil)
		close(withdrawn)
	}()
	loaded := make(chan bool, 1)
	for len(s.waiting()) == 0 {
		time.Sleep(time.Millisecond)
	}
	go func() {
		_, ok, _ := s.Load(context.Background(), "orders")
		loaded <- ok
	}()
	cancel()
	<-withdrawn
	if <-loaded {
		t.Error("a withdrawn commit is shown")
	}
	s.endTurn()
}

func (s *Store) waiting() []*request {
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	return slices.Clone(s.queue.unshown)
}

// What nobody can know the outcome of must not be given out as committed, and
// must not keep the others waiting for ever.
func TestAPanicInACommitPoisonsTheStoreAndBlocksNobody(t *testing.T) {
	armed := false
	s := mustOpen(t, Config{Dir: memDir(t), fault: func(op string) error {
		if armed && op == "write" {
			panic("fault on purpose")
		}
		return nil
	}})
	mustCommit(t, s, named("orders", 0))
	armed = true
	commit := func(id failover.InstanceName, rev uint64) (err error) {
		defer func() {
			if recover() != nil {
				err = errors.New("panic")
			}
		}()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err = s.Commit(ctx, named(id, rev), nil)
		return err
	}
	<-s.turn // both wait for one turn
	got := make(chan error, 2)
	for _, id := range []failover.InstanceName{"orders", "shop"} {
		go func() { got <- commit(id, map[failover.InstanceName]uint64{"orders": 1}[id]) }()
	}
	for len(s.waiting()) < 2 {
		time.Sleep(time.Millisecond)
	}
	s.endTurn()
	for range 2 {
		if err := <-got; err == nil {
			t.Error("a commit of the batch with the fault was acknowledged")
		}
	}
	if err := commit("billing", 0); !errors.Is(err, ErrPoisoned) {
		t.Errorf("the next commit: %v", err)
	}
	if r := mustLoad(t, s, "orders"); r.Rev != 1 {
		t.Errorf("memory moved on to rev %d", r.Rev)
	}
}
