package doctor

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"pointsman/internal/failover"
)

// ReachFacts is whether a TCP connection to an address was accepted.
type ReachFacts struct {
	Address string
	Own     bool // the program itself listens there
	Err     string
}

// Reach connects once and hangs up.
func Reach(ctx context.Context, address string) ReachFacts {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return ReachFacts{Address: address, Err: words(timely(ctx, err))}
	}
	conn.Close()
	return ReachFacts{Address: address}
}

// Channel is a way of notifications, as whoever sends by it knows it.
type Channel struct {
	Name  string                      // of the configuration
	Where string                      // host, folder or the like; no secret part of a URL
	Reach func(context.Context) error // sends nothing that anybody would read; nil: there is no such way
}

// channelTime is what one channel may take.
const channelTime = 5 * time.Second

// ReachChannels tries every channel, some at a time.
func ReachChannels(ctx context.Context, channels []Channel) []Finding {
	const id = "channels"
	if len(channels) == 0 {
		return []Finding{Skip(id, "", "the configuration names no channel for notifications")}
	}
	out := make([]Finding, len(channels))
	var g errgroup.Group
	g.SetLimit(defaultConcurrent)
	for i, c := range channels {
		g.Go(func() error {
			out[i] = c.reach(ctx)
			return nil
		})
	}
	_ = g.Wait() // a channel has a finding, not an error
	return out
}

func (c Channel) reach(ctx context.Context) Finding {
	const id = "channels"
	if c.Reach == nil {
		return Skip(id, c.Name, "%s can be tried only by a message: pointsman notify test %s", c.Where, c.Name)
	}
	ctx, cancel := context.WithTimeout(ctx, channelTime)
	defer cancel()
	if err := c.Reach(ctx); err != nil {
		return bad(Fail, id, c.Name, "correct its address, or open the way there from this host", "%s cannot be reached: %s", c.Where, words(timely(ctx, err)))
	}
	return okay(id, c.Name, "%s can be reached; whether it delivers: pointsman notify test %s", c.Where, c.Name)
}

// JudgeControls says whether a vantage could tell its own network trouble from
// a dead cluster.
func JudgeControls(vantage string, controls []ReachFacts) Finding {
	const id = "vantage.controls"
	var good, mute []string
	own := 0
	for _, c := range controls {
		switch {
		case c.Own:
			own++
		case c.Err == "":
			good = append(good, c.Address)
		default:
			mute = append(mute, c.Address+": "+c.Err)
		}
	}
	switch {
	case own > 0 && own == len(controls):
		return bad(Warn, id, vantage, "write an address of the network behind which the clusters are, such as a gateway", "its only control is this program itself, which says nothing of the network")
	case len(controls) == 0:
		return bad(Warn, id, vantage, "write vantage.controls: addresses that answer whenever this machine's network works, such as a gateway or name server behind the same router as the clusters",
			"it has no controls: what its own network loses looks like a dead cluster")
	case len(good) == 0:
		return bad(Fail, id, vantage, "mend the network of this host, or write controls that it reaches: without one the vantage abstains from everything", "none answers: %s", strings.Join(mute, "; "))
	case len(mute) > 0:
		return bad(Warn, id, vantage, "mend or remove those that do not answer", "%s answer; not: %s", strings.Join(good, ", "), strings.Join(mute, "; "))
	}
	return okay(id, vantage, "%s answer", strings.Join(good, ", "))
}

// ProbeFacts is one look at a cluster from here, as a vantage looks at it.
type ProbeFacts struct {
	Instance, Cluster string
	Client            string // the name that clients use
	Address           string // what was dialled
	Kind              string // of the check: http, tls …
	Identity          string // what it must say of itself; empty: the check does not ask

	Err       string         // of the probe; empty: it passed
	Own       bool           // Err is a fault of this host
	Fault     failover.Fault // Err: what the cluster itself says is about us
	Wrong     bool           // Err: another cluster answered
	Name      bool           // Err: the certificate is not made out for the clients' name
	Trust     bool           // Err: the certificate is not trusted, or not valid now
	Proved    bool           // the answer said that it is this very cluster
	Warnings  []string
	CertEnds  time.Time
	Took      time.Duration
	At        time.Time
	Unwilling bool // the check cannot be made from here (a command, a ping without rights)
}

func (p ProbeFacts) about() string { return p.Instance + "/" + p.Cluster }

