package authority

import (
	"encoding/binary"
	"fmt"

	"github.com/miekg/dns"
)

const (
	headerLen   = 12
	optLen      = 11
	optionLen   = 4  // code and length (RFC 6891 section 6.1.2)
	soaTailLen  = 20 // serial, refresh, retry, expire, minimum (RFC 1035 section 3.3.13)
	plainLimit  = 512
	ednsLimit   = 1232 // what fits into the smallest IPv6 path MTU with its headers
	streamLimit = dns.MaxMsgSize - 1
)

// template is an answer packed behind its question. Names in it point back
// into the question, which always starts at the same offset, so it fits any
// spelling of the name that it was packed for.
type template struct {
	rcode    int
	aa       bool
	counts   [3]uint16 // answer, authority, additional, without OPT
	body     []byte
	extraAt  int   // where the additional section begins
	soa      *zone // whose serial stands at serialAt, or nil
	serialAt int

	// An answer that fits every absent name of a zone: how long a question it
	// was packed for, and where its compression pointers stand.
	apexLen  int
	pointers []int
}

// pack packs an answer to a question about name (lower case). An SOA in it
// must be the last record before the additional section.
func pack(name string, k key, qtype uint16, a answer) (*template, error) {
	t := &template{
		rcode: a.rcode, aa: a.aa, soa: a.soa,
		counts: [3]uint16{uint16(len(a.answer)), uint16(len(a.ns)), uint16(len(a.extra))},
	}
	m := dns.Msg{
		Compress: true,
		Question: []dns.Question{{Name: name, Qtype: qtype, Qclass: dns.ClassINET}},
		Answer:   a.answer, Ns: a.ns,
	}
	from := headerLen + len(k) + 4
	wire, err := m.Pack()
	if err != nil {
		return nil, fmt.Errorf("pack the answer for %s: %w", name, err)
	}
	t.body, t.extraAt = wire[from:], len(wire)-from
	t.serialAt = t.extraAt - soaTailLen
	if len(a.extra) > 0 {
		m.Extra = a.extra
		if wire, err = m.Pack(); err != nil {
			return nil, fmt.Errorf("pack the answer for %s: %w", name, err)
		}
		t.body = wire[from:]
	}
	return t, nil
}

// rdataAt is where the data of a record begins behind a pointer to its owner:
// two octets of it, type, class, TTL and length (RFC 1035 section 3.2.1).
const rdataAt = 2 + 2 + 2 + 4 + 2

// packAlone packs the answer of one CNAME or TXT record at the name asked for,
// octet for octet as pack does, for a third of the work: it is what every change
// of a name costs.
func packAlone(k key, rr dns.RR) (*template, error) {
	sc := scratches.Get().(*scratch)
	defer scratches.Put(sc)
	buf := sc.out[:cap(sc.out)]
	n, err := dns.PackRR(rr, buf, 0, nil, false)
	if err != nil {
		return nil, fmt.Errorf("pack the answer for %s: %w", rr.Header().Name, err)
	}
	body := make([]byte, 0, 2+n-len(k))
	body = append(body, 0xC0, headerLen) // the question's name
	body = append(body, buf[len(k):n]...)
	if rr.Header().Rrtype == dns.TypeCNAME {
		body = shorten(body, k)
	}
	return &template{aa: true, counts: [3]uint16{1, 0, 0}, body: body, extraAt: len(body)}, nil
}

// shorten lets the end of the target that the question's name ends in too point
// there (RFC 1035 section 4.1.4).
func shorten(body []byte, k key) []byte {
	target := body[rdataAt:]
	for at := 0; target[at] != 0; at += 1 + int(target[at]) {
		rest := len(target) - at
		for to := 0; k[to] != 0; to += 1 + int(k[to]) {
			if len(k)-to != rest || string(target[at:]) != string(k[to:]) {
				continue
			}
			binary.BigEndian.PutUint16(body[rdataAt-2:], uint16(at+2))
			return binary.BigEndian.AppendUint16(body[:rdataAt+at], 0xC000|uint16(headerLen+to))
		}
	}
	return body
}

