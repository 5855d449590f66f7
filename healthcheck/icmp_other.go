//go:build !linux

package healthcheck

import (
	"fmt"
	"net/netip"
	"os"
)

type pingSocket struct {
	*os.File
	raw bool
}

func (*pingSocket) connect(netip.Addr) error { return nil }

func openPing(netip.Addr) (*pingSocket, error) {
	return nil, Own(fmt.Errorf("%w: it needs Linux", ErrNoPing))
}
