package controller

import (
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
		s.stop()
		if err := <-s.ended; err != nil {
			t.Error(err)
		}
		s.ended <- nil
		_, ts := s.told()
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
