package authority

import (
	"net/netip"
	"slices"
	"time"

	"github.com/miekg/dns"
)

const (
	// envelopeOctets is what is packed into one message of a transfer.
	envelopeOctets = 16 << 10

	defaultTransfers          = 8
	defaultTransfersPerSource = 2
	defaultTransferTime       = time.Minute
	defaultTransfersPerMinute = 60
	maxTransfersPerMinute     = 6000
)

// rights says who may take a whole zone. The zero value lets nobody.
type rights struct {
	keys        map[string]bool // canonical names
	addresses   []netip.Prefix  // of those who need no key
	secondaries map[ally]bool
}

// ally is a secondary as it comes for the zone.
type ally struct {
	from netip.Addr
	key  string // canonical; empty without one
}

// rightsOf reads the rights to a zone: those of its secondaries and the others.
func rightsOf(c *Zone) rights {
	r := rights{keys: make(map[string]bool), addresses: slices.Clone(c.TransferAddresses), secondaries: make(map[ally]bool)}
	for _, k := range c.TransferKeys {
		r.keys[dns.CanonicalName(string(k))] = true
	}
	for _, s := range c.Secondaries {
		a := ally{from: s.Address.Addr().Unmap()}
		if s.Key != "" {
			a.key = dns.CanonicalName(string(s.Key))
		}
		r.secondaries[a] = true
		if s.Key != "" {
			r.keys[dns.CanonicalName(string(s.Key))] = true
		} else if p, err := s.Address.Addr().Unmap().Prefix(s.Address.Addr().Unmap().BitLen()); err == nil {
			r.addresses = append(r.addresses, p)
		}
	}
	return r
}

// hold says whether who asks may have the zone. A signature stands for itself:
// a wrong one is never made good by an address.
func (r *rights) hold(q *request) bool {
	if q.sig.proof == proved {
		return r.keys[q.sig.key.name]
	}
	return q.sig.proof == unsigned &&
		slices.ContainsFunc(r.addresses, func(p netip.Prefix) bool { return p.Contains(q.from) })
}

// place says where one with a right to the zone waits for it: a secondary, by
// its address and its key, in places of its own.
func (r *rights) place(q *request) place {
	a := ally{from: q.from}
	if q.sig.proof == proved {
		a.key = q.sig.key.name
	}
	if r.secondaries[a] {
		return place{who: q.from, own: true}
	}
	return place{who: payer(q.from)}
}

// transfer answers AXFR and IXFR, and says whether it did: what is no proper
// request for one, or comes from nobody who may know, is answered like any
// other question.
func (q *request) transfer(sc *scratch) bool {
	ask := q.m.Question[0]
	z := q.h.s.zoneAt(ask.Name)
	var probe query
	if rcode := probe.read(sc, q.m, q.h.over); rcode != dns.RcodeRefused || ask.Qclass != dns.ClassINET {
		return false // FORMERR, BADVERS or another class
	}
	if z == nil || !z.rights.hold(q) {
		q.h.s.stats.refused(refusedNoRight)
		return false
	}
	since, ok := q.since(z)
	switch {
	case !ok:
		q.refuse(refusedForm, dns.RcodeFormatError)
	case ask.Qtype == dns.TypeAXFR && q.h.over == overUDP:
		q.refuse(refusedUDP, dns.RcodeRefused)
	case q.sig.proof == proved && q.sig.key.seen.again(q.sig.rr, q.h.s.clock()):
		q.sig.proof, q.sig.code = notProved, dns.RcodeBadTime
		q.refuse(refusedReplay, dns.RcodeNotAuth)
	case q.h.over == overUDP && q.sig.proof != proved:
		// It may come from anywhere and be answered to anybody: it gets the SOA,
		// at the rate of answers, for next to no work.
		q.h.s.stats.transfers[transferTooLong].Add(1)
		q.ordinary(sc, sender{addr: q.from, takes: true})
	default:
		q.hand(z, since)
	}
	return true
}

// since is the SOA that an IXFR says its sender has (RFC 1995 section 3); nil
// for an AXFR.
func (q *request) since(z *zone) (*dns.SOA, bool) {
	if q.m.Question[0].Qtype == dns.TypeAXFR {
		return nil, len(q.m.Ns) == 0
	}
	if len(q.m.Ns) != 1 {
		return nil, false
	}
	soa, ok := q.m.Ns[0].(*dns.SOA)
	if !ok || soa.Hdr.Class != dns.ClassINET || dns.CanonicalName(soa.Hdr.Name) != z.name {
		return nil, false
	}
	return soa, true
}

