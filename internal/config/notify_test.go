package config

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"pointsman/internal/failover"
	"pointsman/internal/notify"
)

// withNotify is a config of one instance with a part for notification.
func withNotify(part string) string {
	return `controller: {name: ctl-1}
single_vantage: accept
vantage: {domain: rack-1, controls: ["tcp://192.0.2.1:53"]}
authority: {listen: [127.0.0.1:5353], zones: [{name: lab.test., hosts: {a.lab.test.: [127.0.1.1], b.lab.test.: [127.0.1.2]}}]}
` + part + `instances:
  - name: orders
    preset: stateless-http
    names: [{name: orders.lab.test., provider: embedded}]
    clusters:
      a: {target: a.lab.test., address: "127.0.1.1:8080"}
      b: {target: b.lab.test., address: "127.0.1.2:8080"}
    primary: a
    check: {type: http, path: /healthz, identity: {header: X-Cluster}}
`
}

func TestNotificationIsReadWithItsDefaults(t *testing.T) {
	cfg, err := Parse("dir/pointsman.yaml", []byte(withNotify(`notify:
  language: zh
  zone: Asia/Shanghai
  channels:
    - {name: files, type: folder, path: notices, language: en, info: false}
    - {name: mail, type: email, server: "smtp.example.com:465", tls: implicit, user: pm, password_file: smtp.pass, from: pm@example.com, to: [a@example.com]}
    - {name: am, type: alertmanager, url: "http://127.0.0.1:9093", allow: [127.0.0.0/8], token_file: am.token, per_minute: 7, labels: {team: db}}
    - {name: slack, type: shoutrrr, url_file: slack.url}
  routes:
    - {instances: [orders], kinds: [drift, held], steps: [{channel: slack}, {channel: mail, after: 10m}]}
    - {steps: [{channel: files}, {channel: am}]}
  heartbeat: {url_file: beat.url}
`)))
	if err != nil {
		t.Fatal(err)
	}
	n := cfg.Notify
	want := []notify.Channel{
		{Name: "files", Type: notify.Folder, Language: notify.English, Path: "dir/notices", Keep: 1000, Security: notify.StartTLS, Timeout: 10 * time.Second},
		{Name: "mail", Type: notify.Email, Language: notify.Chinese, Info: true, Server: "smtp.example.com:465", Security: notify.Implicit, User: "pm", Sender: "pm@example.com", To: []string{"a@example.com"}, Keep: 1000, Timeout: time.Minute},
		{Name: "am", Type: notify.Alertmanager, Language: notify.Chinese, URL: "http://127.0.0.1:9093", Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Limits: []notify.Limit{{Count: 7, Per: time.Minute}}, Labels: map[string]string{"team": "db"}, Keep: 1000, Security: notify.StartTLS, Timeout: 10 * time.Second},
		{Name: "slack", Type: notify.Shoutrrr, Language: notify.Chinese, Info: true, Keep: 1000, Security: notify.StartTLS, Timeout: 10 * time.Second},
	}
	if !reflect.DeepEqual(n.Setup.Channels, want) {
		t.Errorf("got  %+v\nwant %+v", n.Setup.Channels, want)
	}
	if !reflect.DeepEqual(n.Secrets, []ChannelSecrets{{}, {SecretFile: "dir/smtp.pass"}, {SecretFile: "dir/am.token"}, {URLFile: "dir/slack.url"}}) {
		t.Errorf("secrets are %+v", n.Secrets)
	}
	routes := []notify.Route{
		{Instances: []failover.InstanceName{"orders"}, Kinds: []string{"drift", "held"}, Steps: []notify.Step{{Channel: "slack"}, {Channel: "mail", After: 10 * time.Minute}}},
		{Steps: []notify.Step{{Channel: "files"}, {Channel: "am"}}},
	}
	if !reflect.DeepEqual(n.Setup.Routes, routes) {
		t.Errorf("routes are %+v", n.Setup.Routes)
	}
	if n.Setup.Keep != notify.DefaultKeep || n.Setup.Zone.String() != "Asia/Shanghai" || n.Setup.Heartbeat.Every != time.Minute || n.HeartbeatURLFile != "dir/beat.url" || len(cfg.Warnings) != 1 {
		t.Errorf("%+v, warnings %v", n, cfg.Warnings)
	}
	var files []string
	for _, f := range cfg.Files() {
		files = append(files, f.Key)
	}
	if got := strings.Join(files, " "); got != "notify.channels.am.token_file notify.heartbeat.url_file notify.channels.slack.url_file notify.channels.mail.password_file" {
		t.Errorf("files are %s", got)
	}
	if cfg, err := Parse("x", []byte(withNotify(""))); err != nil || cfg.Notify != nil {
		t.Errorf("without it: %+v, %v", cfg, err)
	}
}

