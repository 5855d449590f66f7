package doctor

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// ClientCatalogue lists every check of pointsman doctor client.
var ClientCatalogue = []Entry{
	{"client.resolver", "which resolvers programs of this host ask, and how"},
	{"client.order", "names come from DNS, and no file pins them"},
	{"client.cache", "no cache of this host keeps addresses for longer than their TTL"},
	{"client.answer", "each resolver says what the authorities say, with no more than their TTL"},
	{"client.java", "Java virtual machines forget addresses within a minute"},
	{"client.proxy", "no proxy resolves in the place of programs"},
	{"client.connections", "which programs hold connections to either cluster"},
	{"client.bound", "by when programs of this host have moved after a move"},
}

// javaWarn is the longest cache of a virtual machine that is not warned of, in
// seconds: its default is 30.
const javaWarn = 60

// JudgeClient says what keeps programs of this host at an old address.
func JudgeClient(f ClientFacts) []Finding {
	out := []Finding{judgeResolver(f)}
	out = append(out, judgeOrder(f)...)
	out = append(out, judgeCaches(f)...)
	out = append(out, judgeAnswers(f)...)
	out = append(out, judgeJava(f)...)
	out = append(out, judgeProxies(f), judgeConns(f), judgeBound(f))
	return Merge(out)
}

func judgeResolver(f ClientFacts) Finding {
	const id = "client.resolver"
	var asked []string
	for _, at := range f.Conf.Asked() {
		word := server(at)
		if word == "127.0.0.53" || word == "127.0.0.54" {
			word += " (systemd-resolved)"
		}
		asked = append(asked, word)
	}
	evidence := fmt.Sprintf("asks %s, %s each, %d tries; ndots %d, search %s, options %s", strings.Join(asked, ", "), f.Conf.Timeout, f.Conf.Attempts,
		f.Conf.Ndots, orElse(strings.Join(f.Conf.Search, " "), "none"), orElse(strings.Join(f.Conf.Options, " "), "none"))
	if f.ConfErr != "" {
		return bad(Warn, id, "", "write the resolvers into /etc/resolv.conf", "%s; %s", f.ConfErr, evidence)
	}
	var searched []string
	for _, n := range f.Names {
		if dots := strings.Count(strings.TrimSuffix(n.Name, "."), "."); dots < f.Conf.Ndots && len(f.Conf.Search) > 0 {
			searched = append(searched, n.Name)
		}
	}
	switch {
	case len(f.Conf.Odd) > 0:
		return bad(Warn, id, "", "correct /etc/resolv.conf", "%s; %s", strings.Join(f.Conf.Odd, "; "), evidence)
	case len(searched) > 0:
		return bad(Warn, id, "", "let programs write the name with its final dot, or lower ndots: each look-up first asks for names that do not exist",
			"%s is looked for under %s first; %s", strings.Join(searched, ", "), strings.Join(f.Conf.Search, " "), evidence)
	}
	return okay(id, "", "%s", evidence)
}

func judgeOrder(f ClientFacts) []Finding {
	const id = "client.order"
	var out []Finding
	for name, at := range f.Pinned {
		out = append(out, bad(Fail, id, name, "take the line out of /etc/hosts: programs of this host never follow a move", "/etc/hosts pins it to %s", strings.Join(at, ", ")))
	}
	order := strings.Join(f.Order, " ")
	switch {
	case len(f.Order) == 0:
		out = append(out, okay(id, "", "nsswitch.conf has no line for hosts: dns and then files, or what the C library of this host does without one"))
	case !slices.Contains(f.Order, "dns") && !slices.Contains(f.Order, "resolve"):
		out = append(out, bad(Warn, id, "", "add dns to the line hosts: of /etc/nsswitch.conf", "hosts: %s: programs that use the C library ask no DNS", order))
	default:
		out = append(out, okay(id, "", "hosts: %s", order))
	}
	return out
}

func judgeCaches(f ClientFacts) []Finding {
	const id = "client.cache"
	if len(f.Caches) == 0 {
		return []Finding{okay(id, "", "neither nscd nor systemd-resolved, dnsmasq or unbound runs here")}
	}
	var out []Finding
	for _, c := range f.Caches {
		ttl, known := f.ttl()
		switch {
		case c.Keeps > 0 && (!known || c.Keeps > ttl):
			out = append(out, bad(Warn, id, c.Name, fmt.Sprintf("in %s let it keep addresses no longer than their TTL", orElse(c.Path, "its settings")), "%s", c.What))
		case c.Stale:
			out = append(out, bad(Warn, id, c.Name, "take that out, or count on old addresses while authorities are down", "%s", c.What))
		default:
			out = append(out, okay(id, c.Name, "%s", c.What))
		}
	}
	return out
}

// ttl is the longest that an authority serves a name with.
func (f *ClientFacts) ttl() (time.Duration, bool) {
	var most uint32
	known := false
	for _, a := range f.Authority {
		if a.Err == "" {
			most, known = max(most, a.TTL), true
		}
	}
	return time.Duration(most) * time.Second, known
}

