package authority

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	// envelopeOctets is what is packed into one message of a transfer.
	envelopeOctets = 16 << 10

	defaultTransfers          = 8
	defaultTransfersPerSource = 2
	defaultTransferTime       = time.Minute
)

// rights says who may take a whole zone. The zero value lets nobody.
type rights struct {
	keys      map[string]bool // canonical names
	addresses []netip.Prefix  // of those who need no key
}

// rightsOf reads the rights to a zone: those of its secondaries and the others.
func rightsOf(c *Zone) rights {
	r := rights{keys: make(map[string]bool), addresses: slices.Clone(c.TransferAddresses)}
	for _, k := range c.TransferKeys {
		r.keys[dns.CanonicalName(string(k))] = true
	}
	for _, s := range c.Secondaries {
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

// transfer answers AXFR and IXFR, and says whether it did: what is no proper
// request for one, or comes from nobody who may know, is answered like any
// other question.
func (q *request) transfer() bool {
	ask := q.m.Question[0]
	z := q.h.s.zoneAt(ask.Name)
	var sc scratch
	var probe query
	if rcode := probe.read(&sc, q.m, q.h.over); rcode != dns.RcodeRefused || ask.Qclass != dns.ClassINET {
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
	apex, err := keyOf(z.name)
	if err != nil {
		q.answer(dns.RcodeServerFailure)
		return
	}
	sn, err := s.snapshot(apex)
	if err != nil {
		q.refuse(refusedNotReady, dns.RcodeServerFailure)
		return
	}
	o := &outgoing{q: q, end: time.Now().Add(s.view.Load().cfg.TransferTime)}
	switch {
	case since != nil && int32(sn.serial-since.Serial) <= 0:
		// Up to date, or ahead of us: a single SOA (RFC 1995 section 2).
		o.finish(transferNone, o.add(sn.soa))
		return
	}
	var d *increment
	if since != nil {
		d = s.increment(sn, since)
	}
	if q.h.over == overUDP {
		if d == nil || d.octets() > q.free() {
			// The SOA alone says that TCP is needed (RFC 1995 section 2).
			o.finish(transferTooLong, o.add(sn.soa))
		} else {
			o.finish(transferIncremental, d.each(o.add))
		}
		return
	}
	if !s.gate.enter(q.from, &s.view.Load().cfg) {
		q.refuse(refusedBusy, dns.RcodeServerFailure)
		return
	}
	defer s.gate.leave(q.from)
	if d != nil {
		o.finish(transferIncremental, d.each(o.add))
		return
	}
	o.finish(transferFull, sn.each(o.add))
}

// free is what an answer over UDP has room for beside its header, question,
// OPT and signature. An unsigned question may come from anywhere and be
// answered to anybody, so it gets none.
func (q *request) free() int {
	if q.sig.proof != proved {
		return 0
	}
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

// gate bounds the transfers at one time, in all and to one source.
type gate struct {
	mu       sync.Mutex
	all      int
	bySource map[netip.Addr]int
}

func (g *gate) enter(from netip.Addr, c *Config) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	from = payer(from)
	if g.all >= c.Transfers || g.bySource[from] >= c.TransfersPerSource {
		return false
	}
	if g.bySource == nil {
		g.bySource = make(map[netip.Addr]int)
	}
	g.all++
	g.bySource[from]++
	return true
}

func (g *gate) leave(from netip.Addr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	from = payer(from)
	g.all--
	if g.bySource[from]--; g.bySource[from] <= 0 {
		delete(g.bySource, from)
	}
}

func (g *gate) now() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.all
}
