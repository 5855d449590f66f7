package doctor

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"sync"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"
)

// ClientName is a name that programs of this host call.
type ClientName struct {
	Name        string
	Zone        string                  // empty: found by its delegation
	Authorities []netip.AddrPort        // empty: found by the delegation
	Clusters    map[string][]netip.Addr // where each cluster is; empty where no config tells
	Targets     map[string]string       // CNAME target of each cluster
}

// ClientAnswer is what one server says of a name now.
type ClientAnswer struct {
	Name      string
	At        netip.AddrPort
	Err       string
	Value     string // the target of the CNAME; empty: it has none
	TTL       uint32 // seconds that are left of it; without a CNAME those of the address
	Addresses []netip.Addr
}

// ClientFacts is how programs of this host come to addresses, and which they
// hold on to.
type ClientFacts struct {
	Names     []ClientName
	Conf      ResolvConf
	ConfErr   string
	Order     []string            // of nsswitch.conf
	Pinned    map[string][]string // by /etc/hosts
	Caches    []Cache
	Answers   []ClientAnswer          // of the resolvers
	Authority map[string]ClientAnswer // of the authorities, by name
	Java      []JavaFacts
	Proxies   []string // variables of the environment, without secrets
	Conns     []ConnCount
	Notes     []string // what could not be read of connections
}

// SurveyClient looks at this host and asks its resolvers and the authorities.
func (h Host) SurveyClient(ctx context.Context, a Asker, names []ClientName, proxies []string) ClientFacts {
	f := ClientFacts{Names: names, Proxies: proxies, Pinned: map[string][]string{}, Authority: map[string]ClientAnswer{}}
	conf, err := h.ResolvConf()
	if f.Conf = conf; err != nil {
		f.ConfErr = err.Error()
	}
	if text, err := h.read("/etc/nsswitch.conf"); err == nil {
		f.Order = ParseHostsOrder(text)
	}
	if text, err := h.read("/etc/hosts"); err == nil {
		for _, n := range names {
			if at := PinnedBy(text, n.Name); len(at) > 0 {
				f.Pinned[low(n.Name)] = at
			}
		}
	}
	ps := h.Processes()
	var running []string
	for _, p := range ps {
		running = append(running, p.Name)
		if p.Name == "java" {
			f.Java = append(f.Java, h.Java(p))
		}
	}
	f.Caches = h.Caches(running)
	a.askAll(ctx, &f)
	h.countConns(&f, ps)
	return f
}

// askAll asks every resolver, and one authority, of every name.
func (a Asker) askAll(ctx context.Context, f *ClientFacts) {
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(defaultConcurrent)
	for _, n := range f.Names {
		for _, at := range a.Resolvers {
			g.Go(func() error {
				got := a.clientAnswer(ctx, n.Name, at, true)
				mu.Lock()
				defer mu.Unlock()
				f.Answers = append(f.Answers, got)
				return nil
			})
		}
		g.Go(func() error {
			got := a.authoritative(ctx, n)
			mu.Lock()
			defer mu.Unlock()
			f.Authority[low(n.Name)] = got
			return nil
		})
	}
	_ = g.Wait() // what has no answer is a fact
	slices.SortFunc(f.Answers, func(x, y ClientAnswer) int {
		return cmp.Or(cmp.Compare(x.Name, y.Name), x.At.Compare(y.At))
	})
}

// clientAnswer asks one server for the address, as clients do.
func (a Asker) clientAnswer(ctx context.Context, name string, at netip.AddrPort, recurse bool) ClientAnswer {
	out := ClientAnswer{Name: low(name), At: at}
	r, err := a.put(ctx, at, name, dns.TypeA, recurse)
	switch {
	case err != nil:
		out.Err = words(err)
		return out
	case r.Rcode != dns.RcodeSuccess && len(r.Answer) == 0:
		out.Err = dns.RcodeToString[r.Rcode]
		return out
	case !recurse && !r.Authoritative:
		out.Err = "it is no authority for the name"
		return out
	}
	out.Addresses = addressesIn(r)
	for _, rr := range r.Answer {
		if low(rr.Header().Name) != out.Name {
			continue
		}
		if c, ok := rr.(*dns.CNAME); ok {
			out.Value = low(c.Target)
		}
		out.TTL = rr.Header().Ttl
	}
	if len(r.Answer) == 0 {
		out.Err = "no address and no CNAME"
	}
	return out
}

// authoritative asks the first authority that answers.
func (a Asker) authoritative(ctx context.Context, n ClientName) ClientAnswer {
	servers := n.Authorities
	if len(servers) == 0 {
		servers = a.findAuthorities(ctx, low(n.Name))
	}
	last := ClientAnswer{Name: low(n.Name), Err: "no authority was found"}
	for _, at := range servers {
		last = a.clientAnswer(ctx, n.Name, at, false)
		if last.Err == "" {
			return last
		}
	}
	return last
}

// findAuthorities walks up from a name to the zone that holds it.
func (a Asker) findAuthorities(ctx context.Context, name string) []netip.AddrPort {
	for _, i := range dns.Split(name) {
		var out []netip.AddrPort
		for _, host := range a.nsOf(ctx, name[i:]) {
			addrs, err := a.addresses(ctx, host)
			if err != nil {
				continue // another will do
			}
			for _, ip := range addrs {
				out = append(out, netip.AddrPortFrom(ip, a.port()))
			}
		}
		if len(out) > 0 {
			return out
		}
	}
	return nil
}

// countConns counts the open connections to either cluster. Where no config
// tells of clusters, those to what the name resolves to now.
func (h Host) countConns(f *ClientFacts, ps []Process) {
	sides := map[netip.Addr]string{}
	for _, n := range f.Names {
		for cluster, addrs := range n.Clusters {
			for _, ip := range addrs {
				sides[ip.Unmap()] = cluster
			}
		}
	}
	if len(sides) == 0 {
		for _, x := range f.Answers {
			for _, ip := range x.Addresses {
				sides[ip] = x.Name
			}
		}
	}
	conns, notes := h.Connections(func(c Conn) bool { return c.State != "LISTEN" && sides[c.Remote.Addr()] != "" })
	wanted := map[uint64]bool{}
	for _, c := range conns {
		if c.Inode != 0 {
			wanted[c.Inode] = true
		}
	}
	owners, closed := h.SocketOwners(ps, wanted)
	if f.Notes = notes; closed > 0 && len(owners) < len(wanted) {
		f.Notes = append(f.Notes, "the connections of other users' processes are counted, and shown without their names: ask as root for them")
	}
	f.Conns = CountConns(conns, func(ip netip.Addr) string { return sides[ip] }, owners)
}

// Where finds the addresses of a cluster: those that probes dial and those to
// which its target leads. None: nothing is known here.
func (a Asker) Where(ctx context.Context, t NameTarget, zone string, authorities []netip.AddrPort) []netip.Addr {
	out := a.dialled(ctx, t.Address).Addresses
	if t.Target != "" {
		out = append(out, a.follow(ctx, t.Target, NamePlan{Zone: low(zone)}, authorities).Addresses...)
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out)
}
