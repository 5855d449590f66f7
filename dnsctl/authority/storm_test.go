package authority

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pointsman/internal/failover"
)

// chronicle is a ledger that remembers, beside its journal, what every serial
// stood for: name i shows what it was given at the last step of it. It is as
// naive as can be: the whole zone at a serial is worked out from the beginning.
type chronicle struct {
	committed
	names []failover.RecordName
	from  uint32 // serial at the start

	mu      sync.Mutex
	steps   []Change // step n leads to serial from+n+1
	journal int      // how many of them are told
}

func (c *chronicle) Stamp(context.Context, failover.RecordName, string) (uint32, error) {
	return c.from, nil
}

func (c *chronicle) Changes(_ context.Context, _ failover.RecordName, since uint32) ([]Change, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := int(since - c.from)
	if at < 0 || at > len(c.steps) || at < len(c.steps)-c.journal {
		return nil, errors.New("not known any more")
	}
	return append([]Change(nil), c.steps[at:]...), nil
}

// at is what every name showed at a serial.
func (c *chronicle) at(serial uint32) map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	zone := make(map[string]string)
	for _, n := range c.names {
		zone[string(n)] = "start.example."
	}
	for _, s := range c.steps[:serial-c.from] {
		zone[string(s.Name)] = string(s.Is.Value)
	}
	return zone
}

// targets are the CNAMEs of a zone that apply put together.
func targets(zone map[string]bool) map[string]string {
	out := make(map[string]string)
	for text := range zone {
		if f := strings.Fields(text); len(f) == 5 && f[3] == "CNAME" {
			out[f[0]] = f[4]
		}
	}
	return out
}

// TestTransfersDuringAStormAreEachOfOneSerial: while names change as fast as
// they can, around the wrap of the serial, secondaries take the zone whole and
// step by step over real connections. Each answer begins and ends with one
// serial, holds for every name just what it showed at that serial, and each
// step leads from the zone that the secondary has to the one at its end.
func TestTransfersDuringAStormAreEachOfOneSerial(t *testing.T) {
	const names, secondaries = 200, 3
	cfg := transferConfig(t)
	cfg.Zones = cfg.Zones[:1]
	cfg.Zones[0].Names, cfg.TransfersPerMinute = nil, maxTransfersPerMinute
	cfg.Zones[0].TransferAddresses = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	book := &chronicle{from: 1<<32 - 100, journal: 50}
	for i := range names {
		name := failover.RecordName(fmt.Sprintf("n%03d.lab.test.", i))
		book.names = append(book.names, name)
		r := record(failover.InstanceName(name), 1, value{name, "start.example."})
		r.Names[0].Mark = failover.Mark{}
		book.records = append(book.records, r)
	}
	cfg.Zones[0].Names = book.names
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Load(context.Background(), book); err != nil {
		t.Fatal(err)
	}
	addr := run(t, s)

	var stop atomic.Bool
	var all sync.WaitGroup
	defer all.Wait()
	defer stop.Store(true)
	records := append([]failover.Record(nil), book.records...)
	all.Go(func() {
		for i := 0; !stop.Load(); i++ {
			r := &records[i%names]
			was := r.Names[0].Value
			r.Rev++
			r.Names = []failover.NameRecord{r.Names[0]}
			r.Names[0].Value = failover.Target(fmt.Sprintf("t%d.example.", i))
			serial := book.from + uint32(i) + 1
			book.mu.Lock() // as in the ledger: first the journal, then the hook
			book.steps = append(book.steps, Change{
				Before: serial - 1, After: serial, Name: r.Names[0].Name,
				Was: Showing{Value: was, TTL: 7}, Is: Showing{Value: r.Names[0].Value, TTL: 7},
			})
			book.mu.Unlock()
			if err := s.Publish(*r, map[failover.RecordName]uint32{"lab.test.": serial}); err != nil {
				t.Error(err)
				return
			}
			if i%20 == 0 {
				time.Sleep(time.Millisecond) // the pace of a storm, no synchronisation
			}
		}
	})
	var took [secondaries]int
	var end sync.WaitGroup
	for i := range secondaries {
		end.Go(func() {
			var held map[string]bool
			var serial uint32
			for began := time.Now(); time.Since(began) < 10*time.Second && (took[i] < 30 || int32(serial) <= 100); took[i]++ {
				m := axfr("lab.test.")
				if held != nil {
					m = new(dns.Msg).SetIxfr("lab.test.", serial, ".", ".")
				}
				if took[i]%10 == 9 {
					held = nil // and whole again
					continue
				}
				d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 3, byte(i+1))}}
				conn, err := d.Dial("tcp", addr)
				if err != nil {
					t.Error(err)
					return
				}
				least := s.Stats().Serials["lab.test."]
				rrs, err := takeAll(&dns.Conn{Conn: conn}, m)
				conn.Close()
				if err != nil {
					t.Error(err)
					return
				}
				zone, to, err := apply(held, rrs)
				if err != nil {
					t.Errorf("from %d to %d: %v", serial, to, err)
					return
				}
				if int32(to-least) < 0 {
					t.Errorf("serial %d, when %d was shown before", to, least)
					return
				}
				want, got := book.at(to), targets(zone)
				for name, target := range want {
					if got[name] != target {
						t.Errorf("serial %d: %s shows %s, want %s", to, name, got[name], target)
						return
					}
				}
				if len(got) != len(want) {
					t.Errorf("serial %d: %d names, want %d", to, len(got), len(want))
				}
				held, serial = zone, to
			}
		})
	}
	end.Wait()
	st := s.Stats()
	if st.Transfers["full"] == 0 || st.Transfers["incremental"] == 0 || st.Serials["lab.test."] > 1<<31 {
		t.Errorf("transfers %v, serial %d", st.Transfers, st.Serials["lab.test."])
	}
	t.Logf("%v transfers, %d changes", took, st.Serials["lab.test."]-book.from)
}

// takeAll asks for a transfer and reads messages until the SOA with which it
// began comes at its end.
func takeAll(c *dns.Conn, m *dns.Msg) ([]dns.RR, error) {
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return nil, err
	}
	if err := c.WriteMsg(m); err != nil {
		return nil, err
	}
	var out []dns.RR
	soas := 0
	for {
		r, err := c.ReadMsg()
		if err != nil {
			return nil, err
		}
		if r.Rcode != dns.RcodeSuccess || len(r.Answer) == 0 {
			return nil, fmt.Errorf("%s after %d records", rcodeName(r.Rcode), len(out))
		}
		out = append(out, r.Answer...)
		soas = 0
		for _, rr := range out {
			if rr.Header().Rrtype == dns.TypeSOA {
				soas++
			}
		}
		first, last := out[0].String(), out[len(out)-1].String()
		whole := len(out) > 1 && out[1].Header().Rrtype != dns.TypeSOA
		switch {
		case len(out) == 1 && len(m.Ns) == 1: // up to date
			return out, nil
		case len(out) > 1 && first == last && (whole && soas == 2 || soas == 4):
			return out, nil
		}
	}
}
