package notify

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"pointsman/internal/failover"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("NOTIFY_TEST_CHILD"); dir != "" {
		if url := os.Getenv("NOTIFY_TEST_URL"); url != "" {
			busyChild(dir, url)
		} else {
			child(dir)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

var (
	quietLog = slog.New(slog.NewTextHandler(io.Discard, nil))
	loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	noon     = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
)

// real is the surroundings of a channel as they are.
func real() outer { return outer{now: time.Now} }

// message is one call as the controller makes it.
func message(id string) *Message {
	return &Message{
		ID: id, Instance: "orders", Kind: "held", State: Fire, At: noon, Since: noon.Add(-time.Minute),
		Title: "a down, b up", Text: "failover of orders is held at open: b is not proved",
		Evidence: []Sight{{Cluster: "a", Vantage: "van-2", Domain: "rack-2", Vote: failover.Down, Reason: "connect: refused"}},
		Will:     WillContinue, WillTo: "b", WillAt: noon.Add(10 * time.Minute),
		Commands: []string{"pointsman explain orders", "pointsman abort orders"}, Unknown: []string{"what a move would lose"}, From: "ctl-1",
	}
}

func single(m *Message) *parcel {
	return &parcel{id: m.ID, msgs: []*Message{m}, urgent: m.urgent()}
}

// serve runs a receiver on loopback.
func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// mustSender builds a channel.
func mustSender(t *testing.T, c Channel, o outer) sender {
	t.Helper()
	if c.Allow == nil {
		c.Allow = loopback
	}
	x, err := newSender(c, &Setup{}, o)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// bent is surroundings in which every name leads to one address on loopback,
// whatever its port, and the certificate there is trusted.
func bent(addr string, roots *tls.Config) outer {
	return outer{
		now: time.Now,
		lookup: func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		},
		dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		},
		roots: roots,
	}
}
