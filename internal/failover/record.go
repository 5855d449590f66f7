package failover

import (
	"maps"
	"slices"
	"time"
)

// Record is the durable truth about one instance, changed only by
// compare-and-swap on Rev. The embedded authority is a view of it: for an
// embedded name, committing the record is the DNS write.
type Record struct {
	Version  int          `json:"version"` // of this format; RecordVersion
	Instance InstanceName `json:"instance"`
	Rev      uint64       `json:"rev"` // set by the ledger
	Term     uint64       `json:"term"`
	TermBase uint64       `json:"term_base,omitempty"` // added to the process's term after a ledger was rebuilt
	Epoch    uint64       `json:"epoch"`
	Active   ClusterName  `json:"active"`
	Mode     Mode         `json:"mode"` // what it was armed to; empty is shadow

	Names []NameRecord `json:"names"`
	// LeftOver are embedded names that left the config. The authority goes on
	// showing what was committed last: a slip in a template must not empty a
	// name. They move with nothing.
	LeftOver []NameRecord `json:"left_over,omitempty"`

	Op      *Op                  `json:"op,omitempty"`
	Gates   map[ClusterName]Gate `json:"gates,omitempty"`
	Standby Standby              `json:"standby"`
	Stops   []Stop               `json:"stops,omitempty"`
	// Proposal is a move that waits for people.
	Proposal *Proposal `json:"proposal,omitempty"`
	// Declined is what a rule wanted and people did not, while a person's order
	// has its place.
	Declined *Proposal `json:"declined,omitempty"`

	Moves  []time.Time           `json:"moves,omitempty"` // automatic moves, for budgets; trimmed to the longest period
	LastOp *OpSummary            `json:"last_op,omitempty"`
	Proofs map[ClusterName]Proof `json:"proofs,omitempty"` // move proofs

	Vetoes   *Vetoes   `json:"vetoes,omitempty"`    // of automatic operations, by their pre-hooks
	HooksDue []HookDue `json:"hooks_due,omitempty"` // post-hooks that have not all run

	ConfigHash  string    `json:"config_hash,omitempty"`
	ConfigSince time.Time `json:"config_since,omitzero"`

	Divergence string `json:"divergence,omitempty"` // a reference; replication owns it
	AuditHead  string `json:"audit_head,omitempty"` // set by the ledger
}

// RecordVersion is the format that this program writes. A ledger with a newer
// one is refused, never guessed at.
const RecordVersion = 1

// Mode is how far an instance was armed.
type Mode string

const (
	ModeShadow  Mode = ""        // decides everything, does nothing
	ModePropose Mode = "propose" // people may move it, automation only proposes
	ModeApprove Mode = "approve" // automation asks people, and moves when enough have approved
	ModeAuto    Mode = "auto"    // automation may move it
)

// ArmedModes lists how far an instance may be armed.
var ArmedModes = []Mode{ModePropose, ModeApprove, ModeAuto}

func (m Mode) String() string {
	if m == ModeShadow {
		return "shadow"
	}
	return string(m)
}

// NameRecord is one DNS name of the instance.
type NameRecord struct {
	Name     RecordName `json:"name"`
	Provider string     `json:"provider"`
	Zone     RecordName `json:"zone"`
	Embedded bool       `json:"embedded,omitempty"` // served by our own authority from this record
	Value    Target     `json:"value"`              // old target until the Move is committed or proved, then the new one
	TTL      uint32     `json:"ttl"`                // seconds; what the name carries now
	Mark     Mark       `json:"mark"`

	// Want is a write that was given out, or may have been, and is not yet
	// proved by reading the write point. It is committed before the write.
	// Embedded names never have one: their commit is the write.
	Want *NameWant `json:"want,omitempty"`
}

