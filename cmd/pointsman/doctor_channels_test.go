package main

import (
	"net"
	"path/filepath"
	"strings"
	"testing"

	"pointsman/internal/config"
	"pointsman/internal/doctor"
)

// TestDoctorKnocksAtEachChannel: a folder, servers that are there, gone or
// forbidden, a URL in a secret file, and no secret in what it says.
func TestDoctorKnocksAtEachChannel(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dir := shortDir(t, "channels")
	const token = "feedfacefeedfacefeed"
	text := strings.NewReplacer("$CONTROL", "127.0.0.1:1", "$DNS", "127.0.0.1:5353", "$A", "127.0.0.1:2", "$B", "127.0.0.1:3").Replace(storyConfig) +
		strings.NewReplacer("$L", l.Addr().String(), "$GONE", freeAddr(t)).Replace(`notify:
  channels:
    - {name: files, type: folder, path: notices}
    - {name: mail, type: email, server: "$L", from: a@example.com, to: [b@example.com], allow: [127.0.0.0/8]}
    - {name: gone, type: email, server: "$GONE", from: a@example.com, to: [b@example.com], allow: [127.0.0.0/8]}
    - {name: hook, type: webhook, url_file: hook.url, secret_file: hook.key, allow: [127.0.0.0/8]}
    - {name: inside, type: webhook, url_file: inside.url, secret_file: hook.key}
    - {name: unread, type: webhook, url_file: none.url, secret_file: hook.key}
    - {name: chat, type: shoutrrr, url_file: chat.url}
  routes: [{steps: [{channel: files}]}]
`)
	writeFiles(t, dir, map[string]string{
		"pointsman.yaml": text, "hook.url": "http://" + l.Addr().String() + "/" + token + "\n", "inside.url": "http://" + l.Addr().String() + "/" + token + "\n",
		"hook.key": strings.Repeat("k", 40) + "\n", "chat.url": "slack://" + token + "@channel\n",
	})
	cfg, err := config.Load(filepath.Join(dir, "pointsman.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	fs := doctor.ReachChannels(t.Context(), channelsOf(cfg))
	said := findingLines(fs)
	for _, want := range []string{
		"ok channels files: " + filepath.Join(dir, "notices") + " can be reached",
		"ok channels mail: " + l.Addr().String() + " can be reached",
		"fail channels gone: ", "cannot be reached: nothing listens there",
		"ok channels hook: webhook can be reached", "fail channels inside: webhook cannot be reached: ",
		"fail channels unread: webhook cannot be reached: read secret " + filepath.Join(dir, "none.url") + ": no such file",
		"skipped channels chat: shoutrrr can be tried only by a message: pointsman notify test chat",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is not in:\n%s", want, said)
		}
	}
	if strings.Contains(said, token) {
		t.Errorf("it shows a secret:\n%s", said)
	}
	files := ""
	for _, f := range secretFiles(cfg) {
		files += doctor.JudgeSecret(f).Evidence + "\n"
	}
	if !strings.Contains(files, "the URL of channel hook has mode 0600") || !strings.Contains(files, "the URL of channel unread is not there") {
		t.Errorf("%s", files)
	}
}
