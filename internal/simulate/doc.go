// Package simulate plays recorded votes to the real core on a virtual clock.
//
// A replay feeds the tapes of an instance ([failover.Tape]), in the order in
// which they were recorded, to [failover.Step] under any policy, as if the
// instance were armed, in a world in which names obey at once: the ledger takes
// every commit, write points show what was written, authorities agree, and the
// breaker over all instances gives its leave. What would have been done is kept
// by [failover.Watch] and judged by [failover.Judge], as in the running program.
//
// What really happened goes on beside it. Moves and stops of people happen in the
// replay, too. What automation really did does not; after each incident the name
// is put where it really was, so that every incident is asked about by itself.
// Cool-downs, budgets and lock-outs of the replay's own moves stay.
//
// The same tapes and policy give the same result, byte for byte: no clock, no
// random and no order of a map is in it.
package simulate
