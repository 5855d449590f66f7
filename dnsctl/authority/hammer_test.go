package authority

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pointsman/internal/failover"
)

// TestQueriesNeverSeeAnythingButCommittedValuesDuringAPublishingStorm: while
// records are published as fast as they can be, with refused and stale ones
// among them, every answer shows a revision that was current between asking
// and getting it, the mark never runs behind, and the serial never falls.
func TestQueriesNeverSeeAnythingButCommittedValuesDuringAPublishingStorm(t *testing.T) {
	s := newLab(t)
	addr := run(t, s)
	var begun, done atomic.Uint64
	publish := func(rev uint64) {
		host := failover.Target([]string{"a.lab.test.", "b.lab.test."}[rev%2])
		rec := record("orders", rev, value{"orders.lab.test.", host}, value{"vpc.orders.lab.test.", failover.Target(fmt.Sprintf("r%d.cloud.example.", rev))})
		begun.Store(rev)
		if err := s.Publish(rec, map[failover.RecordName]uint32{"lab.test.": firstSerial + uint32(rev)}); err != nil {
			t.Errorf("publish rev %d: %v", rev, err)
		}
		done.Store(rev)
	}
	publish(10)

	ctx, stop := context.WithTimeout(t.Context(), 2*time.Second)
	defer stop()
	var all sync.WaitGroup
	all.Go(func() {
		for rev := uint64(11); ctx.Err() == nil; rev++ {
			publish(rev)
			if rev%7 == 0 {
				if err := s.Publish(record("orders", rev+1, value{"vpc.orders.lab.test.", ""}), nil); !errors.Is(err, ErrRefused) {
					t.Errorf("an empty value: %v", err)
				}
				if err := s.Publish(record("orders", rev-1, value{"vpc.orders.lab.test.", "stale.example."}), nil); !errors.Is(err, ErrStale) {
					t.Errorf("a stale record: %v", err)
				}
			}
		}
	})
	var asked atomic.Uint64
	for i := range 4 {
		network := []string{"udp", "tcp"}[i%2]
		all.Go(func() {
			c, err := dns.Dial(network, addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			w := &watch{begun: &begun, done: &done}
			for ctx.Err() == nil {
				if err := w.look(c); err != nil {
					t.Errorf("over %s: %v", network, err)
					return
				}
				asked.Add(4)
			}
		})
	}
	all.Wait()
	t.Logf("%d revisions, %d queries", done.Load(), asked.Load())
	if done.Load() < 100 || asked.Load() < 400 {
		t.Errorf("that was no storm: %d revisions, %d queries", done.Load(), asked.Load())
	}
}

// watch is one client that remembers what it saw.
type watch struct {
	begun, done *atomic.Uint64
	mark        uint64
	serial      uint32
}

func (w *watch) ask(c *dns.Conn, name string, qtype uint16) (*dns.Msg, uint64, uint64, error) {
	low := w.done.Load()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return nil, 0, 0, err
	}
	q := question(name, qtype)
	if err := c.WriteMsg(q); err != nil {
		return nil, 0, 0, err
	}
	m, err := c.ReadMsg()
	if err == nil && (m.Id != q.Id || m.Rcode != dns.RcodeSuccess || len(m.Answer) == 0) {
		err = fmt.Errorf("empty or refused: %v", m)
	}
	return m, low, w.begun.Load(), err
}

func (w *watch) look(c *dns.Conn) error {
	m, low, high, err := w.ask(c, "vpc.orders.lab.test.", dns.TypeA)
	if err != nil {
		return err
	}
	var rev uint64
	target := m.Answer[0].(*dns.CNAME).Target
	if _, err := fmt.Sscanf(target, "r%d.cloud.example.", &rev); err != nil || rev < low || rev > high {
		return fmt.Errorf("%s was shown while revisions %d to %d were current", target, low, high)
	}

	if m, _, _, err = w.ask(c, "orders.lab.test.", dns.TypeA); err != nil {
		return err
	}
	if len(m.Answer) != 2 || m.Answer[0].(*dns.CNAME).Target != m.Answer[1].Header().Name {
		return fmt.Errorf("the address is not that of the target: %v", m)
	}

	if m, low, high, err = w.ask(c, "_pointsman.vpc.orders.lab.test.", dns.TypeTXT); err != nil {
		return err
	}
	mark, err := failover.ParseMark(strings.Join(m.Answer[0].(*dns.TXT).Txt, ""))
	if err != nil {
		return err
	}
	if e := mark.Token.Epoch; e < low || e > high || e < w.mark {
		return fmt.Errorf("mark of revision %d after %d, while %d to %d were current", e, w.mark, low, high)
	}
	w.mark = mark.Token.Epoch

	if m, low, high, err = w.ask(c, "lab.test.", dns.TypeSOA); err != nil {
		return err
	}
	n := m.Answer[0].(*dns.SOA).Serial
	if n < w.serial || n < firstSerial+uint32(low) || n > firstSerial+uint32(high) {
		return fmt.Errorf("serial %d after %d, while %d to %d were current", n, w.serial, firstSerial+low, firstSerial+high)
	}
	w.serial = n
	return nil
}
