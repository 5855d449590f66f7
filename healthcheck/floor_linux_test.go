package healthcheck

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// BenchmarkProbeFloor says what a probe costs above the least that a fresh
// connection costs on this machine: a bare loop of system calls that asks the
// same server at the same pace, measured in turn with the prober, three times.
// Over loopback the kernel charges both ends of a connection to who sends. Over
// a pair of veth devices, with the server in a network namespace and on another
// processor that also does its half of the network's work (RPS), the share of
// the client alone shows; that needs root and two processors. Run it with
// -benchtime 1x.
func BenchmarkProbeFloor(b *testing.B) {
	for name, start := range map[string]func(*testing.B) []string{
		"loopback": func(b *testing.B) []string { a, _ := helper(b, scaleServer); return strings.Fields(a) },
		"veth":     serveBehindVeth,
	} {
		b.Run(name, func(b *testing.B) {
			addresses := start(b)
			defer pin(b, 0)()
			for range b.N {
				benchFloor(b, addresses)
			}
		})
	}
}

func benchFloor(b *testing.B, addresses []string) {
	const window, instances = 4 * time.Second, 10_000
	var ours, floors, ratios []float64
	for range 3 {
		p := newScaled(b, HTTP, addresses, instances, 5*time.Second)
		stop := p.start(b)
		time.Sleep(6 * time.Second) // a round: everybody was looked at
		was := p.Stats().Successes
		cost := spent(b, func() { time.Sleep(window) })
		our := cost / float64(p.Stats().Successes-was)
		stop()
		n := 0
		cost = spent(b, func() { n = bareProbes(b, addresses, 2*instances/5, window) })
		ours, floors = append(ours, our), append(floors, cost/float64(n))
		ratios = append(ratios, our/(cost/float64(n)))
	}
	for name, of := range map[string][]float64{"ours-cpu-µs/probe": ours, "floor-cpu-µs/probe": floors, "ratio": ratios} {
		slices.Sort(of)
		b.ReportMetric(of[1], name)
	}
	b.ReportMetric(0, "ns/op")
}

// spent is the CPU time of this process, in microseconds, while f runs.
func spent(b *testing.B, f func()) float64 {
	before := cpuTime(b)
	f()
	return float64((cpuTime(b) - before).Nanoseconds()) / 1e3
}

// pin keeps this process on one processor until it is undone.
func pin(b *testing.B, processor int) (undo func()) {
	var one, all unix.CPUSet
	one.Set(processor)
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		b.Fatal(err)
	}
	set := func(s *unix.CPUSet) {
		tasks, _ := filepath.Glob("/proc/self/task/*")
		for _, t := range tasks {
			id, _ := strconv.Atoi(filepath.Base(t))
			unix.SchedSetaffinity(id, s)
		}
	}
	set(&one)
	return func() { set(&all) }
}

// serveBehindVeth starts the servers in a network namespace of their own and on
// the second processor.
func serveBehindVeth(b *testing.B) []string {
	if os.Getuid() != 0 || runtime.NumCPU() < 2 {
		b.Skip("needs root and two processors")
	}
	space := fmt.Sprintf("pm%d", os.Getpid())
	here, there := space+"a", space+"b"
	ours, theirs := "198.18.77.1", "198.18.77.2"
	sh := func(line string) {
		if out, err := exec.Command("sh", "-ec", line).CombinedOutput(); err != nil {
			b.Fatalf("%s: %v: %s", line, err, out)
		}
	}
	b.Cleanup(func() { exec.Command("ip", "netns", "delete", space).Run() })
	sh("ip netns add " + space + " && ip link add " + here + " type veth peer name " + there + " netns " + space)
	sh("ip address add " + ours + "/30 dev " + here + " && ip link set " + here + " up && echo 1 >/sys/class/net/" + here + "/queues/rx-0/rps_cpus")
	sh("ip netns exec " + space + " sh -ec 'ip address add " + theirs + "/30 dev " + there + "; ip link set " + there + " up; echo 2 >/sys/class/net/" + there + "/queues/rx-0/rps_cpus'")
	cmd := exec.Command("ip", "netns", "exec", space, "taskset", "-c", "1", os.Args[0])
	cmd.Env = append(os.Environ(), scaleServer+"="+theirs)
	return strings.Fields(firstLine(b, cmd))
}

// bareProbes asks for as long as it is told, in beats of 5 ms, with as few
// system calls as there can be and none of what makes a probe one. It returns
// how many were answered.
func bareProbes(b *testing.B, addresses []string, rate int, lasting time.Duration) (answered int) {
	const beat = 5 * time.Millisecond
	wire := []byte("GET /healthz HTTP/1.1\r\nHost: i1.shop.lab.test\r\nUser-Agent: pointsman-probe (bench)\r\nConnection: close\r\nAccept: */*\r\n\r\n")
	var to []unix.RawSockaddrInet4
	for _, a := range addresses {
		at := netip.MustParseAddrPort(a)
		to = append(to, unix.RawSockaddrInet4{Family: unix.AF_INET, Port: at.Port()<<8 | at.Port()>>8, Addr: at.Addr().As4()})
	}
	var buf [4096]byte
	fds := make([]uintptr, rate*int(beat)/int(time.Second))
	each := func(do func(fd uintptr) unix.Errno) {
		for i, fd := range fds {
			for err := do(fd); err != 0; err = do(fd) {
				if err != unix.EAGAIN {
					b.Fatalf("socket %d: %v", i, err)
				}
				time.Sleep(100 * time.Microsecond)
			}
		}
	}
	begun := time.Now()
	for next := begun; next.Sub(begun) < lasting; next = next.Add(beat) {
		time.Sleep(time.Until(next))
		for i := range fds {
			fds[i], _, _ = unix.RawSyscall(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
			sa := &to[i%len(to)]
			unix.RawSyscall(unix.SYS_CONNECT, fds[i], uintptr(unsafe.Pointer(sa)), unix.SizeofSockaddrInet4)
		}
		time.Sleep(time.Millisecond)
		each(func(fd uintptr) unix.Errno {
			_, _, err := unix.RawSyscall(unix.SYS_WRITE, fd, uintptr(unsafe.Pointer(&wire[0])), uintptr(len(wire)))
			return err
		})
		time.Sleep(time.Millisecond)
		each(func(fd uintptr) unix.Errno {
			_, _, err := unix.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)))
			return err
		})
		for _, fd := range fds {
			unix.RawSyscall(unix.SYS_CLOSE, fd, 0, 0)
			answered++
		}
	}
	return answered
}
