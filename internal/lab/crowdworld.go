package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"text/template"
	"time"

	"golang.org/x/sync/errgroup"
)

// crowdVantage is the one vantage of a crowd beside the controller's own eyes.
const crowdVantage = "van-2"

// crowdDoors is at how many addresses the servers of a crowd listen, for each
// of the two clusters: the ports of one address would be used up.
const crowdDoors = 16

// crowd is a controller and one vantage, real programs, with many instances
// of two clusters each. The servers of all of them are a part of this process.
type crowd struct {
	dir   string
	size  int
	round time.Duration // between two probes of a cluster
	api   netip.AddrPort
	token string
	tool  Tool

	family *Family
	log    func(name string) string // the file of a part
	doors  [2][]net.Listener
}

// Door is where cluster c (0 or 1) of instance i is probed.
func (c *crowd) Door(cluster, i int) string {
	ls := c.doors[cluster]
	return ls[i%len(ls)].Addr().String()
}

// runCrowd starts the programs, calls body, and ends them.
func runCrowd(ctx context.Context, cfg Config, size int, round time.Duration, body func(context.Context, *crowd) error) error {
	dir, err := os.MkdirTemp("", "pointsman-many-")
	if err != nil {
		return fmt.Errorf("work folder: %w", err)
	}
	c := &crowd{dir: dir, size: size, round: round, family: NewFamily(10 * time.Second)}
	c.log = func(name string) string { return filepath.Join(dir, name+".log") }
	c.tool = Tool{Path: cfg.Pointsman, Config: filepath.Join(dir, "pointsman.yaml")}
	if err = c.prepare(); err == nil {
		err = c.run(ctx, cfg, body)
	}
	for _, ls := range c.doors {
		for _, l := range ls {
			_ = l.Close() // its server may have closed it
		}
	}
	if err != nil && ctx.Err() == nil {
		return errors.Join(err, fmt.Errorf("logs, ledger and config are kept in %s", dir))
	}
	return errors.Join(err, os.RemoveAll(dir))
}

// prepare opens the doors and writes the files of the controller.
func (c *crowd) prepare() error {
	for k := range c.doors {
		for d := range crowdDoors {
			ip := netip.AddrFrom4([4]byte{127, 0, byte(2 + k), byte(1 + d)})
			if runtime.GOOS != "linux" { // elsewhere only 127.0.0.1 is loopback
				ip = netip.AddrFrom4([4]byte{127, 0, 0, 1})
			}
			l, err := net.Listen("tcp", netip.AddrPortFrom(ip, 0).String())
			if err != nil {
				return fmt.Errorf("servers of the clusters: %w", err)
			}
			c.doors[k] = append(c.doors[k], l)
		}
	}
	taken := map[uint16]bool{0: true}
	var dns netip.AddrPort
	var err error
	if dns, err = loopback(taken); err != nil {
		return err
	}
	if c.api, err = loopback(taken); err != nil {
		return err
	}
	if c.token, err = secret(); err != nil {
		return err
	}
	key, err := secret()
	if err != nil {
		return err
	}
	var text bytes.Buffer
	err = crowdTemplate.Execute(&text, struct {
		*crowd
		API, DNS              netip.AddrPort
		Vantage               string
		Round, Timeout, Burst time.Duration
		All                   []struct{}
	}{c, c.api, dns, crowdVantage, c.round, c.round * 2 / 5, c.round / 20, make([]struct{}, c.size)})
	if err != nil {
		return fmt.Errorf("write pointsman.yaml: %w", err)
	}
	for name, content := range map[string]string{
		"pointsman.yaml": text.String(), "token": c.token + "\n", crowdVantage + ".key": key + "\n",
	} {
		if err := os.WriteFile(filepath.Join(c.dir, name), []byte(content), 0o600); err != nil {
			return fmt.Errorf("work folder: %w", err)
		}
	}
	return nil
}

