package notify

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// smtpServer is a server of RFC 5321 with STARTTLS (RFC 3207) and AUTH PLAIN
// (RFC 4954), as far as a sender of messages sees it.
type smtpServer struct {
	addr     string
	roots    *tls.Config
	starttls bool
	implicit bool
	login    string // "user password"; empty: none is wanted
	rcpt     string // answer to RCPT TO; empty: 250
	gone     string // in RCPT TO: answered with gives; empty: none is
	gives    string
	hang     bool // after the greeting

	mu     sync.Mutex
	mails  []string
	logins []string
	open   int
	served int
}

func (s *smtpServer) start(t *testing.T) *smtpServer {
	t.Helper()
	cert, roots := certificate(t, "mail.example.com")
	s.roots = roots
	conf := &tls.Config{Certificates: []tls.Certificate{cert}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = l.Addr().String()
	end := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				s.count(1)
				defer s.count(-1)
				defer c.Close()
				stop := make(chan struct{})
				defer close(stop)
				go func() {
					select {
					case <-end:
						c.Close()
					case <-stop:
					}
				}()
				if s.implicit {
					c = tls.Server(c, conf)
				}
				s.talk(c, conf)
			})
		}
	})
	t.Cleanup(func() { close(end); l.Close(); wg.Wait() })
	return s
}

func (s *smtpServer) count(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open += n
	if n > 0 {
		s.served++
	}
}

func (s *smtpServer) talk(c net.Conn, conf *tls.Config) {
	_, secure := c.(*tls.Conn)
	r := bufio.NewReader(c)
	say := func(format string, args ...any) { fmt.Fprintf(c, format+"\r\n", args...) }
	say("220 mail.example.com ready")
	known := s.login == ""
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		verb, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch verb = strings.ToUpper(verb); {
		case s.hang:
		case verb == "EHLO":
			say("250-mail.example.com")
			if s.starttls && !secure {
				say("250-STARTTLS")
			}
			if s.login != "" && secure {
				say("250-AUTH PLAIN LOGIN")
			}
			say("250 8BITMIME")
		case verb == "STARTTLS" && s.starttls && !secure:
			say("220 go on")
			t := tls.Server(c, conf)
			c, r, secure = t, bufio.NewReader(t), true
		case verb == "AUTH":
			data, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(rest, "PLAIN "))
			got := strings.Join(strings.Split(strings.Trim(string(data), "\x00"), "\x00"), " ")
			s.mu.Lock()
			s.logins = append(s.logins, got)
			s.mu.Unlock()
			if known = got == s.login; known {
				say("235 welcome")
			} else {
				say("535 5.7.8 wrong password for %s", got)
			}
		case verb == "MAIL" && !known:
			say("530 5.7.0 authentication required")
		case verb == "RCPT" && s.gone != "" && strings.Contains(rest, s.gone):
			say("%s", s.gives)
		case verb == "RCPT" && s.rcpt != "":
			say("%s", s.rcpt)
		case verb == "MAIL", verb == "RCPT", verb == "NOOP", verb == "RSET":
			say("250 ok")
		case verb == "DATA":
			say("354 go on")
			var b strings.Builder
			for {
				l, err := r.ReadString('\n')
				if err != nil {
					return
				}
				if l == ".\r\n" {
					break
				}
				b.WriteString(strings.TrimPrefix(l, "."))
			}
			s.mu.Lock()
			s.mails = append(s.mails, b.String())
			s.mu.Unlock()
			say("250 ok")
		case verb == "QUIT":
			say("221 bye")
			return
		default:
			say("502 what?")
		}
	}
}

// certificate makes one that only the returned roots trust.
func certificate(t *testing.T, names ...string) (tls.Certificate, *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	x := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, x, x, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(made)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, &tls.Config{RootCAs: pool}
}
