package main

import (
	"crypto/subtle"
	"fmt"

	"pointsman/dnsctl"
	"pointsman/healthcheck"
	"pointsman/internal/api"
	"pointsman/internal/config"
	"pointsman/internal/failover"
	"pointsman/internal/notify"
)

// secrets are what the files that the config names hold.
type secrets struct {
	token     []byte
	people    []api.Principal
	vantages  map[failover.VantageName][]healthcheck.Key
	providers map[string]dnsctl.Secret // write credentials; in shadow only settings of modules that cannot write
	notify    notify.Setup             // with its secrets
	unread    []string                 // files of secrets that those lack
	unheard   []error                  // of channels, which stand in notify with their trouble
	hooks     map[string][]byte        // by file; empty in shadow, which runs none
}

// readSecret reads the file of a secret and notes its content, such as
// config.Config.ReadSecret.
type readSecret func(path string) ([]byte, error)

// readSecrets opens the files of secrets. In shadow the files of those that
// could write are not even opened. What could not be read is missing in the
// result, and each has its error.
func readSecrets(cfg *config.Config, shadow bool) (*secrets, []error) {
	s := &secrets{vantages: make(map[failover.VantageName][]healthcheck.Key), providers: make(map[string]dnsctl.Secret)}
	var faults []error
	if cfg.Controller.Listen != "" {
		token, err := readToken(cfg.ReadSecret, cfg.Controller.TokenFile)
		if err != nil {
			faults = append(faults, err)
		}
		s.token = token
	}
	for _, p := range cfg.Controller.Principals {
		token, err := readToken(cfg.ReadSecret, p.TokenFile)
		if err != nil {
			faults = append(faults, fmt.Errorf("principal %s: %w", p.Name, err))
			continue
		}
		if other, same := s.holder(token); same {
			faults = append(faults, failed("make one of its own by: (umask 077; openssl rand -hex 32 > "+p.TokenFile+")", "principal %s: its token is also that of %s: who asks could not be told", p.Name, other))
			continue
		}
		s.people = append(s.people, api.Principal{Name: p.Name, Role: api.Role(p.Role), Token: token})
	}
	for _, v := range cfg.Vantages {
		keys, err := readKeys(cfg.ReadSecret, v.KeyFile)
		if err != nil {
			faults = append(faults, fmt.Errorf("vantage %s: %w", v.Name, err))
			continue
		}
		s.vantages[v.Name] = keys
	}
	s.notify, s.unread, s.unheard = readChannels(cfg)
	faults = append(faults, readSettings(cfg, shadow, s)...)
	if shadow {
		return s, faults
	}
	for _, p := range cfg.Providers {
		if p.SecretFile == "" {
			continue
		}
		secret, err := readProviderSecret(cfg.ReadSecret, p.SecretFile)
		if err != nil {
			faults = append(faults, fmt.Errorf("provider %s: %w", p.Name, err))
			continue
		}
		s.providers[p.Name] = secret
	}
	return s, append(faults, readHookSecrets(cfg, s)...)
}

// holder says whose a token is already.
func (s *secrets) holder(token []byte) (string, bool) {
	if len(s.token) > 0 && subtle.ConstantTimeCompare(s.token, token) == 1 {
		return "controller.token_file", true
	}
	for _, p := range s.people {
		if subtle.ConstantTimeCompare(p.Token, token) == 1 {
			return "principal " + p.Name, true
		}
	}
	return "", false
}

func readToken(read readSecret, path string) ([]byte, error) {
	hint := "make one by: (umask 077; openssl rand -hex 32 > " + path + ")"
	token, err := read(path)
	if err != nil {
		return nil, failed(orElse(hintOf(err), hint), "read token: %w", err)
	}
	if len(token) < api.MinToken {
		return nil, failed(hint, "token %s: shorter than %d bytes", path, api.MinToken)
	}
	return token, nil
}

// readSettings reads the settings of modules, which hold secrets: in shadow those
// that cannot write, and no others.
func readSettings(cfg *config.Config, shadow bool, s *secrets) []error {
	var faults []error
	for _, p := range cfg.Providers {
		if p.LibDNS == nil {
			continue
		}
		file := p.SettingsFile
		if shadow {
			file = p.ReadSettingsFile
		}
		if file == "" {
			continue // the provider says what it lacks
		}
		text, err := cfg.ReadSecret(file)
		if err != nil {
			faults = append(faults, failed(orElse(hintOf(err), "write the settings of the module into that file, mode 0600"), "provider %s: read settings: %w", p.Name, err))
			continue
		}
		settings, err := dnsctl.ParseLibDNSSettings(text)
		if err != nil {
			faults = append(faults, failed("docs/providers.md has an example", "provider %s: %s: %w", p.Name, file, err))
			continue
		}
		s.providers[p.Name] = settings
	}
	return faults
}

func readProviderSecret(read readSecret, path string) (dnsctl.Secret, error) {
	text, err := read(path)
	if err != nil {
		return dnsctl.Secret{}, failed(orElse(hintOf(err), "write the secret of the key into that file, mode 0600; to look without one, add --shadow"), "read secret: %w", err)
	}
	secret, err := dnsctl.ParseSecret(string(text))
	if err != nil {
		return dnsctl.Secret{}, failed("the file holds the secret alone, in base64, as tsig-keygen prints it", "%s: %w", path, err)
	}
	return secret, nil
}
