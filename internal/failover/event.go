package failover

import "time"

// Event is one thing that happened outside the core. Every event is a value;
// an outcome event answers exactly one action.
type Event interface{ event() }

type (
	// Tick says only that time has passed.
	Tick struct{}

	// Loaded brings the record as the ledger holds it; Found false means
	// that the ledger has none.
	Loaded struct {
		Record Record
		Found  bool
	}

	// Lead says whether this process leads, under which term, and until when
	// it may write. On one node the file lock is the lease and Until is far away.
	Lead struct {
		Leading bool
		Term    uint64
		Until   time.Time
		Why     string // why it does not lead
	}

	// Report is what one vantage says of one instance; the shell has already
	// authenticated it and turned ages into times. A cluster that is missing
	// counts as unknown.
	Report struct {
		Vantage    VantageName
		Generation string // hash of the targets that the vantage probes
		Want       string // hash that the controller expects; that of the policy counts where it has one
		Sick       string // why the vantage abstains from everything, or empty
		Clusters   map[ClusterName]Sighting
		// Arrived is when the shell got it, on the clock of Step's now; zero
		// is now. A report that waited grew older meanwhile.
		Arrived time.Time
	}

	// Reports are several reports at once, in the order of their arrival.
	Reports []Report

	// PolicyChanged says that the policy given to Step is another one from now
	// on. What was seen through the old one and has no place in the new one is
	// forgotten; the record is not touched.
	PolicyChanged struct{}

	// Committed answers Commit: the ledger holds the record with this rev.
	Committed struct {
		Rev       uint64
		AuditHead string
	}

	// CommitFailed answers Commit. Conflict: another writer was there first,
	// the shell sends Loaded next. Otherwise the ledger cannot be written.
	CommitFailed struct {
		Err      string
		Conflict bool
	}

	// NameRead answers ReadName: what the name's write point shows.
	NameRead struct {
		Name   RecordName
		Err    string // not empty: unreadable, the rest says nothing
		Absent bool   // the name has no CNAME
		Value  Target
		TTL    uint32
		Mark   string // text of the mark, empty when absent
		Other  string // what else stands at the name, for people
		Floor  uint32 // seconds, the least TTL that the provider takes there; 0 is not known
	}

	// NameWritten answers WriteName.
	NameWritten struct {
		Name    RecordName
		Outcome WriteOutcome
		Err     string
	}

	// Verified answers Verify: one round of asking every authority, UDP and TCP.
	Verified struct {
		Names map[RecordName]NameAgreement
	}

	// Exposure says what would be lost by switching now: Lag as of Sampled.
	Exposure struct {
		From      ClusterName // whose writes it is about; empty is the active cluster's. That of another one is ignored
		Known     bool
		Lag       time.Duration
		Rows      int64 // at least so many
		About     int64 // with what is unread, an estimate; 0 is not known
		Sampled   time.Time
		Gap       string // a stream was trimmed or re-created: why the loss is unknown
		Why       string // what it hangs on, or why it is unknown
		Watermark string // of the applied position, for plans
		FromOld   time.Time
	}

	// GateDone answers SetGate: the driver accepted the order, or not. It is
	// no proof; only client probes are.
	GateDone struct {
		Cluster ClusterName
		Want    GateWant
		Err     string
	}

	// Drained answers Drain. Nothing is applied any more when it comes, until the
	// next Drain or until the operation is unwound. An answer to another
	// operation than the one in hand is ignored.
	Drained struct {
		Op    string        // the operation; empty is the one in hand
		Empty bool          // empty at latest twice, with every watermark at or past the close
		Bound time.Duration // what is left, as a bound; negative is unknown. Begins counts before it
		Err   string

		Begins time.Time // everything written before is on the new cluster; zero is unknown
		Rows   int64     // read and not applied: at least so many are left
		Gap    string    // a stream was trimmed or re-created: what is left is unknown
		Gone   bool      // the old cluster answers nothing: asking again until the deadline promises nothing
		Cut    string    // where it ended, in words for people; empty is what the other fields say
	}

	// CutDone answers Cut: who is still connected to the old side.
	CutDone struct {
		Stragglers []string
		Err        string
	}

	// StandbyChanged is replication's word on the standby. An invalidated one
	// stays so whatever it says, and it makes none: a move does, and a person ends it.
	StandbyChanged struct {
		Cluster ClusterName // that it is about; empty is the standby. A word about another one is ignored
		State   StandbyState
		Why     []string
	}

	// FloodVerdict answers AskFlood.
	FloodVerdict struct {
		OK      bool
		Wanting int
		Limit   int
		Hint    string
	}

	// Tilted says that the loop stalled or the clock jumped by Stall.
	Tilted struct{ Stall time.Duration }

	// WritePath says what is known of a provider besides single calls:
	// throttled, credentials that end soon.
	WritePath struct {
		Provider string
		Trouble  string // empty: healthy
	}

	// Command is what a person asks for; its Reply carries the same Ref.
	Command struct {
		Ref string
		Do  Verb
		By  string // who asks, in words for people

		To           ClusterName
		Reason       string
		Override     []Guard
		AcceptLoss   *time.Duration // negative: unknown loss
		AcceptPinned bool
		OrFailover   bool
		ExpectActive ClusterName
		ExpectEpoch  *uint64
		Mode         Mode
		Change       string
		For          time.Duration // pause; 0 is until resumed
		Seen         Target        // adopt, restore: the value that the person saw
		TermBase     uint64        // adopt after a rebuilt ledger
		PlanHash     string
		OpID         string // chosen by the shell, for a command that may start an operation
		Proposal     string // approve, deny: the ID of the proposal
		// Who asks, as the shell has authenticated it; empty is unknown. Two
		// commands of one person bear the same.
		Who string
	}
)