// NameWant is the state that an issued write leads to.
type NameWant struct {
	Value Target `json:"value"`
	TTL   uint32 `json:"ttl"`
	Mark  Mark   `json:"mark"`
	// Over is a foreign value that a person has agreed to overwrite; without
	// it only the name's own last value may be replaced.
	Over   *Foreign  `json:"over,omitempty"`
	Why    string    `json:"why"` // claim, ttl, move, restore, adopt
	Since  time.Time `json:"since"`
	Sender Token     `json:"sender"` // under which it was last issued
}

// Pending is the write that is waited for at a name, and whether one is.
func (n NameRecord) Pending() (WriteName, bool) {
	if n.Want == nil {
		return WriteName{}, false
	}
	w := n.Want
	return WriteName{Name: n, Expect: n.Value, Value: w.Value, TTL: w.TTL, Mark: w.Mark}, true
}

// Foreign is a state of a name that somebody else made.
type Foreign struct {
	Value  Target `json:"value,omitempty"`
	Mark   string `json:"mark,omitempty"`
	Absent bool   `json:"absent,omitempty"`
}

// Gate is what we want and know of a cluster's client writes.
type Gate struct {
	Want    GateWant  `json:"want"`
	Seen    GateWant  `json:"seen,omitempty"`
	ProofAt time.Time `json:"proof_at,omitzero"`
}

// GateWant says whether client writes are to be accepted.
type GateWant string

const (
	GateOpen   GateWant = "open"
	GateClosed GateWant = "closed"
)

// StandbyState says whether the standby may take over.
type StandbyState string

const (
	StandbyPlain       StandbyState = "plain"       // nothing is replicated, or nothing was said of it yet
	StandbySynced      StandbyState = "synced"      // replication says that it follows
	StandbyUnprotected StandbyState = "unprotected" // it is replicated, and what it has cannot be relied upon
	StandbyInvalidated StandbyState = "invalidated" // it was active and may hold writes that the other side never saw
	StandbyRefilling   StandbyState = "refilling"   // it is copied anew
)

// Standby is the state of the cluster that the name does not point at.
type Standby struct {
	State StandbyState `json:"state"`
	Why   []string     `json:"why,omitempty"`
	// Unsynced is what an invalidated one may hold that the active cluster never
	// saw, in words; empty: it was shown that it holds nothing of the kind.
	Unsynced string `json:"unsynced,omitempty"`
	// Refill is who said, and why, that what it holds may be overwritten; kept
	// until it is synced.
	Refill string `json:"refill,omitempty"`
}

// StopKind names a standing reason not to start.
type StopKind string

const (
	StopPause          StopKind = "pause"
	StopFreeze         StopKind = "freeze"
	StopCooldown       StopKind = "cooldown"
	StopUnacknowledged StopKind = "unacknowledged"
	StopLockout        StopKind = "lockout"
	StopDrift          StopKind = "drift"
	StopHooks          StopKind = "hooks"
)

// Stop takes away the right to start; it never takes away the right to
// finish what was begun.
type Stop struct {
	Kind  StopKind  `json:"kind"`
	By    string    `json:"by"`
	Why   string    `json:"why"`
	Since time.Time `json:"since"`
	Until time.Time `json:"until,omitzero"` // zero: until lifted

	// Of a drift stop: the name and what was seen there.
	Name     RecordName `json:"name,omitempty"`
	Seen     Target     `json:"seen,omitempty"`
	SeenMark string     `json:"seen_mark,omitempty"`
}

// OpKind tells a planned move from an unplanned one.
type OpKind string

const (
	Failover   OpKind = "failover"
	Switchover OpKind = "switchover"
)

