package doctor

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Conn is one TCP connection of a network namespace.
type Conn struct {
	Local, Remote netip.AddrPort
	State         string
	Inode         uint64 // 0: it belongs to no process any more
}

// tcpStates are the numbers of the kernel (include/net/tcp_states.h).
var tcpStates = []string{
	"", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT", "CLOSE", "CLOSE_WAIT", "LAST_ACK", "LISTEN", "CLOSING", "NEW_SYN_RECV",
}

// mostConns bounds what is read of /proc/net/tcp: a host with more is not
// counted to the end, and the result says so.
const mostConns = 500_000

// ParseTCP reads /proc/net/tcp or tcp6 (Documentation/networking/proc_net_tcp.rst)
// and keeps the connections that keep says, each once: the kernel writes the
// table in pieces, and shows a connection again when others went from before it
// meanwhile. What it shows last counts. odd counts lines that are none; cut says
// that there were more than are read.
func ParseTCP(r io.Reader, keep func(Conn) bool) (out []Conn, odd int, cut bool, err error) {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 4096), 64<<10)
	kept := map[[2]netip.AddrPort]int{} // where it stands in out
	for n := 0; s.Scan(); n++ {
		if n > mostConns {
			return out, odd, true, nil
		}
		line := strings.TrimSpace(s.Text())
		if line == "" || strings.HasPrefix(line, "sl ") {
			continue
		}
		c, ok := parseConn(line)
		if !ok {
			odd++
			continue
		}
		if !keep(c) {
			continue
		}
		ends := [2]netip.AddrPort{c.Local, c.Remote}
		if i, again := kept[ends]; again {
			out[i] = c
			continue
		}
		kept[ends] = len(out)
		out = append(out, c)
	}
	if errors.Is(s.Err(), bufio.ErrTooLong) {
		return out, odd + 1, true, nil
	}
	return out, odd, false, s.Err()
}

func parseConn(line string) (Conn, bool) {
	f := strings.Fields(line)
	if len(f) < 10 {
		return Conn{}, false
	}
	local, ok1 := parseHexAddr(f[1])
	remote, ok2 := parseHexAddr(f[2])
	state, err := strconv.ParseUint(f[3], 16, 8)
	inode, err2 := strconv.ParseUint(f[9], 10, 64)
	if !ok1 || !ok2 || err != nil || err2 != nil || state == 0 || int(state) >= len(tcpStates) {
		return Conn{}, false
	}
	return Conn{Local: local, Remote: remote, State: tcpStates[state], Inode: inode}, true
}

// parseHexAddr reads 0100007F:1F90. The address is written in words of 32 bits,
// each in the byte order of the machine; the port is not.
func parseHexAddr(s string) (netip.AddrPort, bool) {
	a, p, ok := strings.Cut(s, ":")
	raw, err := hex.DecodeString(a)
	port, err2 := strconv.ParseUint(p, 16, 16)
	if !ok || err != nil || err2 != nil || len(p) != 4 || len(raw) != 4 && len(raw) != 16 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(raw); i += 4 {
		binary.NativeEndian.PutUint32(raw[i:], binary.BigEndian.Uint32(raw[i:]))
	}
	addr, _ := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(addr.Unmap(), uint16(port)), true
}

// Connections returns those of this host's network namespace that keep says.
// notes say what could not be read.
func (h Host) Connections(keep func(Conn) bool) (out []Conn, notes []string) {
	for _, p := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		f, err := os.Open(h.path(p))
		if err != nil {
			notes = append(notes, fmt.Sprintf("%s: %s", p, plain(err)))
			continue
		}
		got, odd, cut, err := ParseTCP(f, keep)
		f.Close()
		out = append(out, got...)
		switch {
		case err != nil:
			notes = append(notes, fmt.Sprintf("%s: %s", p, plain(err)))
		case cut:
			notes = append(notes, fmt.Sprintf("%s has more than %d lines: the rest is not counted", p, mostConns))
		case odd > 0:
			notes = append(notes, fmt.Sprintf("%s has %d lines that cannot be read", p, odd))
		}
	}
	return out, notes
}

// ConnCount counts connections of one process to one side.
type ConnCount struct {
	Cluster string `json:"cluster"`
	State   string `json:"state"`
	Process string `json:"process"` // name and id; "?" where it cannot be read
	Count   int    `json:"count"`
}

// CountConns groups connections by cluster, state and process.
func CountConns(conns []Conn, clusterOf func(netip.Addr) string, owner map[uint64]string) []ConnCount {
	counts := map[ConnCount]int{}
	for _, c := range conns {
		k := ConnCount{Cluster: clusterOf(c.Remote.Addr()), State: c.State, Process: orElse(owner[c.Inode], "?")}
		if c.Inode == 0 {
			k.Process = "-" // in TIME_WAIT the kernel keeps it alone
		}
		counts[k]++
	}
	out := make([]ConnCount, 0, len(counts))
	for k, n := range counts {
		k.Count = n
		out = append(out, k)
	}
	slices.SortFunc(out, func(a, b ConnCount) int {
		return cmp.Or(cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.State, b.State), cmp.Compare(a.Process, b.Process))
	})
	return out
}
