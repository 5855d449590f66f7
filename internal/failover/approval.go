package failover

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Proposal is a move that waits for people: one that a rule wants while the
// instance is armed to approve, or one that a person asked for where the
// policy wants more than one of them. It is durable: the wait, and who said
// yes, survive a restart. At most one stands for an instance.
//
// A proposal is no licence. When the last approval comes in, every other guard
// is asked again with fresh evidence, and a move that is refused then does not
// start.
type Proposal struct {
	ID     string      `json:"id"` // <instance>-p<revision of the record that it was made in>
	Kind   OpKind      `json:"kind"`
	From   ClusterName `json:"from"`
	To     ClusterName `json:"to"`
	Auto   bool        `json:"auto"`          // a rule wants it; it is withdrawn when From is up again
	By     string      `json:"by"`            // who asks, for people
	Who    string      `json:"who,omitempty"` // who asks, as it was authenticated; may not approve
	Reason string      `json:"reason"`
	Epoch  uint64      `json:"epoch"` // of the record when it was asked

	Need      int        `json:"need"` // different people
	Approvals []Approval `json:"approvals,omitempty"`
	Denied    *Approval  `json:"denied,omitempty"` // of one that a rule wants: it is not asked for again until From is up
	Expired   bool       `json:"expired,omitempty"`
	Since     time.Time  `json:"since"`
	Expires   time.Time  `json:"expires"`
	Evidence  []string   `json:"evidence,omitempty"` // at the time of asking

	// What a person's order said besides.
	Override     []Guard        `json:"override,omitempty"`
	AcceptLoss   *time.Duration `json:"accept_loss_ns,omitempty"`
	AcceptPinned bool           `json:"accept_pinned,omitempty"`
	OrFailover   bool           `json:"or_failover,omitempty"`
	PlanHash     string         `json:"plan_hash,omitempty"`
	Change       string         `json:"change,omitempty"`
}

// Approval is one person's yes or no.
type Approval struct {
	By     string    `json:"by"`
	Who    string    `json:"who"` // as it was authenticated
	At     time.Time `json:"at"`
	Reason string    `json:"reason,omitempty"`
}

// SocketPerson is whoever comes over the socket where no principals are named.
const SocketPerson = "socket"

// Principal is a principal as it is authenticated.
func Principal(name string) string { return "principal:" + name }

// DefaultApprovalLife is how long a proposal waits for people.
const DefaultApprovalLife = 10 * time.Minute

// Waits says whether the proposal may still be approved.
func (p *Proposal) Waits() bool { return p != nil && p.Denied == nil && !p.Expired }

// missing is the number of people who have not said yes yet.
func (p *Proposal) missing() int { return max(0, p.Need-len(p.Approvals)) }

func (p *Proposal) clone() *Proposal {
	if p == nil {
		return nil
	}
	c := *p
	c.Approvals, c.Evidence, c.Override = slices.Clone(p.Approvals), slices.Clone(p.Evidence), slices.Clone(p.Override)
	if p.Denied != nil {
		d := *p.Denied
		c.Denied = &d
	}
	if p.AcceptLoss != nil {
		l := *p.AcceptLoss
		c.AcceptLoss = &l
	}
	return &c
}

// command is the order that the proposal stands for.
func (p *Proposal) command() Command {
	return Command{
		Do: Verb(p.Kind), To: p.To, By: p.By, Who: p.Who, Reason: p.Reason, Override: p.Override, AcceptLoss: p.AcceptLoss,
		AcceptPinned: p.AcceptPinned, OrFailover: p.OrFailover, PlanHash: p.PlanHash, Change: p.Change, ExpectEpoch: &p.Epoch,
	}
}

// terms is what a person who says yes agrees to besides the move; empty where
// that is all.
func (p *Proposal) terms() string {
	var out []string
	if len(p.Override) > 0 {
		out = append(out, fmt.Sprintf("overriding %v", p.Override))
	}
	if l := p.AcceptLoss; l != nil && *l < 0 {
		out = append(out, "accepting an unknown loss")
	} else if l != nil {
		out = append(out, fmt.Sprintf("accepting a loss of up to %s", *l))
	}
	if p.AcceptPinned {
		out = append(out, "accepting that pooled clients stay")
	}
	if p.OrFailover {
		out = append(out, "as a failover where "+string(p.From)+" is lost meanwhile")
	}
	if p.Change != "" {
		out = append(out, "change "+p.Change)
	}
	if len(out) == 0 {
		return ""
	}
	return ", " + strings.Join(out, ", ")
}

