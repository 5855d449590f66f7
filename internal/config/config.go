package config

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"syscall"
	"time"

	"github.com/goccy/go-yaml/ast"

	"pointsman/dnsctl"
	"pointsman/dnsctl/authority"
	"pointsman/healthcheck"
	"pointsman/internal/failover"
	"pointsman/internal/ledger"
	"pointsman/internal/report"
)

// Config is pointsman.yaml, checked and resolved. Paths are absolute or start
// at the folder of the file.
type Config struct {
	File       string // as it was given to Load
	Controller Controller
	Self       Vantage // the controller's own eyes
	Vantages   []Vantage
	Authority  *authority.Config // nil without one; its keys lack only their secrets
	Keys       []TransferKey     // beside Authority.Keys
	// CookieSecretFile holds the secrets of DNS cookies; empty: one is drawn at the start.
	CookieSecretFile string
	Providers        []Provider
	Resolvers        []dnsctl.PanelResolver // asked after each switch
	Notify           *Notify                // nil without notification
	Instances        []Instance
	Reports          []report.Config
	Warnings         Faults // what works and is probably not meant
	Rights           Faults // those of the Warnings that say who else may change the file
	Contents                // what it was made of

	doc   *fileDoc
	items *items // nil: it could not be cut
}

// Controller is the process itself and where it can be spoken to.
type Controller struct {
	Name      string // in marks and the audit
	Data      string // folder of ledger.db, history.db and the lock
	Socket    string // of the operator verbs
	Listen    string // host:port on loopback, or empty
	Advertise string // URL under which vantages reach Listen
	TokenFile string // path, with Listen

	Principals []Principal

	// MetricsInstances is how many instances have metrics of their own.
	MetricsInstances int
}

// Principal is a person or a program with a token of its own.
type Principal struct {
	Name      string
	Role      string // viewer, approver, operator
	TokenFile string // path
}

// Ledger is the config of the ledger.
func (c Controller) Ledger() ledger.Config { return ledger.Config{Dir: c.Data, Owner: c.Name} }

// Vantage is one that may vote.
type Vantage struct {
	Name     failover.VantageName
	Domain   failover.DomainName
	KeyFile  string // path; empty for the controller's own
	Controls []healthcheck.Control
	Allow    []netip.Prefix // networks that probes may reach although they are link-local

	WatchTargets int // that may have a held-open connection beside their probes
}

// Alias is a name that clients call. A CNAME that nobody moves leads from it to
// the managed name, so that a move changes nothing where the alias is kept.
type Alias struct {
	Alias failover.RecordName
	To    failover.RecordName // one of the instance's names
}

// Provider is one external DNS service: what every kind of them has, and the
// config of its kind, which is the only one that is not nil. That config lacks
// only the secrets, which the caller reads from their files (or leaves out with
// ReadOnly).
type Provider struct {
	Name        string
	Type        string
	Zone        failover.RecordName // canonical; empty where the file has none that can be read
	Authorities []netip.AddrPort    // as the file lists them
	Timeout     time.Duration       // of one call
	Allowed     map[failover.RecordName][]failover.Target

	Resolvers []netip.AddrPort // those that show its moves, where no authority does

	Update     *dnsctl.RFC2136Config // of dynamic updates
	RPZ        *dnsctl.RPZConfig     // the same, for a response policy zone
	SecretFile string                // of the key of both

	Alidns *dnsctl.AlidnsConfig
	Pvtz   *dnsctl.PvtzConfig

	LibDNS           *dnsctl.LibDNSConfig
	SettingsFile     string // of its module
	ReadSettingsFile string // the same for a dry run
}

// TransferKey says where the secret of a key of the authority is.
type TransferKey struct {
	Name       failover.RecordName
	SecretFile string
}

// Instance is one instance, ready for the core and the prober.
type Instance struct {
	Policy   failover.Policy
	Targets  []healthcheck.Target // one for each cluster, in the order of Policy.Clusters
	Hooks    []Hook               // one for each of Policy.Hooks
	Aliases  []Alias              // names that clients call and that lead to managed ones
	Settings []Setting            // what it runs with and where that came from
	// Replication carries rows to the standby; nil: nothing does.
	Replication *Replication
	// Domains are the failure domains of the clusters, where they are written.
	// Nothing is decided by them: pointsman doctor compares them with those of
	// the vantages.
	Domains map[failover.ClusterName]failover.DomainName

	generation string // empty: not worked out yet
	warnings   Faults // its part of Config.Warnings
	bound      bool   // to this machine or to another file
}

