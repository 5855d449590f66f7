// Package authority is the embedded authoritative DNS server: a read-only view
// of the committed records. It never decides and never stores; when a name may
// move is the business of internal/failover, and what it points at is whatever
// the ledger committed last.
//
// The set of names comes from the [Config]. Each managed name holds one atomic
// pointer to what it shows; [Server.Publish] and [Server.Load] can only replace
// what stands there. [Server.Reload] makes the names of another configuration
// beside the ones that are served, lets each show what it shows now, and swaps
// one pointer. A name that only a record still has is left over and goes on
// answering; the one way to take a published name away is to list it as
// retired. A name that was not published yet answers SERVFAIL, which resolvers
// retry elsewhere and do not cache as absence; NXDOMAIN is said only of names
// that neither the configuration nor a record knows.
//
// Publish checks a whole record before it shows any of it. A record with a
// target that is no name, points at itself, closes a loop, dangles inside one
// of our own zones or is not on the name's list is refused with an error that
// wraps [ErrRefused], and the answers stay as they were.
//
// Answers are packed when a record is published. For a query the handler
// copies the packed sections behind the question as it was asked (byte for
// byte, so that 0x20 case games succeed) and patches the id, the flags, the
// zone's serial and the OPT record. What was not packed ahead (chains through a
// second managed name) is packed on the spot by the same code. The sockets, the parser and the connection loop are
// github.com/miekg/dns.
//
// Secondaries get zones by AXFR (RFC 5936) and IXFR (RFC 1995), each from one
// snapshot: the serial and what every name showed at one moment. An increment
// is one condensed step from the serial of the secondary, by the journal that
// the [Source] keeps, and is given only when it leads to that very snapshot. A zone of which a name has
// no record yet is not handed out at all. Who may have a zone is said by the
// configuration, by default nobody; a signature (RFC 8945) counts when it is
// there, is right over the octets that came, in time, new, and by a key that
// has a right to that zone, all of which is checked here and nothing of it
// taken from the library's word. After each change every secondary is told by
// NOTIFY (RFC 1996) until it acknowledges, and then asked for its serial until
// it serves ours; what is known of it stands in [Stats].
//
// Who asks for zones and reads nothing, slowly or all the time keeps nobody from
// them: transfers have places, of which each secondary has its own, a pace for
// each source, and an end; what waits in the kernel for one connection is
// bounded.
//
// Nobody can be drowned in our answers: over UDP a network gets them at a
// bounded rate for each name, and for all together ([RateLimit]), in a table of
// fixed size, and above it a bare TC that leads a true client to TCP. Who returns a cookie of ours (RFC 9018) has
// shown that it gets what is sent to its address and is not limited.
//
// What it does not do: recursion, UPDATE, being a secondary itself, DNSSEC,
// wildcards, delegations inside a zone, and a CNAME at the apex.
package authority
