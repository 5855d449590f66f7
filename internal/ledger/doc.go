// Package ledger keeps what must outlive the process: one record per instance,
// the term, the serials of embedded zones with their newest changes, and the
// audit, in one SQLite file; and, in a file of its own, the measured history.
//
// Most callers need [Open], [Store.Load] and [Store.Commit]. A commit is a
// compare-and-swap on the record's rev: the record, its audit entries and the
// zone serials that it raises become durable together or not at all, and
// Commit returns after the sync. Commits of many instances that arrive
// together share one sync.
//
// # The journal of a zone
//
// Where a commit changes what an embedded name shows, the serial of its zone
// rises and the change is noted, in the same transaction; [Store.Changes]
// returns the chain from an earlier serial to the present one. It is bounded,
// and shortened by whole steps. What no record tells (hosts, name servers, a
// name that came or went with the configuration) does not stand in it:
// [Store.Stamp] compares a fingerprint of that part, and when it differs
// raises the serial and cuts the chain, so that a serial never stands for two
// contents and no chain leads past what it does not tell. [Store.NoteWhole]
// remembers for good that all names of a zone had a record once, so that a new
// ledger is told from one to which a name was added.
//
// # What is not promised
//
// One ledger serves one process on one machine; the file lock keeps a second
// one out, and it is only as good as the file system's flock. The audit is
// chained, not signed: whoever can write the file can also write a new chain,
// but cannot change an entry under a head that was noted elsewhere. A disk
// that says that it has synced and has not is beyond help. The history may
// lose its newest samples at a power cut, and drops samples rather than make
// anybody wait.
//
// # When the disk fails
//
// After the first write that fails for any reason but a conflict the store is
// poisoned until the process ends: every later Commit returns [ErrPoisoned]
// with the first cause. Nothing is retried, because after a failed fsync the
// kernel may mark the lost pages clean and let the next fsync succeed (ext4,
// XFS and btrfs do). Whether the commit in hand reached the disk is then
// unknown; nobody was told that it did, and memory keeps the state before it.
//
// Reads of records and serials come from memory and go on. A process that
// starts on a full or read-only disk is poisoned from the start, has no term,
// and reads the last commit. A start also rewrites the write-ahead log in
// place before it trusts it, since what it reads there may be pages that an
// earlier process failed to sync.
package ledger