// Op is one operation in hand.
type Op struct {
	ID     string      `json:"id"`
	Kind   OpKind      `json:"kind"`
	Step   StepName    `json:"step"`
	Unwind bool        `json:"unwind,omitempty"` // running backwards to the state before it
	From   ClusterName `json:"from"`
	To     ClusterName `json:"to"`
	Auto   bool        `json:"auto"`

	Held     *Held    `json:"held,omitempty"`
	PlanHash string   `json:"plan_hash,omitempty"`
	Evidence []string `json:"evidence,omitempty"`
	Consent  *Consent `json:"consent,omitempty"`
	Override []Guard  `json:"override,omitempty"`

	By        string     `json:"by"`
	Reason    string     `json:"reason"`
	Change    string     `json:"change,omitempty"`    // number of the change request
	Approvals []Approval `json:"approvals,omitempty"` // who said yes, where people had to

	Since      time.Time              `json:"since"`
	StepSince  time.Time              `json:"step_since"`
	FaultAt    time.Time              `json:"fault_at,omitzero"`    // sending of the first miss that counts
	DetectedAt time.Time              `json:"detected_at,omitzero"` // when the quorum first said down
	StepAt     map[StepName]time.Time `json:"step_at,omitempty"`    // when each step was entered
	MovedAt    time.Time              `json:"moved_at,omitzero"`    // when every write point showed the new value

	CloseProofAt time.Time `json:"close_proof_at,omitzero"`
	Cut          []string  `json:"cut,omitempty"`  // stragglers, listed
	Left         *Left     `json:"left,omitempty"` // what the drain left behind; nil: nothing was left, or nothing is replicated

	// PublishedAt is when the last address of an authority was seen to agree, in
	// the first of the rounds that count; zero: it settled without.
	PublishedAt time.Time `json:"published_at,omitzero"`
	Verified    []string  `json:"verified,omitempty"` // addresses that were asked and agreed
	// TTLOld is the largest TTL, in seconds, with which the old value may have
	// been in a cache when the name moved or later.
	TTLOld uint32 `json:"ttl_old,omitempty"`

	Stragglers   []string `json:"stragglers,omitempty"` // authorities that did not agree in time
	Notes        []string `json:"notes,omitempty"`
	OrFailover   bool     `json:"or_failover,omitempty"` // a switchover that may become a failover by itself
	AcceptPinned bool     `json:"accept_pinned,omitempty"`
	LossBound    string   `json:"loss_bound,omitempty"`

	OldTTL    uint32    `json:"old_ttl,omitempty"`    // the largest TTL before it was lowered, in seconds
	LoweredAt time.Time `json:"lowered_at,omitzero"`  // when every authority was seen with the lowered TTL, or its time was over
	CloseAt   time.Time `json:"close_at,omitzero"`    // when the gate of old was ordered closed
	OpenAt    time.Time `json:"open_at,omitzero"`     // when the gate of new was ordered open
	UnwindWhy string    `json:"unwind_why,omitempty"` // why it runs backwards

	// Targets are the values that the Move leads to, as the config had them at
	// the start: a config that changes later changes no operation.
	Targets map[RecordName]Target `json:"targets,omitempty"`

	Hooks *OpHooks `json:"hooks,omitempty"` // nil: no pre-hook was asked

	// ForwardOnly: resumed after client writes had landed on new. Unwinding
	// would lose them silently.
	ForwardOnly bool `json:"forward_only,omitempty"`
}

// Held says why an operation waits for a proof, an override or abort.
type Held struct {
	Why   string    `json:"why"`
	Guard Guard     `json:"guard,omitempty"`
	Since time.Time `json:"since"`
}

// Consent is a person's acceptance of a loss: used once, for no larger bound,
// and not after its end.
type Consent struct {
	Loss    time.Duration `json:"loss"` // negative: unknown loss was accepted
	By      string        `json:"by"`
	Expires time.Time     `json:"expires"`
	// Used is when an operation went on by it; zero: not yet. It ends with an
	// unwinding, used or not.
	Used time.Time `json:"used,omitzero"`
}

// Outcome is how an operation ended.
type Outcome string

const (
	Settled Outcome = "settled"
	Unwound Outcome = "unwound"
	Yielded Outcome = "yielded"
)

// OpSummary is what remains of an operation in the record; the audit and the
// history have the rest.
type OpSummary struct {
	Op      Op        `json:"op"`
	Outcome Outcome   `json:"outcome"`
	At      time.Time `json:"at"`
	Why     string    `json:"why,omitempty"`
}

