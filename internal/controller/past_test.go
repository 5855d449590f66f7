package controller

import (
	"slices"
	"testing"
	"time"

	"pointsman/internal/failover"
)

// told returns the newest telling of every episode, and the tapes.
func (s *stage) told() ([]failover.Episode, []failover.Tape) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return failover.Newest(s.episodes), s.tapes
}

// TestThePastIsHandedOn: of a calm instance nothing, of a lost cluster an episode
// that says when it moved, and what was recorded of it to its end, also when the
// process ends in the middle.
func TestThePastIsHandedOn(t *testing.T) {
	play(t, true, func(s *stage, p failover.Policy) {
		_, before := s.told()
		time.Sleep(time.Hour)
		if es, ts := s.told(); len(es) != 0 || len(ts) != len(before) {
			t.Fatalf("a calm hour told %d episodes and %d tapes", len(es), len(ts)-len(before))
		}
		s.kill("a")
		s.until("it moved", s.settled)
		op := s.record().LastOp.Op
		es, _ := s.told()
		if len(es) != 1 || !es[0].WouldAt.Equal(op.Since) || es[0].Moved == nil || es[0].Moved.Op != op.ID || es[0].Mode != "auto" {
			t.Fatalf("%+v", es)
		}
		_, ts := s.told() // a process that is killed now loses nothing of what made it move
		if !slices.ContainsFunc(ts, func(x failover.Tape) bool {
			return slices.ContainsFunc(x.Changes, func(c failover.Standing) bool { return c.Op != nil && c.Op.ID == op.ID })
		}) {
			t.Errorf("the start of the move is on none of %d tapes yet", len(ts))
		}
		s.stop()
		if err := <-s.ended; err != nil {
			t.Error(err)
		}
		s.ended <- nil
		_, ts = s.told()
		if len(ts) == 0 {
			t.Fatal("nothing was recorded")
		}
		notes, err := ts[len(ts)-1].Read()
		if err != nil || len(notes) == 0 {
			t.Fatalf("%d notes, %v", len(notes), err)
		}
		moved := false
		for _, tape := range ts {
			for _, c := range tape.Changes {
				moved = moved || c.Active == "b" && c.LastOp != nil && c.LastOp.ID == op.ID
			}
		}
		if !moved {
			t.Error("the move is on no tape")
		}
	})
}

// TestAnOpenEpisodeGoesOnInTheNextLife: of a process and, after a fault in the
// core, of an instance.
func TestAnOpenEpisodeGoesOnInTheNextLife(t *testing.T) {
	play(t, true, func(s *stage, p failover.Policy) {
		if r := s.do(failover.Command{Do: failover.DoDisarm, By: "test", Reason: "test"}); r.Code != failover.ReplyDone {
			t.Fatalf("disarm: %+v", r)
		}
		s.kill("a")
		s.until("an episode is open", func() bool { es, _ := s.told(); return len(es) == 1 && !es[0].WouldAt.IsZero() })
		s.stop()
		if err := <-s.ended; err != nil {
			t.Error(err)
		}
		s.eyes.Wait()
		es, _ := s.told()
		seen := time.Now()
		time.Sleep(time.Minute)
		s.unfinished = map[failover.InstanceName]Unfinished{orders: {Episode: es[0], Seen: seen}}
		s.life(2, p)
		s.until("it goes on", func() bool {
			es, _ := s.told()
			return len(es) == 1 && len(es[0].Gaps) == 1 && es[0].Gaps[0].From.Equal(seen) && !es[0].Gaps[0].To.Before(seen.Add(time.Minute))
		})
		o := s.roster.Load().owners[orders]
		o.act(func() { panic("on purpose") })
		s.until("it goes on after a fault", func() bool {
			es, _ := s.told()
			return len(es) == 1 && len(es[0].Gaps) == 2 && !es[0].Gaps[1].To.IsZero()
		})
	})
}

// TestAnEpisodeEndsWithItsInstance: when a reload removes it, nobody will see more.
func TestAnEpisodeEndsWithItsInstance(t *testing.T) {
	play(t, true, func(s *stage, p failover.Policy) {
		if r := s.do(failover.Command{Do: failover.DoDisarm, By: "test", Reason: "test"}); r.Code != failover.ReplyDone {
			t.Fatalf("disarm: %+v", r)
		}
		s.kill("a")
		s.until("an episode is open", func() bool { es, _ := s.told(); return len(es) == 1 })
		other := p
		other.Instance = "other"
		if err := s.Reload(Setup{Policies: []failover.Policy{other}}); err != nil {
			t.Fatal(err)
		}
		s.until("it is closed", func() bool {
			es, _ := s.told()
			return es[0].Watched && es[0].End == failover.EndUnseen
		})
	})
}

// TestATapeIsKeptWithThePolicyThatRan: of one that a reload cut short, too. A
// replay asks for the policy by the hash that is on the tape.
func TestATapeIsKeptWithThePolicyThatRan(t *testing.T) {
	play(t, true, func(s *stage, p failover.Policy) {
		_, before := s.told()
		s.kill("a")
		s.until("an episode is open", func() bool { es, _ := s.told(); return len(es) == 1 })
		q := p
		q.Expected = "another"
		if err := s.Reload(Setup{Policies: []failover.Policy{q}}); err != nil { // the stage compares each tape with its policy
			t.Fatal(err)
		}
		s.until("what ran before is recorded", func() bool {
			_, ts := s.told()
			return len(ts) > len(before) && ts[len(before)].Policy == p.Expected
		})
	})
}

// TestAnOldEpisodeIsTakenUpOnce: an instance that a reload removes and another
// brings back does not open again what it has closed.
func TestAnOldEpisodeIsTakenUpOnce(t *testing.T) {
	play(t, true, func(s *stage, p failover.Policy) {
		s.stop()
		if err := <-s.ended; err != nil {
			t.Error(err)
		}
		s.eyes.Wait()
		at := time.Now()
		s.unfinished = map[failover.InstanceName]Unfinished{orders: {Episode: failover.Episode{ID: "old", Instance: orders, Active: "a", Began: at, SeenTo: at}, Seen: at}}
		s.life(2, p)
		s.until("it ends", func() bool { es, _ := s.told(); return len(es) == 1 && es[0].Watched })
		ended, _ := s.told()
		other := p
		other.Instance = "other"
		for _, q := range []failover.Policy{other, p} {
			if err := s.Reload(Setup{Policies: []failover.Policy{q}}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		if es, _ := s.told(); len(es) != 1 || !es[0].EndedAt.Equal(ended[0].EndedAt) || !es[0].SeenTo.Equal(ended[0].SeenTo) {
			t.Errorf("it ended as %+v\nand is now %+v", ended, es)
		}
	})
}