// answers are the packed answers of one name by type. A nil one was not packed
// ahead.
type answers struct{ a, aaaa, cname, txt, soa, ns, any, rest *template }

func (p *answers) pick(qtype uint16) *template {
	switch qtype {
	case dns.TypeA:
		return p.a
	case dns.TypeAAAA:
		return p.aaaa
	case dns.TypeCNAME:
		return p.cname
	case dns.TypeTXT:
		return p.txt
	case dns.TypeSOA:
		return p.soa
	case dns.TypeNS:
		return p.ns
	case dns.TypeANY:
		return p.any
	default:
		return p.rest
	}
}

// packStatic packs everything that may be asked at a static name, and of every
// name that it has nothing of a type. The serial is not known yet, so a
// stand-in goes where it will be patched.
func (t *tree) packStatic(n *node) error {
	k, err := keyOf(n.name)
	if err != nil {
		return err
	}
	standIn := &zone{name: n.zone.name, soa: n.zone.soa, serial: new(serial)}
	standIn.serial.raise(0)
	twin := &node{kind: n.kind, name: n.name, zone: standIn, sets: n.sets, glue: n.glue}

	do := func(qtype uint16, a answer) *template {
		if err != nil {
			return nil
		}
		if a.soa != nil {
			a.soa = n.zone
		}
		var p *template
		p, err = pack(n.name, k, qtype, a)
		return p
	}
	none := answer{aa: true}
	n.nodata = do(dns.TypeNone, none.negative(standIn, dns.RcodeSuccess))
	if n.kind == static || n.kind == empty {
		at := func(qtype uint16) *template { return do(qtype, t.at(twin, nil, qtype)) }
		n.packed = &answers{
			a: at(dns.TypeA), aaaa: at(dns.TypeAAAA), cname: n.nodata, txt: n.nodata,
			soa: at(dns.TypeSOA), ns: at(dns.TypeNS), any: at(dns.TypeANY), rest: n.nodata,
		}
	}
	return err
}

// packAbsent packs the denial of every name that a zone does not have. It is
// packed for the apex. A longer question ends in the apex too, and moves all
// that the pointers point at by what it is longer.
func (z *zone) packAbsent() error {
	standIn := &zone{name: z.name, soa: z.soa, serial: new(serial)}
	standIn.serial.raise(0)
	k, err := keyOf(z.name)
	if err != nil {
		return err
	}
	a := answer{aa: true}.negative(standIn, dns.RcodeNameError)
	a.soa = z
	t, err := pack(z.name, k, dns.TypeNone, a)
	if err != nil {
		return err
	}
	t.apexLen = len(k)
	// The owner, then mname and rname behind type, class, TTL and length.
	at := 0
	for i := range 3 {
		if i == 1 {
			at += 10
		}
		for t.body[at] != 0 && t.body[at] < 0xC0 {
			at += 1 + int(t.body[at])
		}
		if t.body[at] == 0 {
			at++
			continue
		}
		t.pointers = append(t.pointers, at)
		at += 2
	}
	z.absent = t
	return nil
}

// ahead returns the packed answer of a name that exists, or nil.
func (n *node) ahead(qtype uint16) *template {
	switch n.kind {
	case managed:
		if sh := n.shown.Load(); sh != nil {
			return sh.packed.pick(qtype)
		}
	case mark:
		if sh := n.owner.shown.Load(); sh != nil {
			return sh.markPacked.pick(qtype)
		}
	default:
		return n.packed.pick(qtype)
	}
	return nil
}

// query is a question as it was asked.
type query struct {
	id           uint16
	rd, cd       bool
	name         []byte // as asked, in wire form; nil when there was no one question
	qtype, class uint16
	edns, do     bool
	limit        int  // of the answer, in octets
	cut          bool // nothing but TC is sent

	cookieIn []byte // as it came, or nil
	standing standing
	cookie   [cookieLen]byte // to answer with, from cookieClient on
}

