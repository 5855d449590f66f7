package main

import (
	"fmt"
	"slices"

	"pointsman/internal/config"
	"pointsman/internal/notify"
)

// readChannels gives the channels their secrets. One that has none stays, with
// its trouble: what keeps people from being told keeps nothing from deciding.
// Files are those of such secrets.
func readChannels(cfg *config.Config) (_ notify.Setup, files []string, _ []error) {
	if cfg.Notify == nil {
		return notify.Setup{}, nil, nil
	}
	s := cfg.Notify.Setup
	s.Channels = slices.Clone(s.Channels)
	var faults []error
	read := func(path string) ([]byte, error) {
		data, err := cfg.ReadSecret(path)
		if err != nil {
			files = append(files, path)
			text, hint := splitHint(err)
			return nil, failed(orElse(hint, "write it into that file, mode 0600; see docs/delivery.md"), "%s", text)
		}
		return data, nil
	}
	for i := range s.Channels {
		c, from := &s.Channels[i], cfg.Notify.Secrets[i]
		var err error
		if from.URLFile != "" {
			var url []byte
			url, err = read(from.URLFile)
			c.URL = string(url)
		}
		if from.SecretFile != "" && err == nil {
			c.Secret, err = read(from.SecretFile)
		}
		if err != nil {
			c.Trouble = fmt.Errorf("its secret cannot be had: %w", err)
			faults = append(faults, fmt.Errorf("channel %s: %w", c.Name, err))
		}
	}
	if s.Heartbeat != nil {
		h := *s.Heartbeat
		url, err := read(cfg.Notify.HeartbeatURLFile)
		h.URL, h.Trouble = string(url), err
		if err != nil {
			faults = append(faults, fmt.Errorf("heartbeat: %w", err))
		}
		s.Heartbeat = &h
	}
	return s, files, faults
}
