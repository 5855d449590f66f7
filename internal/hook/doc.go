// Package hook runs people's own commands and requests around an operation. It
// decides nothing: whether and when a hook runs, and what its answer means, is
// decided in internal/failover.
//
// A hook is bounded in everything: time, output, how many run at once. One that
// never ends is killed with its process group; one that answers too much, or
// something strange, has no verdict. docs/hooks.md is the contract with whoever
// writes one, and [Version] its version.
package hook
