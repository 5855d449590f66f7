package authority

import (
	"net/netip"
	"runtime/debug"
	"sync"
	"time"

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
	cookie    [maxCookieLen]byte
	rate      rateKey
	out       []byte
}

var scratches = sync.Pool{New: func() any { return &scratch{out: make([]byte, 0, 1536)} }}

// ServeDNS implements dns.Handler.
func (h *handler) ServeDNS(w dns.ResponseWriter, r *dns.Msg) {
	_, from := origin(w)
	if p, ok := w.RemoteAddr().(*packet); ok {
		p.judged = true
	}
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
	msg, rcode := h.reply(sc, r, sender{addr: from}, 0)
	if msg == nil {
		h.s.stats.dropped(dropRate)
		return
	}
	sc.out = msg[:0]
	h.s.stats.answered(r.Id, h.over, rcode)
	if _, err := w.Write(msg); err != nil {
		h.s.stats.unsent(err)
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
		h.s.stats.unsent(err)
	}
}

// sender is who asked.
type sender struct {
	addr   netip.Addr
	signed bool // by a key that is known here, and for the first time
	takes  bool // has a right to the zone and asks for it over UDP: it gets the SOA
}

// reply makes the answer to a parsed query in sc.out and leaves so many octets
// free for what is put behind it. The answer is nil when the rate of answers
// to the sender is used up.
func (h *handler) reply(sc *scratch, r *dns.Msg, who sender, free int) (msg []byte, rcode int) {
	v := h.s.view.Load()
	q := query{id: r.Id, rd: r.RecursionDesired, cd: r.CheckingDisabled, limit: h.over.limit()}
	rcode = q.read(sc, r, h.over)
	asks := q.qtype
	if who.takes && rcode == dns.RcodeRefused {
		asks, rcode = dns.TypeSOA, dns.RcodeSuccess
	}
	q.limit -= free
	if q.edns && q.cookieIn != nil {
		q.standing = v.jar.judge(q.cookieIn, who.addr, uint32(time.Now().Unix()), &q.cookie)
		h.s.stats.cookies[q.standing].Add(1)
		if q.standing == cookieMalformed {
			rcode = dns.RcodeFormatError // RFC 7873 section 5.2.2
		}
	}
	var t *template
	if rcode == dns.RcodeSuccess && q.name != nil {
		t, rcode = h.find(v.tree, sc, &q, asks)
	}
	about := sc.key[:len(q.name)]
	if rcode == dns.RcodeNameError && t != nil && t.soa != nil {
		t.soa.denied.Add(1)
		about = about[len(about)-t.apexLen:] // whatever the name, it is one more denial of the zone
	}
	if h.over == overUDP && q.standing != cookieValid && !who.signed && v.quota.covers(who.addr) {
		switch h.limit(v, sc, &q, classOf(t, rcode), who.addr, about) {
		case withhold:
			return nil, rcode
		case slip:
			t, rcode, q.cut = nil, dns.RcodeSuccess, true
		case demand:
			t, rcode = nil, dns.RcodeBadCookie
		}
	}
	msg, cut, ok := q.render(sc.out[:0], t, rcode)
	if !ok {
		rcode = dns.RcodeServerFailure
		msg, cut, _ = q.render(sc.out[:0], nil, rcode)
	}
	h.s.stats.shape(q.id, cut)
	return msg, rcode
}

// find returns the answer of a type to a question. A nil template is an answer
// of nothing but the code.
func (h *handler) find(served *tree, sc *scratch, q *query, qtype uint16) (*template, int) {
	k := sc.key[:len(q.name)]
	lower(k, q.name)
	n := served.nodes[key(k)]
	var t *template
	if n != nil {
		t = n.ahead(qtype)
	} else if _, z := served.find(key(k)); z != nil {
		t = z.absent
	} else {
		return nil, dns.RcodeRefused
	}
	if t == nil || t.soa != nil && !t.soa.serial.known() {
		h.s.stats.composed.Add(1)
		return served.compose(key(k), qtype)
	}
	return t, t.rcode
}

// limit asks whether one more answer of a class may be sent, and whether one
// more of any.
func (h *handler) limit(v *view, sc *scratch, q *query, c class, from netip.Addr, about []byte) verdict {
	now := h.s.limiter.now()
	what := pass
	if !v.quota.off {
		what = h.s.limiter.judge(&v.quota, sc.rate.of(from, c, about), now)
	}
	if what == pass && !v.total.off {
		c = classNetwork
		what = h.s.limiter.judge(&v.total, sc.rate.of(from, c, nil), now)
	}
	if what == slip && q.standing >= cookieClient && v.cfg.Cookies.Demand == DemandLimited {
		what = demand
	}
	if what != pass {
		h.s.stats.limited[c][what].Add(1)
	}
	return what
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
	if len(r.Question) == 1 {
		ask := &r.Question[0]
		n, err := dns.PackDomainName(ask.Name, sc.name[:], 0, nil, false)
		if err != nil {
			return dns.RcodeFormatError
		}
		q.name, q.qtype, q.class = sc.name[:n], ask.Qtype, ask.Qclass
	}
	opts, bad, newer := 0, false, false
	for _, rr := range r.Extra {
		opt, ok := rr.(*dns.OPT)
		if !ok {
			continue
		}
		opts++
		q.edns, q.do = true, opt.Do()
		bad = bad || opt.Hdr.Name != "."
		if in, ok := cookieOf(opt, &sc.cookie); ok && q.cookieIn == nil {
			q.cookieIn = in
		}
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
	case q.name == nil && q.cookieIn != nil && len(r.Question) == 0:
		return dns.RcodeSuccess // who asks for a cookie alone (RFC 7873 section 5.4)
	case q.name == nil:
		return dns.RcodeFormatError // the header claimed a question that is not there
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
		h.turnedAway(dh.Id, dns.RcodeRefused)
		action = dns.MsgRejectNotImplemented // tidy makes REFUSED of it
	case opcode == dns.OpcodeUpdate:
		h.s.stats.refused(refusedUpdate)
		fallthrough
	case opcode != dns.OpcodeQuery:
		h.turnedAway(dh.Id, dns.RcodeNotImplemented)
		action = dns.MsgRejectNotImplemented
	case dh.Qdcount > 1 || dh.Qdcount == 0 && dh.Arcount == 0 || dh.Ancount > 0 || dh.Nscount > 1 || dh.Arcount > 2:
		h.turnedAway(dh.Id, dns.RcodeFormatError)
		action = dns.MsgReject
	}
	if action != dns.MsgAccept && h.done != nil {
		h.done(nil)
	}
	return action
}

// turnedAway counts an answer that miekg/dns gives by itself. Over UDP the
// socket does, which may also withhold it.
func (h *handler) turnedAway(id uint16, rcode int) {
	if h.over == overTCP {
		h.s.stats.answered(id, h.over, rcode)
	}
}

// malformed is told of a query that passed the screen and cannot be parsed;
// miekg/dns answers FORMERR to it.
func (h *handler) malformed([]byte, error) {
	h.turnedAway(0, dns.RcodeFormatError)
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
