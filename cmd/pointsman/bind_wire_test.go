package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// fate is what becomes of an update on its way through a [dnsProxy].
type fate int

const (
	pass        fate = iota
	loseReply        // BIND gets it, its answer is thrown away
	loseRequest      // BIND never gets it
	holdReply        // BIND gets it, its answer waits for release
	holdRequest      // it waits for release before BIND gets it
	breakDown        // BIND never gets it, nor anything else until repair
)

// dnsProxy stands between the program and BIND. It forwards every message as
// it is, knows an update from a query, and may hold or lose the next update.
type dnsProxy struct {
	addr, to string
	listener net.Listener
	group    sync.WaitGroup
	closing  chan struct{}
	held     chan struct{} // gets a word for every message that is held
	release  chan struct{} // closing it lets them go
	let      sync.Once

	mu      sync.Mutex
	conns   map[net.Conn]bool
	opcodes map[int]int
	rcodes  []int // of BIND's answers to updates, in order
	next    fate
	broken  bool
}

// repair ends what breakDown began.
func (p *dnsProxy) repair() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken = false
}

func startProxy(t *testing.T, to string) *dnsProxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &dnsProxy{
		addr: l.Addr().String(), to: to, listener: l, closing: make(chan struct{}),
		held: make(chan struct{}, 16), release: make(chan struct{}), conns: map[net.Conn]bool{}, opcodes: map[int]int{},
	}
	p.group.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.group.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		close(p.closing)
		p.mu.Lock()
		for c := range p.conns {
			c.Close()
		}
		p.mu.Unlock()
		p.group.Wait()
	})
	return p
}

// then sets the fate of the next update; all after it pass.
func (p *dnsProxy) then(f fate) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next = f
}

// letGo releases everything that is held.
func (p *dnsProxy) letGo() { p.let.Do(func() { close(p.release) }) }

// count says how many messages of an opcode the program sent.
func (p *dnsProxy) count(opcode int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.opcodes[opcode]
}

func (p *dnsProxy) answered() []int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.rcodes)
}

func (p *dnsProxy) own(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[c] = true
	select {
	case <-p.closing:
		return false
	default:
		return true
	}
}

// wait blocks until the messages that are held may go on.
func (p *dnsProxy) wait() {
	p.held <- struct{}{}
	select {
	case <-p.release:
	case <-p.closing:
	}
}

// serve forwards one connection, message by message. The far side gets a held
// message even when the program is dead by then: that is how networks are.
func (p *dnsProxy) serve(c net.Conn) {
	defer c.Close()
	s, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer s.Close()
	if !p.own(c) || !p.own(s) {
		return
	}
	for {
		m, err := readFrame(c)
		if err != nil {
			return
		}
		f := p.seen(m)
		switch f {
		case loseRequest, breakDown:
			return
		case holdRequest:
			p.wait()
		}
		if _, err := s.Write(m); err != nil {
			return
		}
		r, err := readFrame(s)
		if err != nil {
			return
		}
		p.told(m, r)
		switch f {
		case loseReply:
			return
		case holdReply:
			p.wait()
		}
		if _, err := c.Write(r); err != nil {
			return
		}
	}
}

// opcodeOf reads the opcode of a framed message (RFC 1035 sections 4.1.1, 4.2.2).
func opcodeOf(frame []byte) int { return int(frame[4]>>3) & 15 }

func (p *dnsProxy) seen(m []byte) fate {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken {
		return breakDown
	}
	p.opcodes[opcodeOf(m)]++
	if opcodeOf(m) != dns.OpcodeUpdate {
		return pass
	}
	f := p.next
	p.next, p.broken = pass, f == breakDown
	return f
}

func (p *dnsProxy) told(m, r []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if opcodeOf(m) == dns.OpcodeUpdate {
		p.rcodes = append(p.rcodes, int(r[5]&15))
	}
}

// readFrame reads a message with its length in front.
func readFrame(c net.Conn) ([]byte, error) {
	frame := make([]byte, 2)
	if _, err := io.ReadFull(c, frame); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(frame))
	if n < 12 {
		return nil, errors.New("this is no message")
	}
	frame = append(frame, make([]byte, n)...)
	_, err := io.ReadFull(c, frame[2:])
	return frame, err
}

