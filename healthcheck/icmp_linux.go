package healthcheck

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// pingSocket sends echo requests to one address: a ping socket (icmp(7)),
// which needs no privilege where net.ipv4.ping_group_range has our group, or
// else a raw one.
type pingSocket struct {
	*os.File
	fd  int
	v6  bool
	raw bool
}

func openPing(to netip.Addr) (*pingSocket, error) {
	family, protocol := unix.AF_INET, unix.IPPROTO_ICMP
	if to.Is6() {
		family, protocol = unix.AF_INET6, unix.IPPROTO_ICMPV6
	}
	s := &pingSocket{v6: to.Is6()}
	const flags = unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|flags, protocol)
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EPROTONOSUPPORT) {
		s.raw = true
		fd, err = unix.Socket(family, unix.SOCK_RAW|flags, protocol)
	}
	switch {
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM), errors.Is(err, unix.EPROTONOSUPPORT):
		return nil, Own(fmt.Errorf("%w: %w (%s)", ErrNoPing, err, pingHint))
	case err != nil:
		return nil, Own(fmt.Errorf("open a socket for ping: %w", err))
	}
	s.fd, s.File = fd, os.NewFile(uintptr(fd), "ping")
	if err := s.setUp(); err != nil {
		s.Close()
		return nil, Own(fmt.Errorf("set up a socket for ping: %w", err))
	}
	return s, nil
}

// setUp lets ICMP errors for our packets through (IP_RECVERR of ip(7); without
// it a ping socket hides those that may pass, such as an unreachable network)
// and keeps from a raw socket all that is no reply.
func (s *pingSocket) setUp() error {
	if s.v6 {
		if err := unix.SetsockoptInt(s.fd, unix.IPPROTO_IPV6, unix.IPV6_RECVERR, 1); err != nil || !s.raw {
			return err
		}
		filter := unix.ICMPv6Filter{}
		for i := range filter.Data {
			filter.Data[i] = ^uint32(0) // blocks
		}
		const reply = 129 // RFC 4443 section 4.2
		filter.Data[reply>>5] &^= 1 << (reply & 31)
		return unix.SetsockoptICMPv6Filter(s.fd, unix.IPPROTO_ICMPV6, unix.ICMPV6_FILTER, &filter)
	}
	if err := unix.SetsockoptInt(s.fd, unix.IPPROTO_IP, unix.IP_RECVERR, 1); err != nil || !s.raw {
		return err
	}
	const icmpFilter, allButReply = 1, -2 // raw(7): a set bit blocks its type; the reply has type 0
	return unix.SetsockoptInt(s.fd, unix.SOL_RAW, icmpFilter, allButReply)
}

// connect lets the kernel deliver nothing but what comes from the address.
func (s *pingSocket) connect(to netip.Addr) error {
	if !s.v6 {
		return unix.Connect(s.fd, &unix.SockaddrInet4{Addr: to.As4()})
	}
	sa := &unix.SockaddrInet6{Addr: to.As16()}
	if zone := to.Zone(); zone != "" {
		link, err := net.InterfaceByName(zone)
		if err != nil {
			return Own(err)
		}
		sa.ZoneId = uint32(link.Index)
	}
	return unix.Connect(s.fd, sa)
}
