// Package tablestore is a Tablestore on loopback: tables, rows and streams of
// Alibaba Cloud's Tablestore (API version 2015-12-31), wire-compatible enough
// for unmodified official clients, with faults that can be asked for by count.
// It is for tests and for a first look; nothing here is hardened for anything
// but loopback.
//
//	New      starts it; Close ends it
//	Fail     lets calls go wrong, Heal ends that
//	Kill     and Revive, Stall and Resume, as a process
//	Requests what was asked
//
// Exact, by the SDKs' source and their tests, are the wire: signatures,
// digests, messages, PlainBuffer; and, by the vendor's pages, codes, statuses
// and messages of errors, limits, and the rules of versions, conditions,
// batches, ranges, transactions and streams. Approximated are the order of
// checks, capacity units and sizes. Guessed is what no page says, each marked
// where it stands; what matters to a client is a setting. Nothing was compared
// with the live service. docs/lab-tablestore.md has the whole of it.
//
// # Tables and rows
//
// Exact, by what the vendor's clients and their tests against the service show:
// the order of keys, columns and versions; what a read returns of a row of which
// some columns are asked for; versions, time ranges and the window of versions;
// that there are no tombstones, and that only deletions make no row; conditions,
// filters and what a missing column gives in them; batches that fail row by row
// or, for what needs no table to be seen, as a whole; pages of 5000 rows and
// 4 MB; names of columns; the codes and nearly all messages of refusals; the
// matrix encoding but for its checksum, which no client reads.
//
// Approximated: capacity units (4 KB of names, values and 8 bytes a version; the
// reserved ones are told back and mean nothing); a row is stored as one value,
// so that a change of a wide row costs all of it; cells whose time is over, and
// versions that are too many since the table was updated, are not shown and go
// when their row is next changed. A range ends before a partition that cannot be had, with a key to
// go on from. Keys that the service chooses are µs since 1970, greater each time.
//
// Guessed: a time to live below a day is refused; 32 filters of a read count
// those that join others, 10 conditions of a write do not; a page of columns
// takes no row away; values of different types are not equal and neither is less;
// a text that a rule of a filter does not fit is of another type; a sum takes
// the version of the number if that is of a later time; a return of no columns by
// name is of those that were changed; refusals of atomic batches over several
// partition keys, of rows outside of a transaction's partition key, of atomic
// batches and chosen keys in one, of allow_update=false and of versions in tables
// that are updated whole have texts of our own.
//
// Refused, although the service has it: secondary indexes, partitions and
// encryption of a new table, and to go on inside of a row by a token, which the
// vendor's pages call unavailable and no answer here carries.
//
// # Streams
//
// Exact, by the vendor's pages, its clients and their tests: an open shard of
// which nothing is new gives back the iterator that was sent, a closed one that
// is read has no next; children name their parents; iterators of the oldest
// record and of a time, with tokens on the way; the form of records, and their
// order within a shard; a record of what changes nothing, and none of what is
// refused; 1 to 168 hours, which cannot be changed while it is on; another
// stream when it is on again; what removed records are answered with. Iterators
// go on after a restart, and nobody sees a record that a crash takes back.
//
// Approximated: partitions split and merge on order alone; what has expired goes
// up to a second late, by the server's clock; a delay until records are seen is
// of time that passes, and a restart ends it; the names and the listed order of
// shards are by chance.
//
// Guessed: codes and texts for unknown streams, shards, iterators and tokens;
// that the iterator of a stream that is off is such a one; that the page with the
// last record of a closed shard has no next iterator already, an empty page costs
// one unit, and a page of shards is never longer than 100; that a search for the
// oldest record has tokens too; that a pre-image has all versions of its columns,
// and there is none without a row before; that the epoch is each shard's own, and
// goes up when the clock goes back by more than a second, below which requests
// are taken to race; that an empty shard is told of until its closing has
// expired.
//
// Refused: rows as they became, which only the newest SDK asks for. There are no
// system columns.
//
// # Policies, rights and global tables
//
// Exact, by the generated SDK of the control API (2020-12-09) and the older SDK
// for Go, which sign in two ways: paths, parameters and answers of GetInstance,
// ListInstances, UpdateInstancePolicy, DeleteInstancePolicy and
// CheckInstancePolicy; no call reads a policy but GetInstance. By the vendor's
// pages: the grammar of policies, their operators and condition keys, that an
// explicit Deny wins, 4 KB, the form of resources, the text of a refused right;
// the messages of global tables, their roles and statuses.
//
// The pages contradict each other in what an action of an instance policy is
// worth, in how the conditions of an Allow are joined, and in how a version of
// TLS is written: the first two are a setting (PolicyRules.Text2024), of the
// last both are taken.
//
// Guessed: that PolicyVersion is the version that is replaced, that it is 0 where
// there never was a policy, and that deleting one makes a new version; that a
// stale one is 409 PolicyVersion.Conflict; after how long a policy is in force,
// and the code and message of its refusal (settings); that a policy with
// statements that allow refuses what none of them allows (a setting); that Sid
// and what else no page names is refused; MalformedPolicyDocument for that, which
// is RAM's; names of principals; that a batch is refused whole; the rights that
// the control API wants. Of global tables all refusals, their code and message
// (a setting), when a role moves, and whether no member may be writable (a
// setting). Rows are copied between members of one process, whole, after a lag
// (a setting): approximated, see copier.
//
// It shares no code with the program that it is used to test.
package tablestore