// Proof says when it was last shown that clients under their own name are
// served by that very cluster.
type Proof struct {
	At  time.Time `json:"at"`
	How string    `json:"how"`
}

// AuditEntry is one line of the append-only audit; the ledger chains it.
type AuditEntry struct {
	At       time.Time    `json:"at"`
	Instance InstanceName `json:"instance"`
	Kind     string       `json:"kind"` // create, claim, intent, write, step, held, settle, unwind, stop, command, refuse …
	Op       string       `json:"op,omitempty"`
	Token    Token        `json:"token"`
	By       string       `json:"by"`
	Text     string       `json:"text"`
	Before   string       `json:"before,omitempty"`
	After    string       `json:"after,omitempty"`
}

// Clone returns a deep copy.
func (r Record) Clone() Record {
	r.Names, r.LeftOver = slices.Clone(r.Names), slices.Clone(r.LeftOver)
	for i := range r.Names {
		if w := r.Names[i].Want; w != nil {
			c := *w
			if w.Over != nil {
				o := *w.Over
				c.Over = &o
			}
			r.Names[i].Want = &c
		}
	}
	if r.Op != nil {
		o := r.Op.clone()
		r.Op = &o
	}
	r.Gates = maps.Clone(r.Gates)
	r.Standby.Why = slices.Clone(r.Standby.Why)
	r.Stops = slices.Clone(r.Stops)
	r.Moves = slices.Clone(r.Moves)
	r.Proposal, r.Declined = r.Proposal.clone(), r.Declined.clone()
	if r.LastOp != nil {
		l := *r.LastOp
		l.Op = l.Op.clone()
		r.LastOp = &l
	}
	r.Proofs = maps.Clone(r.Proofs)
	r.cloneHooks()
	return r
}

func (o Op) clone() Op {
	if o.Held != nil {
		h := *o.Held
		o.Held = &h
	}
	if o.Consent != nil {
		c := *o.Consent
		o.Consent = &c
	}
	if o.Left != nil {
		l := *o.Left
		o.Left = &l
	}
	if o.Hooks != nil {
		h := *o.Hooks
		h.Asked, h.Notes = slices.Clone(h.Asked), slices.Clone(h.Notes)
		o.Hooks = &h
	}
	o.Evidence = slices.Clone(o.Evidence)
	o.Override = slices.Clone(o.Override)
	o.Approvals = slices.Clone(o.Approvals)
	o.StepAt = maps.Clone(o.StepAt)
	o.Targets = maps.Clone(o.Targets)
	o.Cut = slices.Clone(o.Cut)
	o.Stragglers = slices.Clone(o.Stragglers)
	o.Verified = slices.Clone(o.Verified)
	o.Notes = slices.Clone(o.Notes)
	return o
}

// Shown are the names that our own authority shows from this record.
func (r *Record) Shown() []NameRecord {
	out := make([]NameRecord, 0, len(r.Names)+len(r.LeftOver))
	for _, n := range r.Names {
		if n.Embedded {
			out = append(out, n)
		}
	}
	return append(out, r.LeftOver...)
}

// Name returns the record of one name, or nil.
func (r *Record) Name(n RecordName) *NameRecord {
	i := slices.IndexFunc(r.Names, func(x NameRecord) bool { return x.Name == n })
	if i < 0 {
		return nil
	}
	return &r.Names[i]
}

// Stop returns the standing stop of a kind, or nil.
func (r *Record) Stop(k StopKind) *Stop {
	i := slices.IndexFunc(r.Stops, func(s Stop) bool { return s.Kind == k })
	if i < 0 {
		return nil
	}
	return &r.Stops[i]
}

// drift returns the drift of one name, or nil.
func (r *Record) drift(n RecordName) *Stop {
	i := slices.IndexFunc(r.Stops, func(s Stop) bool { return s.Kind == StopDrift && s.Name == n })
	if i < 0 {
		return nil
	}
	return &r.Stops[i]
}

// Token is the token under which the record would act now.
func (r *Record) Token() Token { return Token{Term: r.Term, Epoch: r.Epoch} }
