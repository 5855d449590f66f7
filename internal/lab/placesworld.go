package lab

import (
	"encoding/base64"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"pointsman/internal/lab/alicloud"
)

// vpcLab is the network whose resolver answers the private zone.
const vpcLab = "vpc-lab"

// placesWorld is what the story of the places runs in.
type placesWorld struct {
	dir      string
	secret   string // of the key of dynamic updates
	cloud    *alicloud.Server
	zones    map[string]string // of the cloud, name to ID
	bind     netip.AddrPort    // authority, and the clients' resolver
	own      netip.AddrPort    // the embedded authority
	clusters []ClusterSite
	places   []*Place
}

// newPlacesWorld takes addresses, starts the cloud and writes the controller's
// files.
func newPlacesWorld(dir string) (*placesWorld, error) {
	w := &placesWorld{dir: dir, zones: map[string]string{}}
	key, err := secret()
	if err != nil {
		return nil, err
	}
	w.secret = base64.StdEncoding.EncodeToString([]byte(key))
	if err := w.addresses(); err != nil {
		return nil, err
	}
	if err := w.startCloud(); err != nil {
		return nil, err
	}
	if err := w.fill(); err != nil {
		w.cloud.Close()
		return nil, err
	}
	return w, nil
}

func (w *placesWorld) addresses() error {
	local, taken := netip.AddrFrom4([4]byte{127, 0, 0, 1}), map[uint16]bool{}
	var err error
	pick := func(ip netip.Addr) netip.AddrPort {
		port, perr := freePort(0, taken, []netip.Addr{ip})
		if err == nil {
			err = perr
		}
		return netip.AddrPortFrom(ip, port)
	}
	taken[0] = true // any but that
	w.bind, w.own = pick(local), pick(local)
	for i, name := range []string{"a", "b"} {
		w.clusters = append(w.clusters, ClusterSite{Name: name, Addr: pick(netip.AddrFrom4([4]byte{127, 0, 1, byte(i + 1)})), Manage: pick(local)})
	}
	return err
}

func (w *placesWorld) startCloud() error {
	s, err := alicloud.New(alicloud.Options{Authorities: []alicloud.Authority{{}}, VPCs: []alicloud.VPC{{ID: vpcLab, Upstream: w.bind.String()}}})
	if err != nil {
		return fmt.Errorf("the lab's cloud: %w", err)
	}
	w.cloud = s
	for _, z := range []alicloud.Zone{{Name: "cloud.test"}, {Name: "vpc.test", Private: true, VPCs: []string{vpcLab}}} {
		id, err := s.AddZone(z)
		if err == nil {
			w.zones[z.Name] = id
			_, err = s.AddRecord(id, alicloud.Record{RR: "orders", Type: "CNAME", Value: "a.back.test", TTL: 5})
		}
		if err != nil {
			s.Close()
			return fmt.Errorf("the lab's cloud: %w", err)
		}
	}
	return nil
}

// fill names the places and writes the controller's files.
func (w *placesWorld) fill() error {
	authority, err := netip.ParseAddrPort(w.cloud.Authorities()[0])
	if err != nil {
		return fmt.Errorf("the lab's cloud: %w", err)
	}
	vpc, err := netip.ParseAddrPort(w.cloud.Resolver(vpcLab))
	if err != nil {
		return fmt.Errorf("the lab's cloud: %w", err)
	}
	const a, b = "a.back.test.", "b.back.test."
	w.places = []*Place{
		{Provider: "rfc2136", Name: "orders.bind.test.", Asked: w.bind, from: a, to: b},
		{Provider: "rpz", Name: "orders.vendor.example.", Asked: w.bind, resolver: true, from: a, to: b},
		{Provider: "alidns", Name: "orders.cloud.test.", Asked: authority, from: a, to: b},
		{Provider: "pvtz", Name: "orders.vpc.test.", Asked: vpc, resolver: true, from: a, to: b},
		{Provider: "embedded", Name: "orders.svc.test.", Asked: w.own, embedded: true, from: "a.svc.test.", to: "b.svc.test."},
	}
	hosts := map[string]netip.Addr{}
	for _, c := range w.clusters {
		hosts[c.Name+".back.test."], hosts[c.Name+".svc.test."] = c.Addr.Addr(), c.Addr.Addr()
	}
	for _, p := range w.places {
		if p.rec, err = NewRecorder(RecorderConfig{Server: p.Asked, Name: p.Name, Hosts: hosts, Recurse: p.resolver, Every: 5 * time.Millisecond}); err != nil {
			return err
		}
	}
	if err := os.Mkdir(filepath.Join(w.dir, "logs"), 0o700); err != nil {
		return fmt.Errorf("folder of the logs: %w", err)
	}
	for name, text := range map[string]string{"tsig.key": w.secret + "\n", "pointsman.yaml": w.config(authority, vpc)} {
		if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o600); err != nil {
			return fmt.Errorf("files of the controller: %w", err)
		}
	}
	return nil
}

