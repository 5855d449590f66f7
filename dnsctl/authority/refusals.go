package authority

import "github.com/miekg/dns"

// refusal is why a transfer, a signature or a notification was turned away, or
// a transfer broken off.
type refusal int8

const (
	refusedNoRight  refusal = iota // who asks has no right to the zone
	refusedBadKey                  // signed by a key, or with an algorithm, that is not ours
	refusedBadSig                  // the signature is wrong, or truncated
	refusedBadTime                 // signed too far from our clock
	refusedReplay                  // the same signature came before
	refusedSigForm                 // a signature of an impossible form or at the wrong place
	refusedForm                    // no proper request for a transfer
	refusedUDP                     // a whole zone over UDP
	refusedNotReady                // the zone is not whole
	refusedBusy                    // too many transfers at once, in all or of one source
	refusedPace                    // one source asks for one zone too often
	refusedSlow                    // broken off: the client did not take it in time, or went away
	refusedNotify                  // NOTIFY: nobody is primary of our zones
	refusedUpdate                  // UPDATE: the zone is a view of commits and takes no other changes
	refusals
)

func (r refusal) String() string {
	return [refusals]string{
		"no-right", "bad-key", "bad-signature", "bad-time", "replay", "signature-form",
		"form", "udp", "not-ready", "busy", "pace", "slow", "notify", "update",
	}[r]
}

// said is what a refusal says of itself (RFC 8914), or nil.
func (r refusal) said() *dns.EDNS0_EDE {
	switch r {
	case refusedNotReady:
		return &dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeNotReady, ExtraText: "zone is not whole yet"}
	case refusedBusy:
		return &dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeOther, ExtraText: "too many transfers at once"}
	case refusedPace:
		return &dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeOther, ExtraText: "transfers too often"}
	}
	return nil
}

// transfer is how a request for a transfer was answered.
type transfer int8

const (
	transferFull        transfer = iota // the whole zone
	transferIncremental                 // what changed
	transferNone                        // the SOA alone: there is nothing newer
	transferTooLong                     // the SOA alone over UDP: ask over TCP
	transfers
)

func (t transfer) String() string {
	return [transfers]string{"full", "incremental", "up-to-date", "too-long-for-udp"}[t]
}

func (c *counters) refused(r refusal) { c.refusals[r].Add(1) }