// JudgeProbe says what a client would meet that a move sends to the cluster.
func JudgeProbe(p ProbeFacts) Finding {
	const id = "cluster.probe"
	at := fmt.Sprintf("%s as %s", p.Address, p.Client)
	if f, judged := judgeMiss(p, at); judged {
		return f
	}
	switch {
	case len(p.Warnings) > 0:
		return bad(Warn, id, p.about(), "see the warning", "%s: passed in %s, with a warning: %s", at, roughly(p.Took), strings.Join(p.Warnings, "; "))
	case !p.Proved && p.Identity == "":
		return bad(Warn, id, p.about(), "write check.identity: without it nothing tells the clusters apart", "%s: passed in %s; the check does not ask which cluster answers", at, roughly(p.Took))
	case !p.Proved:
		return bad(Warn, id, p.about(), "look at check.identity", "%s: passed in %s, and did not prove that it is %s", at, roughly(p.Took), p.Identity)
	}
	return okay(id, p.about(), "%s: passed in %s, and says that it is %s", at, roughly(p.Took), p.Identity)
}

func judgeMiss(p ProbeFacts, at string) (Finding, bool) {
	const id = "cluster.probe"
	switch {
	case p.Unwilling:
		return Skip(id, p.about(), "%s", p.Err), true
	case p.Err == "":
		return Finding{}, false
	case p.Wrong:
		return bad(Fail, id, p.about(), fmt.Sprintf("correct the address of cluster %s, its balancer, or its identity in the configuration: a move would send clients to another cluster", p.Cluster), "%s: %s", at, p.Err), true
	case p.Name:
		return bad(Fail, id, p.about(), fmt.Sprintf("give cluster %s a certificate that covers %s: clients bring that name and would refuse it after a move", p.Cluster, p.Client), "%s: %s", at, p.Err), true
	case p.Trust:
		return bad(Fail, id, p.about(), "renew the certificate or let its chain be shown whole; where it is of an own authority write check.ca_file", "%s: %s", at, p.Err), true
	case p.Fault != failover.FaultNone:
		return judgeFault(p, at), true
	case p.Own:
		return bad(Warn, id, p.about(), "mend this host's way to it, or ask where a vantage runs: it says nothing of the cluster", "%s: a fault of this host: %s", at, p.Err), true
	}
	return bad(Fail, id, p.about(), fmt.Sprintf("start cluster %s, or correct its address and check", p.Cluster), "%s: %s", at, p.Err), true
}

// judgeFault says what to do where the cluster answers and the reason is ours.
// Until then every vote on it is unknown, and nothing is moved to it.
func judgeFault(p ProbeFacts, at string) Finding {
	const id = "cluster.probe"
	verdict, fix := Fail, ""
	switch p.Fault {
	case failover.FaultKey:
		fix = "put a key that the cluster knows into service_key_file; if it was good, look at the provider's status page"
	case failover.FaultDenied:
		fix = "pointsman init rights -c FILE prints the rights of the probes; a policy that closes the cluster must leave them in"
	case failover.FaultPlace:
		verdict, fix = Warn, "let the network of every vantage in at the cluster's access control, or ask where a vantage runs"
	case failover.FaultClock:
		fix = "set the clock of this host by NTP"
	case failover.FaultSetup:
		fix = fmt.Sprintf("pointsman tablestore prepare %s makes the tables; else correct tablestore.instance of cluster %s, or its key file", p.Instance, p.Cluster)
	}
	return bad(verdict, id, p.about(), fix, "%s: it counts as unknown (%s): %s", at, p.Fault, p.Err)
}

// JudgeProof says whether the guard move-proof would let a move to the cluster
// pass. required is the policy; how to get a proof follows from what is missing.
func JudgeProof(v failover.View, required failover.MoveProofPolicy, now time.Time) []Finding {
	const id = "cluster.proof"
	var out []Finding
	for _, c := range v.Clusters {
		about := string(v.Instance) + "/" + string(c.Name)
		quorum := 0
		for _, vote := range c.Votes {
			if vote.Identity && vote.Vote == failover.Up {
				quorum++
			}
		}
		seen := fmt.Sprintf("%d of %d vantages see its identity now", quorum, len(c.Votes))
		switch {
		case required == failover.MoveProofWaived:
			out = append(out, bad(Warn, id, about, "write check.identity and take move_proof: waived out", "waived by the configuration: nothing proves that clients would be served after a move"))
		case c.Proof == nil:
			out = append(out, bad(Fail, id, about, ProofHint(v.Instance), "no proof was ever recorded; %s", seen))
		case now.Sub(c.Proof.At) >= failover.MoveProofLife:
			out = append(out, bad(Fail, id, about, ProofHint(v.Instance), "the last proof is %s old, and counts for 7 days; %s", days(now.Sub(c.Proof.At)), seen))
		default:
			out = append(out, okay(id, about, "proved %s ago (%s), counts until %s; %s",
				days(now.Sub(c.Proof.At)), c.Proof.How, c.Proof.At.Add(failover.MoveProofLife).UTC().Format(time.RFC3339), seen))
		}
	}
	return out
}

