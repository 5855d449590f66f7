package config

import (
	"fmt"
	"testing"
)

const contractYAML = `controller:
  name: ctl-1
  data: ./data
  socket: ./data/pointsman.sock
  listen: 127.0.0.1:8053
  token_file: ./token
vantage: {name: ctl-1, domain: rack-1, controls: [tcp://192.0.2.1:22]}
vantages:
  - {name: van-2, domain: rack-2, key_file: ./van-2.key}
authority:
  listen: [127.0.0.1:5353]
  zones:
    - name: lab.test.
      ns: [ns1.lab.test.]
      hosts: {ns1.lab.test.: [127.0.0.1], a.lab.test.: [127.0.1.1], b.lab.test.: [127.0.1.2]}
providers:
  bind: {type: rfc2136, server: 127.0.0.1:5300, zone: example.com., key: {name: ctl., algorithm: hmac-sha256, secret_file: ./tsig.key}, authorities: [127.0.0.1:5300]}
instances:
  - name: orders
    preset: fast-lab
    names:
      - {name: orders.lab.test., provider: embedded}
    clusters:
      a: {target: a.lab.test., address: 127.0.1.1:8080}
      b: {target: b.lab.test., address: 127.0.1.2:8080}
    primary: a
    check: {type: http, path: /healthz, status: [200], identity: {header: X-Cluster}}
`

func TestTry(t *testing.T) {
	cfg, err := Parse("x.yaml", []byte(contractYAML))
	fmt.Println(err)
	if err == nil {
		fmt.Println(cfg.Effective())
		b, err := VantageYAML(cfg, "van-2")
		fmt.Println(string(b), err)
		v, err := ParseVantage("v.yaml", b)
		fmt.Println(v, err, cfg.Warnings)
	}
}