// render appends the answer to dst. A nil template is one without records. ok
// is false when the zone's serial is needed and not known.
func (q *query) render(dst []byte, t *template, rcode int) (msg []byte, truncated, ok bool) {
	var body []byte
	var counts [3]uint16
	var aa bool
	if t != nil {
		body, counts, rcode, aa = t.body, t.counts, t.rcode, t.aa
	}
	room := q.limit - headerLen
	if q.name != nil {
		room -= len(q.name) + 4
	}
	if q.edns {
		room -= optLen
	}
	if q.standing >= cookieClient {
		room -= optionLen + cookieLen
	}
	if len(body) > room && t.extraAt < len(body) {
		body, counts[2] = body[:t.extraAt], 0 // addresses of name servers are a courtesy
	}
	if len(body) > room {
		body, counts, truncated = nil, [3]uint16{}, true
	}
	truncated = truncated || q.cut

	hi, lo := byte(0x80), byte(rcode&0xF) // QR; opcode is QUERY
	for _, f := range []struct {
		set bool
		hi  byte
		lo  byte
	}{{aa, 0x04, 0}, {truncated, 0x02, 0}, {q.rd, 0x01, 0}, {q.cd, 0, 0x10}} {
		if f.set {
			hi, lo = hi|f.hi, lo|f.lo
		}
	}
	additional := counts[2]
	if q.edns {
		additional++
	}
	questions := uint16(0)
	if q.name != nil {
		questions = 1
	}
	dst = binary.BigEndian.AppendUint16(dst, q.id)
	dst = append(dst, hi, lo)
	dst = binary.BigEndian.AppendUint16(dst, questions)
	dst = binary.BigEndian.AppendUint16(dst, counts[0])
	dst = binary.BigEndian.AppendUint16(dst, counts[1])
	dst = binary.BigEndian.AppendUint16(dst, additional)
	if q.name != nil {
		dst = append(dst, q.name...)
		dst = binary.BigEndian.AppendUint16(dst, q.qtype)
		dst = binary.BigEndian.AppendUint16(dst, q.class)
	}
	at := len(dst)
	dst = append(dst, body...)
	if t != nil && t.soa != nil && !truncated {
		serial, known := t.soa.serial.get()
		if !known {
			return dst, false, false
		}
		binary.BigEndian.PutUint32(dst[at+t.serialAt:], serial)
		for _, p := range t.pointers {
			to := dst[at+p:]
			binary.BigEndian.PutUint16(to, binary.BigEndian.Uint16(to)+uint16(len(q.name)-t.apexLen))
		}
	}
	if q.edns {
		dst = q.appendOPT(dst, rcode)
	}
	return dst, truncated, true
}

// appendOPT answers an OPT with one of version 0, our size, the upper bits of
// the code and the DO bit as asked (RFC 6891 section 6.1.3).
func (q *query) appendOPT(dst []byte, rcode int) []byte {
	var flags uint16
	if q.do {
		flags = 0x8000
	}
	dst = append(dst, 0) // root
	dst = binary.BigEndian.AppendUint16(dst, dns.TypeOPT)
	dst = binary.BigEndian.AppendUint16(dst, ednsLimit)
	dst = append(dst, byte(rcode>>4), 0)
	dst = binary.BigEndian.AppendUint16(dst, flags)
	if q.standing < cookieClient {
		return binary.BigEndian.AppendUint16(dst, 0)
	}
	dst = binary.BigEndian.AppendUint16(dst, optionLen+cookieLen)
	dst = binary.BigEndian.AppendUint16(dst, dns.EDNS0COOKIE)
	dst = binary.BigEndian.AppendUint16(dst, cookieLen)
	return append(dst, q.cookie[:]...)
}
