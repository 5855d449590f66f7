package authority

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"pointsman/internal/failover"
)

// Reload swaps to another configuration while queries are answered. Every
// published name goes on showing its last commit, and zones keep their
// serials. A published name that is gone from cfg is left over: it answers as
// before and is listed in Stats, until cfg lists it as retired. On an error,
// which wraps [ErrConfig], nothing was changed: besides what [New] refuses that
// is another list of addresses to listen on, and a cfg under which a published
// name could not answer what it shows.
//
// Zones and names that were not served before are SERVFAIL until Load or
// Publish brings their serial and record.
func (s *Server) Reload(cfg Config) error {
	c, err := s.Prepare(cfg)
	if err != nil {
		return err
	}
	return c.Take()
}

// Prepared is a configuration that the server could take. Take it once, or drop
// it: it holds nothing up.
type Prepared struct {
	s     *Server
	cfg   Config
	built *built // nil: cfg is what is served
}

// Prepare asks everything that [Server.Reload] asks, with its errors, and
// changes nothing.
func (s *Server) Prepare(cfg Config) (*Prepared, error) {
	if errs := cfg.Validate(); len(errs) > 0 {
		return nil, fmt.Errorf("%w: %w", ErrConfig, errors.Join(errs...))
	}
	cfg = cfg.withDefaults()
	s.reloading.Lock()
	defer s.reloading.Unlock()
	if was := s.view.Load().cfg.Listen; !slices.Equal(was, cfg.Listen) {
		return nil, fmt.Errorf("%w: listen: %v instead of %v needs a restart", ErrConfig, cfg.Listen, was)
	}
	if s.serves(cfg) {
		return &Prepared{s, cfg, nil}, nil
	}
	b, err := s.build(cfg, nil, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return &Prepared{s, cfg, b}, nil
}

// serves says that a configuration with its defaults is the one that is served.
func (s *Server) serves(cfg Config) bool {
	now := s.view.Load().cfg
	if (cfg.OnPanic == nil) != (now.OnPanic == nil) {
		return false
	}
	cfg.OnPanic, now.OnPanic = nil, nil // functions cannot be compared
	return reflect.DeepEqual(cfg, now)
}

// Take swaps to the configuration. What was published since Prepare is shown
// too; an error, like those of [Server.Reload], can only come of that.
func (c *Prepared) Take() error {
	c.s.reloading.Lock()
	defer c.s.reloading.Unlock()
	b := c.built
	c.built = nil
	if b == nil && c.s.serves(c.cfg) {
		return nil
	}
	if err := c.s.swap(c.cfg, b, nil, nil); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return nil
}

// keepLeftOvers makes nodes for the names of served zones that only a record
// has, and returns why one could not get any.
func (s *Server) keepLeftOvers(records []failover.Record) []error {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	v := s.view.Load()
	var extra []failover.RecordName
	for _, r := range records {
		for _, nr := range r.Shown() {
			if v.tree.managed(nr.Name) == nil && !v.tree.isRetired(nr.Name) && v.tree.zoneOf(nr.Name) != nil {
				extra = append(extra, nr.Name)
			}
		}
	}
	if len(extra) == 0 {
		return nil
	}
	var errs []error
	skipped := make(map[failover.RecordName]bool)
	skip := func(name failover.RecordName, err error) {
		if skipped[name] { // a swap that begins anew comes by again
			return
		}
		skipped[name] = true
		errs = append(errs, fmt.Errorf("%w: left-over %s: %w", ErrRefused, name, err))
	}
	if err := s.swap(v.cfg, nil, extra, skip); err != nil {
		errs = append(errs, err)
	}
	return errs
}

// maxSwaps bounds how often a swap begins anew because a name that it does not
// know was published meanwhile.
const maxSwaps = 100

// built are the names of a configuration that show what those of old did.
type built struct {
	old, next *tree
	taken     map[*node]*shown // what was carried over
}

// build makes the names of cfg, beside the answers and the publishers, and
// lets each show what it shows now. Published names that cfg does not have,
// and those of extra, are left over; one of extra for which there is no room
// goes to skip.
func (s *Server) build(cfg Config, extra []failover.RecordName, skip func(failover.RecordName, error)) (*built, error) {
	old := s.view.Load().tree
	next, err := newTree(cfg.Zones, old)
	if err != nil {
		return nil, err
	}
	if err := next.addLeftOvers(old); err != nil {
		return nil, err
	}
	for _, name := range extra {
		if err := next.addLeftOver(name); err != nil {
			skip(name, err)
		}
	}
	if err := next.packAll(); err != nil {
		return nil, err
	}
	b := &built{old, next, make(map[*node]*shown)}
	return b, next.carry(old, b.taken)
}

// swap builds cfg, unless b is that already, and serves it. Only what was
// published meanwhile is done again while publishers wait.
func (s *Server) swap(cfg Config, b *built, extra []failover.RecordName, skip func(failover.RecordName, error)) error {
	for range maxSwaps {
		if b == nil || b.old != s.view.Load().tree {
			var err error
			if b, err = s.build(cfg, extra, skip); err != nil {
				return err
			}
		}
		if done, err := s.install(s.newView(cfg, b.next), b.old, b.taken); done || err != nil {
			return err
		}
		b = nil
	}
	return errors.New("names were published all the time: try again")
}

// install serves v after what was published since taken was carried over. It
// is not done when a name was published that v does not know.
func (s *Server) install(v *view, old *tree, taken map[*node]*shown) (done bool, err error) {
	s.publishing.Lock()
	defer s.publishing.Unlock()
	for _, n := range old.managedNodes {
		if n.shown.Load() != nil && v.tree.sameName(n) == nil && !v.tree.isRetired(failover.RecordName(n.name)) {
			return false, nil
		}
	}
	if err := v.tree.carry(old, taken); err != nil {
		return false, err
	}
	v.tree.keepStamps(old)
	s.view.Store(v)
	s.published++
	s.couriers.set(s, v)
	return true, nil
}

// addLeftOvers adds the published names of old that t does not have.
func (t *tree) addLeftOvers(old *tree) error {
	for _, n := range old.managedNodes {
		name := failover.RecordName(n.name)
		published := n.shown.Load() != nil
		if !published && !n.leftOver || t.sameName(n) != nil || t.isRetired(name) {
			continue
		}
		if err := t.addLeftOver(name); err != nil && published {
			return fmt.Errorf("%s is published and %w: keep it as it was, or list it under retired of its zone", name, err)
		}
	}
	return nil
}

// addLeftOver adds a managed name that the configuration does not have.
func (t *tree) addLeftOver(name failover.RecordName) error {
	k, err := checkName(string(name))
	if err != nil {
		return err
	}
	mk, err := keyOf(markLabel + string(name))
	if err != nil {
		return err
	}
	_, z := t.find(k)
	if z == nil {
		return errors.New("would stand in none of the zones")
	}
	if n := t.nodes[k]; n != nil && n.kind == managed {
		return nil // listed twice
	}
	for _, k := range []key{k, mk} {
		if n := t.nodes[k]; n != nil && n.kind != empty {
			return fmt.Errorf("would meet another record at %s", n.name)
		}
	}
	n, err := t.addManaged(z, strings.ToLower(string(name)))
	if err == nil {
		n.leftOver = true
	}
	return err
}

// carry lets the managed names of t show what those of old do. taken is what
// was carried before.
func (t *tree) carry(old *tree, taken map[*node]*shown) error {
	fresh := make(map[*node]*shown)
	for _, was := range old.managedNodes {
		sh, n := was.shown.Load(), t.sameName(was)
		if sh == nil || n == nil || taken[n] == sh {
			continue
		}
		if _, err := t.checkTarget(sh.from.Name, sh.from.Value); err != nil {
			return fmt.Errorf("what is published would not be answered any more: %w", err)
		}
		again := *sh
		again.packed, again.markPacked = nil, nil
		taken[n], fresh[n] = sh, &again
	}
	for n, sh := range fresh {
		if err := t.loop(n, fresh); err != nil {
			return err
		}
		if err := t.packShown(n, sh); err != nil {
			return err
		}
	}
	for n, sh := range fresh {
		n.shown.Store(sh)
	}
	return nil
}

// sameName returns the managed node of t with the name of n, or nil.
func (t *tree) sameName(n *node) *node { return t.managed(failover.RecordName(n.name)) }

// Shown returns the target that a managed or left-over name answers with; ok is
// false before its first record and for all other names.
func (s *Server) Shown(name failover.RecordName) (target failover.Target, ok bool) {
	if n := s.view.Load().tree.managed(name); n != nil {
		if sh := n.shown.Load(); sh != nil {
			return sh.from.Value, true
		}
	}
	return "", false
}

func (t *tree) isRetired(name failover.RecordName) bool {
	k, err := keyOf(string(name))
	return err == nil && t.retired[k]
}

// zoneOf returns the zone that a name stands in, or nil.
func (t *tree) zoneOf(name failover.RecordName) *zone {
	k, err := keyOf(string(name))
	if err != nil {
		return nil
	}
	_, z := t.find(k)
	return z
}