// ProofHint says how a proof comes about.
func ProofHint(i failover.InstanceName) string {
	return fmt.Sprintf("let a quorum of vantages pass the check and see the identity: the proof is then recorded by itself; what each saw: pointsman doctor prove-move %s", i)
}

func days(d time.Duration) string {
	if d < 48*time.Hour {
		return d.Round(time.Second).String()
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

// JudgeReports says which vantages have a voice.
func JudgeReports(v failover.View, stale time.Duration) []Finding {
	const id = "vantage.reports"
	var out []Finding
	type voice struct {
		silent, unknown []string
		age             int64
	}
	voices := map[failover.VantageName]*voice{}
	for _, c := range v.Clusters {
		for _, vote := range c.Votes {
			x := voices[vote.Vantage]
			if x == nil {
				x = &voice{}
				voices[vote.Vantage] = x
			}
			x.age = vote.AgeMS
			switch {
			case vote.AgeMS < 0 || time.Duration(vote.AgeMS)*time.Millisecond > stale:
				x.silent = append(x.silent, string(c.Name))
			case vote.Vote == failover.Unknown:
				x.unknown = append(x.unknown, fmt.Sprintf("%s: %s", c.Name, vote.Reason))
			}
		}
	}
	well := []string(nil)
	for name, x := range voices {
		switch about := string(name); {
		case len(x.silent) > 0 && x.age < 0:
			out = append(out, bad(Fail, id, about, "start it (pointsman vantage -c FILE), and look at its log for what the controller answers", "no report of it ever came"))
		case len(x.silent) > 0:
			out = append(out, bad(Fail, id, about, "look at its log, and at the way from there to controller.advertise", "its newest report is %s old and counts no more", (time.Duration(x.age)*time.Millisecond).Round(time.Second)))
		case len(x.unknown) > 0:
			out = append(out, bad(Warn, id, about, "see the reason; after a change of targets make its file anew: pointsman config vantage NAME", "it abstains: %s", strings.Join(x.unknown, "; ")))
		default:
			well = append(well, about)
		}
	}
	slices.Sort(well)
	if len(out) == 0 {
		out = append(out, okay(id, strings.Join(well, ", "), "reports are fresh, and it votes"))
	}
	slices.SortFunc(out, func(a, b Finding) int { return cmp.Compare(a.About, b.About) })
	return out
}

// RunningFacts is what a controller that answers says of itself, beside the
// file that was given.
type RunningFacts struct {
	Where     string // socket or URL
	Err       string // nobody answered
	Hangs     bool   // with Err: somebody is there, and says nothing
	Instances int
	Leading   int
	LeadWhy   []string
	Hash      string // of the text that runs
	FileHash  string // of the file that was read here
	Refused   string // why the newest file is refused
	Audit     string // why the chain of the audit is broken
}

// JudgeRunning says whether the controller works, by what it was told last.
func JudgeRunning(r RunningFacts) []Finding {
	const id = "config.running"
	switch {
	case r.Hangs:
		return []Finding{bad(Fail, id, r.Where, "look at its log and at the load of its host; if nothing moves there, restart it: what it serves is in the ledger", "%s", r.Err)}
	case r.Err != "":
		return []Finding{Skip(id, r.Where, "no controller answers (%s): what only a running one knows was left out", r.Err)}
	}
	var out []Finding
	if r.Audit != "" {
		out = append(out, bad(Fail, id, r.Where, "keep a copy of the data folder and find out who changed it; see pointsman audit --verify", "the chain of the audit is broken: %s", r.Audit))
	}
	if r.Leading < r.Instances {
		out = append(out, bad(Fail, id, r.Where, "mend what is named, then restart the controller", "it leads %d of %d instances: %s", r.Leading, r.Instances, orElse(strings.Join(r.LeadWhy, "; "), "no reason is given")))
	}
	if r.Refused != "" {
		out = append(out, bad(Fail, id, r.Where, "mend the file: pointsman reload --dry-run", "the newest file is refused, an older configuration runs: %s", r.Refused))
	} else if r.FileHash != "" && r.Hash != r.FileHash {
		out = append(out, bad(Warn, id, r.Where, "see the difference by pointsman reload --dry-run, then pointsman reload", "it runs %.12s, and the file is %.12s", r.Hash, r.FileHash))
	}
	if len(out) == 0 {
		out = append(out, okay(id, r.Where, "leads %d instances, with configuration %.12s", r.Leading, r.Hash))
	}
	return out
}
