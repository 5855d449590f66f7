// Package healthcheck looks at clusters and says up, down or unknown; what is
// to be done about it is decided in internal/failover and nowhere else.
//
// A [Probe] is one look at one cluster: func(ctx) error, where nil is healthy
// and the error is the reason. It dials the address of that cluster but speaks
// under the name that clients use (server name, Host), over a connection of
// its own, so neither a warm connection nor the present value of the name can
// hide a fault. A healthy answer from the wrong cluster is a miss.
//
// A command ([ExecCheck]) is the exception: it makes its own connections. It
// runs with our rights, so it comes from the config alone, in a clean
// environment, under a launcher that sets its limits and leaves nothing of it
// behind: see launcherName. Its init runs before that of the program.
//
// A Tablestore ([TablestoreCheck]) is written to and read back through the
// vendor's SDK, which is given a connection of the probe's own and nothing to
// retry, pool or follow. Its errors are told apart by code and message: the
// cluster's own are misses, those about our key, network, clock or set-up are
// faults of our own, whose class ([FaultOf]) goes with the vote. [Tables] asks in
// the same way for those who set up or prove something.
//
// Several checks of a target make one probe, by the rule [All] or [Any]. They
// run at the same time, each over its own connection, within one deadline.
// What neither rule can tell for sure is never taken for a miss, and the wrong
// cluster is one under both.
//
// The [Prober] runs the probes of one vantage: each target on its own grid of
// rounds, spread by a hash, one probe in flight per target, on a bounded pool.
// Where it can (tcp and http to a literal address, on Linux) it probes over a
// lane: sockets of its own in the scheduler's goroutine, in place of a
// goroutine and timers for each probe. Both ways say the same. Where there is
// less room than targets, who was looked at longest ago goes first, and who
// waits too long is not looked at: that is our own fault. What has come is looked
// at before more is started, so what can be done is done, however much is wanted.
// A first miss starts a burst of re-checks so that the vote comes early. After
// a vote turned down, confirming probes come at the end of the ride-out, so
// that whoever decides has a fresh miss at that very moment. The probes of a
// burst do not wait for each other: each has a connection and a whole timeout
// of its own, and they are counted in the order of their sending.
//
// Beside its probes a target may have a connection that is held open, with or
// without requests on it ([WatchMode]). When it ends, or a request stays without
// an answer, probes on fresh connections start at once: a nudge. It never votes
// and is never counted. Where a balancer, an idle time-out or a limit of
// connections ended it, the first fresh probe is answered, and that was all; a
// miss that our own held connection may have caused counts only when a probe
// that met a free place misses, too.
//
// Three things keep a sick vantage from voting others dead. A fault of our own
// (resolver, local ports, file descriptors, a panic, lateness) is [ErrOwn]: the
// count stays as it was and the vote is unknown. An unreachable network and a
// name that does not exist may be the cluster's fault or ours: they are misses
// only at a vantage that reaches a control, and our own otherwise. Controls
// should therefore stand where the way to the clusters leads. A vantage that
// finds none of its controls reachable abstains from everything, and no down
// vote leaves it before a control was reached after the first miss. A prober
// that is late on its own schedule abstains until a round went by on time.
//
// Each of [Prober], [Sender] and [Receiver] takes another config while it runs.
// What is asked as before goes on as if nothing had happened; where something
// else is asked, or of somebody else, the count starts anew and the vote is
// unknown, so a reload by itself turns no vote down.
//
// Votes travel as [InstanceReport]s: from a [Prober] in the same process by a
// function call, from elsewhere by a [Sender] over HTTP to the [Receiver] of
// every controller. A report carries ages, never times, so no clock has to be
// right. What is signed bears a challenge of the very receiver, drawn anew at
// each of its starts and for each boot of the vantage, so a captured message
// counts at no other receiver, after no restart and not twice.
//
// What this does not promise. The key of a vantage proves who speaks, not that
// it speaks the truth: that is what several failure domains are for. A message
// may be read on the wire unless it travels over TLS, and who sits on the wire
// can hold it back, or carry it to another controller together with that one's
// challenge: what arrives is what the vantage says right now, and silences it
// nowhere. The first message of a boot can be held back for up to [ClockBound]
// unnoticed; later ones are told by their travel. A certificate counts
// as expired by the clock of the vantage.
package healthcheck
