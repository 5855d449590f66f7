package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pointsman/internal/lab"
)

// partNames says what a verb may be given, for help texts.
const partNames = "a cluster (a, b), controller, or a vantage (van-2, van-3)"

// verbCommands are the faults and cures for a lab that runs in another terminal.
func (a *app) verbCommands() []*cobra.Command {
	plain := func(verb, short string) *cobra.Command {
		return &cobra.Command{
			Use: verb + " PART", Short: short, Long: short + ".\n\nPART is " + partNames + ".",
			Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeParts,
			RunE: func(cmd *cobra.Command, args []string) error {
				return a.order(cmd, lab.Order{Verb: verb, Part: args[0]})
			},
		}
	}
	heal := plain("heal", "Make a part whole again, or everything: go on, start, turn the knobs back")
	heal.Use, heal.Args = "heal [PART]", cobra.MaximumNArgs(1)
	heal.RunE = func(cmd *cobra.Command, args []string) error {
		return a.order(cmd, lab.Order{Verb: "heal", Part: strings.Join(args, "")})
	}
	return []*cobra.Command{
		plain("kill", "Kill a part with SIGKILL"),
		plain("stall", "Stop a part with SIGSTOP: it accepts connections and answers none"),
		plain("resume", "Let a stalled part go on"),
		heal,
		a.knobCommand("slow CLUSTER DELAY", "Hold every answer back for DELAY (300ms, 2s)", func(k *lab.Knobs, arg string) error {
			d, err := time.ParseDuration(arg)
			k.SlowMS = int(d.Milliseconds())
			return err
		}),
		a.knobCommand("errors CLUSTER RATE", "Answer a share of requests 503: 0.4, or 40%", func(k *lab.Knobs, arg string) error {
			number, percent := strings.CutSuffix(arg, "%")
			rate, err := strconv.ParseFloat(number, 64)
			if k.ErrorRate = rate; percent {
				k.ErrorRate = rate / 100
			}
			return err
		}),
		a.knobCommand("flap CLUSTER PERIOD", "Close and open the port in turn, each for PERIOD (400ms)", func(k *lab.Knobs, arg string) error {
			d, err := time.ParseDuration(arg)
			k.FlapMS = int(d.Milliseconds())
			return err
		}),
		a.knobCommand("wrong-identity CLUSTER", "Let a cluster answer as if it were the other one", nil),
		a.knobCommand("refuse CLUSTER REASON", "Let a Tablestore refuse everything: "+strings.Join(lab.Refusals, " or "), func(k *lab.Knobs, arg string) error {
			k.Refuse = arg
			return nil
		}),
		a.knobCommand("partition CLUSTER LONG", "Let one partition of a Tablestore answer 503 for so LONG (100ms)", func(k *lab.Knobs, arg string) error {
			d, err := time.ParseDuration(arg)
			k.PartitionMS = int(d.Milliseconds())
			return err
		}),
		a.knobCommand("close CLUSTER", "Close a cluster's port; its process lives", func(k *lab.Knobs, _ string) error {
			k.Closed = true
			return nil
		}),
		a.rebuildCommand(),
		a.clientCommand("hush", "Let the client that writes to Tablestore write nothing, until speak"),
		a.clientCommand("speak", "Let the client write on"),
		a.writesCommand(),
		a.statusCommand(),
	}
}

func (a *app) rebuildCommand() *cobra.Command {
	return &cobra.Command{
		Use: "rebuild", Short: "Build the client anew that writes to Tablestore", Args: cobra.NoArgs,
		Long: `Build the client anew that writes to Tablestore, as an application does that
replaces its client: it drops its connections, and its next write looks the name
up. Nothing else takes a client away from a cluster that answers.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.order(cmd, lab.Order{Verb: "rebuild"}) },
	}
}

// clientCommand is an order to the client that writes.
func (a *app) clientCommand(verb, short string) *cobra.Command {
	return &cobra.Command{
		Use: verb, Short: short, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.order(cmd, lab.Order{Verb: verb}) },
	}
}

func (a *app) writesCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "writes", Short: "Count which acknowledged rows each Tablestore holds, and lacks", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			st, err := lab.FindLab(a.folder())
			if err != nil {
				return err
			}
			r, err := st.Writes(cmd.Context())
			if err != nil {
				return err
			}
			if output == "json" {
				return json.NewEncoder(a.out).Encode(r)
			}
			r.Write(a.out)
			return nil
		},
	}
	outputFlag(cmd, &output)
	return cmd
}

// knobCommand turns one knob and leaves the others as they are.
func (a *app) knobCommand(use, short string, turn func(*lab.Knobs, string) error) *cobra.Command {
	want := strings.Count(use, " ")
	return &cobra.Command{
		Use: use, Short: short, Long: short + ".\n\nheal turns every knob back.",
		Args: cobra.ExactArgs(want), ValidArgsFunction: a.completeParts,
		RunE: func(cmd *cobra.Command, args []string) error {
			st, err := lab.FindLab(a.folder())
			if err != nil {
				return err
			}
			parts, err := st.Parts(cmd.Context())
			if err != nil {
				return err
			}
			var k lab.Knobs
			for _, p := range parts {
				if p.Name == args[0] && p.Knobs != nil {
					k = *p.Knobs
				}
			}
			if turn == nil { // wrong identity: the knob needs the other cluster's name
				for _, c := range st.World.Clusters {
					if c.Name != args[0] {
						k.Identity = c.Name
					}
				}
			} else if err := turn(&k, args[len(args)-1]); err != nil {
				return fmt.Errorf("%s: %w\nhint: usage: %s", args[len(args)-1], err, cmd.UseLine())
			}
			if err := k.Validate(); err != nil {
				return fmt.Errorf("%w\nhint: see '%s --help'", err, cmd.CommandPath())
			}
			return a.order(cmd, lab.Order{Verb: "knobs", Part: args[0], Knobs: &k})
		},
	}
}

func (a *app) statusCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "status", Short: "Show every part of the running lab", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			st, err := lab.FindLab(a.folder())
			if err != nil {
				return err
			}
			parts, err := st.Parts(cmd.Context())
			if err != nil {
				return err
			}
			if output == "json" {
				return json.NewEncoder(a.out).Encode(parts)
			}
			lab.WriteParts(a.out, parts)
			return nil
		},
	}
	outputFlag(cmd, &output)
	return cmd
}

// outputFlag adds -o with the two forms that the lab knows.
func outputFlag(cmd *cobra.Command, output *string) {
	cmd.Flags().StringVarP(output, "output", "o", "table", "`FORMAT` of what is printed: table or json")
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if *output != "table" && *output != "json" {
			return fmt.Errorf("-o %s: there are table and json", *output)
		}
		return nil
	}
}

func (a *app) order(cmd *cobra.Command, o lab.Order) error {
	st, err := lab.FindLab(a.folder())
	if err != nil {
		return err
	}
	said, err := st.Do(cmd.Context(), o)
	if err != nil {
		return err
	}
	fmt.Fprintln(a.out, said)
	return nil
}

func (a *app) completeParts(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return []string{"a", "b", lab.Controller, "van-2", "van-3"}, cobra.ShellCompDirectiveNoFileComp
}
