package config

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"pointsman/healthcheck"
	"pointsman/internal/failover"
	"pointsman/internal/hook"
)

// Hook is one hook. It lacks only its secret, which the caller reads from
// SecretFile.
type Hook struct {
	hook.Def
	SecretFile string // path, with URL
}

const (
	defaultHookTimeout = 10 * time.Second
	maxHookArgs        = 64
	maxHookArg         = 4 << 10

	onErrorVeto, onErrorPass = "veto", "pass"

	callHint    = "command: [/usr/local/bin/may-we-move], or url: https://change.example.com/pointsman with secret_file"
	programHint = "write it like /usr/local/bin/may-we-move"
)

// hookSet are both lists, made once of what one place of a file says.
type hookSet struct {
	pre, post []Hook
	retry     time.Duration
}

func (c *compiler) hookSet(doc *hooksDoc) hookSet {
	return hookSet{
		pre: c.hookList(failover.HookPre, doc.Pre), post: c.hookList(failover.HookPost, doc.Post),
		retry: between(c, "retry", doc.Retry, failover.DefaultHookRetry, time.Second, failover.MaxHookRetry),
	}
}

// hooks takes those of an instance: its own lists, and for a list that it does
// not have the one at the top of the file.
func (c *compiler) hooks(doc *instanceDoc, p *failover.Policy) []Hook {
	hs := c.allHooks
	if own := &doc.Hooks; own.pos != (pos{}) {
		set := c.hookSet(own)
		if own.Pre != nil {
			hs.pre = set.pre
		}
		if own.Post != nil {
			hs.post = set.post
		}
		if own.Retry.set {
			hs.retry = set.retry
		}
	}
	out := slices.Concat(hs.pre, hs.post)
	if len(out) == 0 {
		return nil
	}
	p.HookRetry = hs.retry
	for i := range out {
		p.Hooks = append(p.Hooks, out[i].Hook)
	}
	return out
}

func (c *compiler) hookList(when failover.HookWhen, docs []hookDoc) []Hook {
	if len(docs) > failover.MaxHooks {
		c.fault(docs[failover.MaxHooks].pos, "one command may call several programs", "there are %d %s-hooks, at most %d are taken", len(docs), when, failover.MaxHooks)
		return nil
	}
	var out []Hook
	for i := range docs {
		d := &docs[i]
		if first := slices.IndexFunc(docs[:i], func(o hookDoc) bool { return o.Name.v == d.Name.v }); first >= 0 && d.Name.set {
			c.fault(d.Name.at, "give each its own name: the audit speaks of it", "there are two %s-hooks %q, the first in line %d", when, d.Name.v, docs[first].Name.at.line)
		}
		out = append(out, c.hook(when, d))
	}
	return out
}

func (c *compiler) hook(when failover.HookWhen, d *hookDoc) Hook {
	if d.Name.set {
		c.word("a hook", d.Name.v, d.Name.at)
	}
	h := Hook{}
	h.Name, h.When = d.Name.v, when
	most := failover.MaxPreTimeout
	if when == failover.HookPost {
		most = failover.MaxPostTimeout
	}
	h.Timeout = between(c, "timeout", d.Timeout, defaultHookTimeout, failover.MinHookTimeout, most)
	for _, k := range d.On {
		kind := oneOf(c, "on", k, "", failover.Failover, failover.Switchover)
		if slices.Contains(h.On, kind) {
			c.fault(k.at, "write each once", "on: %s is there twice", k.v)
		}
		h.On = append(h.On, kind)
	}
	if when == failover.HookPost && d.OnError.set {
		c.fault(d.OnError.at, "leave it out: a post-hook that fails is run again, and changes nothing", "on_error says what a pre-hook without a verdict means")
	}
	h.Pass = oneOf(c, "on_error", d.OnError, onErrorVeto, onErrorVeto, onErrorPass) == onErrorPass
	switch {
	case len(d.Command) > 0 && d.URL.set:
		c.fault(d.URL.at, callHint, "a hook is either a command or a url")
	case d.URL.set:
		c.hookURL(d, &h)
	case len(d.Command) > 0:
		c.hookCommand(d, &h)
	default:
		c.fault(d.pos, callHint, "hook %q calls nothing: command or url is missing", d.Name.v)
	}
	h.Call = callOf(&h)
	return h
}