func (Tick) event()           {}
func (Loaded) event()         {}
func (Lead) event()           {}
func (Report) event()         {}
func (Reports) event()        {}
func (PolicyChanged) event()  {}
func (Committed) event()      {}
func (CommitFailed) event()   {}
func (NameRead) event()       {}
func (NameWritten) event()    {}
func (Verified) event()       {}
func (Exposure) event()       {}
func (GateDone) event()       {}
func (Drained) event()        {}
func (CutDone) event()        {}
func (StandbyChanged) event() {}
func (FloodVerdict) event()   {}
func (Tilted) event()         {}
func (WritePath) event()      {}
func (Command) event()        {}

// WriteOutcome is what became of a conditional write.
type WriteOutcome string

const (
	// WriteDone: the provider says that it was applied. No proof: the core
	// reads the name back.
	WriteDone WriteOutcome = "done"
	// WriteMismatch: the prerequisite did not hold; nothing was changed.
	WriteMismatch WriteOutcome = "mismatch"
	// WriteUnknown: no answer; it may or may not have been applied.
	WriteUnknown WriteOutcome = "unknown"
	// WriteRefused: the provider will not do it (rights, configuration).
	WriteRefused WriteOutcome = "refused"
)

// NameAgreement is what the authorities of one name said in one round.
type NameAgreement struct {
	Agree     bool      `json:"agree"`               // every address over UDP and TCP showed the wanted value
	Asked     int       `json:"asked"`               // address and transport pairs
	Agreeing  int       `json:"agreeing"`            // of them
	Dissent   []string  `json:"dissent,omitempty"`   // "192.0.2.1 udp: a.example. (wanted b.example.)"
	MaxTTL    uint32    `json:"max_ttl"`             // of the answers, in seconds
	Wanted    Target    `json:"wanted"`              //
	AskedAt   time.Time `json:"asked_at,omitzero"`   //
	LastAgree time.Time `json:"last_agree,omitzero"` // when the last address to agree answered

	// At are the addresses that were asked, sorted, each once.
	At []string `json:"at,omitempty"`
	// Served is, of each value that an address showed, the largest TTL.
	Served []ServedTTL `json:"served,omitempty"`
}