// named is the BIND of this world: primary of a zone that is moved in, of the
// policy zone, of the targets' zone and of that of the static alias; and the
// resolver of the clients, to whom the policy applies.
func (w *placesWorld) named() server {
	dir := filepath.Join(w.dir, "named")
	const soa = "$TTL 5\n@ IN SOA localhost. hostmaster.test. 1 300 60 604800 5\n@ IN NS localhost.\n"
	return server{
		part: "named", addr: w.bind, dir: dir, program: "named", args: []string{"-g", "-n", "1", "-c", filepath.Join(dir, "named.conf")},
		files: map[string]string{
			"bind.test.zone":  soa + "orders IN CNAME a.back.test.\n",
			"rpz.test.zone":   soa + "orders.vendor.example IN CNAME a.back.test.\n",
			"front.test.zone": soa + "orders 3600 IN CNAME orders.svc.test.\n",
			"back.test.zone":  soa + fmt.Sprintf("a IN A %s\nb IN A %s\n", w.clusters[0].Addr.Addr(), w.clusters[1].Addr.Addr()),
			"named.conf": strings.NewReplacer("$DIR", dir, "$PORT", fmt.Sprint(w.bind.Port()), "$SECRET", w.secret).Replace(`key "ctl." { algorithm hmac-sha256; secret "$SECRET"; };
options {
	directory "$DIR"; pid-file none; session-keyfile none; lock-file none;
	listen-on port $PORT { 127.0.0.1; }; listen-on-v6 { none; };
	recursion yes; allow-recursion { 127.0.0.0/8; }; notify no; dnssec-validation no;
	response-policy { zone "rpz.test." max-policy-ttl 5; } break-dnssec yes qname-wait-recurse no min-update-interval 1;
};
controls { };
zone "bind.test." { type primary; file "bind.test.zone"; update-policy { grant ctl. name orders.bind.test. CNAME; grant ctl. name _pointsman.orders.bind.test. TXT; }; };
zone "rpz.test." {
	type primary; file "rpz.test.zone"; allow-query { 127.0.0.0/8; };
	update-policy { grant ctl. name orders.vendor.example.rpz.test. CNAME; grant ctl. name orders.vendor.example._pointsman.rpz.test. TXT; };
};
zone "front.test." { type primary; file "front.test.zone"; };
zone "back.test." { type primary; file "back.test.zone"; };
`),
		},
	}
}

// config has one instance, each of whose five names is kept elsewhere.
func (w *placesWorld) config(authority, vpc netip.AddrPort) string {
	var b strings.Builder
	b.WriteString(strings.NewReplacer(
		"$BIND", w.bind.String(), "$OWN", w.own.String(), "$API", w.cloud.Endpoint(), "$AUTHORITY", authority.String(), "$VPC", vpc.String(),
		"$ZONE", w.zones["vpc.test"], "$A", w.clusters[0].Addr.String(), "$B", w.clusters[1].Addr.String(),
	).Replace(`controller: {name: ctl-1, data: data, socket: data/s}
vantage: {name: ctl-1, domain: rack-1, controls: ["tcp://$BIND"]}
single_vantage: accept
authority:
  listen: ["$OWN"]
  zones: [{name: svc.test., hosts: {a.svc.test.: [127.0.1.1], b.svc.test.: [127.0.1.2]}}]
providers:
  rfc2136: {type: rfc2136, server: "$BIND", zone: bind.test., key: {name: ctl., secret_file: tsig.key}, authorities: ["$BIND"], ttl_floor: 5s}
  rpz: {type: rpz, server: "$BIND", zone: rpz.test., key: {name: ctl., secret_file: tsig.key}, resolvers: ["$BIND"], ttl_floor: 5s}
  alidns: {type: alidns, zone: cloud.test., endpoint: "http://$API", credentials: {env: true}, authorities: ["$AUTHORITY"], settle: 1s, ttl_floor: 5s}
  pvtz: {type: pvtz, zone: vpc.test., zone_id: "$ZONE", endpoint: "http://$API", credentials: {env: true}, resolvers: ["$VPC"], settle: 1s, ttl_floor: 5s}
instances:
  - name: orders
    preset: fast-lab
    clusters:
      a: {address: "$A"}
      b: {address: "$B"}
    primary: a
    check: {type: http, path: /healthz, identity: {header: X-Cluster}}
    ttl: 5s
    names:
`))
	for _, p := range w.places {
		aliases := ""
		if p.embedded {
			aliases = ", aliases: [orders.front.test.]"
		}
		fmt.Fprintf(&b, "      - {name: %s, provider: %s, targets: {a: %s, b: %s}%s}\n", p.Name, p.Provider, p.from, p.to, aliases)
	}
	return b.String()
}
