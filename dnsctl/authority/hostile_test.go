package authority

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pointsman/internal/failover"
)

// largeZone is a configuration with so many names that a transfer fits into no
// buffer, and the records of it. Whoever comes from 127.1.0.0/16 may take it,
// and a secondary at 127.0.0.1 with its key.
func largeZone(t testing.TB, names int) (Config, committed) {
	t.Helper()
	c := transferConfig(t)
	c.Zones = c.Zones[:1]
	c.Zones[0].Names = nil
	c.Zones[0].TransferKeys = nil
	c.Zones[0].TransferAddresses = []netip.Prefix{netip.MustParsePrefix("127.1.0.0/16")}
	c.Zones[0].Secondaries = []Secondary{{Address: netip.MustParseAddrPort("127.0.0.1:9"), Key: goodKey, Silent: true}}
	var held committed
	for i := range names {
		name := failover.RecordName(fmt.Sprintf("n%05d.lab.test.", i))
		c.Zones[0].Names = append(c.Zones[0].Names, name)
		held.records = append(held.records, record(failover.InstanceName(name), 1, value{name, "a.cloud.example."}))
	}
	return c, held
}

// callFrom dials from one of the addresses of this machine.
func callFrom(t testing.TB, ip, addr string) *net.TCPConn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
	c, err := d.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

func frame(t testing.TB, m *dns.Msg) []byte {
	t.Helper()
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(wire))), wire...)
}

// TestTransfersThatNobodyReadsKeepNobodyFromTheZone: 200 clients with a right
// to the zone ask for it and read nothing, 200 read an octet now and then, each
// from an address of its own. A secondary gets the zone meanwhile, questions
// over TCP are answered, and in the end nothing of the 400 is left.
func TestTransfersThatNobodyReadsKeepNobodyFromTheZone(t *testing.T) {
	const each = 200
	c, held := largeZone(t, 10_000)
	c.TCPIdle, c.TransferTime = 2*time.Second, 3*time.Second
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Load(context.Background(), held); err != nil {
		t.Fatal(err)
	}
	addr := run(t, s)
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse
	}
	before := heap()
	var drips sync.WaitGroup
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
		drips.Wait()
	}()
	for i := range 2 * each {
		conn := callFrom(t, fmt.Sprintf("127.1.%d.%d", i/200, 1+i%200), addr)
		conns = append(conns, conn)
		if err := conn.SetReadBuffer(4096); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(frame(t, axfr("lab.test."))); err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			continue
		}
		drips.Go(func() {
			for octet := make([]byte, 1); ; time.Sleep(100 * time.Millisecond) {
				if _, err := conn.Read(octet); err != nil {
					return
				}
			}
		})
	}
	until(t, "all places of everybody are taken", func() bool { return s.Stats().Transfering == defaultTransfers })

	_, b64 := secretOf(t, goodText)
	m := signedBy(axfr("lab.test."), goodKey, dns.HmacSHA256, s.clock().Unix())
	rrs, err := fetch(t, addr, m, map[string]string{goodKey: b64})
	if want := 2 * 10_000; err != nil || len(rrs) < want {
		t.Errorf("the secondary got %d records of more than %d: %v", len(rrs), want, err)
	}
	if r := ask(t, "tcp", addr, question("n00007.lab.test.", dns.TypeA)); len(r.Answer) != 1 {
		t.Errorf("a question over TCP meanwhile: %v", r)
	}
	if st := s.Stats(); st.Transfering > defaultTransfers || st.Refused["busy"] == 0 {
		t.Errorf("%d transfers at once, %d found no place", st.Transfering, st.Refused["busy"])
	}
	if now := heap(); now > before+64<<20 {
		t.Errorf("%d MiB of heap more than before", (now-before)>>20)
	}
	until(t, "the last of them is cut off", func() bool { return s.Stats().TCPConns == 0 && s.Stats().Transfering == 0 })
	if st := s.Stats(); st.Refused["slow"] < defaultTransfers || st.Transfers["full"] != 1 {
		t.Errorf("%d cut off, %v transfers", st.Refused["slow"], st.Transfers)
	}
}

// TestClientsThatTakeNoAnswersMakeRoom: where all places are taken by clients
// that ask and never read, somebody else gets in long before the time to take
// an answer is over.
func TestClientsThatTakeNoAnswersMakeRoom(t *testing.T) {
	s, addr := shortLab(t, func(c *Config) { c.TCPConns, c.TCPPerSource, c.TCPIdle = 4, 4, 5*time.Second })
	for i := range 4 {
		conn := callFrom(t, fmt.Sprintf("127.1.0.%d", i+1), addr)
		if err := conn.SetWriteDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		many := frame(t, question("many.lab.test.", dns.TypeA))
		for {
			if _, err := conn.Write(many); err != nil {
				break // the server does not read on: it is stuck with an answer
			}
		}
	}
	if n := s.Stats().TCPConns; n != 4 {
		t.Fatalf("%d connections are open", n)
	}
	began := time.Now()
	until(t, "somebody else gets in", func() bool {
		c := &dns.Conn{Conn: callFrom(t, "127.2.0.1", addr)}
		if c.SetDeadline(time.Now().Add(time.Second)) != nil || c.WriteMsg(question("orders.lab.test.", dns.TypeA)) != nil {
			return false
		}
		m, err := c.ReadMsg()
		return err == nil && len(m.Answer) == 2
	})
	if st := s.Stats(); st.Dropped["idle"] == 0 {
		t.Errorf("after %s nobody had made room: %v", time.Since(began), st.Dropped)
	}
}

