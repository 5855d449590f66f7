package notify

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"net/url"
	"strings"
)

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

var errURL = errors.New("the URL is none of http or https with a host")

func newBody(b []byte) io.Reader { return bytes.NewReader(b) }

// checkURL says whether a text is the URL of a receiver. Its error does not
// hold the text.
func checkURL(raw string) error {
	u, err := url.Parse(strings.TrimSpace(raw))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Fragment != "" {
		return errURL
	}
	return nil
}

// CheckURL is what a config may say of a URL that is no secret: it is one, and
// where its host is an address, a channel with this allow may dial it.
func CheckURL(raw string, allow []netip.Prefix) error {
	if err := checkURL(raw); err != nil {
		return err
	}
	u, _ := url.Parse(raw)
	if a, err := netip.ParseAddr(u.Hostname()); err == nil {
		return CheckAddress(a, allow)
	}
	return nil
}
