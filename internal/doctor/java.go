package doctor

import (
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"
)

// JavaFacts is what could be seen of one Java virtual machine.
type JavaFacts struct {
	PID      int      `json:"pid"`
	Main     string   `json:"main"`              // class or jar
	Version  string   `json:"version,omitempty"` // of the runtime
	TTL      string   `json:"ttl"`               // networkaddress.cache.ttl in effect, in seconds; -1 is for ever
	From     string   `json:"from"`              // where that stands
	Stale    string   `json:"stale,omitempty"`   // networkaddress.cache.stale.ttl
	Negative string   `json:"negative,omitempty"`
	Guarded  bool     `json:"guarded"`         // it has a security manager
	Notes    []string `json:"notes,omitempty"` // what could not be read
}

// Names of properties. The first three are security properties: they stand in
// java.security, or in a file that -Djava.security.properties names, never in a
// -D of their own. The last is the system property that they replace
// (java.net.InetAddress, "InetAddress Caching").
const (
	ttlProperty      = "networkaddress.cache.ttl"
	negativeProperty = "networkaddress.cache.negative.ttl"
	staleProperty    = "networkaddress.cache.stale.ttl"
	oldProperty      = "sun.net.inetaddr.ttl"
)

// Java looks at one process that runs a virtual machine.
func (h Host) Java(p Process) JavaFacts {
	f := JavaFacts{PID: p.PID, Main: "?"}
	note := func(err error) { f.Notes = append(f.Notes, err.Error()) }
	cmdline, err := h.read(fmt.Sprintf("/proc/%d/cmdline", p.PID))
	if err != nil {
		note(err)
	}
	args := strings.Split(strings.TrimRight(string(cmdline), "\x00"), "\x00")
	defined := map[string]string{}
	for _, arg := range args[min(1, len(args)):] {
		if d, ok := strings.CutPrefix(arg, "-D"); ok {
			k, v, _ := strings.Cut(d, "=")
			defined[k] = v
			continue
		}
		if f.Main == "?" && !strings.HasPrefix(arg, "-") && arg != "" {
			f.Main = arg
		}
	}
	if text, err := h.read(fmt.Sprintf("/proc/%d/environ", p.PID)); err != nil {
		f.Notes = append(f.Notes, "its environment cannot be read: what JAVA_TOOL_OPTIONS adds is not known")
	} else {
		defineFrom(string(text), defined)
	}
	_, f.Guarded = defined["java.security.manager"]
	f.Guarded = f.Guarded && defined["java.security.manager"] != "disallow"
	props, from, notes := h.security(p.PID, defined)
	f.Notes = append(f.Notes, notes...)
	f.Version = h.javaVersion(p.PID)
	f.settle(props, from, defined)
	return f
}

// defineFrom takes the -D words of the two variables that a virtual machine reads.
func defineFrom(environ string, defined map[string]string) {
	for v := range strings.SplitSeq(environ, "\x00") {
		name, value, _ := strings.Cut(v, "=")
		if name != "JAVA_TOOL_OPTIONS" && name != "JDK_JAVA_OPTIONS" {
			continue
		}
		for _, w := range strings.Fields(value) {
			if d, ok := strings.CutPrefix(w, "-D"); ok {
				k, val, _ := strings.Cut(d, "=")
				if _, set := defined[k]; !set {
					defined[k] = val
				}
			}
		}
	}
}

// settle says which value counts (sun.net.InetAddressCachePolicy): the security
// property, then the old system property, then 30 s, or for ever under a
// security manager.
func (f *JavaFacts) settle(props, from, defined map[string]string) {
	f.Stale, f.Negative = props[staleProperty], props[negativeProperty]
	old := defined[oldProperty]
	switch v := props[ttlProperty]; {
	case v != "":
		f.TTL, f.From = v, ttlProperty+" in "+from[ttlProperty]
	case old != "":
		f.TTL, f.From = old, "-D"+oldProperty
	case f.Guarded:
		f.TTL, f.From = "-1", "the default under a security manager"
	default:
		f.TTL, f.From = "30", "the default"
	}
	if _, err := strconv.Atoi(f.TTL); err != nil {
		f.Notes = append(f.Notes, fmt.Sprintf("%s is %.20q, which is no number: the default of 30 s counts", ttlProperty, f.TTL))
		f.TTL = "30"
	}
	if v, set := defined[ttlProperty]; set {
		f.Notes = append(f.Notes, fmt.Sprintf("-D%s=%.20s has no effect: it is a security property", ttlProperty, v))
	}
}

