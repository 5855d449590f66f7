package authority

import (
	"runtime/debug"
	"sync"

	"github.com/miekg/dns"
)

// handler answers the queries that came over one transport of one address.
type handler struct {
	s    *Server
	over transport
	done func(dns.ResponseWriter) // gives back what the transport lent, or nil
}

// scratch is what one answer is made in.
type scratch struct {
	name, key [maxNameOctets]byte
	out       []byte
}

var scratches = sync.Pool{New: func() any { return &scratch{out: make([]byte, 0, 1536)} }}

// ServeDNS implements dns.Handler.
func (h *handler) ServeDNS(w dns.ResponseWriter, r *dns.Msg) {
	sc := scratches.Get().(*scratch)
	defer func() {
		if v := recover(); v != nil {
			h.panicked(w, r, v)
		}
		if h.done != nil {
			h.done(w)
		}
		scratches.Put(sc)
	}()
	if special(r) {
		h.serve(w, r, sc)
		return
	}
	msg, rcode := h.reply(sc, r)
	sc.out = msg[:0]
	h.s.stats.answered(r.Id, h.over, rcode)
	if _, err := w.Write(msg); err != nil {
		h.s.stats.dropped(dropSend)
	}
}

// panicked keeps one bad query from taking the server with it.
func (h *handler) panicked(w dns.ResponseWriter, r *dns.Msg, v any) {
	h.s.stats.panics.Add(1)
	if f := h.s.view.Load().cfg.OnPanic; f != nil {
		f(v, debug.Stack())
	}
	q := query{id: r.Id, rd: r.RecursionDesired, limit: plainLimit}
	msg, _, _ := q.render(nil, nil, dns.RcodeServerFailure)
	if _, err := w.Write(msg); err != nil {
		h.s.stats.dropped(dropSend)
	}
}

// reply makes the answer to a parsed query in sc.out.
func (h *handler) reply(sc *scratch, r *dns.Msg) (msg []byte, rcode int) {
	return h.replyBefore(sc, r, 0)
}

// replyBefore makes the answer and leaves so many octets free for what is put
// behind it.
func (h *handler) replyBefore(sc *scratch, r *dns.Msg, free int) (msg []byte, rcode int) {
	q := query{id: r.Id, rd: r.RecursionDesired, cd: r.CheckingDisabled, limit: h.over.limit()}
	rcode = q.read(sc, r, h.over)
	q.limit -= free
	var t *template
	if rcode == dns.RcodeSuccess {
		k := sc.key[:len(q.name)]
		lower(k, q.name)
		served := h.s.view.Load().tree
		if n := served.nodes[key(k)]; n != nil {
			t = n.ahead(q.qtype)
		}
		if t != nil {
			if msg, cut, ok := q.render(sc.out[:0], t, 0); ok {
				h.s.stats.shape(q.id, cut)
				return msg, t.rcode
			}
		}
		t, rcode = served.compose(key(k), q.qtype)
		h.s.stats.composed.Add(1)
	}
	msg, cut, ok := q.render(sc.out[:0], t, rcode)
	if !ok {
		rcode = dns.RcodeServerFailure
		msg, cut, _ = q.render(sc.out[:0], nil, rcode)
	}
	h.s.stats.shape(q.id, cut)
	return msg, rcode
}

// compose packs an answer that was not packed ahead. A nil template is an
// answer of nothing but the code.
func (t *tree) compose(k key, qtype uint16) (*template, int) {
	a := t.resolve(k, qtype)
	if len(a.answer)+len(a.ns) == 0 {
		return nil, a.rcode
	}
	name, _, err := dns.UnpackDomainName([]byte(k), 0)
	if err != nil {
		return nil, dns.RcodeServerFailure
	}
	p, err := pack(name, k, qtype, a)
	if err != nil {
		return nil, dns.RcodeServerFailure
	}
	return p, p.rcode
}