// Generation is the hash that a vote on this instance must bear.
func (i Instance) Generation() string {
	if i.generation == "" {
		return healthcheck.Generation(i.Targets)
	}
	return i.generation
}

// targets lists the targets of all instances.
func (cfg *Config) targets() []healthcheck.Target {
	var all []healthcheck.Target
	for _, i := range cfg.Instances {
		all = append(all, i.Targets...)
	}
	return all
}

// VantageFile is vantage.yaml, checked and resolved.
type VantageFile struct {
	File        string
	Name        failover.VantageName
	KeyFile     string
	Controllers []string       // URLs
	Roots       *x509.CertPool // to trust for https controllers; nil is the system's
	Controls    []healthcheck.Control
	Allow       []netip.Prefix
	Targets     []healthcheck.Target // of all instances
	Warnings    Faults
	Rights      Faults // those of the Warnings that say who else may change the file

	WatchTargets int // that may have a held-open connection beside their probes
	Contents

	doc   *vantageFileDoc
	items *items // nil: it could not be cut
}

// Load reads and checks pointsman.yaml. It opens the file and the CA files
// that checks name, and nothing else: secrets are read by [ReadSecretFile].
// A file with mistakes gives [Faults].
func Load(path string) (*Config, error) { return loadFile(path, openAny, nil) }

// LoadAfter is Load for the file of old, and gives the same. What stands in it
// as old had it is taken over: of ten thousand instances one of which has
// changed, one is parsed. Nothing of either config may be changed after that.
func LoadAfter(old *Config) (*Config, error) { return loadFile(old.File, openRegular, old) }

func loadFile(path string, open opening, old *Config) (*Config, error) {
	data, loose, err := readConfig(path, open)
	if err != nil {
		return nil, err
	}
	return compileGuarded(path, data, loose, old)
}

// compileGuarded is compileFile for a text that was read from a file; loose
// says who else may change it.
func compileGuarded(path string, data []byte, loose Faults, old *Config) (*Config, error) {
	cfg, err := compileFile(path, data, readFile, old)
	if err == nil {
		if err := guardCommands(loose, cfg.targets(), cfg.runs()); err != nil {
			return nil, err
		}
		cfg.Warnings, cfg.Rights = append(loose, cfg.Warnings...), loose
	}
	return cfg, err
}

// Parse checks the text of a pointsman.yaml and opens no file: a CA that a
// check takes from a file stays unread. The name stands before every mistake
// and its folder is where relative paths start.
func Parse(name string, data []byte) (*Config, error) { return compileFile(name, data, nil, nil) }

// LoadVantage reads and checks vantage.yaml, as Load does for pointsman.yaml.
func LoadVantage(path string) (*VantageFile, error) { return loadVantage(path, openAny, nil) }

// LoadVantageAfter is LoadVantage for the file of old, as LoadAfter does it.
func LoadVantageAfter(old *VantageFile) (*VantageFile, error) {
	return loadVantage(old.File, openRegular, old)
}

func loadVantage(path string, open opening, old *VantageFile) (*VantageFile, error) {
	data, loose, err := readConfig(path, open)
	if err != nil {
		return nil, err
	}
	v, err := compileVantageFile(path, data, readFile, old)
	if err == nil {
		if err := guardCommands(loose, v.Targets, ""); err != nil {
			return nil, err
		}
		v.Warnings, v.Rights = append(loose, v.Warnings...), loose
	}
	return v, err
}

// ParseVantage checks the text of a vantage.yaml and opens no file.
func ParseVantage(name string, data []byte) (*VantageFile, error) {
	return compileVantageFile(name, data, nil, nil)
}

// readFile reads at most one byte more than a config may have, so that a huge
// file cannot fill the memory, and nothing but regular files: a pipe would
// hold the process up, and a device would not end.
func readFile(path string) ([]byte, error) {
	f, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readOpen(f)
}

// openRegular opens a file for reading if it is a regular one. It never waits
// for whoever writes into a pipe.
func openRegular(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, Fault{File: path, Message: plainErr(err), Hint: "give the path of the config with -c"}
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errNoFile
	}
	if err != nil {
		f.Close()
		return nil, Fault{File: path, Message: plainErr(err)}
	}
	return f, nil
}

var errNoFile = errors.New("is no regular file")

func readOpen(f *os.File) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, Fault{File: f.Name(), Message: plainErr(err)}
	}
	return data, nil
}