// Words is one line for people, with what is left of its time.
func (p *Proposal) Words(now time.Time) string {
	what := fmt.Sprintf("%s from %s to %s%s (%s, by %s)", p.Kind, p.From, p.To, p.terms(), p.ID, p.By)
	switch {
	case p.Denied != nil:
		return fmt.Sprintf("%s was denied by %s: %s; it is not asked for again until %s was up", what, p.Denied.By, orNoReason(p.Denied.Reason), p.From)
	case p.Expired:
		return fmt.Sprintf("%s was not approved in time; it is not asked for again until %s was up", what, p.From)
	}
	return fmt.Sprintf("%s waits for %s, %s left: pointsman approve %s, or pointsman deny %s",
		what, people(p.missing()), p.Expires.Sub(now).Round(time.Second), p.ID, p.ID)
}

func people(n int) string {
	if n == 1 {
		return "1 approval"
	}
	return fmt.Sprintf("%d approvals", n)
}

func orNoReason(s string) string {
	if s == "" {
		return "no reason given"
	}
	return s
}

// approvalLife is how long a proposal waits.
func (p *Policy) approvalLife() time.Duration {
	if p.ApprovalLife > 0 {
		return p.ApprovalLife
	}
	return DefaultApprovalLife
}

// level is how far automation may go: the lower of what the instance was armed
// to and what the policy allows. Of one in shadow the policy alone counts; that
// nothing is done there is another guard's word.
func (s *State) level(p *Policy) Auto { return s.levelOf(s.rec.Mode, p) }

func (*State) levelOf(m Mode, p *Policy) Auto {
	if m == ModeShadow {
		return p.Auto
	}
	order := []Auto{AutoOff, AutoPropose, AutoApprove, AutoAuto}
	return order[max(0, min(slices.Index(order, Auto(m)), slices.Index(order, p.Auto)))]
}

func approvalGuard(a *ask) (string, string) {
	if a.approved {
		return "", ""
	}
	pr := a.s.rec.Proposal
	if !a.auto {
		if a.p.Approvals == 0 {
			return "", ""
		}
		why := fmt.Sprintf("the policy wants %s besides the person who asks", people(a.p.Approvals))
		if pr.Waits() && !pr.Auto && pr.To == a.to {
			return why + "; " + pr.Words(a.now), fmt.Sprintf("pointsman approve %s, by somebody else", pr.ID)
		}
		return why, "give the order all the same: it then waits for them as a proposal"
	}
	verb := fmt.Sprintf("pointsman failover %s --to %s", a.p.Instance, a.to)
	switch level := a.s.level(a.p); {
	case a.p.Auto == AutoOff:
		return "automation is off for this instance (auto: off)", verb
	case level == AutoApprove && pr != nil && pr.Auto && pr.To == a.to:
		hint := "pointsman approve " + pr.ID
		if !pr.Waits() {
			hint = verb
		}
		return pr.Words(a.now), hint
	case level == AutoApprove:
		return fmt.Sprintf("automation proposes here and moves after %s", people(a.p.needed())), verb
	case level != AutoAuto:
		return "automation only proposes here", verb
	}
	return "", ""
}

// wants is the number of people that a proposal needs by the policy of now.
func (p *Policy) wants(pr *Proposal) int {
	if pr.Auto {
		return p.needed()
	}
	return p.Approvals
}

// counts says whether the word of somebody counts now.
func (p *Policy) counts(who string) bool {
	return len(p.People) == 0 || slices.Contains(p.People, who)
}

// needed is the number of people who must say yes to what a rule wants.
func (p *Policy) needed() int { return max(1, p.Approvals) }

