package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

const tablestoreSDK = "github.com/aliyun/aliyun-tablestore-go-sdk"

type moduleVersion struct{ Path, Version string }

// TestModulePinsTheTablestoreSDK: the tags v4.1.2 and v4.1.3 of the SDK are of
// 2019, from before it was a module; they outrank today's v1, and go get would
// take them wherever go.mod does not exclude them. The same version is the
// one whose suite the lab is held against.
func TestModulePinsTheTablestoreSDK(t *testing.T) {
	var mod struct {
		Require, Exclude []moduleVersion
		Replace          []struct{ Old moduleVersion }
	}
	if err := json.Unmarshal([]byte(command(t, "go", "mod", "edit", "-json")), &mod); err != nil {
		t.Fatal(err)
	}
	var replaced []moduleVersion
	for _, r := range mod.Replace {
		replaced = append(replaced, r.Old)
	}
	for _, fault := range sdkFaults(mod.Require, mod.Exclude, replaced) {
		t.Error(fault)
	}
}

// TestModulePinsTheTablestoreSDKFaultsAreSeen: each rule refuses what it is for.
func TestModulePinsTheTablestoreSDKFaultsAreSeen(t *testing.T) {
	require := []moduleVersion{{"example.com/a", "v1.0.0"}, {tablestoreSDK, "v1.9.3"}}
	exclude := []moduleVersion{{tablestoreSDK, "v4.1.2+incompatible"}, {tablestoreSDK, "v4.1.3+incompatible"}}
	if f := sdkFaults(require, exclude, nil); f != nil {
		t.Fatalf("sound: %q", f)
	}
	for want, got := range map[string][]string{
		"requires v1.7.17":            sdkFaults([]moduleVersion{{tablestoreSDK, "v1.7.17"}}, exclude, nil),
		"does not require":            sdkFaults(require[:1], exclude, nil),
		"exclude v4.1.2+incompatible": sdkFaults(require, exclude[1:], nil),
		"exclude v4.1.3+incompatible": sdkFaults(require, exclude[:1], nil),
		"replaces":                    sdkFaults(require, exclude, []moduleVersion{{tablestoreSDK, ""}}),
		"requires v4.1.3+incompatib":  sdkFaults([]moduleVersion{{tablestoreSDK, "v4.1.3+incompatible"}}, exclude, nil),
	} {
		if len(got) != 1 || !strings.Contains(got[0], want) {
			t.Errorf("got %q, want one that says %q", got, want)
		}
	}
}

// sdkFaults says what is wrong with how go.mod names the SDK.
func sdkFaults(require, exclude, replaced []moduleVersion) []string {
	const version = "v1.9.3"
	var faults []string
	if i := slices.IndexFunc(require, func(m moduleVersion) bool { return m.Path == tablestoreSDK }); i < 0 {
		faults = append(faults, "go.mod does not require "+tablestoreSDK)
	} else if require[i].Version != version {
		faults = append(faults, "go.mod requires "+require[i].Version+" of "+tablestoreSDK+", not "+version+": read what changed, then change it here")
	}
	for _, old := range []string{"v4.1.2+incompatible", "v4.1.3+incompatible"} {
		if !slices.Contains(exclude, moduleVersion{tablestoreSDK, old}) {
			faults = append(faults, "go.mod does not exclude "+old+" of "+tablestoreSDK)
		}
	}
	if slices.ContainsFunc(replaced, func(m moduleVersion) bool { return m.Path == tablestoreSDK }) {
		faults = append(faults, "go.mod replaces "+tablestoreSDK)
	}
	return faults
}
