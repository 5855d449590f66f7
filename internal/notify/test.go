package notify

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Tested is what became of a message that tests a channel.
type Tested struct {
	Channel string        `json:"channel"`
	Type    Type          `json:"type"`
	OK      bool          `json:"ok"`
	Why     string        `json:"why,omitempty"` // why not
	Took    time.Duration `json:"took_ns"`
}

// Test sends a message through each named channel now, or through all, past
// the outbox: once, and within its rate. Error: ErrUnknownChannel.
func (n *Notifier) Test(ctx context.Context, names []string, by string) ([]Tested, error) {
	n.mu.Lock()
	s, senders := n.setup, n.senders
	n.mu.Unlock()
	cs, err := s.named(names, func(Channel) bool { return true })
	if err != nil {
		return nil, err
	}
	out := make([]Tested, len(cs))
	var wg sync.WaitGroup
	for i, c := range cs {
		wg.Go(func() { out[i] = n.testOne(ctx, c, senders[c.Name], by) })
	}
	wg.Wait()
	return out, nil
}

func (n *Notifier) testOne(ctx context.Context, c Channel, x sender, by string) Tested {
	r := Tested{Channel: c.Name, Type: c.Type}
	began := n.out.now()
	if from, ok := n.box.spendNow(c.Name, began); !ok {
		r.Why = fmt.Sprintf("nothing may be sent for %s: its rate is used up, or the receiver said so", span(from.Sub(began).Round(time.Second)))
		return r
	}
	m := n.complete(Message{Kind: TestKind, State: Info, Title: by, Text: c.Language.words().testText})
	ctx, cancel := context.WithTimeout(ctx, c.timeout())
	defer cancel()
	err := n.carry(ctx, x, &parcel{id: m.ID, channel: c.Name, msgs: []*Message{&m}})
	r.Took = n.out.now().Sub(began)
	n.box.tested(c.Name, err, n.out.now())
	if r.OK = err == nil; !r.OK {
		r.Why = err.Error()
	}
	return r
}
