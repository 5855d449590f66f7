package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"pointsman/internal/config"
)

const defaultConfig = "pointsman.yaml"

// loadConfig reads the file of -c and prints its warnings.
func (a *app) loadConfig() (*config.Config, error) {
	cfg, err := config.Load(orElse(a.config, defaultConfig))
	if err != nil {
		return nil, configError(err)
	}
	a.warn(cfg.Warnings)
	return cfg, nil
}

// maxWarnings bounds what one file prints: of ten thousand instances each may
// be warned of the same.
const maxWarnings = 20

func (a *app) warn(ws config.Faults) {
	for i, w := range ws {
		if i == maxWarnings {
			fmt.Fprintf(a.stderr, "warning: … and %d more; all of them: pointsman config validate -o json\n", len(ws)-i)
			return
		}
		fmt.Fprintf(a.stderr, "warning: %s\n", clean(w.Error()))
	}
}

// mistakes are those of a file, each with its own hint, which is not the one
// of the error.
type mistakes struct{ config.Faults }

func (m mistakes) Error() string {
	return strings.ReplaceAll(m.Faults.Error(), "\n"+hintMark, "\n      | "+hintMark)
}

func (m mistakes) Unwrap() error { return m.Faults }

// configError puts a line of summary above the mistakes, each of which has a
// place and a hint of its own.
func configError(err error) error {
	var fs config.Faults
	if errors.As(err, &fs) {
		n := "1 mistake"
		if len(fs) > 1 {
			n = fmt.Sprintf("%d mistakes", len(fs))
		}
		return failed(fmt.Sprintf("mend the file, then: pointsman config validate -c %s", fs[0].File), "%s in the configuration:\n%w", n, mistakes{fs})
	}
	var f config.Fault
	if errors.As(err, &f) {
		hint := f.Hint
		f.Hint = ""
		return failed(orElse(hint, "check the path"), "%w", f)
	}
	return failed("check the path", "%w", err)
}

// socketOf finds the socket of the controller that a config describes. It reads
// no more of the file than that takes: what else is wrong in it, the controller
// and config validate say.
func (a *app) socketOf(file string) (string, error) {
	ctl, err := config.LoadController(file)
	if err != nil {
		return "", configError(err)
	}
	return ctl.Socket, nil
}

func (a *app) configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check a configuration, make a vantage's, or show what runs",
		Args:  a.unknownCommand,
		RunE: func(*cobra.Command, []string) error {
			return failed("usage: pointsman config validate, config explain, config schema, config vantage NAME, or config running", "what to do with the configuration is missing")
		},
	}
	cmd.AddCommand(a.configValidate(), a.configExplain(), a.configSchema(), a.configVantage(), a.configRunning())
	return cmd
}

func (a *app) configValidate() *cobra.Command {
	var verbose, vantage bool
	cmd := &cobra.Command{
		Use:   "validate [FILE]",
		Short: "Check a configuration; with -v show what every instance runs with",
		Long: `Check pointsman.yaml (FILE, or -c FILE, or ./` + defaultConfig + `). Every mistake is
shown with its place and a hint. Secrets are not read.`,
		Args: atMost(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 {
				if a.config != "" && a.config != args[0] {
					return failed("give one of them", "both -c %s and %s are given", a.config, args[0])
				}
				a.config = args[0]
			}
			if vantage {
				return a.validateVantage()
			}
			cfg, err := a.loadConfig()
			if err != nil {
				return err
			}
			v := validated{File: cfg.File, OK: true}
			if verbose {
				v.Effective = cfg.Running()
			}
			for _, w := range cfg.Warnings {
				v.Warnings = append(v.Warnings, w.Error())
			}
			for _, i := range cfg.Instances {
				v.Instances = append(v.Instances, string(i.Policy.Instance))
			}
			return a.print(v, func(w io.Writer) {
				fmt.Fprintf(w, "%s is good: %s\n", cfg.File, strings.Join(v.Instances, ", "))
				if verbose {
					fmt.Fprintf(w, "\n%s", cfg.Effective())
				}
			})
		},
	}
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "show what every instance runs with and where it comes from")
	cmd.Flags().BoolVar(&vantage, "vantage", false, "the file is a vantage.yaml")
	a.outputFlag(cmd)
	return cmd
}

// validated is what config validate prints.
type validated struct {
	File      string   `json:"file"`
	OK        bool     `json:"ok"`
	Instances []string `json:"instances,omitempty"`
	Warnings  []string `json:"warnings,omitempty"`

	Effective []config.Running `json:"effective,omitempty"` // with -v
}

func (a *app) validateVantage() error {
	f, err := config.LoadVantage(orElse(a.config, "vantage.yaml"))
	if err != nil {
		return configError(err)
	}
	a.warn(f.Warnings)
	return a.print(validated{File: f.File, OK: true}, func(w io.Writer) {
		fmt.Fprintf(w, "%s is good: vantage %s, %d targets\n", f.File, f.Name, len(f.Targets))
	})
}

func (a *app) configVantage() *cobra.Command {
	return &cobra.Command{
		Use:   "vantage NAME",
		Short: "Print the vantage.yaml of one of the vantages, ready to use",
		Args:  exactly("NAME"),

		ValidArgsFunction: a.completeVantages,
		RunE: func(_ *cobra.Command, args []string) error {
			cfg, err := a.loadConfig()
			if err != nil {
				return err
			}
			data, err := config.VantageYAML(cfg, args[0])
			if err != nil {
				return configError(err)
			}
			_, err = a.stdout.Write(data)
			return err
		},
	}
}