func (c *crowd) run(ctx context.Context, cfg Config, body func(context.Context, *crowd) error) error {
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.family.Run(gctx) })
	for k, ls := range c.doors {
		for _, l := range ls {
			g.Go(func() error { return answerPlainly(gctx, l, string(rune('a'+k))) })
		}
	}
	g.Go(func() error {
		err := c.startVantage(gctx, cfg)
		if err == nil {
			err = body(gctx, c)
		}
		return errors.Join(err, errBodyDone)
	})
	err := g.Wait()
	if joined, ok := err.(interface{ Unwrap() []error }); ok && errors.Is(err, errBodyDone) {
		err = joined.Unwrap()[0]
	}
	if err == errBodyDone {
		return nil
	}
	return err
}

func (c *crowd) startVantage(ctx context.Context, cfg Config) error {
	b, err := c.tool.DoWithin(ctx, crowdBound, "config", "vantage", crowdVantage)
	if err != nil {
		return err
	}
	path := filepath.Join(c.dir, crowdVantage+".yaml")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		return fmt.Errorf("write the config of %s: %w", crowdVantage, err)
	}
	return c.family.Start(ctx, c.part(cfg, crowdVantage, "vantage", "-c", path))
}

func (c *crowd) part(cfg Config, name string, args ...string) ChildSpec {
	return ChildSpec{Name: name, Path: cfg.Pointsman, Args: args, Dir: c.dir, Log: c.log(name), Also: cfg.Log}
}

// startController starts it, for the first time or again.
func (c *crowd) startController(ctx context.Context, cfg Config) error {
	return c.family.Start(ctx, c.part(cfg, Controller, "run", "-c", c.tool.Config))
}

// answerPlainly answers every connection once, as cheaply as this program
// can: what is measured is whoever asks.
func answerPlainly(ctx context.Context, l net.Listener, cluster string) error {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	answer := []byte("HTTP/1.1 200 OK\r\nX-Cluster: " + cluster + "\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n")
	buf := make([]byte, 2048)
	for {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			return fmt.Errorf("servers of the clusters: %w", err)
		}
		// The question is there within a moment of the connection. Who sends
		// none holds nobody up for long.
		_ = conn.SetDeadline(time.Now().Add(time.Second))
		if _, err := conn.Read(buf); err == nil {
			_, _ = conn.Write(answer) // the other side may have gone
		}
		_ = conn.Close()
	}
}

// ask gets a path of the controller's API and returns the body, the header,
// and how long it took.
func (c *crowd) ask(ctx context.Context, path string) (asked, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.api.String()+path, nil)
	if err != nil {
		return asked{}, err
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	start := time.Now()
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return asked{}, fmt.Errorf("ask for %s: %w", path, plain(err))
	}
	defer resp.Body.Close()
	var body bytes.Buffer
	if _, err := body.ReadFrom(resp.Body); err != nil {
		return asked{}, fmt.Errorf("ask for %s: %w", path, err)
	}
	return asked{body.Bytes(), resp.StatusCode, time.Since(start)}, nil
}

// asked is an answer of the API.
type asked struct {
	body   []byte
	status int
	took   time.Duration
}

var crowdTemplate = template.Must(template.New("pointsman.yaml").Parse(`# A crowd. Paths are relative to this file's folder.
controller: {name: many, data: ./data, socket: ./s, listen: "{{.API}}", token_file: ./token}
vantage: {name: here, domain: rack-1, controls: ["tcp://{{.API}}"]}
vantages:
  - {name: {{.Vantage}}, domain: rack-2, key_file: ./{{.Vantage}}.key, controls: ["tcp://{{.API}}"]}
authority:
  listen: ["{{.DNS}}"]
  zones: [{name: many.test., ns: [ns1.many.test.], hosts: {ns1.many.test.: [127.0.0.1]}}]
instances:
{{- range $i, $_ := .All}}
  - name: i{{printf "%05d" $i}}
    preset: tablestore-standby
    round: {{$.Round}}
    timeout: {{$.Timeout}}
    burst: {{$.Burst}}
    watch: off
    names: [{name: i{{printf "%05d" $i}}.many.test., provider: embedded}]
    clusters:
      a: {target: a{{$i}}.example.net., address: "{{$.Door 0 $i}}"}
      b: {target: b{{$i}}.example.net., address: "{{$.Door 1 $i}}"}
    primary: a
    check: {type: http, path: /healthz, status: [200], identity: {header: X-Cluster}}
{{- end}}
`))
