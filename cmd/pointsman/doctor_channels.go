package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"pointsman/internal/config"
	"pointsman/internal/doctor"
	"pointsman/internal/notify"
)

// channelsOf lists the channels of the configuration as far as they can be
// tried without a word to anybody: a folder is looked at, a server is dialled.
func channelsOf(cfg *config.Config) []doctor.Channel {
	if cfg.Notify == nil {
		return nil
	}
	var out []doctor.Channel
	for i, c := range cfg.Notify.Setup.Channels {
		d := doctor.Channel{Name: c.Name, Where: string(c.Type)}
		switch c.Type {
		case notify.Folder:
			d.Where = c.Path
			d.Reach = func(context.Context) error { return unix.Access(existing(c.Path), unix.W_OK|unix.X_OK) }
		case notify.Email:
			d.Where = c.Server
			d.Reach = func(ctx context.Context) error { return knock(ctx, c.Server, c.Allow) }
		case notify.Shoutrrr: // its URL names a service, and holds the token in the place of a host
		default:
			d.Reach = func(ctx context.Context) error { return knockAtURL(ctx, c, cfg.Notify.Secrets[i].URLFile) }
		}
		out = append(out, d)
	}
	return out
}

// knockAtURL dials the server of a channel. Of its URL, which may be a secret
// as a whole, errors show nothing.
func knockAtURL(ctx context.Context, c notify.Channel, file string) error {
	raw := c.URL
	if raw == "" {
		text, err := config.ReadSecretFile(file)
		if err != nil {
			said, _ := splitHint(err)
			return errors.New(said)
		}
		raw = string(text)
	}
	if err := notify.CheckURL(raw, c.Allow); err != nil {
		return err
	}
	u, err := url.Parse(raw)
	if err != nil {
		return errors.New("its URL cannot be read")
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return knock(ctx, net.JoinHostPort(u.Hostname(), port), c.Allow)
}

// knock connects and hangs up, where the channel itself may connect.
func knock(ctx context.Context, address string, allow []netip.Prefix) error {
	d := net.Dialer{Control: func(_, at string, _ syscall.RawConn) error {
		ap, err := netip.ParseAddrPort(at)
		if err != nil {
			return fmt.Errorf("address %s: %w", at, err)
		}
		return notify.CheckAddress(ap.Addr(), allow)
	}}
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// moreSecrets are the files of secrets of those that people speak through.
func moreSecrets(cfg *config.Config) []doctor.FileFacts {
	var out []doctor.FileFacts
	add := func(path, format string, args ...any) {
		if path != "" {
			out = append(out, doctor.LookAt(path, fmt.Sprintf(format, args...)))
		}
	}
	for _, p := range cfg.Controller.Principals {
		add(p.TokenFile, "token of %s", p.Name)
	}
	for _, p := range cfg.Providers {
		add(p.SettingsFile, "settings of provider %s", p.Name)
		add(p.ReadSettingsFile, "settings of provider %s for a dry run", p.Name)
	}
	if cfg.Notify != nil {
		for i, s := range cfg.Notify.Secrets {
			name := cfg.Notify.Setup.Channels[i].Name
			add(s.URLFile, "URL of channel %s", name)
			add(s.SecretFile, "secret of channel %s", name)
		}
		add(cfg.Notify.HeartbeatURLFile, "URL of the heartbeat")
	}
	seen := map[string]bool{}
	for _, i := range cfg.Instances {
		for _, h := range i.Hooks {
			if !seen[h.SecretFile] {
				seen[h.SecretFile] = true
				add(h.SecretFile, "secret of hook %s", strings.TrimSpace(h.Name))
			}
		}
	}
	return out
}
