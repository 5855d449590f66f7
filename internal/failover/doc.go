// Package failover is the pure core: it decides which of two clusters may
// serve an instance, and says why.
//
// [Step] takes the state of one instance, its [Policy], one [Event] and the
// time, and returns the next state and the [Action]s that the shell must carry
// out. There is no clock, no I/O, no log and no goroutine in here, so every
// decision can be replayed from its events.
//
// Three rules hold the design together.
//
// First, commit before act: when a decision changes the [Record], the only
// action returned is [Commit]; whatever depends on it follows after
// [Committed]. A crash at any point therefore finds in the ledger everything
// that may have been begun.
//
// Second, level before edge: what to do next is a function of the committed
// record and of the facts seen since the start. Resuming after a crash is no
// special path; it is the ordinary one with no facts yet.
//
// Third, unknown is not down: silence, staleness, a sick vantage or a fault of
// our own never moves a name.
package failover