// propose makes a proposal of what a rule wants, once, and tells people until
// when it waits.
func (t *turn) propose(a *ask) {
	if no := t.rec.Declined; no != nil && no.To == a.to {
		return
	}
	if pr := t.rec.Proposal; pr != nil && (pr.Auto && pr.To == a.to || !pr.Auto && pr.Waits() && pr.To == a.to) {
		return // it stands, was denied or is over; or a person asks for the same
	}
	c := Command{By: t.p.By, Reason: fmt.Sprintf("%s is %s", a.from, a.old.words())}
	pr := t.makeProposal(a, c, t.p.needed())
	pr.Auto = true
	t.note("proposal", pr.asked())
}

// proposeCommand lets a person's order wait for others.
func (t *turn) proposeCommand(a *ask, c Command) {
	if pr := t.rec.Proposal; pr.Waits() && !pr.Auto {
		t.refuse(c, []Refusal{{GuardApproval, "another order waits already: " + pr.Words(t.now), "pointsman deny " + pr.ID + " takes it back"}})
		return
	}
	if c.Who == "" {
		t.refuse(c, []Refusal{unknownPerson})
		return
	}
	pr := t.makeProposal(a, c, t.p.Approvals)
	t.note("proposal", pr.asked()).By = c.By
	t.later(c, ReplyProposed, fmt.Sprintf("%s waits until %s for %s of somebody else: pointsman approve %s", pr.ID, pr.Expires.UTC().Format(time.RFC3339), people(pr.Need), pr.ID))
	t.after[len(t.after)-1].OpID = pr.ID
}

func (t *turn) makeProposal(a *ask, c Command, need int) *Proposal {
	d := t.edit()
	if old := d.Proposal; old != nil && old.Auto && !old.Waits() {
		d.Declined = old // a no outlasts the orders of people
	} else if old.Waits() {
		t.note("proposal", old.ID+" gives way to the order of "+c.By)
	}
	if c.Reason == "" {
		c.Reason = "asked for by " + c.By
	}
	d.Proposal = &Proposal{
		ID: fmt.Sprintf("%s-p%d", t.p.Instance, d.Rev+1), Kind: a.kind, From: a.from, To: a.to,
		By: c.By, Who: c.Who, Reason: c.Reason, Epoch: d.Epoch, Need: need,
		Since: t.now, Expires: t.now.Add(t.p.approvalLife()),
		Evidence: append(a.old.lines(), a.new.lines()...),
		Override: slices.Clone(c.Override), AcceptLoss: c.AcceptLoss, AcceptPinned: c.AcceptPinned,
		OrFailover: c.OrFailover, PlanHash: c.PlanHash, Change: c.Change,
	}
	return d.Proposal
}

// asked is its line in the audit.
func (p *Proposal) asked() string {
	return fmt.Sprintf("%s: %s from %s to %s%s, until %s: %s", p.ID, p.Kind, p.From, p.To, p.terms(), p.Expires.UTC().Format(time.RFC3339), p.Reason)
}

// pageProposal tells people of the proposal that the ledger holds.
func (t *turn) pageProposal() {
	pr := t.s.rec.Proposal
	switch {
	case pr == nil || t.rec.Proposal == nil || pr.ID != t.rec.Proposal.ID || pr.Waits() != t.rec.Proposal.Waits():
		return // what is in the draft is not so yet
	case pr.Waits():
		t.pageOnce("proposal", pr.ID, fmt.Sprintf("%s: %s from %s to %s%s is proposed: %s; it waits for %s until %s: pointsman approve %s, or pointsman deny %s",
			t.p.Instance, pr.Kind, pr.From, pr.To, pr.terms(), pr.Reason, people(pr.missing()), pr.Expires.UTC().Format(time.RFC3339), pr.ID, pr.ID))
	case pr.Expired:
		t.pageOnce("proposal-expired", pr.ID, fmt.Sprintf("%s: %s was not approved until %s; nothing moves by itself: pointsman %s %s --to %s",
			t.p.Instance, pr.ID, pr.Expires.UTC().Format(time.RFC3339), pr.Kind, t.p.Instance, pr.To))
	}
}

var unknownPerson = Refusal{GuardApproval, "it is not known who asks, and approvals count different people", "give --token-file with the token of a principal that controller.principals names"}

