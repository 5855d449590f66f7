package authority

import (
	"errors"
	"os"
	"sync/atomic"

	"github.com/miekg/dns"
)

// transport is what a query came over.
type transport int8

const (
	overUDP transport = iota
	overTCP
	transports
)

func (t transport) limit() int {
	if t == overUDP {
		return plainLimit
	}
	return streamLimit
}

func (t transport) String() string { return [transports]string{"udp", "tcp"}[t] }

// drop is why a packet or connection got no answer.
type drop int8

const (
	dropShort    drop = iota // less than a header, or a TCP frame longer than any query
	dropResponse             // QR was set: answering could start a loop
	dropSource               // from port 0 or from our own socket
	dropConns                // too many TCP connections, in all or of one source
	dropRead                 // the socket failed for a moment
	dropSend                 // the answer could not be sent
	dropSlow                 // a TCP client did not finish a query, or take an answer, in time
	dropIdle                 // an idle TCP connection made room for another
	dropRate                 // the rate of answers to the sender is used up
	drops
)

func (d drop) String() string {
	return [drops]string{"short", "response", "source", "connections", "read", "send", "slow", "idle", "rate"}[d]
}

const rcodes = dns.RcodeBadCookie + 1

// counters are spread over shards by the query's id, which clients draw at
// random, so that cores do not fight for one cache line.
type counters struct {
	shards            [8]shard
	drops             [drops]atomic.Uint64
	refusals          [refusals]atomic.Uint64
	transfers         [transfers]atomic.Uint64
	notifies, unacked atomic.Uint64
	composed          atomic.Uint64
	panics            atomic.Uint64
	conns             atomic.Int64
	limited           [classes][verdicts]atomic.Uint64
	cookies           [standings]atomic.Uint64
}

type shard struct {
	answers   [transports][rcodes]atomic.Uint64
	truncated atomic.Uint64
	_         [64]byte
}

func (c *counters) answered(id uint16, over transport, rcode int) {
	c.shards[id%8].answers[over][rcode%rcodes].Add(1)
}

func (c *counters) shape(id uint16, truncated bool) {
	if truncated {
		c.shards[id%8].truncated.Add(1)
	}
}

// unsent counts an answer that could not be written.
func (c *counters) unsent(err error) {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.dropped(dropSlow)
		return
	}
	c.dropped(dropSend)
}

func (c *counters) dropped(d drop) { c.drops[d].Add(1) }

// Stats is what the server did since New. All numbers but the gauges only grow.
type Stats struct {
	Answers   map[string]map[string]uint64 // by transport (udp, tcp) and code (NOERROR, NXDOMAIN, …); zeros are left out
	Dropped   map[string]uint64            // what got no answer, by reason
	Truncated uint64                       // answers with TC
	Composed  uint64                       // answers that were not packed ahead
	Panics    uint64                       // answered SERVFAIL
	Limited   map[string]map[string]uint64 // answers above the rate, by class (answer, nodata, nxdomain, error, or network for all of them together) and what was sent (truncated, dropped, badcookie)
	Denied    map[string]uint64            // NXDOMAIN by zone, those too that were limited
	Evicted   uint64                       // rate buckets in use that gave way to others
	Cookies   map[string]uint64            // queries with a cookie, by what it was (valid, stale, client, malformed)

	Refused   map[string]uint64 // transfers, signatures and notifications that were turned away, or broken off, by reason
	Transfers map[string]uint64 // that went out, by kind
	Notifies  uint64            // NOTIFY sent to secondaries
	Unacked   uint64            // of them, those that got no acknowledgement

	Secondaries []SecondaryStats  // by zone and address
	Transfering int               // gauge: transfers at this moment
	TCPConns    int64             // gauge: open connections
	Names       int               // managed names of the configuration
	Unpublished []string          // of them, those that answer SERVFAIL because no record came yet
	LeftOver    []string          // names that the configuration dropped and did not retire: they answer their last commit
	Serials     map[string]uint32 // by zone; a zone that was not loaded is missing
}

// Stats returns the counters of this moment.
func (s *Server) Stats() Stats {
	out := Stats{
		Answers: make(map[string]map[string]uint64), Dropped: make(map[string]uint64), Serials: make(map[string]uint32),
		Composed: s.stats.composed.Load(), Panics: s.stats.panics.Load(), TCPConns: s.stats.conns.Load(),
	}
	out.Limited, out.Cookies, out.Evicted = make(map[string]map[string]uint64), make(map[string]uint64), s.limiter.evicted.Load()
	for c := range classes {
		out.Limited[c.String()] = make(map[string]uint64)
		for v := slip; v < verdicts; v++ {
			out.Limited[c.String()][v.String()] = s.stats.limited[c][v].Load()
		}
	}
	for st := cookieMalformed; st < standings; st++ {
		out.Cookies[st.String()] = s.stats.cookies[st].Load()
	}
	for t := range transports {
		byCode := make(map[string]uint64)
		for code := range rcodes {
			var n uint64
			for i := range s.stats.shards {
				n += s.stats.shards[i].answers[t][code].Load()
			}
			if n > 0 {
				byCode[rcodeName(code)] = n
			}
		}
		out.Answers[t.String()] = byCode
	}
	for i := range s.stats.shards {
		out.Truncated += s.stats.shards[i].truncated.Load()
	}
	for d := range drops {
		out.Dropped[d.String()] = s.stats.drops[d].Load()
	}
	out.Refused, out.Transfers = make(map[string]uint64), make(map[string]uint64)
	for r := range refusals {
		out.Refused[r.String()] = s.stats.refusals[r].Load()
	}
	for t := range transfers {
		out.Transfers[t.String()] = s.stats.transfers[t].Load()
	}
	out.Notifies, out.Unacked = s.stats.notifies.Load(), s.stats.unacked.Load()
	out.Secondaries, out.Transfering = s.couriers.stats(), s.gate.now()
	served := s.view.Load().tree
	for _, n := range served.managedNodes {
		if n.leftOver {
			out.LeftOver = append(out.LeftOver, n.name)
			continue
		}
		out.Names++
		if n.shown.Load() == nil {
			out.Unpublished = append(out.Unpublished, n.name)
		}
	}
	out.Denied = make(map[string]uint64)
	for _, z := range served.zones {
		out.Denied[z.name] = z.denied.Load()
		if n, ok := z.serial.get(); ok {
			out.Serials[z.name] = n
		}
	}
	return out
}

// rcodeName is needed because 16 is BADSIG to miekg/dns, and BADVERS to EDNS.
func rcodeName(code int) string {
	if code == dns.RcodeBadVers {
		return "BADVERS"
	}
	return dns.RcodeToString[code]
}
