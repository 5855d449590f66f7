// Package dnsctl moves one record safely: the CNAME of an instance, together
// with the mark beside it. It never knows when to move it; that is decided in
// internal/failover, whose words it speaks.
//
// The work has three parts, each with a proof of its own.
//
// [Plan] is pure. It compares what stands at a name with what shall stand
// there, both in canonical form, and returns the one conditional change that
// leads from here to there, or no change at all. No change is the normal case.
//
// [RFC2136] carries the change out at a server that takes dynamic updates. A
// change is one signed message over TCP (RFC 2136): prerequisites on the old
// CNAME and on the old mark, then the replacement of both. The server applies
// all of it or nothing, so the message is a compare-and-swap: of two writers
// that expect the same old value one succeeds and the other is told so. There
// is no moment at which the name is empty, and there is no Delete: nothing in
// this package can leave the name without a CNAME.
//
// An update whose answer was lost may have been applied, so a write never
// retries by itself; it reports [failover.WriteUnknown] and the caller reads
// the name back. NOERROR is no proof either: servers answer NOERROR and
// silently ignore a record that may not stand where it was put. Only
// [RFC2136.Read] says what stands at the write point.
//
// [Alidns] and [Pvtz] do the same at Alibaba Cloud's APIs, which check no
// condition: there everything is read immediately before and read back after,
// on every line of the name, a write that was cut off is gone on with and never
// undone, and what may still land late is waited out.
//
// [RPZ] is the same for a name that belongs to somebody else: the records stand
// in a policy zone of the clients' resolvers.
//
// [Verify] asks what clients' resolvers will be told: every address of every
// authority, over UDP and TCP, without recursion; or, where no authority shows
// what clients are told, those resolvers, with it. It is one round; how many
// rounds must agree is the caller's decision. Behind an anycast address one
// vantage sees one node only, so agreement is what was seen from here.
//
// What this package does not promise: that resolvers have forgotten the old
// value (they may keep it for its TTL, and some longer), and that an answer
// which is not signed (every answer to Verify, and to Read in read-only mode)
// came from the server that was asked. Unsigned queries go to pinned
// addresses with random ids and ports, which keeps out guessers off the path,
// not somebody on it.
package dnsctl
