package main

import (
	"encoding"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pointsman/dnsctl"
	"pointsman/internal/api"
	"pointsman/internal/config"
	"pointsman/internal/failover"
	reporting "pointsman/internal/report" // report prints errors here
)

var update = flag.Bool("update", false, "write the golden key sets anew")

// TestJSONHasTheKeysThatScriptsKnow: programs read what -o json prints, so a
// key that comes, goes or changes its name must be seen by whoever does it.
func TestJSONHasTheKeysThatScriptsKnow(t *testing.T) {
	for name, v := range map[string]any{
		"status": statusView{}, "summary": summaryView{}, "plan": failover.Plan{}, "audit": []api.AuditLine{}, "explain": failover.Explanation{},
		"doctor": doctorReport{}, "prove-move": moveReport{}, "client": clientReport{}, "bundle": bundleResult{}, "manifest": manifest{},
		"order": moveResult{}, "init": initialized{}, "rights": grants{}, "config_explain": []config.Explained{}, "history": []api.Sample{}, "switches": []switchLine{}, "probes": []api.ProbeLine{}, "version": api.Version{},
		"notify_list": []api.ChannelLine{}, "notify_test": []api.ChannelTest{},
		"reports": []api.ReportLine{}, "report": api.ReportText{}, "report-file": reporting.Report{},
		"replication": api.ReplicationStatus{}, "replication_tables": []api.ReplicationTable{}, "replication_lost": lostView{}, "replication_letters": lettersView{}, "replication_order": api.ReplicationReply{}, "replication_verify": verified{}, "replication_prepare": preparedReplication{},
		"eject": ejection{}, "hook_test": api.HookTestReply{},
		"names": []api.NameMatrix{}, "propagation": dnsctl.Propagation{}, "score": scoreView{}, "replay": replayView{}, "episodes": []failover.Judged{},
	} {
		keys := make(map[string]bool)
		jsonKeys(reflect.TypeOf(v), "", keys)
		var lines []string
		for k := range keys {
			lines = append(lines, k)
		}
		slices.Sort(lines)
		got := strings.Join(lines, "\n") + "\n"
		file := filepath.Join("testdata", "keys", name+".golden")
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got == string(want) {
			continue
		}
		known := strings.Split(string(want), "\n")
		for _, k := range lines {
			if !slices.Contains(known, k) {
				t.Errorf("%s -o json: new key %s", name, k)
			}
		}
		for _, k := range known {
			if k != "" && !keys[k] {
				t.Errorf("%s -o json: key %s is gone", name, k)
			}
		}
	}
}

var (
	jsonMarshaler = reflect.TypeFor[json.Marshaler]()
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
)

// jsonKeys adds the path of every key that a value of the type can have, those
// that are often left out included.
func jsonKeys(t reflect.Type, path string, keys map[string]bool) {
	if p := reflect.PointerTo(t); p.Implements(jsonMarshaler) || p.Implements(textMarshaler) {
		return
	}
	switch t.Kind() {
	case reflect.Pointer:
		jsonKeys(t.Elem(), path, keys)
	case reflect.Slice, reflect.Array:
		jsonKeys(t.Elem(), path+"[]", keys)
	case reflect.Map:
		jsonKeys(t.Elem(), path+".*", keys)
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			switch {
			case name == "-" || !f.IsExported() && !f.Anonymous:
			case f.Anonymous && name == "":
				jsonKeys(f.Type, path, keys)
			default:
				key := path + "." + orElse(name, f.Name)
				keys[key] = true
				jsonKeys(f.Type, key, keys)
			}
		}
	}
}
