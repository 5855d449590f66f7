package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"

	"pointsman/internal/failover"
)

func (a *app) explainCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:               "explain INSTANCE",
		Short:             "Say why the controller did, did not, or would act",
		Args:              exactly("INSTANCE"),
		ValidArgsFunction: a.completeInstances,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			e, err := c.Explain(cmd.Context(), failover.InstanceName(args[0]))
			if err != nil {
				return nearInstance(err, args[0])
			}
			return a.print(e, func(w io.Writer) {
				fmt.Fprintln(w, clean(e.Headline))
				for _, l := range e.Lines {
					fmt.Fprintf(w, "  %s\n", clean(l))
				}
				if len(e.Verdicts) > 0 {
					// Nobody may have asked for one: the guards are about what if.
					fmt.Fprintln(w, "\na failover now would be:")
					a.guards(w, e.Verdicts)
				}
			})
		},
	}
	a.outputFlag(cmd)
	return cmd
}

// guards prints each guard that refuses with its reason and hint, and those
// that allow in one line.
func (a *app) guards(w io.Writer, vs []failover.Verdict) {
	var allow []string
	for _, v := range vs {
		switch {
		case v.Allow:
			allow = append(allow, string(v.Guard))
			continue
		case v.Binds:
			fmt.Fprintf(w, "%s by %s: %s\n", a.paint(text.FgRed, "refused"), v.Guard, clean(v.Why))
		default: // it does not bind this kind of start
			fmt.Fprintf(w, "%s by %s: %s\n", a.paint(text.FgYellow, "noted, not refused,"), v.Guard, clean(v.Why))
		}
		if v.Hint != "" {
			fmt.Fprintf(w, "  hint: %s\n", clean(v.Hint))
		}
	}
	if len(allow) > 0 {
		fmt.Fprintf(w, "allowed by %s\n", strings.Join(allow, ", "))
	}
}
