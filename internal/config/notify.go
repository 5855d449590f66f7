package config

import (
	"errors"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"pointsman/internal/failover"
	"pointsman/internal/notify"
)

const (
	maxChannels = 64
	maxRoutes   = 256
	maxNamed    = 64 // people or steps in one list
)

// Notify is what the file says of notification. Setup lacks only the secrets,
// which the caller reads from the files.
type Notify struct {
	Setup   notify.Setup
	Secrets []ChannelSecrets // one for each channel, in the order of Setup.Channels

	HeartbeatURLFile string // with Setup.Heartbeat
}

// ChannelSecrets says where the secrets of a channel are; empty: it has none
// of that kind.
type ChannelSecrets struct {
	URLFile    string
	SecretFile string // key of a signature, password or token
}

// channelKeys are the keys that belong to some types of channels only.
var channelKeys = map[string][]notify.Type{
	"url":           {notify.Webhook, notify.Alertmanager},
	"url_file":      {notify.Webhook, notify.Alertmanager, notify.DingTalk, notify.Shoutrrr},
	"secret_file":   {notify.Webhook, notify.DingTalk},
	"password_file": {notify.Email},
	"token_file":    {notify.Alertmanager},
	"path":          {notify.Folder},
	"keep":          {notify.Folder},
	"server":        {notify.Email},
	"tls":           {notify.Email},
	"user":          {notify.Email},
	"from":          {notify.Email},
	"to":            {notify.Email},
	"keyword":       {notify.DingTalk},
	"mobiles":       {notify.DingTalk},
	"labels":        {notify.Alertmanager},
	"allow":         {notify.Email, notify.Webhook, notify.DingTalk, notify.Alertmanager, notify.Shoutrrr},
}

func (c *compiler) notification(cfg *Config) {
	doc := cfg.doc.Notify
	if doc == nil {
		return
	}
	n := &Notify{}
	n.Setup.Keep = between(c, "keep", doc.Keep, notify.DefaultKeep, time.Minute, 30*24*time.Hour)
	zone := doc.Zone.or("UTC")
	loc, err := time.LoadLocation(zone)
	if err != nil || zone == "Local" {
		c.fault(doc.Zone.at, "write a name such as Asia/Shanghai or UTC", "zone %q is not known", zone)
	}
	n.Setup.Zone = loc
	if doc.Runbook.set {
		n.Setup.Runbook = c.runbook(doc.Runbook)
	}
	lang := oneOf(c, "language", doc.Language, notify.English, notify.English, notify.Chinese)
	if doc.Channels != nil && len(doc.Channels) == 0 {
		c.fault(doc.pos, "channels: [{name: files, type: folder, path: notices}]", "notify.channels is empty")
	}
	if len(doc.Channels) > maxChannels {
		c.fault(doc.Channels[maxChannels].pos, "write one channel for people who read the same", "there are %d channels, at most %d are taken", len(doc.Channels), maxChannels)
		return
	}
	names := map[string]pos{}
	for i := range doc.Channels {
		ch, secrets := c.channel(&doc.Channels[i], lang)
		if doc.Channels[i].Name.set {
			c.word("a channel", ch.Name, doc.Channels[i].Name.at)
			c.twice(names, "channel", doc.Channels[i].Name)
		}
		n.Setup.Channels, n.Secrets = append(n.Setup.Channels, ch), append(n.Secrets, secrets)
	}
	c.routes(cfg, doc, n)
	c.heartbeat(doc, n)
	cfg.Notify = n
}

// runbook is a page for people; KIND in it is the kind of the call.
func (c *compiler) runbook(x val[string]) string {
	u, err := url.Parse(x.v)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		c.fault(x.at, "write it like https://wiki.example.com/pointsman/KIND", "runbook: %q is no web page", x.v)
		return ""
	}
	return x.v
}