// plainErr drops operation and path, which stand in the fault already.
func plainErr(err error) string {
	if pe, ok := errors.AsType[*os.PathError](err); ok {
		return pe.Err.Error()
	}
	return err.Error()
}

// compiler turns a decoded file into what the rooms want.
type compiler struct {
	*notes
	dir  string
	made Contents
	read func(string) ([]byte, error) // of CA files; nil reads none

	allHooks hookSet                       // of instances that have none of their own
	eyes     []eye                         // who probes
	names    map[failover.RecordName]owner // every managed name, and who has it
	aliasAt  map[failover.RecordName]pos   // every alias
	zonesFor map[string]pos                // paths inside the authority's config to places in instances
	frozen   *[]failover.Window            // the freezes of all instances; nil: not read yet
}

// eye is a vantage, with the networks that it may reach although they are
// refused otherwise.
type eye struct {
	name  failover.VantageName
	allow []netip.Prefix
}

type owner struct {
	instance string
	at       pos
}

// cut finds the items of a text that may be parsed.
func (c *compiler) cut(data []byte) (*items, bool) {
	if !c.src.check(c.notes, data) {
		return nil, false
	}
	return cutItems(c.src.lines)
}

func newCompiler(name string, data []byte, read func(string) ([]byte, error)) *compiler {
	return &compiler{
		notes: &notes{src: newSource(name, data)}, dir: filepath.Dir(name), made: contentsOf(data), read: read,
		names: map[failover.RecordName]owner{}, zonesFor: map[string]pos{}, aliasAt: map[failover.RecordName]pos{},
	}
}

// decode reads the text into one of the two file structs and says whether it
// got so far.
func (c *compiler) decode(data []byte, doc any, wanted fileKind) bool {
	d := &decoder{c.notes}
	return c.decodeNode(d.parse(data), doc, wanted)
}

func (c *compiler) decodeNode(root ast.Node, doc any, wanted fileKind) bool {
	if root == nil || c.otherKind(root, wanted) {
		return false
	}
	d := &decoder{c.notes}
	d.value(root, place(root), reflect.ValueOf(doc).Elem())
	return true
}

// path makes a path start at the folder of the file.
func (c *compiler) path(p string) string {
	if p == "" {
		return p
	}
	return resolve(c.dir, p)
}

// versionKnown is the only version of both files.
const versionKnown = 1

func (c *compiler) version(v val[int]) {
	if v.set && v.v != versionKnown {
		c.fault(v.at, fmt.Sprintf("write version: %d, or leave the key out", versionKnown), "version %d is not known to this program", v.v)
	}
}

// compileFile makes a config. What stands in it as in old, which may be nil, is
// taken over.
func compileFile(name string, data []byte, read func(string) ([]byte, error), old *Config) (*Config, error) {
	var was before[instanceDoc]
	if old != nil && old.items != nil && old.File == name {
		was = before[instanceDoc]{old.items, old.doc.Instances}
	}
	c, doc := newCompiler(name, data, read), &fileDoc{}
	it, ok := c.cut(data)
	var known []int
	if ok {
		known, ok = decodeItems(c, doc, func(d *fileDoc) *[]instanceDoc { return &d.Instances }, func(i *instanceDoc) pos { return i.pos }, it, was, controllerKind)
	}
	if !ok {
		c, doc, it = newCompiler(name, data, read), &fileDoc{}, nil
		if !c.decode(data, doc, controllerKind) {
			return nil, c.err()
		}
	}
	if it == nil || was.items == nil || it.frame != was.items.frame {
		known = nil // what they mean may be other
	}
	cfg := &Config{File: name, Contents: c.made, doc: doc, items: it}
	switch err := c.compile(cfg, old, known); {
	case err != nil && known != nil:
		return compileFile(name, data, read, nil)
	case err != nil:
		return nil, err
	}
	return cfg, nil
}

// compile makes a config of its doc. known says which of its instances old has
// too; nil: none.
func (c *compiler) compile(cfg, old *Config, known []int) error {
	c.version(cfg.doc.Version)
	cfg.Controller = c.controller(&cfg.doc.Controller)
	c.vantages(cfg)
	c.authority(cfg)
	c.providers(cfg)
	c.allHooks = c.hookSet(&cfg.doc.Hooks)
	c.instances(cfg, old, known)
	c.notification(cfg)
	c.reports(cfg)
	c.resolvers(cfg)
	c.finish(cfg)
	cfg.Warnings = sorted(c.warnings)
	return c.err()
}