// TestBusyConnectionsOfOneNetworkMakeRoom: where all places are taken by
// connections of one network that ask all the time, another network gets in and
// stays in.
func TestBusyConnectionsOfOneNetworkMakeRoom(t *testing.T) {
	s, addr := shortLab(t, func(c *Config) { c.TCPConns, c.TCPPerSource, c.TCPIdle = 8, 4, time.Minute })
	var busy sync.WaitGroup
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
		busy.Wait()
	}()
	wire, in := frame(t, question("orders.lab.test.", dns.TypeA)), make([]byte, 512)
	for i := range 8 {
		c := callFrom(t, fmt.Sprintf("127.0.9.%d", 1+i/4), addr)
		conns = append(conns, c)
		if _, err := c.Write(wire); err != nil { // it is there before the next one
			t.Fatal(err)
		}
		if _, err := c.Read(in); err != nil {
			t.Fatal(err)
		}
		busy.Go(func() {
			for in := make([]byte, 512); ; time.Sleep(10 * time.Millisecond) {
				if _, err := c.Write(wire); err != nil {
					return
				}
				if _, err := c.Read(in); err != nil {
					return
				}
			}
		})
	}
	if n := s.Stats().TCPConns; n != 8 {
		t.Fatalf("%d are open", n)
	}
	var others []*dns.Conn
	for range 4 {
		c := &dns.Conn{Conn: callFrom(t, "127.0.8.1", addr)}
		others = append(others, c)
		for _, c := range others { // nor do they take the place from each other
			if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
				t.Fatal(err)
			}
			exchange(t, c, question("orders.lab.test.", dns.TypeA))
		}
	}
	// Where both have four, there is no reason for a fifth.
	fifth := &dns.Conn{Conn: callFrom(t, "127.0.8.2", addr)}
	if err := fifth.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if m, err := fifth.ReadMsg(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a fifth: %v, %v", m, err)
	}
	if st := s.Stats(); st.Dropped["idle"] != 4 || st.Dropped["connections"] != 1 || st.TCPConns != 8 {
		t.Errorf("%d made room, %d were turned away, %d are open", st.Dropped["idle"], st.Dropped["connections"], st.TCPConns)
	}
}

// TestASourceThatAsksForTheZoneAllTheTimeIsToldToWait: over the pace it gets
// SERVFAIL and the reason, another source and another zone are not touched, and
// what was changed is still to be had step by step.
func TestASourceThatAsksForTheZoneAllTheTimeIsToldToWait(t *testing.T) {
	c := transferConfig(t)
	c.TransfersPerMinute = 3
	for i := range c.Zones {
		c.Zones[i].TransferAddresses = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	}
	s := newTransferLab(t, c)
	addr := run(t, s)
	take := func(ip, zone string) *dns.Msg {
		t.Helper()
		d := &dns.Conn{Conn: callFrom(t, ip, addr)}
		if err := d.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		return exchange(t, d, axfr(zone).SetEdns0(1232, false))
	}
	for i := range 5 {
		r := take("127.0.0.1", "lab.test.")
		if i < 3 {
			if r.Rcode != dns.RcodeSuccess || len(r.Answer) < 3 {
				t.Fatalf("transfer %d: %v", i, r)
			}
			continue
		}
		said := ""
		if opt := r.IsEdns0(); opt != nil {
			for _, o := range opt.Option {
				if e, ok := o.(*dns.EDNS0_EDE); ok {
					said = e.ExtraText
				}
			}
		}
		if r.Rcode != dns.RcodeServerFailure || len(r.Answer) > 0 || !strings.Contains(said, "too often") {
			t.Errorf("transfer %d: %s, %d records, %q", i, rcodeName(r.Rcode), len(r.Answer), said)
		}
	}
	if n := s.Stats().Refused["pace"]; n != 2 {
		t.Errorf("%d were refused for their pace, want 2", n)
	}
	for ip, zone := range map[string]string{"127.0.0.2": "lab.test.", "127.0.0.1": "second.test."} {
		if r := take(ip, zone); r.Rcode != dns.RcodeSuccess {
			t.Errorf("%s for %s: %v", ip, zone, r)
		}
	}
}

// TestWhatAConnectionHoldsInTheKernelIsBounded: answers that nobody reads
// wait in a buffer whose size is ours to choose.
func TestWhatAConnectionHoldsInTheKernelIsBounded(t *testing.T) {
	c, held := largeZone(t, 10_000)
	c.TCPIdle = 500 * time.Millisecond
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Load(context.Background(), held); err != nil {
		t.Fatal(err)
	}
	conn := callFrom(t, "127.1.0.1", run(t, s))
	if err := conn.SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(frame(t, axfr("lab.test."))); err != nil {
		t.Fatal(err)
	}
	until(t, "it is cut off", func() bool { return s.Stats().Refused["slow"] == 1 })
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	n, _ := io.Copy(io.Discard, conn)
	if n > 3*sendBuffer {
		t.Errorf("%d KiB were waiting for it", n>>10)
	}
}
