package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"pointsman/internal/api"
	"pointsman/internal/config"
	"pointsman/internal/failover"
)

// Completion asks a running controller, or the file. It must be quick and say
// nothing of its own: whoever presses Tab has not asked for an error.

// completionTime bounds how long Tab may take.
const completionTime = time.Second

// offered are the instances of the running controller; none where it does not
// answer in time.
func (a *app) offered(cmd *cobra.Command) []failover.View {
	c, err := a.client()
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTime)
	defer cancel()
	vs, err := c.List(ctx, api.ListQuery{})
	if err != nil {
		return nil
	}
	return vs
}

// completeOperations offers the instances of which an operation is in hand,
// each with what it is doing.
func (a *app) completeOperations(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var out []string
	for _, v := range a.offered(cmd) {
		if v.Op != nil {
			out = append(out, cobra.CompletionWithDesc(string(v.Instance), fmt.Sprintf("%s %s at %s", v.Op.Kind, v.Op.ID, v.Op.Step)))
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

// completeConfigured offers the instances of the file, since no controller
// needs to run.
func (a *app) completeConfigured(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var names []string
	if cfg := a.completionConfig(args); cfg != nil {
		for _, i := range cfg.Instances {
			names = append(names, string(i.Policy.Instance))
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeVantages offers the vantages of the file that have a file of their
// own.
func (a *app) completeVantages(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var names []string
	if cfg := a.completionConfig(args); cfg != nil {
		for _, v := range cfg.Vantages {
			names = append(names, cobra.CompletionWithDesc(string(v.Name), "domain "+string(v.Domain)))
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completionConfig is the file, or nil where it cannot be read or the one word
// that is wanted stands already.
func (a *app) completionConfig(args []string) *config.Config {
	if len(args) > 0 {
		return nil
	}
	cfg, err := config.Load(orElse(a.config, defaultConfig))
	if err != nil {
		return nil
	}
	return cfg
}
