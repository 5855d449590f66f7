package main

import (
	"fmt"

	"pointsman/dnsctl"
	"pointsman/healthcheck"
	"pointsman/internal/api"
	"pointsman/internal/config"
	"pointsman/internal/failover"
)

// secrets are what the files that the config names hold.
type secrets struct {
	token     []byte
	vantages  map[failover.VantageName][]healthcheck.Key
	providers map[string]dnsctl.Secret // write credentials; empty in shadow
}

// readSecrets opens the files of secrets. In shadow the files of those that
// could write are not even opened.
func readSecrets(cfg *config.Config, shadow bool) (*secrets, error) {
	s := &secrets{vantages: make(map[failover.VantageName][]healthcheck.Key), providers: make(map[string]dnsctl.Secret)}
	if cfg.Controller.Listen != "" {
		token, err := config.ReadSecretFile(cfg.Controller.TokenFile)
		if err != nil {
			return nil, failed("make one by: (umask 077; openssl rand -hex 32 > "+cfg.Controller.TokenFile+")", "read token: %w", err)
		}
		if len(token) < api.MinToken {
			return nil, failed("make one by: (umask 077; openssl rand -hex 32 > "+cfg.Controller.TokenFile+")", "token %s: shorter than %d bytes", cfg.Controller.TokenFile, api.MinToken)
		}
		s.token = token
	}
	for _, v := range cfg.Vantages {
		key, err := readKey(v.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("vantage %s: %w", v.Name, err)
		}
		s.vantages[v.Name] = []healthcheck.Key{key}
	}
	if shadow {
		return s, nil
	}
	for _, p := range cfg.Providers {
		text, err := config.ReadSecretFile(p.SecretFile)
		if err != nil {
			return nil, failed("write the secret of the key into that file, mode 0600; to look without one, add --shadow", "provider %s: read secret: %w", p.Name, err)
		}
		if s.providers[p.Name], err = dnsctl.ParseSecret(string(text)); err != nil {
			return nil, failed("the file holds the secret alone, in base64, as tsig-keygen prints it", "provider %s: %s: %w", p.Name, p.SecretFile, err)
		}
	}
	return s, nil
}