// hand gives the zone out.
func (q *request) hand(z *zone, since *dns.SOA) {
	s := q.h.s
	soa, err := s.soaNow(z)
	if err != nil {
		q.refuse(refusedNotReady, dns.RcodeServerFailure)
		return
	}
	v := s.view.Load()
	o := &outgoing{q: q, end: time.Now().Add(v.cfg.TransferTime)}
	switch {
	case since != nil && int32(soa.Serial-since.Serial) <= 0:
		// Up to date, or ahead of us: a single SOA (RFC 1995 section 2).
		o.finish(transferNone, o.add(soa))
		return
	case q.h.over == overUDP:
		q.handOverUDP(o, z, soa, since)
		return
	}
	where := z.rights.place(q)
	if !s.gate.enter(where, &v.cfg) {
		q.refuse(refusedBusy, dns.RcodeServerFailure)
		return
	}
	defer s.gate.leave(where)
	if !s.mayTake(&v.paces, q.from, z, paceOf(since)) {
		q.refuse(refusedPace, dns.RcodeServerFailure)
		return
	}
	sn, d, err := s.contents(z, since)
	switch {
	case err != nil:
		q.refuse(refusedNotReady, dns.RcodeServerFailure)
	case d != nil:
		o.finish(transferIncremental, d.each(o.add))
	case since != nil && !s.mayTake(&v.paces, q.from, z, paceFull):
		q.refuse(refusedPace, dns.RcodeServerFailure)
	default:
		o.finish(transferFull, sn.each(o.add))
	}
}

// handOverUDP gives the increment, where it fits, or the SOA alone, which says
// that TCP is needed (RFC 1995 section 2).
func (q *request) handOverUDP(o *outgoing, z *zone, soa, since *dns.SOA) {
	if _, d, err := q.h.s.contents(z, since); err == nil && d != nil && d.octets() <= q.free() {
		o.finish(transferIncremental, d.each(o.add))
		return
	}
	o.finish(transferTooLong, o.add(soa))
}

// soaNow is the SOA of a zone that may be handed out.
func (s *Server) soaNow(z *zone) (*dns.SOA, error) {
	s.publishing.Lock()
	defer s.publishing.Unlock()
	return z.soaToHandOut()
}

// contents is the zone as it is now and, where a step leads there from an older
// one, that step.
func (s *Server) contents(z *zone, since *dns.SOA) (*snapshot, *increment, error) {
	apex, err := keyOf(z.name)
	if err != nil {
		return nil, nil, err
	}
	sn, err := s.toHandOut(apex)
	if err != nil || since == nil {
		return sn, nil, err
	}
	return sn, s.increment(sn, since), nil
}

// free is what an answer over UDP has room for beside its header, question,
// OPT and signature.
func (q *request) free() int {
	limit := plainLimit
	if opt := q.m.IsEdns0(); opt != nil {
		limit = min(max(int(opt.UDPSize()), plainLimit), ednsLimit)
	}
	return limit - headerLen - maxNameOctets - 4 - optLen - q.sig.room()
}

// outgoing is an answer of several messages on its way.
type outgoing struct {
	q    *request
	end  time.Time // by which all of it must be gone
	rrs  []dns.RR
	size int
	sent int    // messages
	mac  string // of the last one
}

// add puts a record into the message in hand, and sends it when it is full.
func (o *outgoing) add(rr dns.RR) error {
	n := dns.Len(rr)
	if o.size > 0 && o.size+n > envelopeOctets {
		if err := o.flush(); err != nil {
			return err
		}
	}
	o.rrs, o.size = append(o.rrs, rr), o.size+n
	return nil
}

// flush sends the message in hand. The question and the OPT stand in the first
// one only (RFC 5936 section 2.2).
func (o *outgoing) flush() error {
	m := new(dns.Msg).SetReply(o.q.m)
	m.Authoritative, m.Compress, m.Answer = true, true, o.rrs
	vars, prev := onlyTimers, o.mac
	if o.sent == 0 {
		vars = allVars
		if o.q.sig.rr != nil {
			prev = o.q.sig.rr.MAC
		}
		if opt := o.q.m.IsEdns0(); opt != nil {
			m.SetEdns0(ednsLimit, opt.Do())
		}
	} else {
		m.Question = nil
	}
	wire, mac, err := o.q.sig.sign(m, prev, vars, o.q.h.s.clock())
	if err != nil {
		return err
	}
	if p, ok := o.q.w.RemoteAddr().(*peer); ok {
		p.conn.until(o.end)
	}
	if _, err := o.q.w.Write(wire); err != nil {
		return err
	}
	o.mac, o.rrs, o.size = mac, o.rrs[:0], 0
	o.sent++
	return nil
}

// finish sends the rest. A client that does not take it is cut off: in the
// middle of a transfer nothing else can be said to it.
func (o *outgoing) finish(what transfer, err error) {
	s := o.q.h.s
	if err == nil {
		err = o.flush()
	}
	if p, ok := o.q.w.RemoteAddr().(*peer); ok {
		p.conn.until(time.Time{})
	}
	if err != nil {
		s.stats.refused(refusedSlow)
		o.q.w.Close()
		return
	}
	s.stats.answered(o.q.m.Id, o.q.h.over, dns.RcodeSuccess)
	s.stats.transfers[what].Add(1)
}