// witness asks a server for the CNAME of a name every 2 ms over UDP, and
// remembers what was ever answered. Its figures are for after the end.
type witness struct {
	patience time.Duration // for one answer

	stop chan struct{}
	once sync.Once
	done chan struct{}
	sees chan struct{} // closed at the first answer

	answers, missing int
	again            int         // questions that were asked once more
	values           []string    // "target TTL", each time that it changed
	at               []time.Time // when each was first seen
	last             []time.Time // when the last question was sent that had this answer
	bad              map[string]int
}

// startWitness returns when it has seen the name for the first time.
func startWitness(t *testing.T, server, name string) *witness {
	t.Helper()
	return startPatientWitness(t, server, name, 500*time.Millisecond)
}

func startPatientWitness(t *testing.T, server, name string, each time.Duration) *witness {
	t.Helper()
	conn, err := net.Dial("udp", server)
	if err != nil {
		t.Fatal(err)
	}
	w := &witness{patience: each, stop: make(chan struct{}), done: make(chan struct{}), sees: make(chan struct{}), bad: map[string]int{}}
	go func() {
		defer close(w.done)
		defer conn.Close()
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-w.stop:
				return
			case <-tick.C:
				w.look(&dns.Conn{Conn: conn}, name)
			}
		}
	}()
	t.Cleanup(w.end)
	select {
	case <-w.sees:
	case <-time.After(patience):
		t.Fatalf("%s does not answer for %s", server, name)
	}
	return w
}

func (w *witness) end() {
	w.once.Do(func() { close(w.stop) })
	<-w.done
}

func (w *witness) look(conn *dns.Conn, name string) {
	m := new(dns.Msg).SetQuestion(name, dns.TypeCNAME)
	asked := time.Now()
	var r *dns.Msg
	var err error
	// Who hears nothing asks once more, as every client does (resolv.conf(5),
	// attempts): one lost packet is no gap. Whom nobody serves hears so at once.
	for attempt := range 2 {
		r = nil
		_ = conn.SetDeadline(time.Now().Add(w.patience))
		err = conn.WriteMsg(m)
		for err == nil && (r == nil || r.Id != m.Id) {
			r, err = conn.ReadMsg()
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		w.again += 1 - attempt
	}
	if err != nil {
		w.missing++
		return
	}
	if w.answers++; w.answers == 1 {
		close(w.sees)
	}
	switch {
	case r.Rcode != dns.RcodeSuccess:
		w.bad[dns.RcodeToString[r.Rcode]]++
	case len(r.Answer) != 1 || r.Answer[0].Header().Rrtype != dns.TypeCNAME:
		w.bad["empty"]++
	default:
		cname := r.Answer[0].(*dns.CNAME)
		v := fmt.Sprintf("%s %d", strings.ToLower(cname.Target), cname.Hdr.Ttl)
		if len(w.values) == 0 || w.values[len(w.values)-1] != v {
			w.values, w.at = append(w.values, v), append(w.at, time.Now())
			w.last = append(w.last, asked)
		}
		w.last[len(w.last)-1] = asked
	}
}

// apart is the longest that can lie between two changes: the earlier one came
// after the last question that was answered as before.
func (w *witness) apart(earlier, later int) time.Duration { return w.at[later].Sub(w.last[earlier-1]) }

// saw ends the witness and checks that the name showed exactly these values,
// in this order, and never nothing.
func (w *witness) saw(t *testing.T, want ...string) {
	t.Helper()
	w.end()
	if !slices.Equal(w.values, want) {
		t.Errorf("the name showed\n %q, want\n %q", w.values, want)
	}
	if len(w.bad) > 0 {
		t.Errorf("%v among %d answers", w.bad, w.answers)
	}
	if w.answers < 10 || w.missing > w.answers/100 {
		t.Errorf("%d answers, %d missing: that is no watch", w.answers, w.missing)
	}
}