func (c *compiler) hookCommand(d *hookDoc, h *Hook) {
	if d.SecretFile.set {
		c.fault(d.SecretFile.at, "leave it out", "secret_file signs what goes to a url; a command has none")
	}
	for _, arg := range d.Command {
		if strings.ContainsRune(arg.v, 0) || len(arg.v) > maxHookArg {
			c.fault(arg.at, "", "an argument holds a zero byte or more than %d KiB", maxHookArg>>10)
		}
		h.Command = append(h.Command, arg.v)
	}
	path := d.Command[0]
	switch {
	case !filepath.IsAbs(path.v) || filepath.Clean(path.v) != path.v:
		c.fault(path.at, programHint, "%.64q is no absolute path of a program; no shell and no PATH look for it", path.v)
	case len(d.Command) > maxHookArgs:
		c.fault(d.Command[maxHookArgs].at, "write a script", "a command has at most %d arguments", maxHookArgs)
	case c.read != nil: // this machine may be looked at
		if err := healthcheck.CommandFile(path.v); err != nil {
			c.warn(path.at, "until that is mended it has no verdict", "hook %s: %v", h.Name, err)
		}
	}
}

func (c *compiler) hookURL(d *hookDoc, h *Hook) {
	const hint = "write it like https://change.example.com/pointsman"
	u, err := url.Parse(d.URL.v)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		c.fault(d.URL.at, hint, "url: is no http or https URL")
		return
	case u.User != nil:
		c.fault(d.URL.at, "the request is signed with secret_file: nothing secret goes into a URL", "url: holds a login")
		return
	case u.Fragment != "":
		c.fault(d.URL.at, hint, "url: a fragment is never sent")
		return
	case u.Scheme == "http" && !loopback(u.Hostname()):
		c.warn(d.URL.at, "write https: the request is signed, its answer is not", "hook %s: whoever is on the way can answer in its place", h.Name)
	}
	if a, err := netip.ParseAddr(u.Hostname()); err == nil {
		if healthcheck.Forbidden(a, nil) != nil {
			c.fault(d.URL.at, hint, "url: %s is refused: link-local, metadata of a cloud, unspecified or multicast", a)
		}
	}
	if !d.SecretFile.set {
		c.fault(d.URL.at, "make one: (umask 077; openssl rand -base64 32 > hook.key), and write secret_file: hook.key", "secret_file is missing: requests are signed")
	}
	h.URL, h.SecretFile = d.URL.v, c.path(d.SecretFile.v)
}

// callOf is a fingerprint of what is called, not the call: an argument may hold
// what is nobody's business.
func callOf(h *Hook) string {
	b, err := json.Marshal([]any{h.Command, h.URL, h.SecretFile})
	if err != nil {
		panic("config: strings always have a JSON form: " + err.Error())
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// runs says what of a file, besides checks, makes this process run something;
// empty: nothing.
func (cfg *Config) runs() string {
	for _, i := range cfg.Instances {
		switch {
		case slices.ContainsFunc(i.Hooks, func(h Hook) bool { return len(h.Command) > 0 }):
			return "hooks that run commands"
		case i.Replication != nil && i.Replication.External != nil && len(i.Replication.External.Command) > 0:
			return "a replication whose lag a command tells"
		}
	}
	return ""
}

// hooksText lists the hooks for people.
func hooksText(hs []Hook, p failover.Policy) []Setting {
	var out []Setting
	for _, h := range hs {
		calls := h.URL
		if len(h.Command) > 0 {
			calls = h.Command[0]
		} else if u, err := url.Parse(h.URL); err == nil {
			calls = u.Scheme + "://" + u.Host // the rest may be somebody's secret
		}
		on := "failover, switchover"
		if len(h.On) == 1 {
			on = string(h.On[0])
		}
		late := "run again"
		if h.When == failover.HookPre {
			late = map[bool]string{false: onErrorVeto, true: onErrorPass}[h.Pass]
		}
		out = append(out, Setting{Key: fmt.Sprintf("%s-hook %s", h.When, h.Name), Value: calls, From: fmt.Sprintf("on %s; %s, then: %s", on, figure(h.Timeout), late)})
	}
	if p.HookRetry > 0 {
		out = append(out, Setting{Key: "retry after a veto", Value: figure(p.HookRetry), From: fmt.Sprintf("of automation; doubled with each that follows, at most %s", figure(failover.MaxHookRetry))})
	}
	return out
}

// runs says that what it comes to depends on this machine: on programs.
func (d *hooksDoc) runs() bool {
	command := func(h hookDoc) bool { return len(h.Command) > 0 }
	return slices.ContainsFunc(d.Pre, command) || slices.ContainsFunc(d.Post, command)
}
