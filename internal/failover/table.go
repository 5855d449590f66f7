package failover

import "time"

// Late says what it means that a step's budget has run out. Every timeout has
// a named outcome.
type Late string

const (
	LateNever   Late = "never"   // the step has no budget
	LateOn      Late = "on"      // go on, with what is missing listed
	LateUnwind  Late = "unwind"  // run backwards to the state before the operation
	LateHold    Late = "hold"    // wait for a proof, an override or abort, and page
	LateFence   Late = "fence"   // by the fence policy: on when old is silent, else hold
	LateLoss    Late = "loss"    // on when the bound of the loss is accepted, else hold
	LateOldUp   Late = "old-up"  // unwind when old is up, else hold
	LateForward Late = "forward" // no way back: retry and page
)

// StepDef is one line of the table of steps for one kind of operation.
type StepDef struct {
	Step   StepName
	Does   string
	Proof  string
	Budget time.Duration // 0 is without a budget
	Late   Late
}

// stepOrder is the order of the steps of every operation.
var stepOrder = []StepName{StepIntent, StepClose, StepDrain, StepOpen, StepMove, StepCut, StepConfirm, StepSettle}

// stepTable is the whole table; documents draw it, the code asks it.
var stepTable = map[OpKind][]StepDef{
	Failover: {
		{StepIntent, "commit the operation, its epoch and its evidence", "committed", 0, LateNever},
		{StepClose, "close the gate of the old cluster", "a quorum's client writes are refused with the expected code", 5 * time.Second, LateFence},
		{StepDrain, "read the old cluster's streams up to the close proof", "empty twice, every watermark at or past the close", 5 * time.Second, LateLoss},
		{StepOpen, "open the gate of the new cluster", "a quorum's client writes are accepted", 5 * time.Second, LateOldUp},
		{StepMove, "replace the value of every name, conditionally, with the token", "the write point of every name shows value and token", 30 * time.Second, LateForward},
		{StepCut, "make pooled clients let go of the old cluster", "no stragglers, or stragglers listed", 10 * time.Second, LateOn},
		{StepConfirm, "ask every authority, over UDP and TCP", "all authorities agree twice", 30 * time.Second, LateOn},
		{StepSettle, "start cool-down and acknowledgement, close the operation", "committed", 30 * time.Second, LateOn},
	},
	Switchover: {
		{StepIntent, "commit the operation; lower the TTL and wait the old one out", "committed, old TTL over", 30 * time.Second, LateUnwind},
		{StepClose, "close the gate of the old cluster", "a quorum's client writes are refused with the expected code", 10 * time.Second, LateUnwind},
		{StepDrain, "read the old cluster's streams up to the close proof", "empty twice, every watermark at or past the close", 30 * time.Second, LateUnwind},
		{StepOpen, "open the gate of the new cluster", "a quorum's client writes are accepted", 5 * time.Second, LateUnwind},
		{StepMove, "replace the value of every name, conditionally, with the token", "the write point of every name shows value and token", 30 * time.Second, LateForward},
		{StepCut, "make pooled clients let go of the old cluster", "no stragglers, or stragglers listed", 10 * time.Second, LateOn},
		{StepConfirm, "ask every authority, over UDP and TCP", "all authorities agree twice", 30 * time.Second, LateOn},
		{StepSettle, "restore the TTL, start the cool-down, close the operation", "committed", 30 * time.Second, LateOn},
	},
}

// Steps returns the table of steps for one kind of operation, in order.
func Steps(k OpKind) []StepDef { return stepTable[k] }

func stepDef(k OpKind, n StepName) StepDef {
	for _, d := range stepTable[k] {
		if d.Step == n {
			return d
		}
	}
	return StepDef{Step: n, Late: LateHold}
}

// budget is the step's budget under a policy: a proof by client probes cannot
// come sooner than the probes do.
func (p *Policy) budget(k OpKind, n StepName) time.Duration {
	b := stepDef(k, n).Budget
	if n == StepClose || n == StepOpen {
		b = max(b, 2*p.Round+p.Timeout)
	}
	return b
}

func stepIndex(n StepName) int {
	for i, s := range stepOrder {
		if s == n {
			return i
		}
	}
	return -1
}

func nextStep(n StepName) StepName { return stepOrder[min(stepIndex(n)+1, len(stepOrder)-1)] }

// graceUnprovenClose is how long an unwinding operation under fence: prefer
// waits for the proof that new is closed again before it reopens old.
const graceUnprovenClose = 10 * time.Second

// ConsentLife is how long a person's acceptance of a loss counts.
const ConsentLife = 5 * time.Minute
