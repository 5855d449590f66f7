package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"pointsman/dnsctl/authority"
	"pointsman/internal/config"
	"pointsman/internal/failover"
)

// serving is the config of the authority with the secrets of its keys. A key
// whose secret cannot be read stays known and proves nothing: names are
// answered, and its secondaries wait. A shadow hands its zones to nobody and
// tells nobody of them, since what it would hand on was not done.
func serving(cfg *config.Config, shadow bool) (authority.Config, []error) {
	c := *cfg.Authority
	var faults []error
	if cfg.CookieSecretFile != "" {
		secrets, err := readCookieSecrets(cfg, cfg.CookieSecretFile)
		if err != nil {
			faults = append(faults, err) // one is drawn then
		}
		c.Cookies.Secrets = secrets
	}
	if shadow {
		c.Keys, c.Zones = nil, slices.Clone(c.Zones)
		for i := range c.Zones {
			z := &c.Zones[i]
			z.Secondaries, z.TransferKeys, z.TransferAddresses = nil, nil, nil
		}
		return c, faults
	}
	c.Keys = slices.Clone(c.Keys)
	for i, k := range cfg.Keys {
		secret, err := readTransferSecret(cfg, k.SecretFile)
		if err != nil {
			faults = append(faults, fmt.Errorf("key %s: %w", k.Name, err))
			continue
		}
		c.Keys[i].Secret = secret
	}
	return c, faults
}

func readCookieSecrets(cfg *config.Config, path string) ([]authority.CookieSecret, error) {
	hint := "make one by: (umask 077; openssl rand -hex 16 > " + path + ")"
	text, err := cfg.ReadSecret(path)
	if err != nil {
		return nil, failed(orElse(hintOf(err), hint), "read secrets of cookies: %w", err)
	}
	secrets, err := authority.ParseCookieSecrets(string(text))
	if err != nil {
		return nil, failed(hint, "secrets of cookies %s: %w", path, err)
	}
	return secrets, nil
}

func readTransferSecret(cfg *config.Config, path string) (authority.Secret, error) {
	text, err := cfg.ReadSecret(path)
	if err != nil {
		return authority.Secret{}, failed(orElse(hintOf(err), "write the secret of the key into that file, mode 0600"), "read secret: %w", err)
	}
	secret, err := authority.ParseSecret(string(text))
	if err != nil {
		return authority.Secret{}, failed("the file holds the secret alone, in base64, as tsig-keygen prints it", "%s: %w", path, err)
	}
	return secret, nil
}

// servers are the addresses at which clients find our zones: our own, and for
// each zone the secondaries that serve clients.
type servers struct {
	own         fixed
	secondaries map[failover.RecordName][]netip.AddrPort
}

func (s servers) of(_ context.Context, zone failover.RecordName) ([]netip.AddrPort, error) {
	return slices.Concat(s.own, s.secondaries[zone]), nil
}

// servedBy lists who must show a change before it is confirmed everywhere. A
// secondary that is dead holds no move up for longer than its step may take:
// the move settles then and names it.
func servedBy(own []netip.AddrPort, c *authority.Config) servers {
	s := servers{own: reachable(own), secondaries: make(map[failover.RecordName][]netip.AddrPort)}
	if c == nil {
		return s
	}
	for _, z := range c.Zones {
		for _, sec := range z.Secondaries {
			if !sec.Hidden {
				s.secondaries[z.Name] = append(s.secondaries[z.Name], sec.Address)
			}
		}
	}
	return s
}
