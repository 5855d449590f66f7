package authority

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// shortLab is a loaded server whose idle time is short.
func shortLab(t *testing.T, change func(*Config)) (*Server, string) {
	t.Helper()
	cfg := labConfig()
	cfg.TCPIdle = 500 * time.Millisecond // a busy machine stands still for a tenth of a second
	change(&cfg)
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Load(context.Background(), labCommitted()); err != nil {
		t.Fatal(err)
	}
	return s, run(t, s)
}

func TestClientThatDripsAQueryIsCutOff(t *testing.T) {
	for what, octets := range map[string]int{"in the length": 1, "in the query": 3} {
		t.Run(what, func(t *testing.T) {
			s, addr := shortLab(t, func(*Config) {})
			c := dial(t, addr)
			if _, err := c.Conn.Write([]byte{0, 30, 1, 2, 3}[:octets]); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Conn.Read(make([]byte, 1)); err == nil {
				t.Error("half a query was answered")
			}
			until(t, "it is counted", func() bool { return s.Stats().Dropped["slow"] == 1 && s.Stats().TCPConns == 0 })
		})
	}
	t.Run("octet by octet", func(t *testing.T) {
		s, addr := shortLab(t, func(*Config) {})
		c := dial(t, addr)
		if _, err := c.Conn.Write([]byte{4, 0}); err != nil { // 1024 octets are to come
			t.Fatal(err)
		}
		until(t, "it is cut off although it never pauses for long", func() bool {
			_, err := c.Conn.Write([]byte{0})
			return err != nil
		})
		if n := s.Stats().Dropped["slow"]; n != 1 {
			t.Errorf("counted %d", n)
		}
	})
	t.Run("silence", func(t *testing.T) {
		s, addr := shortLab(t, func(*Config) {})
		dial(t, addr)
		until(t, "it was there", func() bool { return s.Stats().TCPConns == 1 })
		until(t, "it is closed", func() bool { return s.Stats().TCPConns == 0 })
		if n := s.Stats().Dropped["slow"]; n != 0 {
			t.Errorf("an idle connection that ended was counted: %d", n)
		}
	})
}

func TestClientThatDoesNotReadIsCutOff(t *testing.T) {
	s, addr := shortLab(t, func(*Config) {})
	c := dial(t, addr)
	until(t, "its connection ends", func() bool {
		for range 100 {
			if err := c.WriteMsg(question("many.lab.test.", dns.TypeA)); err != nil {
				return true
			}
		}
		return false
	})
	until(t, "it is counted", func() bool { return s.Stats().Dropped["slow"] == 1 && s.Stats().TCPConns == 0 })
}

func TestIdleConnectionsMakeRoom(t *testing.T) {
	s, addr := shortLab(t, func(c *Config) { c.TCPConns, c.TCPPerSource, c.TCPIdle = 4, 2, 5*time.Second })
	from := func(ip string) *dns.Conn {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
		c, err := d.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		return &dns.Conn{Conn: c}
	}
	for _, ip := range []string{"127.0.0.1", "127.0.0.1", "127.0.0.2", "127.0.0.2"} {
		from(ip)
	}
	until(t, "all places are taken", func() bool { return s.Stats().TCPConns == 4 })
	// The two of one source that is at its own cap stay turned away.
	if _, err := from("127.0.0.2").ReadMsg(); err == nil {
		t.Error("a third of one source")
	}
	until(t, "somebody else gets in", func() bool {
		c := from("127.0.0.3")
		if c.WriteMsg(question("orders.lab.test.", dns.TypeA)) != nil {
			return false
		}
		m, err := c.ReadMsg()
		return err == nil && len(m.Answer) == 2
	})
	if st := s.Stats(); st.Dropped["idle"] != 1 || st.TCPConns != 4 {
		t.Errorf("%d made room, %d are open", st.Dropped["idle"], st.TCPConns)
	}
}

func TestFloodOnOneConnectionKeepsNobodyFromAnAnswer(t *testing.T) {
	_, addr := shortLab(t, func(c *Config) { c.TCPIdle = 10 * time.Second })
	flood := dial(t, addr)
	var answered atomic.Int64
	go func() {
		for {
			if _, err := flood.ReadMsg(); err != nil {
				return
			}
			answered.Add(1)
		}
	}()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for flood.WriteMsg(question("orders.lab.test.", dns.TypeA)) == nil {
		}
	}()
	for range 20 {
		before := answered.Load()
		for _, network := range []string{"udp", "tcp"} {
			if m := ask(t, network, addr, question("chain.lab.test.", dns.TypeA)); len(m.Answer) != 3 {
				t.Fatalf("%s: %v", network, m)
			}
		}
		until(t, "the flood goes on", func() bool { return answered.Load() > before })
	}
	flood.Close()
	<-ended
}
