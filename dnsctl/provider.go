package dnsctl

import (
	"context"
	"fmt"
	"time"

	"pointsman/internal/failover"
)

// Provider is one place where names are kept, and the only way in which this
// program changes them. There is no Delete, and no Write that leaves a name
// without its CNAME. Every provider passes the same contract suite
// (dnsctl/contract); what it cannot promise it says in its Capabilities.
//
// Providers are safe for concurrent use. Their errors wrap the sentinels of
// this package and never carry a secret.
type Provider interface {
	// String names the provider without anything secret.
	fmt.Stringer
	// Read asks the write point what stands at the name. An error means that
	// nothing is known of it.
	Read(ctx context.Context, name failover.RecordName) (State, error)
	// Write makes one change, if the name shows what the change expects; how
	// strictly, Capabilities say. Every outcome but WriteDone comes with an
	// error. It does not repeat a request whose fate is unknown without
	// reading back first. WriteDone is no proof: read back.
	Write(ctx context.Context, c Change) (failover.WriteOutcome, error)
	// Capabilities say what the provider can and cannot promise.
	Capabilities() Capabilities
}

// Capabilities say what a provider promises. They are shown wherever the
// provider is: in status, plans, reports and by doctor.
type Capabilities struct {
	// CompareAndSwap: the precondition is part of the write itself, so that of
	// two writers one is refused. Without it the provider reads, writes and
	// reads back, and between the first two somebody else may write.
	CompareAndSwap bool `json:"compare_and_swap"`
	// Atomic: value and mark, on all lines, change in one step. Without it a
	// write that was cut off may have changed a part; it is then gone on with,
	// forward only.
	Atomic bool `json:"atomic"`
	// Mark says where the token of the last write stands: "txt" is a record
	// beside the name, "remark" a field of the record itself, "" nowhere.
	Mark string `json:"mark"`
	// Lines: the provider may answer clients of different networks differently.
	Lines bool `json:"lines"`
	// Settle is how long a request of this process may still take effect after
	// it was given up. A new leader waits for it before its first write, where
	// CompareAndSwap does not refuse the late one. 0 where it does.
	Settle time.Duration `json:"settle_ns"`
}

// Words say in one line what is not promised, empty when nothing is missing.
func (c Capabilities) Words() string {
	switch {
	case !c.CompareAndSwap && !c.Atomic:
		return "no compare-and-swap: it reads, writes and reads back; a write that is cut off may have changed a part"
	case !c.CompareAndSwap:
		return "no compare-and-swap: it reads, writes and reads back"
	default:
		return ""
	}
}
