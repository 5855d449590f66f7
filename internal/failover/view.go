package failover

import (
	"slices"
	"time"
)

// View is what people and programs see of an instance: derived from the state
// at one moment, never stored. Its JSON is what status -o json prints.
type View struct {
	Instance InstanceName `json:"instance"`
	Phase    Phase        `json:"phase"`
	Waiting  string       `json:"waiting,omitempty"` // what adopting waits for
	At       time.Time    `json:"at"`
	Leading  bool         `json:"leading"`
	LeadWhy  string       `json:"lead_why,omitempty"`
	Token    Token        `json:"token"`
	Mode     string       `json:"mode"` // shadow, propose, approve, auto
	Auto     Auto         `json:"auto"`
	Preset   Preset       `json:"preset"`
	Active   ClusterName  `json:"active"`
	Standby  ClusterName  `json:"standby"`
	// Protection is whether the standby may take over, and why not.
	Protection Standby `json:"protection"`

	Clusters []ClusterView `json:"clusters"`
	Names    []NameView    `json:"names"`
	Op       *Op           `json:"op,omitempty"`
	Step     *StepView     `json:"step,omitempty"`
	LastOp   *OpSummary    `json:"last_op,omitempty"`
	Stops    []Stop        `json:"stops,omitempty"`
	Proposal *Proposal     `json:"proposal,omitempty"` // a move that waits for people
	MovedBy  *MovedBy      `json:"moved_by,omitempty"` // of the last move
	Exposure ExposureView  `json:"exposure"`
	// AuthFault is since when keys are refused at both clusters, zero when they are not.
	AuthFault time.Time `json:"auth_fault_since,omitzero"`
	Wants     string    `json:"wants,omitempty"` // the failover that a rule wants, in words
	Refused   []Refusal `json:"refused,omitempty"`
	Missing   []string  `json:"missing,omitempty"` // what is missing for a failover
	Notices   []string  `json:"notices,omitempty"` // both down, correlated loss, disagreement of authorities
}

// Phase is where the instance stands.
type Phase string

const (
	PhaseAdopting Phase = "adopting"
	PhaseIdle     Phase = "idle"
	PhaseOp       Phase = "operation"
)

// ClusterView is one cluster as the quorum sees it.
type ClusterView struct {
	Name      ClusterName   `json:"name"`
	Role      string        `json:"role"` // active or standby
	Verdict   Vote          `json:"verdict"`
	Why       string        `json:"why"`
	Fault     Fault         `json:"fault,omitempty"`       // for which a quorum of domains cannot look
	Working   string        `json:"maintenance,omitempty"` // until when somebody works on it, and why
	DownSince time.Time     `json:"down_since,omitzero"`
	UpSince   time.Time     `json:"up_since,omitzero"`
	Domains   []DomainView  `json:"domains"`
	Votes     []VantageView `json:"votes"`
	Proof     *Proof        `json:"move_proof,omitempty"`
	Gate      *Gate         `json:"gate,omitempty"`
}

// DomainView is what one failure domain says.
type DomainView struct {
	Domain DomainName `json:"domain"`
	Vote   Vote       `json:"vote"`
	Why    string     `json:"why"`
}

// VantageView is one vantage's effective vote.
type VantageView struct {
	Vantage  VantageName `json:"vantage"`
	Domain   DomainName  `json:"domain"`
	Vote     Vote        `json:"vote"` // after staleness and sickness
	Reason   string      `json:"reason"`
	Fault    Fault       `json:"fault,omitempty"` // class of the reason of an unknown vote
	AgeMS    int64       `json:"age_ms"`          // of the report; -1 when there was none
	Misses   int         `json:"misses"`
	Fall     int         `json:"fall"`
	Warnings []string    `json:"warnings,omitempty"`
	// Canary and Client are what became of its newest writes, where its checks
	// make any.
	Canary   CanaryResult `json:"canary,omitempty"`
	Client   ClientResult `json:"client,omitempty"`
	Identity bool         `json:"identity"`
	// CertificateEnds is that of the certificate seen last; missing: none was.
	CertificateEnds time.Time `json:"certificate_ends,omitzero"`
}