// standing returns the proposal that a person names, or answers.
func (t *turn) standing(c Command) *Proposal {
	pr := t.rec.Proposal
	status := "look again: pointsman status " + string(t.p.Instance)
	switch {
	case pr == nil:
		t.reply(c, ReplyStale, "no proposal stands", status)
	case pr.ID != c.Proposal:
		t.reply(c, ReplyStale, fmt.Sprintf("the proposal that stands is %s, not %.80q", pr.ID, c.Proposal), status)
	case !pr.Waits():
		t.reply(c, ReplyStale, pr.Words(t.now), fmt.Sprintf("pointsman %s %s --to %s", pr.Kind, t.p.Instance, pr.To))
	case !t.now.Before(pr.Expires):
		t.reply(c, ReplyStale, fmt.Sprintf("%s was over at %s", pr.ID, pr.Expires.UTC().Format(time.RFC3339)), fmt.Sprintf("pointsman %s %s --to %s", pr.Kind, t.p.Instance, pr.To))
	default:
		return pr
	}
	return nil
}

// approveCommand counts a person's yes; the last one that is needed starts the
// move, when every other guard allows it now.
func (t *turn) approveCommand(c Command) {
	t.keepProposal() // under the policy and the facts of now
	pr := t.standing(c)
	switch {
	case pr == nil:
		return
	case c.Who == "":
		t.refuse(c, []Refusal{unknownPerson})
		return
	case !t.p.counts(c.Who):
		t.refuse(c, []Refusal{{GuardApproval, c.By + " may not approve any more", unknownPerson.Hint}})
		return
	case pr.Who == c.Who:
		t.refuse(c, []Refusal{{GuardApproval, fmt.Sprintf("%s asked for it, and who asks does not approve", pr.By), "let somebody else approve it; pointsman deny " + pr.ID + " takes it back"}})
		return
	case slices.ContainsFunc(pr.Approvals, func(x Approval) bool { return x.Who == c.Who }):
		t.reply(c, ReplyNothing, fmt.Sprintf("you have approved it; it waits for %s more", people(pr.missing())), "")
		return
	}
	yes := Approval{By: c.By, Who: c.Who, At: t.now, Reason: c.Reason}
	if pr.missing() > 1 {
		t.edit().Proposal.Approvals = append(slices.Clone(pr.Approvals), yes)
		t.said(c, "approved "+pr.ID)
		t.later(c, ReplyDone, fmt.Sprintf("approved; it waits for %s more", people(t.rec.Proposal.missing())))
		return
	}
	t.startApproved(c, pr, yes)
}

// startApproved asks the guards once more, and starts what was approved.
func (t *turn) startApproved(c Command, pr *Proposal, yes Approval) {
	t.yes = append(slices.Clone(pr.Approvals), yes)
	defer func() { t.yes = nil }()
	order := pr.command()
	order.Ref = c.Ref
	if pr.Auto {
		t.ruleApproved(order, c, pr)
		return
	}
	if t.rec.Epoch != pr.Epoch {
		t.reply(c, ReplyStale, fmt.Sprintf("the epoch is %d, not %d: something was moved since %s was asked for", t.rec.Epoch, pr.Epoch, pr.ID), "look again: pointsman status "+string(t.p.Instance))
		return
	}
	before := len(t.after)
	if order.Do == DoRefill {
		t.refillCommand(order)
	} else {
		t.moveCommand(order)
	}
	if len(t.after) > before { // it was taken: the yes belongs to it
		d := t.edit()
		d.Proposal, d.Declined = nil, nil
		t.said(c, "approved "+pr.ID)
	}
}

// ruleApproved starts what a rule wants.
func (t *turn) ruleApproved(order, c Command, pr *Proposal) {
	a := t.s.ask(t.p, pr.Kind, pr.To, true, t.now)
	a.approved = true
	if !a.old.rodeOut(t.p, t.now) {
		t.refuse(c, []Refusal{{GuardSource, fmt.Sprintf("%s is not down any more: %s", pr.From, a.old.words()), "look again: pointsman status " + string(t.p.Instance)}})
		return
	}
	if refused := a.refusals(); len(refused) > 0 {
		t.refuse(c, refused)
		return
	}
	t.said(c, "approved "+pr.ID)
	t.start(a, order, nil)
	t.later(c, ReplyStarted, fmt.Sprintf("%s from %s to %s", pr.Kind, a.from, a.to))
}

