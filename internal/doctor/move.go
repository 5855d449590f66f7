package doctor

import (
	"fmt"
	"strings"
	"time"
)

// What a client meets at a Tablestore cluster, as [MoveFacts] have it.
const (
	metItself   = "itself"
	metOther    = "other"
	metBoth     = "both"
	metNeither  = "neither"
	metInstance = "instance"
	metName     = "name"
	metTrust    = "trust"
	metPlain    = "plain"
	metTLS      = "tls"
	metStranger = "stranger"
	metStopped  = "stopped"
	metFailing  = "failing"
	metBusy     = "busy"
	metDenied   = "denied"
	metKey      = "key"
	metClock    = "clock"
	metNetwork  = "network"
	metSilence  = "silence"
	metOurs     = "ours"
	metOpen     = "open"
)

// MoveFacts are what somebody met at one Tablestore cluster who came there as
// clients come after a move.
type MoveFacts struct {
	Instance, Cluster string
	OtherCluster      string
	Address           string // what was dialled
	Endpoint          string // scheme and name
	Client            string // the name that clients use
	Store             string // instance in the signed header
	Bearer, KeyID     string // whose key signed, and which
	Own, Other        string // tables

	Met, Why string
	// Elsewhere: the other cluster answered a question of the same key.
	Elsewhere bool
	// Gate is what became of a write of the client key, empty where it was not
	// tried; GateElsewhere, that the other cluster would have done it.
	Gate, GateWhy string
	GateElsewhere bool
	// Signed is what became of a signature of V4 for the region From, which
	// clients of the other cluster would bring, and SignedHere of one for the
	// cluster's own, Region.
	Signed, SignedWhy string
	SignedHere        string
	From, Region      string

	Warnings []string // of the certificate
	Took     time.Duration
}

func (f MoveFacts) about() string { return f.Instance + "/" + f.Cluster }

func (f MoveFacts) at() string {
	return fmt.Sprintf("%s as %s, instance %s, %s key %s", f.Address, f.Endpoint, f.Store, f.Bearer, orElse(f.KeyID, "(none)"))
}

const moveID = "cluster.move"

// JudgeMove says whether clients that come to the cluster under their own name,
// with their own instance, would be served by that very cluster. What is a
// fault of the key, of the place or of the clock leaves that unknown: a
// warning, and no failure of the move.
func JudgeMove(f MoveFacts) []Finding {
	out := []Finding{f.identity()}
	if g, judged := f.gate(); judged {
		out = append(out, g)
	}
	if s, judged := f.signature(); judged {
		out = append(out, s)
	}
	if len(f.Warnings) > 0 {
		out = append(out, bad(Warn, moveID, f.about(), "renew the certificate", "%s: %s", f.Address, strings.Join(f.Warnings, "; ")))
	}
	return out
}

func (f MoveFacts) identity() Finding {
	fail := func(fix, format string, args ...any) Finding {
		return bad(Fail, moveID, f.about(), fix, "%s: %s: %s", f.at(), fmt.Sprintf(format, args...), f.Why)
	}
	unknown := func(fix, format string, args ...any) Finding {
		return bad(Warn, moveID, f.about(), fix, "%s: unknown, and nothing against a move: %s: %s", f.at(), fmt.Sprintf(format, args...), f.Why)
	}
	switch f.Met {
	case metItself:
		also := ""
		if strings.HasPrefix(f.Endpoint, "http:") {
			also = "; by http alone: nothing is shown of clients that use https"
		}
		return okay(moveID, f.about(), "%s: in %s: %s%s", f.at(), roughly(f.Took), f.Why, also)
	case metOther:
		return fail(fmt.Sprintf("correct the address of cluster %s. Where it is right, one front end stands before both clusters and goes by the instance in the signed header, which no CNAME changes: give each cluster an endpoint of its own, or move clients by a push of their configuration", f.Cluster),
			"a move would change nothing, since cluster %s answers there", f.OtherCluster)
	case metBoth:
		return fail(fmt.Sprintf("find out whose each is, then drop the table that belongs to cluster %s; keep both out of replication", f.OtherCluster), "which cluster it is cannot be told")
	case metNeither:
		return fail(fmt.Sprintf("make them: pointsman tablestore prepare %s", f.Instance), "which cluster it is cannot be told")
	case metInstance:
		return fail(fmt.Sprintf("clients bring the instance %s in their signed header wherever the name leads: make an instance of that name behind cluster %s, or move clients by a push of endpoint, instance and region together", f.Store, f.Cluster),
			"cluster %s has no instance %s, so a move would send clients into errors", f.Cluster, f.Store)
	case metName:
		return fail(fmt.Sprintf("give cluster %s a certificate that covers %s; or let clients keep the vendor's own name and override what it resolves to (providers rpz, pvtz)", f.Cluster, f.Client),
			"the certificate does not cover the clients' name, so they would refuse it after a move")
	case metTrust:
		return fail("renew the certificate or let its chain be shown whole; where it is of an own authority that clients trust write check.ca_file", "clients would refuse the certificate")
	case metPlain:
		return fail(fmt.Sprintf("let cluster %s speak TLS there, with a certificate that covers %s; where clients do use http write check.tablestore.scheme: http", f.Cluster, f.Client),
			"it speaks plain http, and clients come with https")
	case metTLS:
		return fail("write check.tablestore.scheme: https if that is what clients use; otherwise let it speak http there", "it speaks TLS, and clients come with http")
	case metStranger:
		return fail(fmt.Sprintf("correct the address of cluster %s, or what stands before it", f.Cluster), "what answers is no Tablestore")
	case metStopped, metFailing:
		return fail(fmt.Sprintf("bring cluster %s up, then prove it again", f.Cluster), "the cluster does not serve now")
	case metSilence:
		return fail(fmt.Sprintf("start cluster %s, or correct its address", f.Cluster), "no answer")
	case metDenied:
		return f.denied(fail, unknown)
	case metBusy:
		return unknown("try again in a minute", "the cluster, or a part of it, is busy")
	case metKey:
		return unknown(fmt.Sprintf("give a %s key that cluster %s knows: both clusters must belong to one account", f.Bearer, f.Cluster), "the key is refused")
	case metClock:
		return unknown("set the clock of this host right (NTP)", "the clock of this host and that of the cluster are apart")
	case metNetwork:
		return unknown(fmt.Sprintf("prove it from where clients are, or let the network ACL of cluster %s admit this host", f.Cluster), "the network of this host is refused")
	}
	return unknown("mend what is named, or ask where a vantage runs", "a fault of this host")
}

