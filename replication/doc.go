// Package replication carries the rows of the active cluster to the standby and
// knows at every moment what a switch would lose. When that matters to the name
// is decided by [pointsman/internal/failover]; here nothing is decided about it.
//
// One [Replicator] works for one instance. It is told the course of the record
// (who is active, whether the standby may be written, which operation is open)
// by [Replicator.Follow] and tells back exposure and the state of the standby.
// Rows go one way, from the active cluster to the standby, with their original
// versions and in order per primary key.
//
//	ots       the wire, cancellable and bounded
//	follow    the shards of a table's stream, parents before children
//	copy      the whole of a table, by ranges, resumable
//	verify    both sides compared, whatever is on its way
//	apply     ordered per key, in batches, refused rows kept aside
//	control   checkpoints in the target, guarded by the token
//	exposure  an upper bound of what is not there yet
//	cut       where an operation ended it, and what lay behind
package replication
