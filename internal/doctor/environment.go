package doctor

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Environment is what a host is, for whoever looks at a bundle elsewhere.
type Environment struct {
	Host     string     `json:"host"`
	OS       string     `json:"os"`
	Kernel   string     `json:"kernel"`
	Machine  string     `json:"machine"`
	CPUs     int        `json:"cpus"`
	MemoryKB uint64     `json:"memory_kb,omitempty"`
	FreeKB   uint64     `json:"memory_available_kb,omitempty"`
	Load     string     `json:"load,omitempty"` // of 1, 5 and 15 minutes
	UpSecs   uint64     `json:"up_seconds,omitempty"`
	User     int        `json:"uid"`
	Clock    ClockState `json:"clock"`
	Disk     SpaceFacts `json:"disk"`
	Resolver ResolvConf `json:"resolver"`
}

// ClockState is what the kernel knows of its own clock.
type ClockState struct {
	Now    time.Time `json:"now"`
	Zone   string    `json:"zone"`
	Synced bool      `json:"synchronised"` // by NTP or PTP, in the kernel's view
	Why    string    `json:"why,omitempty"`
}

// Environment reads the facts of a host; data is the folder whose disk counts.
func (h Host) Environment(data string) Environment {
	e := Environment{CPUs: runtime.NumCPU(), User: os.Geteuid(), Disk: MeasureSpace(data)}
	e.Host, _ = os.Hostname() // empty where it is not known
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		e.Kernel, e.Machine = unix.ByteSliceToString(u.Release[:]), unix.ByteSliceToString(u.Machine[:])
	}
	if text, err := h.read("/etc/os-release"); err == nil {
		e.OS = strings.Trim(ParseProperties(text)["PRETTY_NAME"], `"`)
	}
	if text, err := h.read("/proc/meminfo"); err == nil {
		for _, line := range lines(text, "#") {
			f := strings.Fields(line)
			if len(f) < 2 {
				continue
			}
			n, _ := strconv.ParseUint(f[1], 10, 64) // 0 where it is none
			switch f[0] {
			case "MemTotal:":
				e.MemoryKB = n
			case "MemAvailable:":
				e.FreeKB = n
			}
		}
	}
	if text, err := h.read("/proc/loadavg"); err == nil {
		f := strings.Fields(string(text))
		e.Load = strings.Join(f[:min(3, len(f))], " ")
	}
	if text, err := h.read("/proc/uptime"); err == nil {
		secs, _, _ := strings.Cut(string(text), ".")
		e.UpSecs, _ = strconv.ParseUint(secs, 10, 64) // 0 where it is none
	}
	e.Clock = ReadClock()
	e.Resolver, _ = h.ResolvConf() // without a file its defaults hold
	return e
}

// ReadClock asks the kernel about its clock and changes nothing.
func ReadClock() ClockState {
	now := time.Now()
	zone, _ := now.Zone()
	c := ClockState{Now: now, Zone: zone}
	c.Why = undisciplined()
	c.Synced = c.Why == ""
	return c
}

// JudgeHere says whether anything keeps the clock of this host right.
func JudgeHere(c ClockState) Finding {
	const id = "clock.here"
	if !c.Synced {
		return bad(Warn, id, "", "run chrony, ntpd or systemd-timesyncd; where the machine below keeps the clock right, this says nothing", "%s %s: %s", c.Now.Format(time.RFC3339), c.Zone, c.Why)
	}
	return okay(id, "", "%s %s, kept right by the kernel's NTP discipline", c.Now.Format(time.RFC3339), c.Zone)
}
