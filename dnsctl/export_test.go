package dnsctl

import "net/netip"

// What the tests of the package dnsctl_test use of this one's. They stand
// outside because the suite they run, dnsctl/contract, imports this package.

const (
	SecretText = secretText
	OtherText  = otherText
)

var (
	RunNamed   = runNamed
	FreePort   = freePort
	Nobody     = nobody
	WriteFile  = write
	ReadFrame  = readFrame
	WriteFrame = writeFrame
	WantText   = wantText
	MustSecret = mustSecret
)

// Addr is where the server answers.
func (n *named) Addr() netip.AddrPort { return n.addr }

// Dir is where its files are.
func (n *named) Dir() string { return n.dir }
