package notify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestAddressesThatAreRefused(t *testing.T) {
	ten := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	all := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	for _, x := range []struct {
		addr  string
		allow []netip.Prefix
		want  string // empty: allowed
	}{
		{"203.0.113.5", nil, ""},
		{"2001:db8::5", nil, ""},
		{"64:ff9b::cb00:7105", nil, ""},
		{"64:ff9b:1::cb00:7105", nil, ""},
		{"10.1.2.3", ten, ""},
		{"127.0.0.1", loopback, ""},
		{"::ffff:10.1.2.3", ten, ""},
		{"10.1.2.3", nil, "loopback or private"},
		{"192.168.1.1", ten, "loopback or private"},
		{"172.31.0.1", nil, "loopback or private"},
		{"100.64.0.1", nil, "loopback or private"},
		{"127.0.0.1", nil, "loopback or private"},
		{"::1", nil, "loopback or private"},
		{"fd12::1", nil, "loopback or private"},
		{"0.1.2.3", nil, "loopback or private"},
		{"::ffff:127.0.0.1", nil, "loopback or private"},
		{"64:ff9b::7f00:1", nil, "leads to 127.0.0.1"},
		{"2002:a01:203::1", nil, "leads to 10.1.2.3"},
		// These are refused whatever a config says.
		{"169.254.169.254", all, "link-local or the metadata"},
		{"fe80::1", all, "link-local or the metadata"},
		{"fe80::1%eth0", all, "link-local or the metadata"},
		{"100.100.100.200", all, "link-local or the metadata"},
		{"fd00:ec2::254", all, "link-local or the metadata"},
		{"fd00:ec2::23", all, "link-local or the metadata"},
		{"168.63.129.16", all, "link-local or the metadata"},
		{"::ffff:0:a9fe:a9fe", all, "leads to 169.254.169.254"},
		{"::ffff:169.254.169.254", all, "link-local or the metadata"},
		{"64:ff9b::a9fe:a9fe", all, "leads to 169.254.169.254"},
		{"64:ff9b:1::a9fe:a9fe", all, "leads to 169.254.169.254"},
		{"2002:a9fe:a9fe::1", all, "leads to 169.254.169.254"},
		{"2001:0:a9fe:a9fe::1", all, "leads to 169.254.169.254"},
		{"0.0.0.0", all, "nobody listens"},
		{"::", all, "nobody listens"},
		{"224.0.0.1", all, "nobody listens"},
	} {
		err := CheckAddress(netip.MustParseAddr(x.addr), x.allow)
		switch {
		case x.want == "" && err != nil:
			t.Errorf("%s: %v", x.addr, err)
		case x.want != "" && (!errors.Is(err, ErrAddress) || !strings.Contains(err.Error(), x.want)):
			t.Errorf("%s with %v: got %v, want %q", x.addr, x.allow, err, x.want)
		}
	}
}

// A name is judged by what it resolves to at each dial, and the address that
// was judged is the one that is dialled.
func TestANameThatTurnsToTheMetadataIsNotDialled(t *testing.T) {
	var asked, dialled atomic.Int32
	d := &dialer{
		lookup: func(context.Context, string) ([]netip.Addr, error) {
			if asked.Add(1) == 1 {
				return []netip.Addr{netip.MustParseAddr("203.0.113.9")}, nil
			}
			return []netip.Addr{netip.MustParseAddr("169.254.169.254")}, nil
		},
		dial: func(_ context.Context, _, to string) (net.Conn, error) {
			dialled.Add(1)
			if to != "203.0.113.9:80" {
				t.Errorf("%s was dialled", to)
			}
			return nil, errors.New("nobody there")
		},
	}
	if _, err := d.connect(t.Context(), "tcp", "hooks.example.com:80"); errors.Is(err, ErrAddress) || dialled.Load() != 1 {
		t.Errorf("the first time: %v", err)
	}
	if _, err := d.connect(t.Context(), "tcp", "hooks.example.com:80"); !errors.Is(err, ErrAddress) || dialled.Load() != 1 {
		t.Errorf("the second time: %v, dialled %d times", err, dialled.Load())
	}
}

// An address that hangs does not take the time of the next one.
func TestEachAddressHasItsShareOfTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &dialer{
			lookup: func(context.Context, string) ([]netip.Addr, error) {
				return []netip.Addr{netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("203.0.113.2")}, nil
			},
			dial: func(ctx context.Context, _, to string) (net.Conn, error) {
				if to == "203.0.113.1:443" {
					<-ctx.Done()
					return nil, ctx.Err()
				}
				c, _ := net.Pipe()
				return c, nil
			},
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		c, err := d.connect(ctx, "tcp", "x:443")
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	})
}

