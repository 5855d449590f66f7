package failover

// Guard is the name of a reason not to start.
type Guard string

const (
	GuardLeader         Guard = "leader"
	GuardLease          Guard = "lease"
	GuardOpInFlight     Guard = "op-in-flight"
	GuardAdopting       Guard = "adopting"
	GuardSource         Guard = "source"
	GuardMoveProof      Guard = "move-proof"
	GuardTarget         Guard = "target"
	GuardStandby        Guard = "standby"
	GuardExposure       Guard = "exposure"
	GuardStreamGap      Guard = "stream-gap"
	GuardDomains        Guard = "domains"
	GuardCorrelated     Guard = "correlated"
	GuardContradicted   Guard = "contradicted"
	GuardPaused         Guard = "paused"
	GuardFreeze         Guard = "freeze"
	GuardCooldown       Guard = "cooldown"
	GuardUnacknowledged Guard = "unacknowledged"
	GuardLockout        Guard = "lockout"
	GuardFlood          Guard = "flood"
	GuardDrift          Guard = "drift"
	GuardWritePath      Guard = "write-path"
	GuardTilt           Guard = "tilt"
	GuardSettling       Guard = "settling"
	GuardFence          Guard = "fence"
	GuardPinned         Guard = "pinned-clients"
	GuardShadow         Guard = "shadow"
	GuardApproval       Guard = "approval"
	GuardMaintenance    Guard = "maintenance"
	GuardHooks          Guard = "hooks"
)

// Refusal is one guard's no, in words.
type Refusal struct {
	Guard Guard  `json:"guard"`
	Why   string `json:"why"`
	Hint  string `json:"hint,omitempty"` // what a person can do about it
}

// StepName names a step of an operation.
type StepName string

const (
	StepIntent  StepName = "intent"
	StepClose   StepName = "close"
	StepDrain   StepName = "drain"
	StepOpen    StepName = "open"
	StepMove    StepName = "move"
	StepCut     StepName = "cut"
	StepConfirm StepName = "confirm"
	StepSettle  StepName = "settle"
)
