package notify

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func refusing(from, to int) func(int) error {
	return func(n int) error {
		if n >= from && n < to {
			return fmt.Errorf("%w: status 400", errRefused)
		}
		return nil
	}
}

// A gateway that refuses everything for some minutes loses nothing that wants
// somebody.
func TestAnUrgentMessageOutlivesAFewRefusals(t *testing.T) {
	play(t, one(), func(st *stage) {
		st.to["x"].fail = refusing(0, 5)
		st.tell(fire("1", "held"))
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if got := st.Stats()[0]; got.Sent != 1 || got.Failed != 5 || got.Waiting != 0 || got.Dropped[string(dropRefused)] != 0 {
			t.Errorf("%+v", got)
		}
	})
}

// Who is called next is called at once when a channel is given up, and that
// channel hears of no end of what it never heard of.
func TestAChannelThatIsGivenUpPassesOn(t *testing.T) {
	s := steps()
	s.Routes[0].Steps[1].After, s.Routes[0].Steps[2].After = 5*time.Hour, 9*time.Hour
	play(t, s, func(st *stage) {
		st.to["chat"].fail = refusing(0, 1000)
		st.tell(fire("1", "held"))
		time.Sleep(14 * time.Minute)
		synctest.Wait()
		if got := st.Stats()[0]; got.Waiting != 1 || got.Dropped[string(dropRefused)] != 0 {
			t.Errorf("after 14 minutes: %+v", got)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if got := st.Stats()[0]; got.Waiting != 0 || got.Dropped[string(dropRefused)] != 1 {
			t.Errorf("after 24 minutes: %+v", got)
		}
		chat, pager := st.to["chat"].calls, st.to["pager"].calls
		if last := chat[len(chat)-1].at; last < refusedFor || len(pager) != 1 || pager[0].at != last {
			t.Errorf("chat was given up at %s, the pager called at %v", last, pager)
		}
		st.want(t, "boss")
		if told := st.box.incidents["orders"].Told; !slices.Equal(told, []string{"pager"}) {
			t.Errorf("told are %v", told)
		}
		st.tell(Message{ID: "2", Kind: Over, State: Resolve})
		if len(st.to["chat"].calls) != len(chat) || len(st.to["pager"].calls) != 2 {
			t.Errorf("the end went to %v and %v", st.to["chat"].said(), st.to["pager"].said())
		}
	})
}

// A channel that took the first message is told of the end although a later one
// was given up.
func TestAChannelThatHeardOfItHearsOfItsEnd(t *testing.T) {
	play(t, one(), func(st *stage) {
		st.tell(fire("1", "held"))
		st.to["x"].fail = refusing(1, 1000)
		st.tell(fire("2", "move"))
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := st.Stats()[0]; got.Dropped[string(dropRefused)] != 1 {
			t.Fatalf("%+v", got)
		}
		st.to["x"].fail = nil
		st.tell(Message{ID: "3", Kind: Over, State: Resolve})
		if got := st.Stats()[0]; got.Sent != 2 {
			t.Errorf("%+v", got)
		}
	})
}