func (c *compiler) channel(doc *channelDoc, lang notify.Language) (notify.Channel, ChannelSecrets) {
	ch := notify.Channel{
		Name: doc.Name.v, Type: oneOf(c, "type", doc.Type, notify.Type(""), notify.Types...),
		Language: oneOf(c, "language", doc.Language, lang, notify.English, notify.Chinese),
		Allow:    c.allowed(doc.Allow),
		Keep:     between(c, "keep", doc.Keep, 1000, 1, 100_000),
		Security: oneOf(c, "tls", doc.TLS, notify.StartTLS, notify.StartTLS, notify.Implicit, notify.NoTLS),
		Server:   doc.Server.v, User: doc.User.v, Sender: doc.From.v, URL: doc.URL.v, Keyword: doc.Keyword.v,
		Path: c.path(doc.Path.v),
	}
	life := 10 * time.Second
	if ch.Type == notify.Email {
		life = time.Minute
	}
	ch.Timeout = between(c, "timeout", doc.Timeout, life, time.Second, 5*time.Minute)
	ch.Info = doc.Info.or(ch.Type != notify.Alertmanager)
	if doc.PerMinute.set {
		if n := doc.PerMinute.v; n < 1 || n > 6000 {
			c.fault(doc.PerMinute.at, "leave it out to have what the receiver is known to take", "per_minute: %d is outside 1 to 6000", n)
		}
		ch.Limits = []notify.Limit{{Count: doc.PerMinute.v, Per: time.Minute}}
	}
	ch.Quiet = c.quietHours(doc)
	for _, x := range doc.To {
		ch.To = append(ch.To, x.v)
	}
	for _, x := range doc.Mobiles {
		if x.set && !mobile.MatchString(x.v) {
			c.fault(x.at, `write it as in "13800000000" or "+65-80000000"`, "mobiles: %q is no number", x.v)
		}
		ch.Mobiles = append(ch.Mobiles, x.v)
	}
	if len(doc.To) > maxNamed || len(doc.Mobiles) > maxNamed {
		c.fault(doc.pos, "make a group of them where they are", "a channel names at most %d people", maxNamed)
	}
	for _, l := range doc.Labels {
		if ch.Labels == nil {
			ch.Labels = map[string]string{}
		}
		if !label.MatchString(l.key) {
			c.fault(l.at, "letters, digits and '_'; no digit first", "%q cannot be the name of a label", l.key)
		}
		ch.Labels[l.key] = l.val.v
	}
	if ch.Type == "" {
		return ch, ChannelSecrets{}
	}
	c.belongs(doc, ch.Type)
	c.needs(doc, &ch)
	return ch, c.channelSecrets(doc)
}