// misfits are receivers that do what none should, by what is said of it.
func misfits(t *testing.T) map[string]string {
	end := make(chan struct{})
	t.Cleanup(func() { close(end) })
	return map[string]string{
		"no answer in time": serve(t, func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			select {
			case <-r.Context().Done():
			case <-end:
			}
		}),
		"redirects": serve(t, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://169.254.169.254/latest/meta-data/", http.StatusTemporaryRedirect)
		}),
		"larger than 64 KiB": serve(t, func(w http.ResponseWriter, _ *http.Request) {
			for range 160 {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		}),
		"wants no more for 7s": serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(http.StatusTooManyRequests)
		}),
		"status 500: out of order": serve(t, func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "out of order", http.StatusInternalServerError)
		}),
		"refuses the message: status 400": serve(t, func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "no", http.StatusBadRequest)
		}),
	}
}

func TestEveryHTTPChannelWithstandsReceiversThatMisbehave(t *testing.T) {
	for want, url := range misfits(t) {
		for _, c := range []Channel{
			{Type: Webhook, URL: url + "/hook-1234567", Secret: []byte("0123456789abcdef")},
			{Type: DingTalk, URL: url + "/robot/send?access_token=abcdef123456", Secret: []byte("SECdef")},
			{Type: Alertmanager, URL: url},
			{Type: Shoutrrr, URL: "generic+" + url + "/hook-1234567?template=json"},
		} {
			t.Run(fmt.Sprintf("%s/%s", c.Type, want), func(t *testing.T) {
				t.Parallel()
				c.Timeout = time.Minute // a loaded machine is slow, too
				if want == "no answer in time" {
					c.Timeout = 400 * time.Millisecond
				}
				x := mustSender(t, c, real())
				began := time.Now()
				err := x.send(t.Context(), single(message(newID())))
				if c.Type == Shoutrrr && strings.HasPrefix(want, "larger") && err == nil {
					return // that service does not care what the answer is
				}
				if err == nil || !strings.Contains(err.Error(), want) && !(c.Type == Shoutrrr && strings.Contains(err.Error(), strings.Split(want, ":")[0])) {
					t.Errorf("got %v, want %q", err, want)
				}
				if err != nil && (strings.Contains(err.Error(), "1234567") || strings.Contains(err.Error(), "abcdef123456")) {
					t.Errorf("the error tells the secret: %v", err)
				}
				if d := time.Since(began); d > 30*time.Second {
					t.Errorf("it took %s", d)
				}
			})
		}
	}
}

// The environment's proxy is not asked: it would dial for us.
func TestNoProxyOfTheEnvironmentIsUsed(t *testing.T) {
	var asked atomic.Bool
	proxy := serve(t, func(http.ResponseWriter, *http.Request) { asked.Store(true) })
	t.Setenv("HTTP_PROXY", proxy)
	t.Setenv("http_proxy", proxy)
	g := newGuarded(&dialer{allow: loopback}, nil, time.Second)
	if p := g.base.Proxy; p != nil {
		t.Error("there is a proxy function")
	}
	x := mustSender(t, Channel{Type: Webhook, URL: "http://192.0.2.1:9/", Secret: []byte("0123456789abcdef"), Timeout: 50 * time.Millisecond}, real())
	if err := x.send(t.Context(), single(message("1"))); err == nil || asked.Load() {
		t.Errorf("%v, the proxy was asked: %v", err, asked.Load())
	}
}

func TestNothingSecretIsLeftInAText(t *testing.T) {
	for _, raw := range []string{
		"https://oapi.dingtalk.com/robot/send?access_token=0f1e2d3c4b5a",
		"slack://hook:T00000000-B00000000-XXXXXXXXXXXXXXXXXXXXXXXX@webhook",
		"wecom://693a1b2c-7d8e-4bc4-97a0-0ec25ifa5aaa",
		"telegram://110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw@telegram?chats=@channel-1",
		"https://user:pa55word@hooks.example.com/in?sig=%2Fa%2Bb%2Fcde",
	} {
		secrets := secretsOf(raw)
		for _, said := range []string{
			fmt.Sprintf("Post %q: connection refused", raw), "cannot dial " + raw, fmt.Sprintf("parse %v: invalid", strings.SplitN(raw, "://", 2)[1]),
		} {
			got := scrub(said, secrets)
			for _, part := range []string{"0f1e2d", "XXXXXXXX", "693a1b2c", "0ec25", "AAHdq", "110201543", "pa55word", "%2Fa", "/a+b"} {
				if strings.Contains(got, part) {
					t.Errorf("%q tells %q", got, part)
				}
			}
		}
	}
	if got := scrub("status 404: no such group", secretsOf("https://x.example.com/abcdefg")); got != "status 404: no such group" {
		t.Errorf("got %q", got)
	}
}
