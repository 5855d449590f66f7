package config

import "slices"

// Knob is what people should know of one key of an instance before they turn
// it. 'config explain' prints these texts, the JSON Schema carries them, and a
// test compares docs/config.md with them: they stand nowhere else.
type Knob struct {
	Key     string
	Type    string // as the reference has it: duration, number, word …
	Unit    string // of its value; empty where there is none
	Range   string // what may be written
	Does    string // one line
	More    string // what only the reference has room for
	Larger  string // what happens when it is larger, or set
	Smaller string // what happens when it is smaller, or left out
}

// Text is the knob as the reference has it.
func (k Knob) Text() string {
	s := k.Does
	if k.Range != "" {
		s += "; " + k.Range
	}
	if k.More != "" {
		s += ". " + k.More
	}
	return s
}

// KnobOf returns the row of a key of an instance; its Key is empty where there
// is none.
func KnobOf(key string) Knob {
	i := slices.IndexFunc(knobs, func(k Knob) bool { return k.Key == key })
	if i < 0 {
		return Knob{}
	}
	return knobs[i]
}

// knobs has a row for every key of an instance, in the order in which they are
// explained.
var knobs = []Knob{
	{
		Key: "name", Type: "word", Does: "its name in commands, metrics and the ledger",
	},
	{
		Key: "preset", Type: "word", Range: "`tablestore-standby`, `stateless-http` or `fast-lab`",
		Does:   "the figures that the file does not say",
		More:   "`fast-lab` is for demos only: refused with a provider, an authority or a secondary outside loopback",
		Larger: "tablestore-standby waits longest and moves least", Smaller: "fast-lab moves on any blip",
	},
	{
		Key: "names", Type: "list", Does: "DNS names that move together",
		Larger: "the move is done when the last of them shows the new value", Smaller: "one name, one write",
	},
	{
		Key: "clusters", Type: "mapping: name to cluster", Does: "exactly two",
	},
	{
		Key: "primary", Type: "word", Range: "one of the two clusters", Does: "the cluster that serves when nothing was recorded yet",
	},
	{
		Key: "check", Type: "mapping", Does: "how a cluster is looked at; needed unless there are `checks`",
		Larger: "a check that asks for more finds more faults, and more that no client notices", Smaller: "a check that asks for little finds a dead process only",
	},
	{
		Key: "checks", Type: "list", Does: "several checks instead of `check`, at most 8; each has the keys of `check`",
		Larger: "with combine: all each of them can make a miss", Smaller: "what no check looks at may be broken unseen",
	},
	{
		Key: "combine", Type: "word", Does: "the rule for `checks`", Range: "`all` or `any`",
		Larger: "all: one miss is a miss", Smaller: "any: one success is a success",
	},
	{
		Key: "round", Type: "duration", Unit: "time", Range: "50ms to 10m", Does: "between two probes of a cluster",
		Larger: "less load on the clusters; a fault is met later", Smaller: "a fault is met sooner; more probes, and more that are cut short",
	},
	{
		Key: "timeout", Type: "duration", Unit: "time", Range: "10ms to 5m, below round", Does: "of one probe",
		Larger: "slow answers still count as answers; a stalled cluster is noticed later", Smaller: "a busy cluster looks dead",
	},
	{
		Key: "burst", Type: "duration", Unit: "time", Range: "1ms to 1m, at most round", Does: "between re-checks after a first miss",
		Larger: "the vote comes later", Smaller: "the vote comes sooner; a short blip fills all of its misses",
	},
	{
		Key: "fall", Type: "number", Unit: "probes", Range: "1 to 20", Does: "consecutive misses that make a down vote",
		Larger: "fewer false alarms, a later vote", Smaller: "a sooner vote; 1 makes a single lost packet one",
	},
	{
		Key: "rise", Type: "number", Unit: "probes", Range: "1 to 100", Does: "consecutive successes that make an up vote",
		Larger: "a cluster must be well for longer before it counts", Smaller: "a flapping cluster counts as up between two falls",
	},
	{
		Key: "window", Type: "number", Unit: "probes", Range: "0 to 64, 0 switches it off", Does: "recent probes that are watched for a failure ratio",
		Larger: "a partial failure is found surer and later", Smaller: "sooner, and by chance; without it a partial failure is never found",
	},
	{
		Key: "ratio", Type: "number", Unit: "share", Range: "above 0, at most 1", Does: "share of failures over a full window that makes a down vote",
		Larger: "a worse partial failure is borne", Smaller: "a few failing requests make a down vote",
	},
	{
		Key: "ride_out", Type: "duration", Unit: "time", Range: "0s to 1h", Does: "the longest blip that is never acted upon",
		Larger: "fewer needless moves, each of which costs clients more than a blip; as much longer an outage that is real", Smaller: "a restart or a partition move of the cluster becomes a move of the name",
	},
	{
		Key: "watch", Type: "word", Range: "`hold`, `request` or `off`", Does: "what is held open beside the probes of each cluster, from each vantage, so that its end is noticed at once",
		More: "`hold` is a connection that says nothing, `request` one with a HEAD request every 100 ms, which notices a process that stands still, too. It starts probes on fresh connections and never votes. " +
			"`request` needs a check over HTTP; without one a preset holds, and where no check speaks over a connection it is off",
		Larger: "request: a stalled process starts probes at once, for ten small requests a second", Smaller: "off: the next probe of the round meets the fault",
	},
	{
		Key: "min_up", Type: "duration", Unit: "time", Range: "0s to 24h", Does: "how long the other cluster must have been up before a move to it",
		Larger: "no move to a cluster that has just come back", Smaller: "a cluster that flaps may be moved to",
	},
	{
		Key: "auto", Type: "word", Range: "`off`, `propose`, `approve` or `auto`", Does: "the most that automation may do once armed",
		More:   "`propose` tells people what it would do; `approve` asks them, and moves when enough have approved",
		Larger: "auto: no person is waited for", Smaller: "approve, propose: a person must be awake; off: nothing is even proposed",
	},
	{
		Key: "approval", Type: "number", Unit: "people", Range: "0 to 5", Does: "who must approve besides the one who asks, for the orders of people too",
		More:   "`controller.principals` must name one more than that who may. Of what automation wants with `auto: approve` it is at least 1",
		Larger: "more people must be awake before anything moves", Smaller: "0: the order of one person is enough",
	},
	{
		Key: "approval_life", Type: "duration", Unit: "time", Range: "1m to 24h", Does: "how long a proposal waits for them",
		More:   "Then nothing moves, and automation does not ask again until the active cluster was up",
		Larger: "a move may start long after it was asked for, on fresh evidence", Smaller: "nobody may be awake in time",
	},
	{
		Key: "freeze", Type: "list", Does: "when nothing may start, for automation and people alike",
		More:   "A person may override the guard `freeze` by name. What was begun is finished. Each item is one of four: a stretch, a weekly one, a cron line, a calendar",
		Larger: "an outage in it waits for a person", Smaller: "moves may happen while changes are forbidden",
	},
	{
		Key: "hooks", Type: "mapping", Does: "what is asked before an operation of this instance and told after it",
		More:   "A list that is written here stands in place of the one at the top of the file",
		Larger: "a move waits for the pre-hooks, one after the other, and each may veto it", Smaller: "nobody is asked",
	},
	{
		Key: "ttl", Type: "duration", Unit: "whole seconds", Range: "1s to 24h, at least the provider's floor", Does: "the TTL of the CNAME",
		Larger: "resolvers send clients to the old cluster for longer after a move", Smaller: "more questions to the name servers; some resolvers raise it anyway",
	},
	{
		Key: "clients", Type: "mapping", Does: "what is known of the clients beyond DNS",
		More:   "Nothing is decided by it: it goes into the bound of when clients have moved, which plan, status and reports show",
		Larger: "a later moment is promised, and kept", Smaller: "caches at the clients are not counted, and open connections are shown as unbounded",
	},
	{
		Key: "cooldown", Type: "duration", Unit: "time", Range: "0s to 366d", Does: "after a move, during which none starts by itself",
		Larger: "a second fault waits for a person", Smaller: "two sick clusters may be moved between",
	},
	{
		Key: "ack", Type: "true or false", Does: "a person must acknowledge a failover before the next automatic one",
		Larger: "true: one automatic failover, then a person has looked", Smaller: "false: the next one may follow after cooldown",
	},
	{
		Key: "budget", Type: "list", Unit: "moves per time", Does: "automatic moves per period; then only people move", Range: "`[]` is no bound",
		Larger: "more moves before somebody must look", Smaller: "the lock-out comes sooner",
	},
	{
		Key: "config_settle", Type: "duration", Unit: "time", Range: "0s to 1h", Does: "no move starts so soon after this instance's config changed",
		More:   "Neither by itself nor by people (guard `settling`), who can override it",
		Larger: "a mistaken edit is seen before it acts; a fault just then waits", Smaller: "an edit acts at once",
	},
	{
		Key: "read_every", Type: "duration", Unit: "time", Range: "1s to 1h", Does: "how often each name is read back and its authorities are asked while nothing moves",
		More:   "It is the longest that somebody else's edit stays unseen",
		Larger: "fewer questions; an edit by somebody else stays unseen for longer", Smaller: "drift is found sooner",
	},
	{
		Key: "move_proof", Type: "word", Range: "`required` or `waived`", Does: "whether it must have been shown that clients are served by the other cluster before a move to it",
		More:   "`waived` is needed with checks that show no identity (tcp, tls, icmp, exec)",
		Larger: "required: no move to a cluster that never said who it is", Smaller: "waived: clients may be moved into errors",
	},
	{
		Key: "rpo", Type: "word or duration", Range: "`none`, `zero`, or 1s to 24h", Does: "loss that an automatic failover may accept",
		More:   "Anything but `none` needs `replication`, with which the preset `tablestore-standby` has 30s. With `zero` a cluster that has crashed is never left by itself: what it has not handed over nobody knows",
		Larger: "more may be lost by a move that nobody ordered", Smaller: "a move waits while the other cluster is behind",
	},
	{
		Key: "fence", Type: "word", Range: "only `none`", Does: "how surely the old side must be closed",
		More:   "No gate driver is configured that could close it",
		Larger: "strict: no write is taken by both, and a crashed cluster cannot be left by itself", Smaller: "none: both clusters may take writes after a failover",
	},
	{
		Key: "replication", Type: "mapping", Does: "how rows get to the standby, and how it is known what a switch would lose",
		More:   "A change of it lets the replicator of the instance begin anew from its saved positions, and is refused while an operation is in hand",
		Larger: "a failover is held up by what has not crossed, as rpo says", Smaller: "what was not carried by other ways is lost, and nobody counts it",
	},
}

