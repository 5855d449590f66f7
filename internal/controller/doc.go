// Package controller is the imperative shell around the pure core of
// internal/failover.
//
// One goroutine per instance owns the [failover.State] of that instance. It
// takes events from a bounded inbox, hands them to the core's Step one at a
// time, and starts what Step asks for. Everything that may take long (a
// commit, a read or write of a name, a round of verification) runs in a
// goroutine of its own and comes back through the same inbox, so the owner
// never waits for the world: it goes on taking votes while a disk syncs.
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
