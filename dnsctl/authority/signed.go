package authority

import (
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// request is a query that needs more than a packed answer: one with a
// signature, or for a transfer.
type request struct {
	h    *handler
	w    dns.ResponseWriter
	m    *dns.Msg
	from netip.Addr
	sig  signature
}

// special says whether a message must be looked at as a request.
func special(m *dns.Msg) bool {
	for i := len(m.Extra) - 1; i >= 0; i-- {
		if m.Extra[i].Header().Rrtype == dns.TypeTSIG {
			return true
		}
	}
	return len(m.Question) == 1 && isTransfer(m.Question[0].Qtype)
}

func isTransfer(qtype uint16) bool { return qtype == dns.TypeAXFR || qtype == dns.TypeIXFR }

// serve answers a request.
func (h *handler) serve(w dns.ResponseWriter, m *dns.Msg, sc *scratch) {
	wire, from := origin(w)
	q := &request{h: h, w: w, m: m, from: from}
	q.sig = h.s.view.Load().keys.verify(wire, m, "", h.s.clock())
	switch q.sig.proof {
	case badlyFormed:
		q.refuse(q.sig.why, dns.RcodeFormatError)
		return
	case notProved:
		q.refuse(q.sig.why, dns.RcodeNotAuth)
		return
	}
	if len(m.Question) != 1 || !isTransfer(m.Question[0].Qtype) || !q.transfer(sc) {
		q.ordinary(sc, sender{addr: q.from, signed: q.fresh()})
	}
}

// fresh says whether the signature shows that somebody who knows the key asks
// now: over UDP one that was heard may be sent again by anybody, from anywhere.
func (q *request) fresh() bool {
	return q.sig.proof == proved && (q.h.over == overTCP || !q.sig.key.heard.again(q.sig.rr, q.h.s.clock()))
}

// ordinary answers what everybody is answered, signed when the question was.
func (q *request) ordinary(sc *scratch, who sender) {
	msg, rcode := q.h.reply(sc, q.m, who, q.sig.room())
	if msg == nil {
		q.h.s.stats.dropped(dropRate)
		return
	}
	sc.out = msg[:0]
	if q.sig.proof == unsigned {
		q.send(msg, rcode)
		return
	}
	var a dns.Msg
	if err := a.Unpack(msg); err != nil {
		q.answer(dns.RcodeServerFailure, nil)
		return
	}
	a.Compress = true
	q.sendSigned(&a)
}

// refuse counts why and answers nothing but a code.
func (q *request) refuse(why refusal, rcode int) {
	q.h.s.stats.refused(why)
	q.answer(rcode, why.said())
}

// answer answers nothing but a code, and why, when there is something to say
// and EDNS to say it in.
func (q *request) answer(rcode int, why *dns.EDNS0_EDE) {
	if q.h.over == overUDP && q.sig.proof != proved && !q.h.s.mayReject(q.from) {
		return
	}
	a := new(dns.Msg).SetRcode(q.m, rcode)
	if opt := q.m.IsEdns0(); opt != nil {
		a.SetEdns0(ednsLimit, opt.Do())
		if why != nil {
			a.IsEdns0().Option = []dns.EDNS0{why}
		}
	}
	q.sendSigned(a)
}

// sendSigned sends an answer with the signature that the request is owed.
func (q *request) sendSigned(a *dns.Msg) {
	mac := ""
	if q.sig.rr != nil {
		mac = q.sig.rr.MAC
	}
	rcode := a.Rcode
	wire, _, err := q.sig.sign(a, mac, allVars, q.h.s.clock())
	if err != nil {
		q.h.s.stats.dropped(dropSend)
		return
	}
	q.send(wire, rcode)
}

func (q *request) send(wire []byte, rcode int) {
	q.h.s.stats.answered(q.m.Id, q.h.over, rcode)
	if _, err := q.w.Write(wire); err != nil {
		q.h.s.stats.unsent(err)
	}
}

// origin returns the octets of the message in hand and where it came from.
func origin(w dns.ResponseWriter) ([]byte, netip.Addr) {
	switch a := w.RemoteAddr().(type) {
	case *packet:
		return a.in[:a.n], a.from.Addr().Unmap()
	case *peer:
		return a.conn.last, a.conn.from
	}
	return nil, netip.Addr{}
}

// peer is the remote address of a TCP connection; as for packets, the
// connection travels with it.
type peer struct {
	net.Addr
	conn *tcpConn
}

// zoneAt returns the zone with exactly this apex, or nil. The name is made
// canonical here, once, and everything after works with the zone that it led
// to.
func (s *Server) zoneAt(name string) *zone {
	k, err := keyOf(strings.ToLower(name))
	if err != nil {
		return nil
	}
	return s.view.Load().tree.zones[k]
}

func (s *Server) clock() time.Time {
	if now := s.view.Load().cfg.now; now != nil {
		return now()
	}
	return time.Now()
}