// Quiet hours are windows like those of maintenance.
func TestQuietHoursOfAChannel(t *testing.T) {
	const channel = "notify: {channels: [{name: a, type: folder, path: a, quiet: [%s]}]}\n"
	cfg, err := Parse("x", []byte(withNotify(strings.Replace(channel, "%s", `{days: [mon], at: "22:00", for: 9h, zone: Asia/Shanghai}, {from: "2026-12-24T00:00:00Z", to: "2026-12-26T00:00:00Z"}`, 1))))
	if err != nil {
		t.Fatal(err)
	}
	ws := cfg.Notify.Setup.Channels[0].Quiet
	for at, want := range map[string]bool{
		"2026-11-30T14:00:00Z": true, "2026-11-30T22:59:00Z": true, "2026-11-30T23:00:00Z": false, "2026-11-30T13:59:00Z": false,
		"2026-12-25T12:00:00Z": true, "2026-12-26T00:00:00Z": false,
	} {
		now, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		got := false
		for _, w := range ws {
			_, _, in := w.At(now)
			got = got || in
		}
		if got != want {
			t.Errorf("%s is quiet: %v", at, got)
		}
	}
	for part, want := range map[string]string{
		`{days: [mon], at: "22:00"}`:                                       "for is missing",
		`{days: [moon], at: "22:00", for: 9h}`:                             `day "moon" is not known`,
		`{at: "22:00", for: 9h, from: "2026-12-24T00:00:00Z"}`:             "a window is either one stretch (from, to) or comes again (days, at, for)",
		`{days: [mon], at: "22:00", for: 9h, zone: Mars}`:                  `zone "Mars" is not known`,
		strings.Repeat(`{days: [mon], at: "22:00", for: 9h}, `, 64) + "{}": "there are 65 quiet hours, at most 64 are taken",
	} {
		if _, err := Parse("x", []byte(withNotify(strings.Replace(channel, "%s", part, 1)))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: got %v, want %q", part, err, want)
		}
	}
}

// What works and tells nobody is warned about.
func TestRoutesThatTellNobodyAreWarnedAbout(t *testing.T) {
	const channels = "notify:\n  channels: [{name: a, type: folder, path: a}, {name: b, type: folder, path: b}]\n"
	for part, want := range map[string]string{
		channels + "  routes:\n    - {kinds: [held], steps: [{channel: a}, {channel: b}]}\n":                               "what fits no route is told to nobody",
		channels + "  routes:\n    - {steps: [{channel: a}]}\n":                                                            `no route leads to the channel "b"`,
		channels + "  routes:\n    - {steps: [{channel: a}]}\n    - {kinds: [held], steps: [{channel: b}]}\n":              "nothing comes here: the route in line 8 takes everything",
		"notify: {channels: [{name: m, type: email, server: 'mx.example.com:25', tls: none, from: a@b.c, to: [a@b.c]}]}\n": "messages go over the network in clear text",
	} {
		cfg, err := Parse("x", []byte(withNotify(part)))
		if err != nil {
			t.Fatal(err)
		}
		// The first is that of a single vantage.
		if len(cfg.Warnings) != 2 || cfg.Warnings[1].Message != want || cfg.Warnings[1].Line == 0 {
			t.Errorf("%s: warnings are %v, want %q", part, cfg.Warnings, want)
		}
	}
}

// A secret that changed is told, and not what it is.
func TestTheDiffTellsNoSecretOfAChannel(t *testing.T) {
	parse := func(url string) *Config {
		cfg, err := Parse("pointsman.yaml", []byte(withNotify("notify:\n  channels: [{name: ding, type: dingtalk, url_file: ding.url, keyword: x}]\n")))
		if err != nil {
			t.Fatal(err)
		}
		cfg.Saw("ding.url", []byte(url))
		return cfg
	}
	a, b := parse("https://x/?access_token=0f1e2d"), parse("https://x/?access_token=3c4b5a")
	got := Diff(a, b)
	if len(got) != 1 || got[0].String() != "notify.channels.ding.url_file: secret changed" || a.Sum() == b.Sum() {
		t.Errorf("got %v", got)
	}
}