var (
	mobile = regexp.MustCompile(`^\+?[0-9][0-9-]{4,18}[0-9]$`)
	label  = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]{0,63}$`) // of Prometheus
)

// quietHours are windows as those of maintenance.
func (c *compiler) quietHours(doc *channelDoc) []failover.Window {
	if len(doc.Quiet) > maxWindows {
		c.fault(doc.Quiet[maxWindows].pos, "write windows that come again each week", "there are %d quiet hours, at most %d are taken", len(doc.Quiet), maxWindows)
		return nil
	}
	var out []failover.Window
	for i := range doc.Quiet {
		if w, ok := c.window(&doc.Quiet[i]); ok {
			out = append(out, w)
		}
	}
	return out
}

// given lists the keys of a channel that only some types have, with their
// places.
func (d *channelDoc) given() map[string]pos {
	out := map[string]pos{}
	for key, x := range map[string]val[string]{
		"url": d.URL, "url_file": d.URLFile, "secret_file": d.SecretFile, "password_file": d.PasswordFile, "token_file": d.TokenFile,
		"path": d.Path, "server": d.Server, "tls": d.TLS, "user": d.User, "from": d.From, "keyword": d.Keyword,
	} {
		if x.set {
			out[key] = x.at
		}
	}
	for key, xs := range map[string][]val[string]{"to": d.To, "mobiles": d.Mobiles, "allow": d.Allow} {
		if len(xs) > 0 {
			out[key] = xs[0].at
		}
	}
	if d.Keep.set {
		out["keep"] = d.Keep.at
	}
	if len(d.Labels) > 0 {
		out["labels"] = d.Labels[0].at
	}
	return out
}

// belongs refuses keys of another type.
func (c *compiler) belongs(doc *channelDoc, t notify.Type) {
	for key, at := range doc.given() {
		if !slices.Contains(channelKeys[key], t) {
			var of []string
			for _, x := range channelKeys[key] {
				of = append(of, string(x))
			}
			c.fault(at, "it belongs to the type "+strings.Join(of, ", "), "a channel of the type %s has no %s", t, key)
		}
	}
}

// needs refuses a channel that lacks what its type cannot do without.
func (c *compiler) needs(doc *channelDoc, ch *notify.Channel) {
	want := func(there bool, hint, format string, args ...any) {
		if !there {
			c.fault(doc.pos, hint, format, args...)
		}
	}
	has := doc.given()
	some := func(keys ...string) bool {
		return slices.ContainsFunc(keys, func(k string) bool { _, ok := has[k]; return ok })
	}
	const file = "put it into a file of mode 0600 and write its path"
	switch ch.Type {
	case notify.Folder:
		want(some("path"), "path: notices", "a folder needs path")
	case notify.Email:
		want(some("server"), "server: smtp.example.com:587", "an email channel needs server")
		want(some("from"), "from: pointsman@example.com", "an email channel needs from")
		want(some("to"), "to: [oncall@example.com]", "an email channel needs to")
		c.email(doc, ch)
	case notify.Webhook:
		want(some("url", "url_file"), "url: https://hooks.example.com/pointsman, or url_file where it is a secret", "a webhook needs url or url_file")
		want(some("secret_file"), "make one: (umask 077; openssl rand -hex 32 > hook.key), and write secret_file: hook.key", "a webhook needs secret_file: what is not signed can be forged")
	case notify.DingTalk:
		want(some("url_file"), file, "a dingtalk channel needs url_file: whoever knows the URL can write to the group")
		want(some("secret_file", "keyword"), "the robot's security settings show which of the two it has", "a dingtalk channel needs secret_file or keyword")
	case notify.Alertmanager:
		want(some("url", "url_file"), "url: http://127.0.0.1:9093, with allow: [127.0.0.0/8]", "an alertmanager channel needs url or url_file")
	case notify.Shoutrrr:
		want(some("url_file"), file, "a shoutrrr channel needs url_file: its service URL is a secret")
	}
	if some("url") && some("url_file") {
		c.fault(doc.URL.at, "keep one of the two", "url and url_file are both given")
	}
	if some("url") {
		c.receiver(doc.URL, ch.Allow)
	}
}

// receiver checks a URL that is no secret.
func (c *compiler) receiver(x val[string], allow []netip.Prefix) {
	if u, err := url.Parse(x.v); err == nil && u.User != nil {
		c.fault(x.at, "put the whole URL into a file of mode 0600 and write url_file", "a URL with a password is a secret")
		return
	}
	if err := notify.CheckURL(x.v, allow); err != nil {
		c.fault(x.at, addressHint(err), "url: %v", err)
	}
}

// addressHint says what helps against a refused address.
func addressHint(err error) string {
	if errors.Is(err, notify.ErrAddress) && strings.Contains(err.Error(), "allow") {
		return "a loopback or private network that is meant is written under allow, as in allow: [10.0.0.0/8]"
	}
	return "write the URL or the address of the receiver, such as https://hooks.example.com/pointsman"
}

func (c *compiler) email(doc *channelDoc, ch *notify.Channel) {
	if doc.Server.set {
		if host, ok := c.hostPort(doc.Server, 1); ok {
			if a, err := netip.ParseAddr(host); err == nil {
				if err := notify.CheckAddress(a, ch.Allow); err != nil {
					c.fault(doc.Server.at, addressHint(err), "server: %v", err)
				}
			}
		}
	}
	for _, x := range append([]val[string]{doc.From}, doc.To...) {
		if x.set {
			if err := notify.CheckMailbox(x.v); err != nil {
				c.fault(x.at, "write it like oncall@example.com or \"On call <oncall@example.com>\"", "%v", err)
			}
		}
	}
	switch {
	case doc.User.set != doc.PasswordFile.set:
		c.fault(doc.User.place(doc.PasswordFile.place(doc.pos)), "give both, or neither", "user and password_file belong together")
	case doc.User.set && ch.Security == notify.NoTLS:
		c.fault(doc.TLS.at, "use tls: starttls or tls: implicit", "a password does not go over a connection without TLS")
	}
	if host, _, err := net.SplitHostPort(doc.Server.v); err == nil && ch.Security == notify.NoTLS && !loopback(host) {
		c.warn(doc.TLS.at, "use tls: starttls or tls: implicit", "messages go over the network in clear text")
	}
}

func (c *compiler) channelSecrets(doc *channelDoc) ChannelSecrets {
	c.secretPath("url_file", doc.URLFile)
	s := ChannelSecrets{URLFile: c.path(doc.URLFile.v)}
	for key, x := range map[string]val[string]{"secret_file": doc.SecretFile, "password_file": doc.PasswordFile, "token_file": doc.TokenFile} {
		c.secretPath(key, x)
		if x.set {
			s.SecretFile = c.path(x.v)
		}
	}
	return s
}

func (c *compiler) routes(cfg *Config, doc *notifyDoc, n *Notify) {
	if len(doc.Routes) > maxRoutes {
		c.fault(doc.Routes[maxRoutes].pos, "the first route that fits is taken: write the exceptions first, then the rest", "there are %d routes, at most %d are taken", len(doc.Routes), maxRoutes)
		return
	}
	var channels []string
	for _, ch := range n.Setup.Channels {
		channels = append(channels, ch.Name)
	}
	rest, used := -1, map[string]bool{}
	for i := range doc.Routes {
		r := &doc.Routes[i]
		if rest >= 0 {
			c.warn(r.pos, "the first route that fits is taken: put this one before it", "nothing comes here: the route in line %d takes everything", doc.Routes[rest].line)
		}
		if len(r.Instances) == 0 && len(r.Kinds) == 0 && rest < 0 {
			rest = i
		}
		n.Setup.Routes = append(n.Setup.Routes, c.route(cfg, r, channels, n.Setup.Keep, used))
	}
	if len(doc.Routes) == 0 {
		return
	}
	if rest < 0 {
		c.warn(doc.Routes[0].pos, "add a last route without instances and kinds", "what fits no route is told to nobody")
	}
	for _, ch := range doc.Channels {
		if ch.Name.set && !used[ch.Name.v] {
			c.warn(ch.Name.at, "name it in a step of a route, or leave it to reports and 'notify test'", "no route leads to the channel %q", ch.Name.v)
		}
	}
}

func (c *compiler) route(cfg *Config, doc *routeDoc, channels []string, keep time.Duration, used map[string]bool) notify.Route {
	var r notify.Route
	var known []string
	for _, i := range cfg.Instances {
		known = append(known, string(i.Policy.Instance))
	}
	for _, x := range doc.Instances {
		if x.set && !slices.Contains(known, x.v) {
			c.fault(x.at, choice(x.v, known), "there is no instance %q", x.v)
		}
		r.Instances = append(r.Instances, failover.InstanceName(x.v))
	}
	for _, x := range doc.Kinds {
		if x.set && !slices.Contains(notify.Kinds(), x.v) {
			c.fault(x.at, choice(x.v, notify.Kinds()), "no call is of the kind %q", x.v)
		}
		r.Kinds = append(r.Kinds, x.v)
	}
	if len(doc.Steps) > maxNamed || doc.Steps != nil && len(doc.Steps) == 0 {
		c.fault(doc.pos, "steps: [{channel: NAME}, {channel: OTHER, after: 10m}]", "a route has 1 to %d steps, this one has %d", maxNamed, len(doc.Steps))
		return r
	}
	at := time.Duration(-1)
	for _, s := range doc.Steps {
		if s.Channel.set && !slices.Contains(channels, s.Channel.v) {
			c.fault(s.Channel.at, choice(s.Channel.v, channels), "there is no channel %q", s.Channel.v)
		}
		used[s.Channel.v] = true
		after := between(c, "after", s.After, 0, 0, keep)
		switch {
		case at < 0 && after > 0:
			c.fault(s.After.at, "leave after out in the first step", "nobody is told at once")
		case after < at:
			c.fault(s.After.place(s.pos), "after counts from the first call, so later steps have more", "after: %s comes behind a step with %s", figure(after), figure(at))
		}
		at = max(at, after)
		r.Steps = append(r.Steps, notify.Step{Channel: s.Channel.v, After: after})
	}
	return r
}

func (c *compiler) heartbeat(doc *notifyDoc, n *Notify) {
	h := doc.Heartbeat
	if h == nil {
		return
	}
	c.secretPath("url_file", h.URLFile)
	n.HeartbeatURLFile = c.path(h.URLFile.v)
	n.Setup.Heartbeat = &notify.Heartbeat{
		Every: between(c, "every", h.Every, time.Minute, 10*time.Second, 24*time.Hour), Allow: c.allowed(h.Allow),
	}
}