// ServedTTL is a value with the largest TTL that it was served with.
type ServedTTL struct {
	Value Target `json:"value"`
	TTL   uint32 `json:"ttl"` // seconds
}

// Verb is what a command asks for.
type Verb string

const (
	DoSwitchover Verb = "switchover"
	DoFailover   Verb = "failover"
	DoAbort      Verb = "abort"
	DoPause      Verb = "pause"
	DoResume     Verb = "resume"
	DoAck        Verb = "ack"
	DoAdopt      Verb = "adopt"
	DoRestore    Verb = "restore"
	DoArm        Verb = "arm"
	DoDisarm     Verb = "disarm"
	DoApprove    Verb = "approve"
	DoDeny       Verb = "deny"
	DoRefill     Verb = "refill"
)

// Action is one thing that the shell must do. Commit is always alone: what
// depends on it is asked for only after Committed came back.
type Action interface{ action() }

type (
	// Commit makes the record durable by compare-and-swap on Rev, with its
	// audit entries, in one transaction.
	Commit struct {
		Record Record
		Audit  []AuditEntry
	}

	// ReadName asks the write point of a name. Urgent: a move waits for it.
	ReadName struct {
		Name   NameRecord
		Urgent bool
	}

	// WriteName replaces value, TTL and mark of a name in one conditional
	// step: only if the name still shows Expect and, where ExpectMark is not
	// nil, exactly that mark (empty: no mark).
	WriteName struct {
		Name       NameRecord
		Expect     Target
		ExpectMark *string
		Value      Target
		TTL        uint32
		Mark       Mark
	}

	// Verify asks every authority of every name for the values of the record.
	Verify struct{ Names []NameRecord }

	// SetGate orders a gate driver.
	SetGate struct {
		Cluster ClusterName
		Want    GateWant
		Token   Token
	}

	// Drain reads the old side's streams up to the close proof, and ends with
	// nothing being applied any more.
	Drain struct {
		Op       string
		Kind     OpKind
		From     ClusterName
		To       ClusterName
		Until    time.Time // the close proof; zero: there is none
		Deadline time.Time // from here on nothing is applied; the answer comes soon after it
	}

	// Cut makes pooled clients let go of a cluster.
	Cut struct {
		From  ClusterName
		Token Token
	}

	// AskFlood asks the breaker over all instances for leave to start.
	AskFlood struct{}

	// Reply answers a command.
	Reply struct {
		Ref     string
		Code    ReplyCode
		Guard   Guard // of a refusal
		Text    string
		Hint    string
		OpID    string
		Refused []Refusal
	}

	// Page tells people.
	Page struct {
		Kind string // held, proposal, proposal-expired, drift, both-down, auth-fault, blind, settled, unwound, yield, publication
		Text string
	}

	// Yield gives up leadership: a higher token was seen.
	Yield struct{ Seen Token }
)

func (Commit) action()    {}
func (ReadName) action()  {}
func (WriteName) action() {}
func (Verify) action()    {}
func (SetGate) action()   {}
func (Drain) action()     {}
func (Cut) action()       {}
func (AskFlood) action()  {}
func (Reply) action()     {}
func (Page) action()      {}
func (Yield) action()     {}

// ReplyCode is the verdict on a command; the command line turns it into an
// exit status.
type ReplyCode string

const (
	ReplyDone       ReplyCode = "done"
	ReplyStarted    ReplyCode = "started"
	ReplyProposed   ReplyCode = "proposed" // it waits for other people
	ReplyNothing    ReplyCode = "nothing"  // it is already so
	ReplyRefused    ReplyCode = "refused"  // by a named guard
	ReplyStale      ReplyCode = "stale"    // expect-active, expect-epoch or the plan no longer hold
	ReplyNotLeading ReplyCode = "not-leading"
	ReplyBad        ReplyCode = "bad" // the command makes no sense
)