type sentence = func(fix, format string, args ...any) Finding

// denied is a key that the cluster knows and refuses. That the other cluster
// takes it tells a closed cluster from a key without rights.
func (f MoveFacts) denied(fail, unknown sentence) Finding {
	if f.Elsewhere {
		return fail(fmt.Sprintf("look at the policy of the instance at cluster %s: a statement that denies, or one that allows others only; the %s key must stay allowed. Otherwise at the rights of the key, which may name cluster %s alone", f.Cluster, f.Bearer, f.OtherCluster),
			"a policy closes the cluster to this key, which cluster %s takes", f.OtherCluster)
	}
	return unknown(fmt.Sprintf("give the key ots:GetRow on %s and %s (pointsman init rights)", f.Own, f.Other), "the key may not look, at cluster %s neither", f.OtherCluster)
}

// gate says whether clients may write there.
func (f MoveFacts) gate() (Finding, bool) {
	about, at := f.about(), fmt.Sprintf("%s as %s, instance %s", f.Address, f.Endpoint, f.Store)
	switch {
	case f.Gate == "":
		return Finding{}, false
	case f.Gate == metOpen:
		return okay(moveID, about, "%s: open to clients: %s (nothing was written)", at, f.GateWhy), true
	case f.Gate == metDenied && f.GateElsewhere:
		return bad(Fail, moveID, about, fmt.Sprintf("lift the statement in the policy of the instance at cluster %s that closes it; where a fence is meant to be there until the move, prove it again when it is lifted", f.Cluster),
			"%s: a policy closes the cluster to clients, whose key may write at cluster %s: %s", at, f.OtherCluster, f.GateWhy), true
	case f.Gate == metKey && f.GateElsewhere:
		return bad(Fail, moveID, about, fmt.Sprintf("let the clients' keys be of an account that both clusters know: clients bring them along to cluster %s", f.Cluster),
			"%s: the clients' key is refused, and cluster %s takes it: %s", at, f.OtherCluster, f.GateWhy), true
	case f.Gate == metNeither:
		return bad(Warn, moveID, about, fmt.Sprintf("pointsman tablestore prepare %s", f.Instance), "%s: whether clients may write is unknown: %s", at, f.GateWhy), true
	}
	return bad(Warn, moveID, about, "mend what is named: the client key needs ots:PutRow on the canary's table", "%s: whether clients may write is unknown: %s", at, f.GateWhy), true
}

// signature is the trap of regions: a signature of V4 holds in one.
func (f MoveFacts) signature() (Finding, bool) {
	about := f.about()
	switch {
	case f.Signed == "" || f.Signed == metOpen:
		return Finding{}, false
	case f.Signed == metKey && f.SignedHere == metOpen:
		return bad(Warn, moveID, about, "let clients sign the older way (no V4 credentials), or move them by a push of endpoint, instance and region together; if none signs by V4, nothing is amiss",
			"%s: a trap for clients that sign by V4: such a signature holds in one region, and one for %s, where cluster %s is, is refused here in %s: %s", f.Address, f.From, f.OtherCluster, f.Region, f.SignedWhy), true
	case f.Signed == metKey:
		return bad(Warn, moveID, about, "let clients sign the older way (no V4 credentials); if none signs by V4, nothing is amiss",
			"%s: clients that sign by V4 would be refused, whatever their region: %s", f.Address, f.SignedWhy), true
	}
	return bad(Warn, moveID, about, "prove it again", "%s: whether clients that sign by V4 for %s would be served is unknown: %s", f.Address, f.From, f.SignedWhy), true
}