func judgeAnswers(f ClientFacts) []Finding {
	const id = "client.answer"
	var out []Finding
	for _, a := range f.Answers {
		auth := f.Authority[a.Name]
		at := server(a.At)
		says := fmt.Sprintf("%s says %s for %d s more", at, orElse(a.Value, addressList(a.Addresses)), a.TTL)
		switch {
		case a.Err == "NXDOMAIN":
			out = append(out, bad(Fail, id, a.Name, "check the spelling, and whether this resolver sees the zone (split view, delegation)", "%s: there is no such name (NXDOMAIN)", at))
		case a.Err != "":
			out = append(out, bad(Fail, id, a.Name, "mend that resolver, or its way to the authorities", "%s: %s", at, a.Err))
		case auth.Err != "":
			out = append(out, Skip(id, a.Name, "%s; the authorities: %s", says, auth.Err))
		case a.TTL > auth.TTL:
			out = append(out, bad(Warn, id, a.Name, "lower the least time that this resolver keeps answers (cache-min-ttl, min-cache-ttl, minimum-ttl-override)",
				"%s, and the authorities give it %d s", says, auth.TTL))
		case a.Value != auth.Value:
			out = append(out, bad(Warn, id, a.Name, fmt.Sprintf("wait %d s and ask again", a.TTL), "%s, and the authorities say %s", says, orElse(auth.Value, addressList(auth.Addresses))))
		default:
			out = append(out, okay(id, a.Name, "%s, as the authorities do (TTL %d s)", says, auth.TTL))
		}
	}
	if len(out) == 0 {
		out = append(out, Skip(id, "", "no name was given, and no resolver asked"))
	}
	return out
}

func judgeJava(f ClientFacts) []Finding {
	const id = "client.java"
	if len(f.Java) == 0 {
		return []Finding{okay(id, "", "no Java virtual machine runs here, or none is shown to this user")}
	}
	var out []Finding
	for _, j := range f.Java {
		about := fmt.Sprintf("java %d (%.60s)", j.PID, j.Main)
		says := fmt.Sprintf("keeps addresses for %s s (%s)", j.TTL, j.From)
		if len(j.Notes) > 0 {
			says += "; " + strings.Join(j.Notes, "; ")
		}
		n, ends := j.Seconds()
		fix := "set networkaddress.cache.ttl=30 in java.security of that runtime, or by -Djava.security.properties=FILE, and start it anew"
		switch {
		case !ends:
			out = append(out, bad(Fail, id, about, fix, "it keeps addresses for ever (%s); %s", j.From, strings.Join(j.Notes, "; ")))
		case n > javaWarn:
			out = append(out, bad(Warn, id, about, fix, "%s", says))
		default:
			out = append(out, okay(id, about, "%s", says))
		}
	}
	return out
}

func judgeProxies(f ClientFacts) Finding {
	const id = "client.proxy"
	if len(f.Proxies) == 0 {
		return okay(id, "", "none in the environment of this command; other programs have their own")
	}
	return bad(Warn, id, "", "add the names to NO_PROXY, or look at the caches and connections of the proxy too: it resolves in the place of programs", "%s", strings.Join(f.Proxies, ", "))
}

func judgeConns(f ClientFacts) Finding {
	const id = "client.connections"
	var parts []string
	old := 0
	active := f.active()
	for _, c := range f.Conns {
		parts = append(parts, fmt.Sprintf("%d to %s %s by %s", c.Count, c.Cluster, c.State, c.Process))
		if c.State == "ESTABLISHED" && len(active) > 0 && !active[c.Cluster] {
			old += c.Count
		}
	}
	evidence := orElse(strings.Join(parts, ", "), "none to either cluster")
	if len(f.Notes) > 0 {
		evidence += "; " + strings.Join(f.Notes, "; ")
	}
	if old > 0 {
		return bad(Warn, id, "", "rebuild the pools of these programs, or start them anew: a connection that stays open never follows the name",
			"%d are open to a cluster that the name has left: %s", old, evidence)
	}
	return okay(id, "", "%s", evidence)
}

// active are the clusters at which the authorities say that the names point;
// empty: not known, or no config tells of clusters.
func (f *ClientFacts) active() map[string]bool {
	out := map[string]bool{}
	for _, n := range f.Names {
		a := f.Authority[low(n.Name)]
		for cluster, target := range n.Targets {
			if a.Err == "" && a.Value != "" && low(target) == a.Value {
				out[cluster] = true
			}
		}
	}
	return out
}

// judgeBound adds up what keeps a look-up old. The life of a connection is a
// term of its own and is never folded into the sum.
func judgeBound(f ClientFacts) Finding {
	const id = "client.bound"
	ttl, known := f.ttl()
	if !known {
		return Skip(id, "", "the TTL is not known: no authority answered")
	}
	terms := []string{fmt.Sprintf("%s TTL", ttl)}
	sum := ttl
	for _, c := range f.Caches {
		if c.Keeps > 0 {
			sum += c.Keeps
			terms = append(terms, fmt.Sprintf("%s %s", c.Keeps, c.Name))
		}
	}
	longest, forever := 0, false
	for _, j := range f.Java {
		n, ends := j.Seconds()
		forever = forever || !ends
		longest = max(longest, n)
	}
	if longest > 0 {
		sum += time.Duration(longest) * time.Second
		terms = append(terms, fmt.Sprintf("%d s Java", longest))
	}
	open := 0
	for _, c := range f.Conns {
		if c.State == "ESTABLISHED" {
			open += c.Count
		}
	}
	evidence := fmt.Sprintf("new look-ups: within %s of the moment when all authorities show the move (%s)", sum, strings.Join(terms, " + "))
	if forever {
		evidence += "; a Java virtual machine: never"
	}
	evidence += "; open connections: until they close, no bound"
	if open > 0 {
		evidence += fmt.Sprintf(" (%d now)", open)
	}
	switch {
	case len(f.Pinned) > 0:
		return bad(Fail, id, "", "see client.order", "never: /etc/hosts pins a name")
	case forever:
		return bad(Fail, id, "", "see client.java", "%s", evidence)
	case open > 0:
		return bad(Warn, id, "", "be ready to cut or rebuild the pools of these programs after a move", "%s", evidence)
	}
	return okay(id, "", "%s", evidence)
}
