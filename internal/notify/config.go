package notify

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"pointsman/internal/failover"
)

// Type is a kind of channel.
type Type string

const (
	Folder       Type = "folder"
	Email        Type = "email"
	Webhook      Type = "webhook"
	DingTalk     Type = "dingtalk"
	Alertmanager Type = "alertmanager"
	Shoutrrr     Type = "shoutrrr"
)

// Types lists every type of channel.
var Types = []Type{Folder, Email, Webhook, DingTalk, Alertmanager, Shoutrrr}

// Language is that of the words of a channel.
type Language string

const (
	English Language = "en"
	Chinese Language = "zh"
)

// Security says how an e-mail server is spoken to.
type Security string

const (
	StartTLS Security = "starttls" // demanded: a server without it gets nothing
	Implicit Security = "implicit" // TLS from the first byte
	NoTLS    Security = "none"
)

// Channel is one way to people, with its secrets.
type Channel struct {
	Name     string
	Type     Type
	Language Language       // of its words
	Info     bool           // it takes what wants nobody, too
	Allow    []netip.Prefix // loopback and private networks that it may dial
	Limits   []Limit        // nil: those of its type
	Timeout  time.Duration  // of one try; 0: 10 s, of an e-mail 60 s

	// Quiet are the hours in which what wants nobody waits for their end.
	Quiet []failover.Window

	Path string // folder: where the files go
	Keep int    // folder: how many messages are kept; 0: 1000

	Server   string   // email: host:port
	Security Security // email; empty: starttls
	User     string   // email; empty: no login
	Sender   string   // email: From
	To       []string // email

	URL     string            // webhook, dingtalk, alertmanager, shoutrrr; may be a secret, never shown
	Secret  []byte            // webhook: key of the signature; dingtalk: of its sign; email: password; alertmanager: bearer token
	Keyword string            // dingtalk: a word that the robot wants
	Mobiles []string          // dingtalk: who is called by name
	Labels  map[string]string // alertmanager: added to each alert

	Trouble error // why its secrets could not be read: every try fails with it
}

// Step is one step of a route: the channel is told After the first call that
// nobody has acknowledged, unless somebody has by then. 0 is at once.
type Step struct {
	Channel string
	After   time.Duration
}

// Route says who is told of what. The first that fits is taken.
type Route struct {
	Instances []failover.InstanceName // empty: every one
	Kinds     []string                // empty: every one
	Steps     []Step
}

// Heartbeat is a dead man's switch: an outside watcher that is called while all
// is well, and raises its own alarm when the calls stop.
type Heartbeat struct {
	URL     string // a secret
	Every   time.Duration
	Allow   []netip.Prefix
	Trouble error
}

// Setup is what a configuration says of notification. It is never changed.
type Setup struct {
	Channels  []Channel
	Routes    []Route // none: every channel is told at once
	Heartbeat *Heartbeat
	Keep      time.Duration  // how long a message may wait; 0: 24 h
	Zone      *time.Location // of times in words; nil: UTC
	Runbook   string         // URL; KIND in it is replaced
}

// DefaultKeep is how long a message may wait for its channel.
const DefaultKeep = 24 * time.Hour

var (
	// ErrUnknownChannel: there is no channel of that name.
	ErrUnknownChannel = errors.New("there is no such channel")
	// ErrTooLarge: a document is larger than a message may be.
	ErrTooLarge = fmt.Errorf("the document is larger than %d MiB", maxDocument>>20)
	// ErrInMemory: what was queued waits in memory only, and a restart loses it.
	ErrInMemory = errors.New("it waits in memory only")
	// ErrClosed: the notifier has ended.
	ErrClosed = errors.New("notification has ended")
)

func (s *Setup) channel(name string) (Channel, bool) {
	i := slices.IndexFunc(s.Channels, func(c Channel) bool { return c.Name == name })
	if i < 0 {
		return Channel{}, false
	}
	return s.Channels[i], true
}

// route returns the steps for a message.
func (s *Setup) route(m *Message) []Step {
	for _, r := range s.Routes {
		if (len(r.Instances) == 0 || slices.Contains(r.Instances, m.Instance)) && (len(r.Kinds) == 0 || slices.Contains(r.Kinds, m.Kind)) {
			return r.Steps
		}
	}
	if len(s.Routes) > 0 {
		return nil
	}
	var all []Step
	for _, c := range s.Channels {
		all = append(all, Step{Channel: c.Name})
	}
	return all
}

func (s *Setup) keep() time.Duration {
	if s.Keep > 0 {
		return s.Keep
	}
	return DefaultKeep
}
