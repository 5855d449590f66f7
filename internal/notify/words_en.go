package notify

import "pointsman/internal/failover"

// english has the words of messages in English. A kind that comes to one
// language comes to the other (a test compares).
var english = words{
	kinds: map[string]phrase{
		"auth-fault":              {"keys are refused at both clusters", "Nothing moves and DNS answers the last commit. Look at the provider's status page and at our own key; nothing starts until one side has been up for ride_out."},
		"blind":                   {"the probes cannot look at a cluster", "Nothing is moved to it or away from it meanwhile. It answers, and what it says is about our key, network, clock or set-up."},
		"both-down":               {"both clusters are down", "Nothing moves: the other cluster is no better. Look for what both have in common."},
		"config":                  {"vantages and controller do not have the same config", "Votes under another config do not count. Bring the newest file to every vantage."},
		"drift":                   {"somebody else changed the name", "Nothing is fought. Take the value over with adopt, or put ours back with restore."},
		"fault":                   {"the decision loop hit a fault of this program", "The instance goes on from its record. Keep the log for a report of the fault."},
		"held":                    {"an operation is held", "It goes on by itself when what holds it ends."},
		"ledger":                  {"the ledger cannot be written", "Nothing is decided or moved until the disk is mended and the controller restarted. DNS answers the last commit."},
		"move":                    {"a name does not show its new value yet", "There is no way back from here: the write is tried again until it is seen."},
		"operation":               {"an operation has begun", "Follow it with status; abort it while that is still possible."},
		"pause-stands":            {"automation is still paused", "Nothing starts by itself until somebody resumes it."},
		"proposal":                {"a failover is proposed", "It is carried out only if somebody says so."},
		"proposal-expired":        {"a proposal was not answered in time", "Nothing moves by itself. A person may still order the move."},
		"hook":                    {"a post-hook was given up", "The move stands; what the hook does is left to you."},
		"publication":             {"not every authority shows the record", "Clients of those that lag go on to the old cluster."},
		"refused":                 {"a failover is wanted and refused", "The guard that refuses is named. A person may go past some guards by name."},
		"replication-exposure":    {"a failover would lose more than it may", "Automation is held back by what has not crossed. Look at which table it hangs on."},
		"replication-gap":         {"part of a stream is gone unread", "What the standby lacks is unknown until the table is copied anew; automation does not move to it meanwhile."},
		"replication-lost":        {"an operation left writes behind", "They are listed row by row and kept. Nothing is copied back by itself."},
		"replication-paused":      {"replication is still paused", "The standby gets older by a second each second, until somebody resumes it."},
		"replication-refused":     {"the standby refuses rows", "They are kept aside with their cause, and count as not carried until somebody has dealt with them."},
		"replication-resync":      {"tables are copied anew", "Rows of the standby that the active cluster lacks are deleted by it."},
		"replication-unprotected": {"the standby could not take over", "A failover to it is refused until what is named here is mended."},
		"settled":                 {"an operation has ended well", ""},
		"slow-reads":              {"a move waits for its names to be read", "The provider answers slowly or not at all."},
		"ttl":                     {"the TTL is not restored yet", "It is tried again."},
		"unwind":                  {"an operation goes back to where it began", ""},
		"unwound":                 {"an operation went back to where it began", "The name is where it was. See why before the next try."},
		"write-path":              {"a name cannot be written", "Check the provider, its key and what else stands at the name."},
		"yield":                   {"this controller yields", "A newer one leads, or its record is newer. Two must not run on one ledger."},
		"yielded":                 {"an operation was left to another controller", ""},

		Over:     {"it is over", ""},
		TestKind: {"this is a test", ""},
	},
	other: phrase{"news of the kind %s", "See explain for what it means."},

	fire: "[FIRE]", resolve: "[RESOLVED]", info: "[INFO]",

	votes: map[failover.Vote]string{failover.Up: "up", failover.Down: "down", failover.Unknown: "not known"},
	sight: "%s: %s says %s",
	wills: map[string]string{
		WillFailover: "a failover to %s, once the last guard agrees",
		WillContinue: "the operation goes on to %s",
		WillUnwind:   "the operation goes back to %s",
		WillExpire:   "the proposal to move to %s ends without an answer",
		WillRetry:    "it is tried again",
	},
	comma: ", ", bound: "at most %s of writes", rows: ", %d rows",

	since: "Since:", evidence: "Evidence:", loss: "Lost by moving now:", will: "By itself:", commands: "Commands:",
	unknown: "Not known:", runbook: "Runbook:", from: "From:",

	notKnown: "not known", nothing: "nothing", in: "in %s", ago: "%s ago",
	shadow: "[shadow]", shadowLine: "This controller is in shadow: everything is decided and nothing is done.",
	testText: "Sent by 'pointsman notify test'. Nothing happened.",
	digest:   "Before it (%d):",
}
