package config

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

func compiled(t *testing.T, make func() ([]byte, error)) *jsonschema.Schema {
	t.Helper()
	text, err := make()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// asJSON reads YAML as an editor does: by the library, not by our decoder.
func asJSON(text []byte) (any, error) {
	data, err := yaml.YAMLToJSON(text)
	if err != nil {
		return nil, err
	}
	return jsonschema.UnmarshalJSON(bytes.NewReader(data))
}

// bothSchemas picks the schema of a file by its name.
func bothSchemas(t *testing.T) func(file string) *jsonschema.Schema {
	controller, vantage := compiled(t, JSONSchema), compiled(t, VantageJSONSchema)
	return func(file string) *jsonschema.Schema {
		if strings.HasPrefix(filepath.Base(file), "vantage") {
			return vantage
		}
		return controller
	}
}

// TestSchemaTakesWhatTheLoaderTakes: an editor that marks good lines is
// switched off.
func TestSchemaTakesWhatTheLoaderTakes(t *testing.T) {
	texts := map[string][]byte{}
	for name := range samples {
		data, err := os.ReadFile(filepath.Join(configs, name))
		if err != nil {
			t.Fatal(err)
		}
		texts[name] = data
		first, _, _ := strings.Cut(string(data), "\n")
		want := "# yaml-language-server: $schema=./pointsman.schema.json"
		if name == "vantage.yaml" {
			want = "# yaml-language-server: $schema=./vantage.schema.json"
		}
		if first != want {
			t.Errorf("%s begins with %q", name, first)
		}
	}
	for _, w := range StarterWishes() {
		s, err := NewStarter(w)
		if err != nil {
			t.Fatal(err)
		}
		texts["starter "+string(w.Preset)+" "+string(w.Topology)+" "+w.Provider] = s.Text
	}
	schemaOf := bothSchemas(t)
	for name, text := range texts {
		doc, err := asJSON(text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := schemaOf(name).Validate(doc); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSchemaFilesAreUpToDate: editors read the files, which 'pointsman config
// schema' prints anew.
func TestSchemaFilesAreUpToDate(t *testing.T) {
	for file, make := range map[string]func() ([]byte, error){"pointsman.schema.json": JSONSchema, "vantage.schema.json": VantageJSONSchema} {
		want, err := make()
		if err != nil {
			t.Fatal(err)
		}
		file = filepath.Join(configs, file)
		if *update {
			if err := os.WriteFile(file, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is out of date: go test ./internal/config -run TestSchemaFiles -update", file)
		}
	}
}

// TestSchemaKnowsEveryKey compares it with the structs by another walk, and
// wants a description of each.
func TestSchemaKnowsEveryKey(t *testing.T) {
	for _, f := range []struct {
		make func() ([]byte, error)
		typ  reflect.Type
	}{{JSONSchema, reflect.TypeFor[fileDoc]()}, {VantageJSONSchema, reflect.TypeFor[vantageFileDoc]()}} {
		text, err := f.make()
		if err != nil {
			t.Fatal(err)
		}
		var root map[string]any
		if err := json.Unmarshal(text, &root); err != nil {
			t.Fatal(err)
		}
		var got []string
		schemaPaths(t, root, "", &got)
		for _, key := range schemaKeys(f.typ, "") {
			if key = strings.TrimPrefix(key, "*"); !slices.Contains(got, key) {
				t.Errorf("%s: the schema lacks %s", f.typ.Name(), key)
			}
		}
		known := schemaKeys(f.typ, "")
		for _, key := range got {
			single := strings.Replace(key, "instances[].checks[].", "instances[].check.", 1)
			if !slices.ContainsFunc(known, func(k string) bool { k = strings.TrimPrefix(k, "*"); return k == key || k == single }) {
				t.Errorf("%s: the schema has %s, which is no key", f.typ.Name(), key)
			}
		}
	}
}

func schemaPaths(t *testing.T, n map[string]any, path string, out *[]string) {
	if props, ok := n["properties"].(map[string]any); ok {
		if n["additionalProperties"] != false {
			t.Errorf("%s takes unknown keys", path)
		}
		for key, v := range props {
			at, v := path+key, v.(map[string]any)
			*out = append(*out, at)
			if v["description"] == nil {
				t.Errorf("%s has no description", at)
			}
			schemaPaths(t, v, at+".", out)
		}
	}
	at := strings.TrimSuffix(path, ".")
	if items, ok := n["items"].(map[string]any); ok {
		schemaPaths(t, items, at+"[].", out)
	}
	if others, ok := n["additionalProperties"].(map[string]any); ok {
		schemaPaths(t, others, at+".NAME.", out)
	}
}

// TestSchemaRefusesMistakesThatItCanExpress: each of the bad files is refused,
// or its mistake is of a kind that no schema sees, and then stands in the list.
func TestSchemaRefusesMistakesThatItCanExpress(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	listed, err := os.ReadFile("testdata/beyond_schema.txt")
	if err != nil && !*update {
		t.Fatal(err)
	}
	var beyond []string
	schemaOf := bothSchemas(t)
	refused := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := asJSON(text)
		if err != nil {
			continue // no editor gets as far as the schema
		}
		if schemaOf(file).Validate(doc) != nil {
			refused++
		} else {
			beyond = append(beyond, strings.TrimSuffix(filepath.Base(file), ".yaml"))
		}
	}
	got := strings.Join(beyond, "\n") + "\n"
	if *update {
		if err := os.WriteFile("testdata/beyond_schema.txt", []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if got != string(listed) {
		t.Errorf("beyond the schema are\n%s\nand listed are\n%s", got, listed)
	}
	if refused < 60 {
		t.Errorf("only %d mistakes are refused", refused)
	}
}

// TestProgramLinksNoValidator: schemas are for editors, the program checks by
// its own words.
func TestProgramLinksNoValidator(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "pointsman/cmd/pointsman").Output()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(out), "pointsman/internal/config\n") {
		t.Fatalf("not the packages of the program:\n%s", out)
	}
	for pkg := range strings.Lines(string(out)) {
		if strings.Contains(pkg, "jsonschema") {
			t.Errorf("the program links %s", pkg)
		}
	}
}
