package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"pointsman/internal/config"
	"pointsman/internal/failover"
)

func (a *app) initCommand() *cobra.Command {
	var w config.Wish
	var preset, topology, out, file string
	var force bool
	cmd := &cobra.Command{
		Use:   "init --preset PRESET --topology TOPOLOGY",
		Short: "Write a first configuration, commented, that is valid as it stands",
		Long: `Write a first pointsman.yaml. It asks nobody and needs no credentials. What is
to be filled in is marked FILL IN in the file and listed on stderr.

Topologies, by what stands behind the name:
  http             services with certificates of their own
  same-name        two Tablestore clusters that serve one instance name, as the
                   owner of a private cloud builds them
  global-table     the same instance name in two regions, replicated by the vendor
  different-names  two Tablestore instances: refused, a CNAME cannot switch them

Providers, by who holds the name that moves:
  embedded   this program's own authority, for a zone that is delegated to it
  delegated  the same, and a CNAME elsewhere that never changes leads to it
  bind       a zone of BIND, Knot or PowerDNS, by dynamic update
  rpz        a policy zone of the clients' own BIND resolvers
  alidns     a public zone at Alibaba Cloud DNS
  pvtz       a private zone at Alibaba Cloud PrivateZone`,
		Example: "  pointsman init --preset stateless-http --topology http --output pointsman.yaml\n" +
			"  pointsman init --preset tablestore-standby --topology same-name --provider bind --name orders.svc.example.com -o json",
		Args: a.unknownCommand,
	}
	f := cmd.Flags()
	f.StringVar(&preset, "preset", "", "figures to start from: "+listed(failover.Presets))
	f.StringVar(&topology, "topology", "", "what stands behind the name: "+listed(config.Topologies))
	f.StringVar(&w.Provider, "provider", config.StarterEmbedded, "who holds the name: "+listed(config.StarterProviders))
	f.StringVar(&w.Instance, "instance", "", "`NAME` of the instance (default orders)")
	f.StringVar(&w.Name, "name", "", "`FQDN` that clients call")
	f.StringVarP(&out, "output", "o", "", "table, json or yaml; anything else is a `FILE` to write the configuration to")
	f.StringVar(&file, "out", "", "`FILE` to write the configuration to")
	f.BoolVar(&force, "force", false, "replace the file if there is one")
	complete(cmd, "preset", failover.Presets)
	complete(cmd, "topology", config.Topologies)
	complete(cmd, "provider", config.StarterProviders)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		switch {
		case isOutput(out):
			a.output = outputFormat(out)
		case out != "" && file != "":
			return failed("give one of them", "both -o %s and --out %s name a file", out, file)
		case out != "":
			file = out
		}
		err := checkNoForm(file)
		if err != nil {
			return err
		}
		if w.Preset, err = oneOfWords("preset", preset, failover.Presets); err != nil {
			return err
		}
		if w.Topology, err = oneOfWords("topology", topology, config.Topologies); err != nil {
			return err
		}
		if w.Provider, err = oneOfWords("provider", w.Provider, config.StarterProviders); err != nil {
			return err
		}
		return a.initConfig(w, file, force)
	}
	cmd.AddCommand(a.initRights())
	return cmd
}

// initialized is what init prints for programs.
type initialized struct {
	File     string          `json:"file,omitempty"` // that was written
	Preset   failover.Preset `json:"preset"`
	Topology config.Topology `json:"topology"`
	Provider string          `json:"provider"`
	Instance string          `json:"instance"`
	Name     string          `json:"name"`
	FillIn   []config.FillIn `json:"fill_in"`
	Notices  []string        `json:"notices,omitempty"`
	Config   string          `json:"config,omitempty"` // where no file was written
}

func (a *app) initConfig(w config.Wish, file string, force bool) error {
	s, err := config.NewStarter(w)
	if err != nil {
		var r config.Refusal
		if errors.As(err, &r) {
			return failed(r.Do, "%w", err)
		}
		return err
	}
	done := initialized{
		Preset: s.Preset, Topology: s.Topology, Provider: s.Provider, Instance: s.Instance, Name: s.Name, FillIn: s.FillIn, Notices: s.Notices,
	}
	if file == "" {
		done.Config = string(s.Text)
	} else {
		if err := writeNew(file, s.Text, force); err != nil {
			return err
		}
		done.File = file
	}
	err = a.print(done, func(out io.Writer) {
		if file == "" {
			fmt.Fprintf(out, "%s", s.Text)
		}
	})
	if err != nil || a.output.String() != string(outputTable) {
		return err
	}
	a.tellFillIns(s, file)
	return nil
}

// tellFillIns lists what a person must write, in the form that editors and
// compilers have for places.
func (a *app) tellFillIns(s *config.Starter, file string) {
	for _, n := range s.Notices {
		fmt.Fprintf(a.stderr, "note: %s\n", n)
	}
	if file != "" {
		fmt.Fprintf(a.stderr, "wrote %s\n", clean(file))
	}
	fmt.Fprintln(a.stderr, "fill these in:")
	for _, f := range s.FillIn {
		fmt.Fprintf(a.stderr, "%s:%d: %s: %s\n", clean(orElse(file, "pointsman.yaml")), f.Line, f.Key, f.What)
	}
	fmt.Fprintf(a.stderr, "then: pointsman config validate -c %s && pointsman config explain -c %[1]s\n", clean(orElse(file, "pointsman.yaml")))
}

// writeNew writes a file of mode 0600 that was not there; with force it takes
// the place of one that was.
func writeNew(file string, data []byte, force bool) error {
	if force {
		if fi, err := os.Lstat(file); err == nil && !fi.Mode().IsRegular() {
			return failed("give another --output", "write %s: is no regular file", file)
		}
		if err := replaceFile(file, data); err != nil {
			return failed("give --output a file in a directory that can be written", "write %s: %w", file, plainError(err))
		}
		return nil
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return failed("add --force to replace it, or give another --output", "write %s: there is such a file already", file)
	}
	if err != nil {
		return failed("give --output a file in a directory that can be written", "write %s: %w", file, plainError(err))
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(failed("free the disk", "write %s: %w", file, plainError(err)), os.Remove(file))
	}
	return nil
}

// oneOfWords reads a flag that must be one of a few words.
func oneOfWords[T ~string](flag, given string, known []T) (T, error) {
	if slices.Contains(known, T(given)) {
		return T(given), nil
	}
	if given == "" {
		return "", failed("add --"+flag+" with one of "+listed(known), "--%s is missing", flag)
	}
	words := make([]string, len(known))
	for i, k := range known {
		words[i] = string(k)
	}
	if n := nearest(given, words); n != "" {
		return "", failed("did you mean "+n+"?", "--%s %q is none of %s", flag, given, listed(known))
	}
	return "", failed("see 'pointsman init --help'", "--%s %q is none of %s", flag, given, listed(known))
}

func listed[T ~string](words []T) string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = string(w)
	}
	return strings.Join(out, ", ")
}

// complete offers a fixed list of words for a flag.
func complete[T ~string](cmd *cobra.Command, flag string, words []T) {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = string(w)
	}
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(out, cobra.ShellCompDirectiveNoFileComp))
}