// constants are figures that are shown and cannot be written.
var constants = []Knob{
	{Key: "maintenance", Does: "when somebody works on the cluster: automation neither leaves it nor goes to it"},
	{Key: "vote is stale after", Unit: "time", Does: "an older vote counts as unknown"},
	{Key: "detection takes about", Unit: "time", Does: "from a clean death to the decision"},
	{Key: "front end is asked every", Unit: "time", Does: "the cheap look at a Tablestore: it starts a canary at once where it fails, and never votes"},
	{Key: "canary is spread over", Unit: "rows", Does: "one that fails alone, as when a partition is moved, is a warning; two are a miss"},
	{Key: "quorum", Unit: "domains", Does: "failure domains that must say the same of a cluster"},
	{Key: "ttl during a switchover", Unit: "whole seconds", Does: "a planned move lowers the TTL to it and waits the old one out"},
	{Key: "ttl floor", Unit: "whole seconds", Does: "no TTL below it is taken by the provider"},
	{Key: "move proof counts for", Unit: "time", Does: "an older proof must be made again"},
	{Key: "longest call", Unit: "time", Does: "one write to a provider; a longer one is given up and asked again"},
	{Key: "lease margin", Unit: "time", Does: "what must be left of the lease after the longest call"},
	{Key: "a stream shows a write within", Unit: "time", Does: "what was acknowledged and a stream does not show yet counts as not carried"},
	{Key: "a shard is read every", Unit: "time", Does: "how soon a write is seen by the replicator"},
	{Key: "an idle shard costs", Unit: "read units per day", Does: "what the services bill for looking although nothing was written"},
	{Key: "ranges are copied", Does: "of a table that is copied in full"},
	{Key: "a table with a gap is copied anew", Does: "when its stream was trimmed or re-created before everything was read"},
	{Key: "our own tables at the target", Does: "positions, and rows that the target refuses"},
	{Key: "the lag is asked for every", Unit: "time", Does: "an older answer counts with its age"},
	{Key: "authorities are asked every", Unit: "time", Does: "while a move is confirmed"},
}