// denyCommand says no. What a rule wants is not asked for again until the
// cluster was up; a person's order is gone.
func (t *turn) denyCommand(c Command) {
	pr := t.standing(c)
	if pr == nil {
		return
	}
	if pr.Auto {
		t.edit().Proposal.Denied = &Approval{By: c.By, Who: c.Who, At: t.now, Reason: c.Reason}
	} else {
		t.dropOrder()
	}
	t.unpage("proposal")
	t.said(c, "denied "+pr.ID)
	t.later(c, ReplyDone, fmt.Sprintf("%s is denied; nothing moves", pr.ID))
}

// dropOrder ends a person's order; what was declined before it stands again.
func (t *turn) dropOrder() {
	d := t.edit()
	d.Proposal, d.Declined = d.Declined, nil
}

// over says why nothing that a rule proposed stands any more; empty: it does.
func (t *turn) over(pr *Proposal) string {
	switch {
	case pr.To == t.rec.Active && t.rec.Op == nil:
		return string(pr.To) + " is active"
	case t.s.shadow(t.p):
		return "the instance was disarmed"
	case pr.Auto && t.s.level(t.p) != AutoApprove:
		return "automation does not propose here any more"
	case pr.Auto && t.s.tally(t.p, pr.From, t.now).verdict == Up:
		return string(pr.From) + " is up again"
	}
	return ""
}

// keepProposal ends a proposal whose time is over or whose reason is gone, and
// holds it to a policy that wants more people than it did.
func (t *turn) keepProposal() {
	if no := t.rec.Declined; no != nil && t.over(no) != "" {
		t.edit().Declined = nil
		t.note("proposal", "the no to "+no.ID+" is over: "+t.over(no))
	}
	pr := t.rec.Proposal
	if pr == nil {
		return
	}
	if need := t.p.wants(pr); pr.Waits() && need > pr.Need {
		t.note("proposal", fmt.Sprintf("%s needs %s now", pr.ID, people(need)))
		pr = t.edit().Proposal
		pr.Need = need
	}
	if pr.Waits() {
		pr = t.forgetYes(pr)
	}
	gone := func(why string) {
		t.dropOrder()
		t.unpage("proposal")
		t.note("proposal", fmt.Sprintf("%s withdrawn: %s", pr.ID, why))
	}
	switch {
	case t.rec.Op != nil && (pr.Auto || !t.sameHeld(pr)):
		gone("operation " + t.rec.Op.ID + " was started")
	case t.over(pr) != "":
		gone(t.over(pr))
	case pr.Waits() && !pr.Auto && !t.p.counts(pr.Who):
		gone(pr.By + ", who asked for it, may not any more")
	case pr.Waits() && !t.now.Before(pr.Expires):
		t.expire(pr)
	}
	t.pageProposal()
}

// forgetYes takes back the yes of whoever may not give one any more: a token
// that was taken away must not move anything.
func (t *turn) forgetYes(pr *Proposal) *Proposal {
	for _, y := range pr.Approvals {
		if !t.p.counts(y.Who) {
			t.note("proposal", fmt.Sprintf("the yes of %s to %s does not count any more: who gave it may not approve now", y.By, pr.ID))
			pr = t.edit().Proposal
			pr.Approvals = slices.DeleteFunc(slices.Clone(pr.Approvals), func(x Approval) bool { return x.Who == y.Who })
		}
	}
	return pr
}

// sameHeld says that the order answers what a held operation waits for.
func (t *turn) sameHeld(pr *Proposal) bool {
	op := t.rec.Op
	return op.Held != nil && op.To == pr.To && !t.past(op)
}

func (t *turn) expire(pr *Proposal) {
	t.unpage("proposal")
	t.note("proposal", fmt.Sprintf("%s was not approved in %s: %s missing", pr.ID, pr.Expires.Sub(pr.Since), people(pr.missing())))
	if pr.Auto {
		t.edit().Proposal.Expired = true
		return
	}
	t.dropOrder()
	t.pageOnce("proposal-expired", pr.ID, fmt.Sprintf("%s: %s, asked for by %s, was not approved until %s; nothing moves", t.p.Instance, pr.ID, pr.By, pr.Expires.UTC().Format(time.RFC3339)))
}
