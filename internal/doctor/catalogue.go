package doctor

import (
	"slices"
	"strings"
)

// Entry is one check in words. docs/doctor.md has all of them, with what to do.
type Entry struct {
	ID    string
	Title string
}

// Catalogue lists every check of pointsman doctor in the order in which they
// are shown. The part before the dot is its group, which --only takes too.
var Catalogue = []Entry{
	{"config.valid", "the configuration is free of mistakes and of what is probably not meant"},
	{"config.running", "the running controller leads, and runs what the file says"},
	{"placement.domains", "vantages stand in three failure domains"},
	{"placement.blast", "no cluster dies together with the controller, a quorum of vantages or the other cluster"},
	{"vantage.controls", "the controls of the controller's own vantage answer"},
	{"vantage.reports", "every vantage reports, is well and probes what the configuration says"},
	{"cluster.probe", "each cluster passes its check from here under the clients' name, and says that it is itself"},
	{"cluster.move", "each Tablestore cluster would serve clients that a move sends there, with their instance, keys and signatures"},
	{"cluster.proof", "the guard move-proof has a proof of each cluster that is fresh"},
	{"replication.parity", "each table that is replicated is alike at both clusters"},
	{"replication.streams", "the streams of those tables are on, and remember long enough, at both clusters"},
	{"replication.control", "our own tables for positions and refused rows are there, and as they must be"},
	{"replication.quota", "an instance has room for the tables of our own and for those still to be made"},
	{"replication.rights", "each key of replication has what it needs and no more"},
	{"replication.cost", "what a day of reading the streams costs in which nothing is written"},
	{"replication.lag", "whoever else carries the rows says how far behind the standby is"},
	{"replication.clock", "the clock here and those of the services agree"},
	{"clock.here", "something keeps the clock of this host right"},
	{"clock.controller", "the clock here and that of the running controller agree"},
	{"clock.clusters", "the clock here and those of the clusters agree"},
	{"clock.dns", "the clock here and that of each DNS server or API which is written to agree"},
	{"dns.delegation", "parent and zone name the same servers, and each has an address"},
	{"dns.authorities", "every address of every authority answers for the zone over UDP and TCP"},
	{"dns.cname", "every authority shows one CNAME for the name, the same, one of the targets"},
	{"dns.types", "nothing but the CNAME stands at the name"},
	{"dns.ttl", "the TTL that is served is no longer than the policy's"},
	{"dns.minimum", "a missing name is remembered for a minute at most"},
	{"dns.chain", "behind each target is an address, without loops"},
	{"dns.secure", "a validating resolver can prove the name, or it is not signed"},
	{"dns.target", "each target leads to the address that probes dial"},
	{"dns.foreign", "no other automaton has its mark on the name"},
	{"dns.alias", "a static name that clients call leads to the managed name at every authority"},
	{"provider.promises", "what the provider of a name does not promise is known"},
	{"provider.rights", "each key of a cloud may look at its zone and at no other"},
	{"provider.delegation", "the zone above names the servers of the cloud that is written to"},
	{"provider.records", "at the cloud each line has one CNAME, alike, not locked, paused or weighted, and nothing beside it"},
	{"provider.floor", "the zone takes the TTL that the policy wants"},
	{"provider.private", "a private zone is bound to its networks and passes on what it does not hold"},
	{"provider.view", "a name leads to the same cluster inside and outside of a private network"},
	{"provider.policy", "every resolver applies the policy zone, for clients that ask for DNSSEC too"},
	{"ledger.sync", "the disk of the ledger makes a write durable quickly"},
	{"ledger.space", "the disk of the ledger has room"},
	{"ledger.schema", "the ledger is whole and of a version that this program reads"},
	{"ledger.backup", "a copy of the ledger is recent"},
	{"files.data", "the data folder belongs to the one who runs the controller"},
	{"files.secrets", "every secret file is there, and its owner's alone"},
	{"channels", "every channel of notifications can be reached"},
}

// place is where an id stands in its catalogue; unknown ones come last.
func place(id string) int {
	for _, c := range [][]Entry{Catalogue, ClientCatalogue} {
		if i := slices.IndexFunc(c, func(e Entry) bool { return e.ID == id }); i >= 0 {
			return i
		}
	}
	return len(Catalogue)
}

// Names lists what Select takes: the ids and their groups.
func Names() []string {
	var out []string
	for _, e := range Catalogue {
		if group, _, dotted := strings.Cut(e.ID, "."); dotted && !slices.Contains(out, group) {
			out = append(out, group)
		}
		out = append(out, e.ID)
	}
	return out
}

// Select returns the ids that the names mean; none mean all. unknown is the
// first that means nothing.
func Select(names []string) (ids []string, unknown string) {
	for _, e := range Catalogue {
		if len(names) == 0 || slices.ContainsFunc(names, func(n string) bool { return means(n, e.ID) }) {
			ids = append(ids, e.ID)
		}
	}
	for _, n := range names {
		if !slices.ContainsFunc(Catalogue, func(e Entry) bool { return means(n, e.ID) }) {
			return nil, n
		}
	}
	return ids, ""
}

func means(name, id string) bool { return name == id || strings.HasPrefix(id, name+".") }