// NameView is one name with what was last seen of it.
type NameView struct {
	NameRecord
	Seen      Target         `json:"seen,omitempty"`
	SeenMark  string         `json:"seen_mark,omitempty"`
	SeenAt    time.Time      `json:"seen_at,omitzero"`
	SeenErr   string         `json:"seen_err,omitempty"`
	Published *NameAgreement `json:"published,omitempty"`
	Limits    string         `json:"limits,omitempty"`    // what its provider does not promise
	TTLFloor  uint32         `json:"ttl_floor,omitempty"` // seconds, the provider's least as last read; 0 is not known
}

// StepView is the step in hand with its budget.
type StepView struct {
	Step     StepName  `json:"step"`
	Since    time.Time `json:"since"`
	Deadline time.Time `json:"deadline,omitzero"`
	Doing    string    `json:"doing"`
}

// ExposureView is what would be lost by switching now.
type ExposureView struct {
	Applies bool          `json:"applies"` // something is replicated
	Known   bool          `json:"known"`
	Bound   time.Duration `json:"bound_ns,omitempty"`
	Rows    int64         `json:"rows,omitempty"`  // at least so many
	About   int64         `json:"about,omitempty"` // an estimate, with what is unread; 0 is not known
	Gap     string        `json:"gap,omitempty"`
	Why     string        `json:"why,omitempty"` // what it hangs on, or why it is unknown
}

// Explanation says in words why the core did, did not, or would act.
type Explanation struct {
	Headline string    `json:"headline"`
	Lines    []string  `json:"lines"`
	Verdicts []Verdict `json:"guards"`
}

// Verdict is one guard's word in an explanation.
type Verdict struct {
	Guard Guard  `json:"guard"`
	Allow bool   `json:"allow"`
	Why   string `json:"why"`
	Hint  string `json:"hint,omitempty"`
	Binds bool   `json:"binds"` // it counts for the kind of start that is asked about
}

// Plan is what an operation would do, and the world it was made for. Apply
// refuses when the hash no longer matches.
type Plan struct {
	Version  int          `json:"version"`
	Instance InstanceName `json:"instance"`
	Kind     OpKind       `json:"kind"`
	From     ClusterName  `json:"from"`
	To       ClusterName  `json:"to"`
	Epoch    uint64       `json:"epoch"`
	Hash     string       `json:"hash"`
	MadeAt   time.Time    `json:"made_at"`
	Mode     string       `json:"mode"`

	Override     []Guard        `json:"override,omitempty"`
	AcceptLoss   *time.Duration `json:"accept_loss_ns,omitempty"`
	AcceptPinned bool           `json:"accept_pinned,omitempty"`
	OrFailover   bool           `json:"or_failover,omitempty"`
	Reason       string         `json:"reason,omitempty"`

	Clusters []ClusterView `json:"clusters"`
	Guards   []Verdict     `json:"guards"`
	Diff     []NameDiff    `json:"diff"`
	Steps    []PlanStep    `json:"steps"`
	Hooks    []PlanHook    `json:"hooks,omitempty"`
	Bound    []BoundTerm   `json:"bound"`
	Refused  bool          `json:"refused"`        // a guard refuses it now
	Changes  bool          `json:"changes"`        // it would change something
	Asks     int           `json:"asks,omitempty"` // people who must approve besides the one who carries it out
}

// NameDiff is one line of the record diff.
type NameDiff struct {
	Name     RecordName `json:"name"`
	Provider string     `json:"provider"`
	From     Target     `json:"from"`
	To       Target     `json:"to"`
	TTL      uint32     `json:"ttl"`
	Mark     string     `json:"mark"`
	Limits   string     `json:"limits,omitempty"` // what its provider does not promise
}

// PlanStep is one step with its budget and what its end means.
type PlanStep struct {
	Step   StepName      `json:"step"`
	Does   string        `json:"does"`
	Proof  string        `json:"proof"`
	Budget time.Duration `json:"budget_ns"`
	Late   string        `json:"late"` // what a timeout means
	Skip   string        `json:"skip,omitempty"`
}

// BoundTerm is one term of the honest time bound. Unbounded terms are shown
// as such and never folded into a sum.
type BoundTerm struct {
	Term      string        `json:"term"`
	Is        time.Duration `json:"is_ns"`
	Unbounded bool          `json:"unbounded,omitempty"`
	Note      string        `json:"note,omitempty"`
}

// Limits are what the providers of the names do not promise, once for each, as
// "PROVIDER: words".
func (v *View) Limits() []string {
	var out []string
	for _, n := range v.Names {
		if l := n.Provider + ": " + n.Limits; n.Limits != "" && !slices.Contains(out, l) {
			out = append(out, l)
		}
	}
	return out
}