// Seconds is the time that an address is kept; ok is false for ever.
func (f JavaFacts) Seconds() (n int, ok bool) {
	n, err := strconv.Atoi(f.TTL)
	return n, err == nil && n >= 0
}

// security reads java.security of the runtime, and what the file of
// -Djava.security.properties adds or, with a second =, puts in its place.
func (h Host) security(pid int, defined map[string]string) (props, from map[string]string, notes []string) {
	props, from = map[string]string{}, map[string]string{}
	take := func(file string) bool {
		text, err := h.of(pid, file)
		if err != nil {
			notes = append(notes, err.Error())
			return false
		}
		for k, v := range ParseProperties(text) {
			props[k], from[k] = v, file
		}
		return true
	}
	extra := defined["java.security.properties"]
	instead := strings.HasPrefix(extra, "=")
	extra = strings.TrimPrefix(strings.TrimPrefix(extra, "="), "file:")
	if !instead {
		home, err := h.javaHome(pid)
		switch {
		case err != nil:
			notes = append(notes, err.Error())
		default:
			firstOf([]string{
				home + "/conf/security/java.security", home + "/jre/lib/security/java.security", home + "/lib/security/java.security",
			}, take, &notes)
		}
	}
	if extra != "" {
		if !path.IsAbs(extra) {
			cwd, err := os.Readlink(h.path(fmt.Sprintf("/proc/%d/cwd", pid)))
			if err != nil {
				notes = append(notes, fmt.Sprintf("its folder cannot be read, and with it %s", extra))
				return props, from, notes
			}
			extra = path.Join(cwd, extra)
		}
		take(extra)
	}
	return props, from, notes
}

// firstOf takes the first file that is there; of those that are not one note
// is left.
func firstOf(files []string, take func(string) bool, notes *[]string) {
	before := len(*notes)
	for _, file := range files {
		if take(file) {
			*notes = (*notes)[:before]
			return
		}
	}
	*notes = append((*notes)[:before], "its java.security cannot be read ("+(*notes)[before]+"): the defaults are assumed")
}

// of reads a file as the process sees it, which may live in a container.
func (h Host) of(pid int, file string) ([]byte, error) {
	text, err := h.read(fmt.Sprintf("/proc/%d/root%s", pid, file))
	if err != nil {
		return h.read(file) // no right to look into its root: it is likely ours
	}
	return text, nil
}

func (h Host) javaHome(pid int) (string, error) {
	exe, err := os.Readlink(h.path(fmt.Sprintf("/proc/%d/exe", pid)))
	if err != nil {
		return "", fmt.Errorf("its program cannot be seen (%s): which java.security it reads is not known", plain(err))
	}
	return path.Dir(path.Dir(exe)), nil
}

func (h Host) javaVersion(pid int) string {
	home, err := h.javaHome(pid)
	if err != nil {
		return ""
	}
	text, err := h.of(pid, home+"/release")
	if err != nil {
		return ""
	}
	return strings.Trim(ParseProperties(text)["JAVA_VERSION"], `"`)
}

// ParseProperties reads the lines of a file of Java properties that are key and
// value in plain letters, continued lines included; the last of a key counts.
func ParseProperties(text []byte) map[string]string {
	out := map[string]string{}
	var long strings.Builder
	for line := range strings.SplitSeq(string(text), "\n") {
		line = strings.TrimSpace(line)
		if long.Len() == 0 && (line == "" || line[0] == '#' || line[0] == '!') {
			continue
		}
		if s, more := strings.CutSuffix(line, `\`); more {
			long.WriteString(s)
			continue
		}
		long.WriteString(line)
		whole := long.String()
		long.Reset()
		if i := strings.IndexAny(whole, "=:"); i > 0 {
			out[strings.TrimSpace(whole[:i])] = strings.TrimSpace(whole[i+1:])
		}
	}
	return out
}