// read takes the question and the EDNS wishes out of a message and returns the
// code with which it must be turned away, or NOERROR.
func (q *query) read(sc *scratch, r *dns.Msg, over transport) int {
	if len(r.Question) != 1 {
		return dns.RcodeFormatError // the header claimed one that is not there
	}
	ask := &r.Question[0]
	n, err := dns.PackDomainName(ask.Name, sc.name[:], 0, nil, false)
	if err != nil {
		return dns.RcodeFormatError
	}
	q.name, q.qtype, q.class = sc.name[:n], ask.Qtype, ask.Qclass

	opts, bad, newer := 0, false, false
	for _, rr := range r.Extra {
		opt, ok := rr.(*dns.OPT)
		if !ok {
			continue
		}
		opts++
		q.edns, q.do = true, opt.Do()
		bad = bad || opt.Hdr.Name != "."
		newer = opt.Version() > 0
		if over == overUDP {
			q.limit = min(max(int(opt.UDPSize()), plainLimit), ednsLimit)
		}
	}
	switch {
	case opts > 1 || bad || len(r.Answer) > 0:
		return dns.RcodeFormatError
	case newer:
		return dns.RcodeBadVers
	case q.class != dns.ClassINET:
		return dns.RcodeRefused
	}
	switch q.qtype {
	case dns.TypeOPT, dns.TypeTSIG, dns.TypeTKEY:
		return dns.RcodeFormatError // never a question
	case dns.TypeMAILA, dns.TypeMAILB:
		return dns.RcodeNotImplemented
	case dns.TypeAXFR, dns.TypeIXFR:
		return dns.RcodeRefused
	}
	return dns.RcodeSuccess
}

// screen judges a header before anything else is parsed. Only QUERY is
// implemented. NOTIFY is refused, since nobody is primary of our zones but we;
// UPDATE and whatever is unknown get NOTIMP. What that costs does not depend on
// what they carry.
func (h *handler) screen(dh dns.Header) dns.MsgAcceptAction {
	const qr = 1 << 15
	action := dns.MsgAccept
	switch opcode := int(dh.Bits>>11) & 0xF; {
	case dh.Bits&qr != 0:
		h.s.stats.dropped(dropResponse)
		action = dns.MsgIgnore
	case opcode == dns.OpcodeNotify:
		h.s.stats.refused(refusedNotify)
		h.s.stats.answered(dh.Id, h.over, dns.RcodeRefused)
		action = dns.MsgRejectNotImplemented // tidy makes REFUSED of it
	case opcode == dns.OpcodeUpdate:
		h.s.stats.refused(refusedUpdate)
		fallthrough
	case opcode != dns.OpcodeQuery:
		h.s.stats.answered(dh.Id, h.over, dns.RcodeNotImplemented)
		action = dns.MsgRejectNotImplemented
	case dh.Qdcount != 1 || dh.Ancount > 0 || dh.Nscount > 1 || dh.Arcount > 2:
		h.s.stats.answered(dh.Id, h.over, dns.RcodeFormatError)
		action = dns.MsgReject
	}
	if action != dns.MsgAccept && h.done != nil {
		h.done(nil)
	}
	return action
}

// malformed is told of a query that passed the screen and cannot be parsed;
// miekg/dns answers FORMERR to it.
func (h *handler) malformed([]byte, error) {
	h.s.stats.answered(0, h.over, dns.RcodeFormatError)
	if h.done != nil {
		h.done(nil)
	}
}

// tidy clears from an answer the bits that miekg/dns copies from the query
// when it turns one away by itself: AA and TC say something that is not so,
// and RA, Z and AD are never ours to say. A NOTIFY is refused, for which
// miekg/dns has no word.
func tidy(msg []byte) {
	if len(msg) < headerLen {
		return
	}
	if int(msg[2]>>3)&0xF == dns.OpcodeNotify {
		msg[2], msg[3] = msg[2]&^(0x04|0x02), msg[3]&^0xF|dns.RcodeRefused
	}
	switch msg[3] & 0xF {
	case dns.RcodeFormatError, dns.RcodeNotImplemented:
		msg[2] &^= 0x04 | 0x02
	}
	msg[3] &^= 0x80 | 0x40 | 0x20
}
