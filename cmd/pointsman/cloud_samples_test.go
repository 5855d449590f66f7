package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pointsman/internal/lab/alicloud"
)

// TestCloudSamplesRun: the samples of the two services at Alibaba Cloud take a
// name over, are armed, and move it when a cluster dies. Only addresses, the
// folder and waiting times are others than in the files.
func TestCloudSamplesRun(t *testing.T) {
	for file, zone := range map[string]alicloud.Zone{
		"alidns.yaml": {Name: "failover.example.com"},
		"pvtz.yaml":   {Name: "cn-test.vpc.example.com", Private: true, VPCs: []string{"vpc-lab"}},
	} {
		t.Run(file, func(t *testing.T) {
			s, err := alicloud.New(alicloud.Options{
				Authorities: []alicloud.Authority{{}, {Line: "telecom"}}, VPCs: []alicloud.VPC{{ID: "vpc-lab", Upstream: "self"}},
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(s.Close)
			w := &bindWorld{dir: shortDir(t, "sample"), a: startBackend(t, "127.0.1.1", "a"), b: startBackend(t, "127.0.1.2", "b")}
			id, err := s.AddZone(zone)
			if err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(filepath.Join("../../configs", file))
			if err != nil {
				t.Fatal(err)
			}
			places := []string{
				"127.0.0.1:18081", w.a.addr, "127.0.0.1:18082", w.b.addr, "tcp://127.0.0.1:18053", "tcp://" + s.Endpoint(), "127.0.0.1:18053", s.Endpoint(),
				"settle: 30s", "settle: 1s", "preset: stateless-http", "preset: fast-lab",
				"data: ../run/" + strings.TrimSuffix(file, ".yaml"), "data: data\n  socket: s/s",
			}
			lines, target := []string{"default"}, "orders-a.back.example.com"
			if zone.Private {
				places = append(places, `"0000000000000000df2d038600000001"`, `"`+id+`"`, "127.0.0.1:18056", s.Resolver("vpc-lab"))
			} else {
				at := s.Authorities()
				places = append(places, "127.0.0.1:18054", at[0], "127.0.0.1:18055", at[1])
				lines, target = []string{"default", "telecom"}, "orders-a.example.com"
			}
			for i := 0; i < len(places); i += 2 {
				if !strings.Contains(string(text), places[i]) {
					t.Errorf("the sample has no %s", places[i])
				}
			}
			writeFiles(t, w.dir, map[string]string{"pointsman.yaml": strings.NewReplacer(places...).Replace(string(text))})
			for _, line := range lines {
				if _, err := s.AddRecord(id, alicloud.Record{RR: "orders", Type: "CNAME", Value: target, TTL: 60, Line: line}); err != nil {
					t.Fatal(err)
				}
			}
			t.Setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", s.Key().ID)
			t.Setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", s.Key().Secret)
			w.run(t)
			w.took(t)
			w.a.kill()
			w.until(t, "it moved", marked("b"))
			for _, line := range lines {
				if r, ok := s.Record(id, "orders", line); !ok || r.Value != strings.Replace(target, "-a.", "-b.", 1) {
					t.Errorf("line %s: %+v", line, r)
				}
			}
		})
	}
}
