// Package controller is the imperative shell around the pure core of
// internal/failover.
//
// An instance is ready when something waits in its bounded inbox, or when the
// time that it asked for has come. A few goroutines, the hands, take whoever is
// ready and give it a turn: they hand what waits to the core's Step one at a
// time, and start what Step asks for. No instance has two turns at once, so
// whoever has the turn owns its [failover.State]. Everything that may take
// long (a commit, a read or write of a name, a round of verification) runs in
// a goroutine of its own and comes back through the same inbox, so a turn never
// waits for the world: votes are taken while a disk syncs, and ten thousand
// instances need no more hands than one.
//
// A report that says nothing new in a calm time is held back for a part of a
// round, so that those of all vantages cost one turn. It counts from its
// arrival, and whatever wakes the instance earlier brings it along.
//
// [Controller.Reload] makes other instances of the running ones: it adds,
// swaps policies between two turns, and removes those with nothing in hand. It
// moves no name by itself and drops nothing that was seen. [Controller.Prepare]
// is its first half, which asks everything and changes nothing.
//
// The promises that the core builds on, and where they are kept:
//
//   - Every action that has an outcome is answered by exactly one event, also
//     when the callee panics, errs or never returns. What cannot be known is
//     said to be unknown; it is never guessed. The owner keeps the list of open
//     errands and answers overdue ones itself; an answer that arrives later
//     finds its errand gone and is dropped and counted.
//   - A commit is never overdue: while the ledger works on it the instance is
//     held, and people are told. The answer to a commit of a former life makes
//     the record be read again.
//   - A commit that the ledger refused for a reason of its own (no conflict, no
//     poison) costs the lead of the instance, which is tried again after a
//     pause that grows.
//   - Between a Commit and its answer nothing else is begun outside. The core
//     promises never to ask for it; the shell holds such an action back all the
//     same, and refuses it when the commit failed.
//   - What changes the world outside runs under a context that ends when
//     leadership ends, and never longer than the lease.
//   - A stall of the process or a jump of the clock is told to the core before
//     any event that waited meanwhile.
//   - Readers, subscribers, the log, pages and the history can be slow or stuck
//     without delaying a decision: they get immutable snapshots, or bounded
//     queues that drop and count.
//
// What is not promised: a command whose caller has gone may still be carried
// out; pages, history and log lines may be dropped under overload (the audit in
// the ledger may not); and a panic in the core itself costs the instance its
// memory: it starts again from the ledger, as after a crash of the process,
// while the other instances go on.
package controller
